"""select: the classes of a run that are worth keeping, their members, averages and scores."""
from . import options
from .options import number

THRESHOLD = 0.45        # a class that scores as much is worth keeping, as a first guess

DESCRIPTION = """\
Choose classes of a finished or running classification, by name or by score, and write what belongs to them.

Every class of RUN gets a score from 0 to 1, the weighted mean of four parts, which the printed table shows:

  signal (45 %)      how much more of its particles the average explains than noise would let it
  resolution (25 %)  how far in frequency the average can be trusted; at most twice the signal
  stability (15 %)   how little the average and its members changed in the last iterations
  size (15 %)        number of particles

Signal and resolution are relative to the better classes of the same run.  Junk, such as images of noise or of edges,
agrees with itself in its halves, stays where it is, and may be plentiful; what it lacks is signal: it looks the same
in the middle as at the rim.  A part that the run's files do not tell is left out, and a line says so.

The members are written as the run has them: all columns of the input, the class (ref), the pose and the scores, in the
order of the input; mlalign and Scipion read them.  --recenter moves every average so that the centre of mass of its
particle is in the middle, and changes the shifts of its members accordingly; the table shows by how much.
"""

EXAMPLES = f"""\
examples:
  mlalign select run/ml2d_classes.xmd                                   the table, and what {THRESHOLD:g} would choose
  mlalign select run/ml2d_classes.xmd -o good.star --score 0.6
  mlalign select run/ml2d_classes.xmd -o good.star --classes 1,4,7-9 --rejected bad.star
  mlalign select run/ml2d_classes.xmd -o good.star --averages good.mrcs --recenter
  mlalign select run/mltomo_ref.xmd -o good.xmd --min_size 20
"""


def parser():
    p = options.Parser("select", DESCRIPTION, EXAMPLES)
    p.add_argument("run", metavar="RUN",
                   help="the classes.xmd of a run of a 2-D program, or the ref.xmd of one of ml_tomo; that of an "
                        "iteration stands for this iteration, and the final one of a run that has not ended for its "
                        "newest")
    p.add_argument("--iteration", type=number(int, 1), default=None, metavar="N",
                   help="take classes and poses of this iteration instead")
    which = p.add_argument_group("which classes")
    either = which.add_mutually_exclusive_group()
    either.add_argument("--classes", default="", metavar="LIST", help="these, such as 1,4,7-9")
    either.add_argument("--score", type=number(float, 0, 1), default=None, metavar="X",
                        help=f"those that score X or more (default, without --classes: {THRESHOLD:g})")
    which.add_argument("--min_size", type=number(int, 1), default=1, metavar="N",
                       help="and of these only classes of at least N particles")
    written = p.add_argument_group("what is written (nothing is when none of these is given)")
    written.add_argument("-o", dest="output", default="", metavar="FILE",
                         help="metadata (.star, .xmd) of the members of the chosen classes")
    written.add_argument("--rejected", default="", metavar="FILE", help="metadata of all other particles")
    written.add_argument("--averages", default="", metavar="FILE",
                         help="stack (.mrcs) of the chosen averages, by class number")
    written.add_argument("--recenter", action="store_true", help="put the particles in the middle of their averages")
    return p


def main(argv=None):
    options.launch(parser(), "mlalign.programs.selection", argv)


if __name__ == "__main__":
    main()
