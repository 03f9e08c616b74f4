"""ml_align2d: maximum-likelihood alignment and classification of 2-D images (Scheres et al., JMB 348:139, 2005)."""
from . import options
from .errors import run_program
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

    files = options.add_input(p)
    files.add_argument("--nref", type=number(int, 1), default=None, metavar="K",
                       help="number of references to generate from random subsets of the images; with --ref, each "
                            "given reference is split into this many (default: 1)")
    files.add_argument("--ref", default="", metavar="FILE", help="image, stack or metadata with initial references")
    files.add_argument("--oroot", default="ml2d", metavar="PREFIX", help="prefix of all output files")
    files.add_argument("--sampling_rate", type=number(float, 0, low_open=True), default=None, metavar="Å/px",
                       help="pixel size, when the metadata has none (used to report resolutions)")
    files.add_argument("--write_probs", action="store_true",
                       help="also write <oroot>probs.xmd: every particle's probability of belonging to each class")

    search = p.add_argument_group("search")
    search.add_argument("--mirror", action="store_true", help="also check the mirror image of each reference")
    search.add_argument("--fast", action="store_true",
                        help="coarse-to-fine search: score everything at half the resolution and sampling, then only "
                             "what remains significant (see -C) in full; nearly identical results, much faster")
    search.add_argument("-C", dest="significance", type=number(float, 0, 1, low_open=True), default=1e-12, metavar="P",
                        help="with --fast: a coarse pose is significant when its probability is more than P times "
                             "that of the image's best")
    search.add_argument("--zero_offsets", action="store_true",
                        help="with --fast: trust the given centres in the first iteration, whose coarse search then "
                             "looks at zero shift only")
    search.add_argument("--psi_step", type=number(float, 0.1, 90), default=5.0, metavar="DEG",
                        help="in-plane rotation sampling; made slightly finer if 90 is not a multiple")
    search.add_argument("--max_shift", type=number(float, 0), default=None, metavar="PX",
                        help="largest shift searched, up to half the box (default: 4 times the estimated offset "
                             "deviation)")
    search.add_argument("--maxres", type=number(float, 0, 0.5, low_open=True), default=None, metavar="FREQ",
                        help="highest frequency used, in 1/px (0.5 is Nyquist); by default it grows from coarse to "
                             "fine as the class averages allow")
    search.add_argument("--radius", type=number(float, 2), default=None, metavar="PX",
                        help="radius of the circle that holds the particle, up to half the box (default: that)")

    model = p.add_argument_group("model")
    model.add_argument("--noise", type=number(float, 0, low_open=True), default=1.0, metavar="SD",
                       help="initial standard deviation of the pixel noise")
    model.add_argument("--offset", type=number(float, 0), default=3.0, metavar="PX",
                       help="initial standard deviation of the origin offsets")
    model.add_argument("--frac", default="", metavar="FILE",
                       help="metadata (weight or classCount column) or text file with the initial class fractions "
                            "(default: equal)")
    model.add_argument("--fix_sigma_noise", action="store_true", help="do not re-estimate the pixel noise")
    model.add_argument("--fix_sigma_offset", action="store_true",
                       help="do not re-estimate the origin offsets' deviation")
    model.add_argument("--fix_fractions", action="store_true", help="do not re-estimate class and mirror fractions")
    model.add_argument("--student", type=number(float, 0, low_open=True), nargs="?", const=6.0, default=None,
                       metavar="DF",
                       help="Student-t instead of Gaussian noise, with DF degrees of freedom (6 when not given): "
                            "outlier images weigh less")
    model.add_argument("--no_sigma_trick", action="store_true",
                       help="with --student: divide the noise estimate by the number of images, not by their weights")
    model.add_argument("--norm", action="store_true", help="refine each image's grey scale and background")

    loop = p.add_argument_group("iterations")
    loop.add_argument("--iter", type=number(int, 0), default=100, metavar="N", help="maximum number of iterations")
    loop.add_argument("--eps", type=number(float, 0), default=5e-5, metavar="X",
                      help="stop when no reference changes by more than this (squared change over squared signal)")
    loop.add_argument("--iem", type=number(int, 1), default=1, metavar="BLOCKS",
                      help="incremental EM: update the references after each of this many blocks of images")
    loop.add_argument("--restarts", type=number(int, 1), default=1, metavar="N",
                      help="try this many random starts, short and at low resolution, and keep the most likely")
    loop.add_argument("--min_class", type=number(float, 0), default=None, metavar="N",
                      help="a class that holds fewer particles is revived by splitting the most heterogeneous one "
                           "(default: a tenth of the average class size; 0: never)")
    loop.add_argument("--restart", type=number(int, 0), default=None, metavar="ITER",
                      help="like --continue, but from the end of iteration ITER")

    running = options.add_run_control(p)
    running.add_argument("--save_memB", action="store_true", help="search shifts up to 3 instead of 4 deviations")
    running.add_argument("--save_memA", action="store_true",
                         help="accepted for old command lines; nothing to save here")
    return p


def main(argv=None):
    arguments = parser().parse_args(argv)

    def body():
        from .ml2d import run  # the numerics load only when there is work to do
        run(arguments)

    run_program("ml_align2d", body, "--continue resumes from the last finished iteration")


if __name__ == "__main__":
    main()
