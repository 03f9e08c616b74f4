"""mlf_align2d: ML2D in Fourier space, with CTF and noise spectra (Scheres et al., Structure 15:1167, 2007)."""
from . import options
from .options import number

DESCRIPTION = """\
Align and classify particle images by maximum likelihood in Fourier space, without reference bias.

As ml_align2d does, with a better model of how images arise: every reference is seen through the particle's own CTF
(astigmatism and phase shifts included), and the noise has a spectrum, estimated for each group of images taken with
the same optics at a similar defocus.  The class averages come out corrected for the CTF, by a Wiener filter with the
signal-to-noise ratio that the data show.  Frequencies are added as the averages become good enough.

The CTF is read from the metadata: Xmipp's labels (ctfDefocusU ... or ctfModel) or RELION's (with an optics table).
"""

EXAMPLES = """\
examples:
  mlf_align2d -i particles.star --nref 10 --oroot out/mlf2d_ --mirror --fast --thr 4
  mlf_align2d -i unflipped.star --not_phase_flipped --nref 10 --limit_resolution 0 15 999 --mirror --fast
  mlf_align2d -i particles.star --ref out/ml2d_classes.mrcs --ctf_affected_refs --mirror --fast
"""


def parser():
    """The command line of mlf_align2d: the original's names, then what it lacked."""
    p = options.Parser("mlf_align2d", DESCRIPTION, EXAMPLES)
    options.add_references(options.add_input(p), oroot="mlf2d")

    ctf = p.add_argument_group("CTF and resolution")
    ctf.add_argument("--no_ctf", action="store_true",
                     help="do not model the CTF, only the noise spectrum (one group for all images)")
    ctf.add_argument("--not_phase_flipped", action="store_true",
                     help="the images have not been phase-flipped (default: they have)")
    ctf.add_argument("--ctf_affected_refs", action="store_true",
                     help="the references of --ref are not corrected for the CTF, such as averages of ml_align2d")
    ctf.add_argument("--reduce_snr", type=number(float, 0, low_open=True), default=1.0, metavar="F",
                     help="multiply the estimated signal-to-noise ratios of the averages by this: less than 1 gives "
                          "smoother averages, more than 1 risks fitting noise")
    ctf.add_argument("--limit_resolution", type=number(float, 0), nargs=3, default=[0.0, 0.0, 999.0],
                     metavar=("FIRST", "HIGH", "LOW"),
                     help="resolution limits in Å: the highest resolution of the first iteration, of all later ones "
                          "(0: as the data allow), and the lowest that the probabilities look at")
    ctf.add_argument("--fix_high", type=number(float, 0, low_open=True), default=None, metavar="Å",
                     help="use frequencies up to this resolution from the first iteration to the last")
    ctf.add_argument("--include_allfreqs", action="store_true",
                     help="use all frequencies, from the lowest to Nyquist, from the first iteration on")
    ctf.add_argument("--noise_groups", choices=("auto", "optics", "pooled"), default="auto",
                     help="images that share a noise spectrum: auto divides each optics group by defocus, optics does "
                          "not, pooled takes all images together")
    ctf.add_argument("--group_size", type=number(int, 1), default=250, metavar="N",
                     help="fewest images in a noise group; smaller ones are joined with their neighbours")

    # the CTF leaves little to tell poses apart at low frequencies: a stricter limit would keep nearly all
    search = options.add_search2d(p, significance=1e-5)
    search.add_argument("--search_shift", type=number(float, 1), default=None, metavar="PX",
                        help="from the second iteration on, search each particle only within this many pixels of "
                             "where the iteration before found it (default: everywhere that --max_shift allows)")
    search.add_argument("--var_psi", action="store_true",
                        help="rotate in steps of a third of the finest detail at the particle's radius, as resolution "
                             "grows, instead of --psi_step")
    search.add_argument("--var_trans", action="store_true",
                        help="shift in steps of a third of the finest detail, in whole pixels, while resolution is low")
    model = options.add_model2d(p, "standard deviation of the pixel noise with which references are first generated; "
                                   "noise spectra start from the images' own power")
    model.add_argument("--norm", action="store_true", help="refine each image's grey scale")
    options.add_iterations2d(p)

    checks = p.add_argument_group("checks of the model")
    checks.add_argument("--kstest", action="store_true",
                        help="test what the model leaves unexplained of each image, in units of the noise, against "
                             "the normal distribution (Kolmogorov-Smirnov): images.xmd gets a column kstest, a "
                             "probability that is tiny for images that the model does not describe")
    checks.add_argument("--iter_histogram", type=number(int, -1), default=-1, metavar="N",
                        help="at iteration N write tables of that: its distribution over all images beside the normal "
                             "one (avg.hist.log), mean and variance by frequency (resol.hist); -1: never")
    options.add_running2d(p)
    return p


def main(argv=None):
    options.launch(parser(), "mlalign.programs.mlf2d", argv, options.RESUMES)


if __name__ == "__main__":
    main()
