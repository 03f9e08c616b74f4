"""refine2d: many class averages without references, by multivariate statistics of aligned particles."""
import os
import re
import sys

from . import options
from .command import run_program
from .engine.launcher import mpirun, place
from .errors import UserError
from .options import number

DESCRIPTION = """\
Sort particles into many classes without any reference, quickly: the way of EMAN2's e2refine2d.

First classes come from what does not change when an image is turned.  Then, in every cycle, class averages are aligned
to each other, the few images that most of their differences are made of are found (multivariate statistical analysis),
some averages are chosen as alignment references, every particle is aligned to them and projected onto those images,
k-means makes new classes, and their particles are aligned and averaged.

In <path> each cycle YY leaves allrefs_YY, basis_YY, aliref_YY, simmx_YY, input_YY_proj, classmx_YY and classes_YY, in
EMAN's HDF format.  classes.mrcs holds the averages, classes.xmd what is known of the classes, images.xmd every
particle's class and pose, and run.log what happened; class k is image k everywhere.  The input is never modified.
"""

EXAMPLES = """\
examples:
  refine2d --input particles.star --ncls 48 --thr 4
  refine2d --iter=6 --naliref=7 --nbasisfp=5 --path=r2d_01 --input=inputparticles.hdf --ncls=48 --simcmp=ccc \\
    --simalign=rotate_translate_flip --simaligncmp=ccc --simralign=refine --simraligncmp=ccc --classcmp=ccc \\
    --classalign=rotate_translate_flip --classaligncmp=ccc --classralign=refine --classraligncmp=ccc --classiter=2 \\
    --classkeep=1.5 --classnormproc=normalize.edgemean --classaverager=mean --normproj --classkeepsig \\
    --parallel=thread:4
  refine2d --input particles.star --ncls 200 --fastseed --eps 0.02 --thr 8
  refine2d --input particles.star --path r2d_01 --iter 12 --resume

modules are written name:option=value:option=value, such as frc:minres=80:maxres=10; an unknown one makes the program
list those that there are
"""

STARTS = ("harmonics", "footprint", "ml")
CENTRINGS = ("xform.center", "xform.centerofmass", "xform.centeracf", "nocenter")
RESUMES = "--resume goes on after the last finished cycle"


def parser():
    """The command line of refine2d: the original's names, then what it lacked."""
    p = options.Parser("refine2d", DESCRIPTION, EXAMPLES)
    files = p.add_argument_group("input and output")
    files.add_argument("--input", metavar="FILE", required=True,
                       help="particles: stack (.hdf, .mrcs, .spi), metadata (.star, .xmd) or list (.lst); normalised, "
                            "phases flipped")
    files.add_argument("--path", metavar="FOLDER", default="",
                       help="folder for the results (default: the next free r2d_NN; with --resume the last one)")
    files.add_argument("--exclude", metavar="FILE", default="",
                       help="file with numbers, from 0, of particles to leave out")
    files.add_argument("--initial", metavar="FILE", default="", help="class averages to start from")
    files.add_argument("--sampling_rate", type=number(float, 0, low_open=True), default=None, metavar="Å/px",
                       help="pixel size, when the input has none or another one")
    files.add_argument("--phase_flip", action="store_true",
                       help="the particles' phases have not been flipped: flip them; needs their CTFs")
    files.add_argument("--resultmx", action="store_true",
                       help="also write resultmx_YY, the particles' poses in their class averages")
    _add_classification(p)
    _add_similarity(p)
    _add_averaging(p)
    _add_running(p)
    return p


def _add_classification(p):
    group = p.add_argument_group("classification")
    group.add_argument("--iter", type=number(int, 1), default=8, metavar="N", help="number of cycles")
    group.add_argument("--ncls", type=number(int, 1), default=32, metavar="N", help="number of classes")
    group.add_argument("--nbasisfp", type=number(int, 1), default=12, metavar="N",
                       help="number of basis images that particles are projected onto; at most --ncls less one")
    group.add_argument("--naliref", type=number(int, 1), default=5, metavar="N",
                       help="number of class averages that particles are aligned to, beside their own")
    group.add_argument("--start", choices=STARTS, default="harmonics",
                       help="where first classes come from: harmonics, invariants of angular harmonics; footprint, "
                            "EMAN's, from autocorrelations; ml, a short maximum-likelihood classification at low "
                            "resolution: much slower, best for very noisy particles")
    group.add_argument("--normproj", action="store_true",
                       help="bring projected particles to length 1 among the basis images, so that classes follow "
                            "shape, not strength")
    group.add_argument("--fastseed", action="store_true",
                       help="begin k-means once instead of several times: faster, perhaps less consistent")
    group.add_argument("--minchange", type=number(int, -1), default=-1, metavar="N",
                       help="k-means ends when fewer particles change class; -1: a fraction of the mean class size")
    group.add_argument("--eps", type=number(float, 0, 1), default=0.0, metavar="SHARE",
                       help="end before --iter when at most this share of the particles change class; 0: never")
    group.add_argument("--random_seed", type=number(int, -1, 2**31 - 1), default=-1, metavar="INT",
                       help="seed of the random numbers; the same seed gives the same answer; -1 takes the time")


def _add_similarity(p):
    group = p.add_argument_group("aligning particles to alignment references")
    group.add_argument("--radius", type=number(float, -1), default=-1, metavar="PX",
                       help="radius of the circle that holds the particle; -1: all but the edge of the box")
    group.add_argument("--maxshift", type=number(int, -1), default=-1, metavar="PX",
                       help="how far off the centre particles may be; -1: a third of the box")
    group.add_argument("--simalign", default="rotate_translate_tree", metavar="MODULE",
                       help="aligner: which of turns, mirrors and shifts are searched")
    group.add_argument("--simaligncmp", default="ccc", metavar="MODULE",
                       help="comparator by which it chooses between mirrors")
    group.add_argument("--simralign", default="None", metavar="MODULE", help="refining aligner, refine or None")
    group.add_argument("--simraligncmp", default="dot", metavar="MODULE", help="comparator that it maximises")
    group.add_argument("--simcmp", default="ccc", metavar="MODULE", help="comparator that chooses the reference")
    group.add_argument("--shrink", type=number(int, 0), default=0, metavar="N",
                       help="look only at what particles show when they are shrunk by this factor; 0 or 1: at all")


def _add_averaging(p):
    group = p.add_argument_group("class averages")
    group.add_argument("--classiter", type=number(int, 0), default=5, metavar="N",
                       help="times that members are aligned to their average and averaged anew")
    group.add_argument("--classkeep", type=number(float, 0, low_open=True), default=0.85, metavar="X",
                       help="fraction of each class's particles to keep in the average, the most similar ones")
    group.add_argument("--classkeepsig", action="store_true",
                       help="--classkeep is instead how many standard deviations below the class's mean similarity "
                            "a particle may be")
    group.add_argument("--classalign", default="rotate_translate_tree", metavar="MODULE",
                       help="aligner of members to their average")
    group.add_argument("--classaligncmp", default="ccc", metavar="MODULE",
                       help="comparator by which it chooses between mirrors")
    group.add_argument("--classralign", default="None", metavar="MODULE", help="refining aligner, refine or None")
    group.add_argument("--classraligncmp", default="ccc", metavar="MODULE", help="comparator that it maximises")
    group.add_argument("--classcmp", default="ccc", metavar="MODULE", help="similarity that --classkeep goes by")
    group.add_argument("--classaverager", default="ctf.weight.autofilt", metavar="MODULE",
                       help="kind of average; without CTFs the ctf kinds are means")
    group.add_argument("--classnormproc", default="normalize.edgemean", metavar="MODULE",
                       help="normalisation of particles, or None")
    group.add_argument("--classrefsf", action="store_true",
                       help="filter averages by the correlation of their halves before members are aligned to them")
    group.add_argument("--automask", action="store_true",
                       help="mask averages to the particle before members are aligned to them: for negative stain, or "
                            "neighbours in the box")
    group.add_argument("--center", choices=CENTRINGS, default="xform.center", metavar="METHOD",
                       help=f"how averages are centred, members following: {', '.join(CENTRINGS)}")


def _add_running(p):
    group = p.add_argument_group("running")
    group.add_argument("--resume", "--continue", dest="resume", action="store_true",
                       help="go on after the last finished cycle in --path; options given now replace those of the "
                            "earlier run")
    group.add_argument("--parallel", "-P", default="", metavar="KIND:N",
                       help="thread:N, threads of this process, or mpi:N, that many processes, started by mpirun "
                            "unless they are there already; a scratch folder after another colon is not needed")
    group.add_argument("--thr", type=number(int, 1), default=1, metavar="N", help="threads of each process")
    group.add_argument("--memory", type=number(float, 0, low_open=True), default=4.0, metavar="GiB",
                       help="memory each process may use; particles that do not fit are read again in each pass")
    group.add_argument("--verbose", "-v", type=number(int, 0, 9), default=0, metavar="N",
                       help="from 1 on: tell of every step of a cycle")
    text, flag = {"default": ""}, {"action": "store_true"}
    for name, kind in (("--dbls", text), ("--ppid", text), ("--centeracf", flag), ("--check", flag)):
        group.add_argument(name, help="accepted for old command lines; nothing to do here", **kind)


def main(argv=None):
    argv = sys.argv[1:] if argv is None else list(argv)
    arguments = parser().parse_args(argv)
    arguments.command = " ".join(["refine2d", *argv])

    def body():
        arguments.processes = read_parallel(arguments)
        if arguments.processes > 1 and place().size == 1:
            _start_processes(arguments, argv)
        from . import msa2d
        msa2d.run(arguments)

    run_program("refine2d", body, RESUMES)


def read_parallel(arguments):
    """Processes that --parallel asks for, 0 without MPI; threads go into ``thr``.  :class:`UserError` for others."""
    if not arguments.parallel:
        return 0
    match = re.fullmatch(r"(thread|mpi):([1-9]\d*)(:.*)?", arguments.parallel)
    if not match:
        raise UserError(f"--parallel {arguments.parallel}: expected thread:N or mpi:N with a number of threads or "
                        "processes")
    if match[1] == "mpi":
        return int(match[2])
    arguments.thr = int(match[2])
    return 0


def _start_processes(arguments, argv):
    """Replace this process by mpirun and the processes it starts."""
    launcher = mpirun()
    if launcher is None:
        raise UserError(f"--parallel {arguments.parallel}: no mpirun found, expected an installed MPI such as OpenMPI, "
                        "or thread:N")
    sys.stdout.flush()
    os.execv(launcher, [launcher, "-n", str(arguments.processes), sys.executable, "-m", "mlalign.programs.refine2d",
                        *argv])


if __name__ == "__main__":
    main()
