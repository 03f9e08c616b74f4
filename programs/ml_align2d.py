"""ml_align2d: maximum-likelihood alignment and classification of 2-D images (Scheres et al., JMB 348:139, 2005)."""
from . import options
from .options import number

DESCRIPTION = """\
Align and classify particle images by maximum likelihood, without reference bias.

Every image is compared with every reference at all in-plane rotations, shifts and (optionally) mirrors, and
contributes to each class average with the probability of that pose.  Noise, shifts and class sizes are estimated
along the way, so their initial values need only be reasonable.  Images are expected to be normalised (background
mean 0, standard deviation 1) and roughly centred.
"""

EXAMPLES = """\
examples:
  ml_align2d -i particles.star --nref 10 --oroot out/ml2d_ --mirror --fast --thr 4
  ml_align2d -i images.mrcs --ref seeds.mrcs --oroot out/ml2d_ --mirror --fast
  ml_align2d -i particles.star --nref 10 --oroot out/ml2d_ --mirror --fast --thr 4 --continue --iter 50
"""


def parser():
    """The command line of ml_align2d: the original's names, then what it lacked."""
    p = options.Parser("ml_align2d", DESCRIPTION, EXAMPLES)

    options.add_references(options.add_input(p), oroot="ml2d")
    search = options.add_search2d(p)
    search.add_argument("--maxres", type=number(float, 0, 0.5, low_open=True), default=None, metavar="FREQ",
                        help="highest frequency used, in 1/px (0.5 is Nyquist); by default it grows from coarse to "
                             "fine as the class averages allow")
    model = options.add_model2d(p)
    model.add_argument("--norm", action="store_true", help="refine each image's grey scale and background")
    loop = options.add_iterations2d(p)
    loop.add_argument("--iem", type=number(int, 1), default=1, metavar="BLOCKS",
                      help="update the references after each of this many blocks of images; for large sets: with about "
                           "200 images per class in a block, few passes over all images are enough")
    options.add_running2d(p)
    return p


def main(argv=None):
    options.launch(parser(), "mlalign.programs.ml2d", argv, options.RESUMES)


if __name__ == "__main__":
    main()
