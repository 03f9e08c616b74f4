"""Command-line options that several programs share, and the types that check their values."""
import argparse
import importlib
import math
import sys

from mlalign import __version__

from .command import print_any_text, run_program
from .engine.launcher import place
from .errors import printable

GIB = 2**30


class Parser(argparse.ArgumentParser):
    """argparse with the house's habits: defaults in the help, no abbreviations, one line per error."""

    def __init__(self, program, description, epilog=""):
        super().__init__(prog=program, description=description, epilog=epilog, allow_abbrev=False,
                         formatter_class=_HelpFormatter)
        self.add_argument("--version", action="version", version=f"mlalign {__version__}")

    def parse_args(self, args=None, namespace=None):
        print_any_text()
        arguments = super().parse_args(args, namespace)
        for action in self._actions:
            # what argparse makes of --option=--
            if action.nargs is None and isinstance(getattr(arguments, action.dest, None), list):
                self.error(f"argument {'/'.join(action.option_strings) or action.dest}: expected one argument")
        return arguments

    def error(self, message):
        self._print_message(f"{self.prog}: error: {printable(message)} ({self.prog} --help lists the options)\n",
                            sys.stderr)
        sys.exit(2)

    def _print_message(self, message, file=None):
        if place().speaks:                  # of several processes not all need to say it
            super()._print_message(message, file)


def launch(parser, module, argv, advice="", check=None):
    """A program's main: parse ``argv`` and call ``module.run`` with the options.

    advice: see command.run_program.  check: called with the options first, it may raise UserErrors.
    """
    def body():
        arguments = parser.parse_args(argv)
        if check is not None:
            check(arguments)
        importlib.import_module(module).run(arguments)      # the numerics load only when there is work to do

    run_program(parser.prog, body, advice)


class _HelpFormatter(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """Keep the examples' lines as written and show the default of options that have one."""

    def _get_help_string(self, action):
        if action.default in (None, False, ""):
            return action.help
        if isinstance(action.default, list):
            return f"{action.help} (default: {' '.join(f'{value:g}' for value in action.default)})"
        return super()._get_help_string(action)


def number(kind, low=None, high=None, low_open=False):
    """An argparse type: a finite int or float inside [low, high] (or ]low, high] with ``low_open``)."""

    def parse(text):
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"'{text}' is not {'an integer' if kind is int else 'a number'}") from None
        below = low is not None and (value <= low if low_open else value < low)
        if not math.isfinite(value) or below or (high is not None and value > high):
            raise argparse.ArgumentTypeError(f"{text} is out of range, expected {_range(low, high, low_open)}")
        return value

    return parse


def gpus(text):
    """An argparse type: numbers of GPUs, such as 0 or 0,1."""
    parts = text.split(",")
    if not all(part.isdecimal() for part in parts):
        raise argparse.ArgumentTypeError(f"'{text}' is not a list of GPUs, expected numbers such as 0 or 0,1")
    return tuple(int(part) for part in parts)


def _range(low, high, low_open):
    if high is None:
        return f"more than {low}" if low_open else f"at least {low}"
    return f"{'more than ' if low_open else ''}{low} to {high}"


def add_input(parser, what="metadata (.xmd, .star) or stack (.mrcs, .spi, .hdf) of the particle images"):
    """what: the beginning of the help of -i."""
    group = parser.add_argument_group("input and output")
    group.add_argument("-i", dest="input", metavar="FILE", required=True,
                       help=f"{what}; rows whose 'enabled' is not 1 are left out; the images are never modified")
    return group


RESUMES = "--continue resumes from the last finished iteration"


def add_run_control(parser):
    """Threads, memory, seed and continuation, alike in every program."""
    group = parser.add_argument_group("running")
    group.add_argument("--thr", type=number(int, 1), default=1, metavar="N", help="threads")
    group.add_argument("--memory", type=number(float, 0, low_open=True), default=4.0, metavar="GiB",
                       help="memory the program may use; images that do not fit are read again from disk")
    group.add_argument("--random_seed", type=number(int, -1, 2**31 - 1), default=-1, metavar="INT",
                       help="seed of the random numbers; the same seed gives the same answer; -1 takes the time")
    group.add_argument("--continue", dest="resume", action="store_true",
                       help="go on from the last finished iteration under --oroot; options given now replace those "
                            "of the earlier run")
    return group


def add_gpu(group, note=""):
    """The GPU, in the programs that can use one; added to the group of :func:`add_run_control`.

    note: what else is to know.
    """
    group.add_argument("--gpu", type=gpus, default=None, metavar="N[,N...]",
                       help="compute on this NVIDIA GPU, counted from 0; of several, the MPI processes of a machine "
                            f"take one each in turn; needs CuPy (pip install 'cupy-cuda12x<14'){note}")


# ---- the 2-D maximum-likelihood programs, whose options are mostly the same

def add_references(group, oroot):
    """Where references come from and results go, added to the group of :func:`add_input`."""
    group.add_argument("--nref", type=number(int, 1), default=None, metavar="K",
                       help="number of references to generate from random subsets of the images; with --ref, each "
                            "given reference is split into this many (default: 1)")
    group.add_argument("--ref", default="", metavar="FILE", help="image, stack or metadata with initial references")
    group.add_argument("--oroot", default=oroot, metavar="PREFIX", help="prefix of all output files")
    group.add_argument("--sampling_rate", type=number(float, 0, low_open=True), default=None, metavar="Å/px",
                       help="pixel size, when the metadata has none or another one")
    group.add_argument("--write_probs", action="store_true",
                       help="also write <oroot>probs.xmd: every particle's probability of belonging to each class")


def add_search2d(parser, significance=1e-9):
    """significance: default of -C."""
    search = parser.add_argument_group("search")
    search.add_argument("--mirror", action="store_true", help="also check the mirror image of each reference")
    search.add_argument("--fast", action="store_true",
                        help="coarse-to-fine search: score everything at half the resolution and sampling, then only "
                             "what remains significant (see -C) in full; nearly identical results, much faster")
    search.add_argument("-C", dest="significance", metavar="P", type=number(float, 0, 1, low_open=True),
                        default=significance,
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
    search.add_argument("--radius", type=number(float, 2), default=None, metavar="PX",
                        help="radius of the circle that holds the particle, up to half the box (default: that)")
    return search


def add_model2d(parser, noise="initial standard deviation of the pixel noise"):
    """noise: help of --noise."""
    model = parser.add_argument_group("model")
    model.add_argument("--noise", type=number(float, 0, low_open=True), default=1.0, metavar="SD", help=noise)
    model.add_argument("--offset", type=number(float, 0), default=3.0, metavar="PX",
                       help="initial standard deviation of the origin offsets")
    model.add_argument("--frac", default="", metavar="FILE",
                       help="metadata (weight or classCount column) or text file with the initial class fractions "
                            "(default: equal)")
    model.add_argument("--fix_sigma_noise", action="store_true", help="do not re-estimate the noise")
    model.add_argument("--fix_sigma_offset", action="store_true",
                       help="do not re-estimate the origin offsets' deviation")
    model.add_argument("--fix_fractions", action="store_true", help="do not re-estimate class and mirror fractions")
    model.add_argument("--student", type=number(float, 0, low_open=True), nargs="?", const=6.0, default=None,
                       metavar="DF",
                       help="Student-t instead of Gaussian noise, with DF degrees of freedom (6 when not given): "
                            "outlier images weigh less")
    model.add_argument("--no_sigma_trick", action="store_true",
                       help="with --student: divide the noise estimate by the number of images, not by their weights")
    return model


def add_iterations2d(parser):
    loop = parser.add_argument_group("iterations")
    loop.add_argument("--iter", type=number(int, 0), default=100, metavar="N", help="maximum number of iterations")
    loop.add_argument("--eps", type=number(float, 0), default=None, metavar="X",
                      help="stop when no reference changes by more than this (squared change over squared signal); by "
                           "default at 5e-5, or as soon as hardly any particle changes class and references change by "
                           "less than a twentieth of the power of their noise")
    loop.add_argument("--restarts", type=number(int, 1), default=1, metavar="N",
                      help="try this many random starts, short and at low resolution, and keep the most likely")
    loop.add_argument("--min_class", type=number(float, 0), default=None, metavar="N",
                      help="a class that holds fewer particles is revived by splitting the most heterogeneous one "
                           "(default: a tenth of the average class size; 0: never)")
    loop.add_argument("--restart", type=number(int, 0), default=None, metavar="ITER",
                      help="like --continue, but from the end of iteration ITER")
    return loop


def add_running2d(parser):
    running = add_run_control(parser)
    add_gpu(running, "; does not search coarse to fine: with --fast, too, everything is scored")
    running.add_argument("--save_memB", action="store_true", help="search shifts up to 3 instead of 4 deviations")
    running.add_argument("--save_memA", action="store_true",
                         help="accepted for old command lines; nothing to save here")
