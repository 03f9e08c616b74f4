"""mref_ali2d: align particles to 2-D references, each to the one that it resembles most."""
from . import options
from .options import number

DESCRIPTION = """\
Align every particle to every reference, mirrored or not, at all rotations and at shifts around where it was last,
assign it to the one it correlates with best, average, and begin again with the averages as references.

References come from an earlier classification or from projections of a map.  Without classes to start from, use
ml_align2d: references decide here what is found.

In <outdir> each iteration NNN (from 000) leaves aqmNNN.hdf, its averages prepared as the next iteration's references,
and drmNNNMMMM.txt, the Fourier ring correlation of class MMMM's two halves; the last references are multi_ref.hdf.
classes.mrcs holds the averages as they are, classes.xmd what is known of the classes, images.xmd every particle's
class and pose, and run.log what happened.  The input is never modified.
"""

EXAMPLES = """\
examples:
  mref_ali2d input_stack.hdf ref_stack.hdf output_directory --ou=27 --xr=3 --yr=3 --maxit=6
  mref_ali2d particles.star classes.mrcs out --ou 27 --xr 3 --yr 3 --maxit 0 --center 0
  mref_ali2d particles.star classes.mrcs out --ou 27 --xr 3 --yr 3 --CTF --snr 0.5 --thr 4
  mref_ali2d out/images.xmd out/aqm005.hdf next --ou 27 --xr 3 --yr 3      (go on from there, in another folder)
  mref_ali2d particles.star classes.mrcs out --ou 27 --xr 3 --yr 3 --maxit 12 --continue
  mpirun -n 8 mref_ali2d input_stack.hdf ref_stack.hdf out --ou 27 --xr 3 --yr 3 --MPI
"""

CENTRING = """\
how averages are centred, members following: 0 not at all; 1 centre of mass, by the phases of the lowest frequencies;
2, 3 where a Gaussian, a ring correlates best; 4 where the given reference does; 5 where its own rotational average
does; 6 centre of mass of what is bright; 7 where a disc correlates best with what is bright; -1 so that the members'
mean shift is zero; an average farther off than --ou leaves room for stays where it is"""

PREPARING = """\
how averages become references: ref_ali2d filters them to where their halves agree; ref_ali2d_c to a cut-off that rises
from iteration to iteration; ref_ali2d_m to 0.4/px; ref_random only centres; none leaves them alone; or a function of
your own, package.module.function or [folder,module,function], called with [mask, centring method, average,
[frequencies, correlations, pixels]], which returns the reference and how far off centre the average was, (x, y)"""


def parser():
    """The command line of mref_ali2d: the original's names, then what it lacked."""
    p = options.Parser("mref_ali2d", DESCRIPTION, EXAMPLES)
    files = p.add_argument_group("input and output")
    files.add_argument("stack", metavar="stack", help="particles: stack (.hdf, .mrcs, .spi) or metadata (.star, .xmd); "
                       "poses in it (xform.align2d in HDF headers, or columns) say where each particle was last")
    files.add_argument("refs", metavar="refs", help="references: stack or metadata")
    files.add_argument("outdir", metavar="outdir", help="folder for the results; must not exist yet, unless --continue")
    files.add_argument("mask", metavar="mask", nargs="?", default="",
                       help="image of a mask from 0 to 1 (default: a disc of radius --ou)")
    files.add_argument("--sampling_rate", type=number(float, 0, low_open=True), default=None, metavar="Å/px",
                       help="pixel size, when the input has none or another one")
    files.add_argument("--write_headers", default="", metavar="COPY.hdf",
                       help="also write a copy of the particles whose headers hold xform.align2d and assign")
    _add_search(p)
    _add_averages(p)
    _add_loop(p)
    return p


def _add_search(p):
    search = p.add_argument_group("search")
    search.add_argument("--ir", type=number(float, 0), default=1, metavar="PX", help="radius of the first ring")
    search.add_argument("--ou", type=number(float, -1), default=-1, metavar="PX",
                        help="radius of the last ring, which should be that of the particle; -1: half the box less 2, "
                             "which leaves no room for shifts")
    search.add_argument("--rs", type=number(float, 1), default=1, metavar="PX", help="step between rings")
    for name, axis in (("xr", "x"), ("yr", "y")):
        search.add_argument(f"--{name}", type=number(float, 0), default=0, metavar="PX",
                            help=f"range of shifts along {axis}, either way around where the particle was last")
    search.add_argument("--ts", type=number(float, 0, low_open=True), default=1, metavar="PX",
                        help="step of the shifts searched; the best is refined further")
    search.add_argument("--scoring", choices=("normalized", "original"), default="normalized",
                        help="normalized: correlation coefficients; original: references keep their strength, and "
                             "strong ones attract particles")
    search.add_argument("--exhaustive", action="store_true",
                        help="score everything at full resolution instead of coarse to fine: the same but for near "
                             "ties, much slower")
    search.add_argument("--soft", action="store_true",
                        help="particles enter the averages of all classes, weighed by the classes' probabilities")


def _add_averages(p):
    averages = p.add_argument_group("averages and references")
    averages.add_argument("--center", type=number(int, -1, 7), default=1, metavar="METHOD", help=CENTRING)
    averages.add_argument("--CTF", action="store_true",
                          help="weigh particles by their CTFs (from columns, or attribute ctf of EMAN's headers), and "
                               "correct the averages")
    averages.add_argument("--phase_flipped", action="store_true",
                          help="with --CTF: the particles' phases have been flipped")
    averages.add_argument("--snr", type=number(float, 0, low_open=True), default=1.0, metavar="SNR",
                          help="with --CTF: signal-to-noise ratio of the particles; 1/SNR is the Wiener constant")
    averages.add_argument("--function", default="ref_ali2d", metavar="NAME", help=PREPARING)
    averages.add_argument("--min_class", type=number(int, 0), default=4, metavar="N",
                          help="a class with fewer members begins anew with some of the worst fitting members of the "
                               "largest class; 0: never")
    averages.add_argument("--rand_seed", type=number(int, 0, 2**31 - 1), default=1000, metavar="INT",
                          help="seed of the choice of those members")


def _add_loop(p):
    loop = p.add_argument_group("running")
    loop.add_argument("--maxit", type=number(int, 0), default=10, metavar="N",
                      help="number of iterations; 0: until it stops improving, see --eps")
    loop.add_argument("--eps", type=number(float, 0, 1), default=0.005, metavar="SHARE",
                      help="with --maxit 0: stop when at most this share of the particles change class and the mean "
                           "score no longer rises")
    loop.add_argument("--continue", dest="resume", action="store_true",
                      help="go on from the last finished iteration in <outdir>; options given now replace those of "
                           "the earlier run")
    loop.add_argument("--thr", type=number(int, 1), default=1, metavar="N", help="threads, of each process")
    loop.add_argument("--memory", type=number(float, 0, low_open=True), default=4.0, metavar="GiB",
                      help="memory each process may use; particles that do not fit are read again in each iteration")
    loop.add_argument("--MPI", action="store_true", help="share the particles among the processes that mpirun started")


def main(argv=None):
    options.launch(parser(), "mlalign.programs.mref", argv, options.RESUMES)


if __name__ == "__main__":
    main()
