"""The command ``mlalign``: every program, and Scipion's project window, under one name."""
import importlib
import sys

from mlalign import __version__
from mlalign.programs.engine.launcher import place

# name: (module with main(argv), one line of help)
COMMANDS = {
    "ml_align2d": ("mlalign.programs.ml_align2d", "align and classify particle images by maximum likelihood"),
    "mlf_align2d": ("mlalign.programs.mlf_align2d", "the same in Fourier space, with CTF and coloured noise"),
    "ml_tomo": ("mlalign.programs.ml_tomo", "align and classify subtomograms, whose wedge is missing"),
    "mref_ali2d": ("mlalign.programs.mref_ali2d", "align particle images to given references, each to the best one"),
    "refine2d": ("mlalign.programs.refine2d", "many class averages without references, by multivariate statistics"),
    "simulate": ("mlalign.programs.simulate", "make particle images with known classes and alignment"),
    "simulate_tomo": ("mlalign.programs.simulate_tomo", "make subtomograms with known classes and alignment"),
    "select": ("mlalign.programs.select", "choose classes of a run by their scores: members, averages, rejected ones"),
    "convert": ("mlalign.programs.convert", "convert subtomograms' metadata from and to RELION, TOM and Xmipp 2"),
    "compile": ("mlalign.programs.compile", "compile the programs' inner loops for this computer, once"),
    "view": ("mlalign.viewers.gallery", "look at the classes of a finished or running classification"),
    "demo": ("mlalign.demo", "simulate, classify inside a Scipion project, and show the class averages"),
    "template": ("mlalign.template", "projects from ready workflows: list them, create them, execute them"),
    "project": ("mlalign.project", "open Scipion's project window with this plugin"),
}

SHARED = {"ml_align2d", "mlf_align2d", "ml_tomo", "mref_ali2d", "refine2d"}      # by the processes of mpirun

HELP = """\
usage: mlalign COMMAND [options]

Maximum-likelihood alignment and classification for cryo-EM, by itself or inside Scipion.

commands:
{commands}

mlalign COMMAND --help explains a command; mlalign --version prints the version.
"""


def help_text():
    width = max(map(len, COMMANDS)) + 2
    return HELP.format(commands="\n".join(f"  {name:{width}}{line}" for name, (_, line) in COMMANDS.items()))


def main(argv=None):
    """Run the command named by the first argument; exit status 2 when there is no such command."""
    argv = sys.argv[1:] if argv is None else list(argv)
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(help_text(), end="")
    elif argv[0] in ("--version", "-V"):
        print(f"mlalign {__version__}")
    elif argv[0] in COMMANDS and argv[0] not in SHARED and place().size > 1:
        if place().speaks:
            print(f"mlalign: error: {argv[0]} is a matter of one process, expected a start without mpirun",
                  file=sys.stderr)
        sys.exit(2)
    elif argv[0] in COMMANDS:
        try:
            sys.exit(importlib.import_module(COMMANDS[argv[0]][0]).main(argv[1:]))
        except KeyboardInterrupt:           # before the program itself has begun
            sys.exit(130)
    else:
        print(f"mlalign: error: no command '{argv[0]}', expected one of {', '.join(COMMANDS)} "
              "(mlalign --help explains them)", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
