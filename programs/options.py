"""Command-line options that several programs share, and the types that check their values."""
import argparse
import math
import sys

from mlalign import __version__

GIB = 2**30


class Parser(argparse.ArgumentParser):
    """argparse with the house's habits: defaults in the help, no abbreviations, one line per error."""

    def __init__(self, program, description, epilog=""):
        super().__init__(prog=program, description=description, epilog=epilog, allow_abbrev=False,
                         formatter_class=_HelpFormatter)
        self.add_argument("--version", action="version", version=f"mlalign {__version__}")

    def error(self, message):
        print(f"{self.prog}: error: {message} ({self.prog} --help lists the options)", file=sys.stderr)
        sys.exit(2)


class _HelpFormatter(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """Keep the examples' lines as written and show the default of options that have one."""

    def _get_help_string(self, action):
        if action.default in (None, False, ""):
            return action.help
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


def _range(low, high, low_open):
    if high is None:
        return f"more than {low}" if low_open else f"at least {low}"
    return f"{'more than ' if low_open else ''}{low} to {high}"


def add_input(parser):
    group = parser.add_argument_group("input and output")
    group.add_argument("-i", dest="input", metavar="FILE", required=True,
                       help="metadata (.xmd, .star) or stack (.mrcs, .spi, .hdf) of the particle images; rows whose "
                            "'enabled' is not 1 are left out; the images are never modified")
    return group


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
