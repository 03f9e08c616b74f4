"""compile: translate the programs' inner loops into machine code, once for all runs to come."""
from . import options
from .options import number

DESCRIPTION = """\
Compile the inner loops of all programs for this computer, so that no run has to.

Otherwise the first run of each program does it, which takes ten to twenty seconds.  Small examples of all programs are
run in a temporary folder; what they compile is kept beside the installed package, or where this may not be written in
a folder of the user's own (the environment variable NUMBA_CACHE_DIR names another).  Runs find it there.  What other
users compiled beside the package is taken over.

Code is compiled anew, by this command or by the next run, when the package is updated, and for another processor.
"""

EXAMPLES = """\
examples:
  mlalign compile
  NUMBA_CACHE_DIR=/scratch/compiled mlalign compile --jobs 4
"""


def parser():
    p = options.Parser("compile", DESCRIPTION, EXAMPLES)
    p.add_argument("--jobs", type=number(int, 1), default=None, metavar="N",
                   help="processes at a time (default: one to a processor)")
    return p


def main(argv=None):
    options.launch(parser(), "mlalign.programs.compilation", argv)


if __name__ == "__main__":
    main()
