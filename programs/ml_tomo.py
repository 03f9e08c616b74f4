"""ml_tomo: maximum-likelihood alignment and classification of volumes with missing data (Scheres et al., 2009)."""
from . import options
from .options import number
from .tomo_options import TomoParser, check

DESCRIPTION = """\
Align and classify subtomograms, or other volumes with missing regions in Fourier space, by maximum likelihood.

Every volume is compared with every reference at all orientations and shifts, over the part of Fourier space that was
observed of it, and contributes to each class average with the probability of that pose; what was not observed counts
neither for nor against.  With no references given, orientations and classes start from chance.  Volumes are expected
to be normalised (mean 0, standard deviation 1), roughly centred, and of the same grey scale as the references.

Angles and shifts align a volume to its reference, the shift first:  p_ref = Rz(-psi) Ry(-tilt) Rz(-rot) (p + shift).
"""

EXAMPLES = """\
One value, or one per stage, goes to --ang, --ang_search, --psi_sampling, --limit_trans, --dim, --maxres and --iter.

examples:
  one reference from chance, coarse to fine in one command:
    ml_tomo -i particles.xmd --missing wedges.xmd --nref 1 --oroot out/nref1 --perturb --thr 4 \\
        --ang 15 10 5 --ang_search -1 50 25 --iter 15 5 5 --dim 32 -1 -1 --maxres 0.5 0.35 0.35
  three classes, alike in the first 5 iterations, from particles that are aligned already:
    ml_tomo -i out/nref1_img.xmd --missing wedges.xmd --nref 3 --keep_angles --oroot out/nref3 --perturb \\
        --ang 10 --ang_search 50 --maxres 0.35 --reg0 5 --regF 0 --reg_steps 5
  the same without moving them, looking inside a mask only:
    ml_tomo -i out/nref1_img.xmd --missing wedges.xmd --nref 3 --keep_angles --oroot out/focused --dont_align \\
        --mask interesting.mrc --maxres 0.35
  a reference of another grey scale:
    ml_tomo -i particles.xmd --missing wedges.xmd --ref map.mrc --maxCC --iter 1 --oroot out/map --ang 10
"""


def parser():
    """The command line of ml_tomo: the original's names, then what it lacked."""
    p = TomoParser("ml_tomo", DESCRIPTION, EXAMPLES)
    add_files(options.add_input(p, "metadata (.xmd, .star, .sel) or stack of the volumes, with their missing region "
                                   "(missingRegionNumber) and perhaps angles, shifts and class (ref)"))
    add_search(p)
    add_fixed_poses(p)
    add_model(p)
    add_references(p)
    add_iterations(p)
    running = options.add_run_control(p)
    options.add_gpu(running)
    running.add_argument("--trymindiff_factor", type=number(float), default=0.9, metavar="F",
                         help="accepted for old command lines; there is nothing to guess here, so it does nothing")
    return p


def add_files(group):
    add = group.add_argument
    add("--missing", default="", metavar="FILE",
        help="metadata that defines the missing regions by number: missingRegionNumber missingRegionType "
             "(wedge_y, wedge_x, pyramid, cone: up to which tilt was observed, in missingRegionThetaY0 ThetaYF ThetaX0 "
             "ThetaXF; weight: how well every frequency was, a volume in missingRegionWeight).  Without it everything "
             "counts as observed")
    add("--doc", default="", metavar="FILE",
        help="metadata or docfile with other angles, shifts, classes and regions of the volumes of -i, found by "
             "their names: the _img.xmd of an earlier run, for example")
    add("--nref", type=number(int, 1), default=None, metavar="K",
        help="number of references to generate; either this or --ref")
    add("--ref", default="", metavar="FILE",
        help="volume, stack or metadata with initial references (a column weight gives class fractions)")
    add("-o", "--oroot", default="mltomo", metavar="ROOT", help="what the names of all output files begin with")
    add("--pixel_size", type=number(float, 0, low_open=True), default=None, metavar="Å",
        help="pixel size, when metadata and volumes have none or another one (1 where nothing says it)")


def add_search(parser):
    search = parser.add_argument_group("search of orientations and shifts")
    add = search.add_argument
    add("--ang", type=number(float, 0.1, 45), nargs="+", default=[10.0], metavar="DEG",
        help="angle between neighbouring orientations.  15 for a search everywhere, 10 and 5 around what it found: "
             "half the angle takes 8 times as long; finer than the resolution's arc at the particle's edge is wasted")
    add("--ang_search", type=number(float, -1, 180), nargs="+", default=[-1.0], metavar="DEG",
        help="search only so far from each particle's orientation: that of the last iteration, in the first one that "
             "of -i or --doc; 3 to 5 times --ang is good.  -1 or 0: everywhere")
    add("--anchor", action="store_true",
        help="with --ang_search: stay so near the orientations of -i or --doc in all iterations")
    add("--dont_limit_psirange", action="store_true",
        help="with --ang_search: limit the direction only, search all in-plane angles (psi); not with --sym")
    add("--psi_sampling", type=number(float, -1, 90), nargs="+", default=[-1.0], metavar="DEG",
        help="in-plane angle between neighbouring orientations; -1: as --ang")
    add("--tilt0", type=number(float, 0, 180), default=0.0, metavar="DEG", help="search tilt angles from here ...")
    add("--tiltF", type=number(float, 0, 180), default=180.0, metavar="DEG",
        help="... to here: 0 and 90 for particles known to point up, in their references' frame")
    add("--limit_trans", type=number(float, -1), nargs="+", default=[-1.0], metavar="PX",
        help="largest shift from where a volume is searched, in voxels of the input; -1: as far as the estimated "
             "offset deviation makes likely, and near where it was found before once its orientation is known")
    add("--sym", default="c1", metavar="GROUP",
        help="point group of the references under its name in Xmipp: c4, d7, t, o, i1 ...")
    add("--perturb", action="store_true",
        help="turn the whole grid of orientations by chance in every iteration, so that its angles leave no marks in "
             "the averages; recommended with coarse grids")
    add("--no_SMALLANGLE", action=_Flag,
        help="do not turn all in-plane angles by 2.75 degrees, which keeps grids off the axes of the volume")
    add("--dim", type=number(int, -1), nargs="+", default=[-1], metavar="PX",
        help="work in a smaller box, of lower resolution (one more voxel where that is odd and the input's even, or "
             "the other way); 32 is enough for a first search everywhere.  -1: the input's")
    add("--maxres", type=number(float, 0, 0.5, low_open=True), nargs="+", default=[0.5], metavar="FREQ",
        help="highest frequency used, in 1/voxel of the box worked in; 0.35 keeps out the noisiest frequencies")
    add("--radius", type=number(float, 2), default=None, metavar="PX",
        help="radius of the sphere that holds the particle, in voxels of the input (default: half the box)")
    add("--no_refine", action="store_true",
        help="leave the final orientations and shifts on the grid instead of refining them to a fraction of a voxel")


def add_fixed_poses(parser):
    fixed = parser.add_argument_group("poses that are known (these need the angles and shifts in -i or --doc)")
    add = fixed.add_argument
    add("--keep_angles", action="store_true",
        help="generate the references with the given angles and shifts instead of random orientations")
    add("--dont_rotate", action="store_true", help="keep the angles, search shifts and classes")
    add("--dont_align", action="store_true",
        help="keep angles and shifts, search classes only: very fast, right where particles are well aligned")
    add("--only_average", action="store_true",
        help="keep angles, shifts and classes (ref): only average, once, weighted by what was observed")
    add("--mask", default="", metavar="FILE",
        help="with --dont_align: volume of 0 to 1, the part of the references that tells classes apart")


def add_model(parser):
    model = parser.add_argument_group("model")
    add = model.add_argument
    add("--maxCC", action="store_true",
        help="take the one pose and class of the highest constrained cross-correlation instead of likelihoods: for "
             "references of another grey scale, such as maps of atomic models")
    add("--dont_impute", action="store_true",
        help="divide the averages by what was observed of them, instead of filling in what was not from the last "
             "iteration's.  Imputation is gentler where little was observed; both agree when it is iterated")
    add("--noimp_threshold", type=number(float, 0), default=1.0, metavar="N",
        help="with --dont_impute, and for the first references: where fewer than N particles were observed the "
             "average is 0")
    add("--impute_iter", type=number(int, 1), default=1, metavar="N", help="times that imputation is repeated")
    add("--noise", type=number(float, 0, low_open=True), default=1.0, metavar="SD",
        help="initial standard deviation of the noise in a voxel")
    add("--sigma_shells", action="store_true",
        help="estimate the noise in every shell of frequencies, instead of one for all: for noise that is not white")
    add("--offset", type=number(float, 0), default=3.0, metavar="PX",
        help="initial standard deviation of the shifts, in voxels of the input")
    add("--frac", default="", metavar="FILE",
        help="metadata (weight or classCount column) or text file with the initial class fractions (default: equal)")
    add("--fix_sigma_noise", action="store_true", help="do not re-estimate the noise")
    add("--fix_sigma_offset", action="store_true", help="do not re-estimate the shifts' deviation")
    add("--fix_fractions", action="store_true", help="do not re-estimate the class fractions")


def add_references(parser):
    references = parser.add_argument_group("similarity and resolution of the references")
    add = references.add_argument
    add("--reg0", type=number(float, 0), default=0.0, metavar="X",
        help="draw the references towards their mean by this to begin with, so that no class is lost early: 5 is "
             "strong")
    add("--regF", type=number(float, 0), default=0.0, metavar="X", help="and by this in the end")
    add("--reg_steps", type=number(int, 1), default=5, metavar="N", help="iterations from --reg0 to --regF")
    add("--filter", action="store_true", help="filter every reference to its resolution (FSC 0.5) in every iteration")
    add("--ini_filter", action="store_true", help="filter the first references to their resolution")
    add("--half_sets", action="store_true",
        help="keep each particle in one of two halves from beginning to end, with references of its own for each "
             "half: resolutions then are not flattered by alignment to common noise")


def add_iterations(parser):
    loop = parser.add_argument_group("iterations")
    add = loop.add_argument
    add("--iter", type=number(int, 0), nargs="+", default=[25], metavar="N",
        help="maximum number of iterations, of each stage when several are given")
    add("--eps", type=number(float, 0), default=5e-5, metavar="X",
        help="stop when no reference changes by more than this (squared change over squared signal)")
    add("--restarts", type=number(int, 1), default=3, metavar="N",
        help="where --nref begins at low resolution (see --no_grow): try this many random starts, short, and keep the "
             "most likely")
    add("--no_grow", action="store_true",
        help="search everywhere at all frequencies up to --maxres from the first iteration on, as the original did.  "
             "Otherwise --nref begins at low resolution and grows as the averages allow, which finds far better "
             "solutions, and with --ref shifts are found at low resolution first, which is far faster")
    add("--istart", type=number(int, 1), default=1, metavar="N",
        help="number of the first iteration; when it is not 1, --reg0 does not apply to the first references")
    add("--restart", default="", metavar="FILE",
        help="go on from an earlier iteration under the same --oroot: its _itNNNNNN_img.xmd, _ref.xmd or _log.xmd")


class _Flag(options.argparse.Action):
    """A flag that old command lines may follow by a number."""

    def __init__(self, option_strings, dest, **details):
        super().__init__(option_strings, dest, nargs="?", default=False, type=number(float), metavar="X", **details)

    def __call__(self, parser, namespace, values, option_string=None):
        setattr(namespace, self.dest, True)


def main(argv=None):
    options.launch(parser(), "mlalign.programs.tomo", argv, options.RESUMES, check)


if __name__ == "__main__":
    main()
