"""What the modules that refine2d's command line names are here: aligners, comparators, averagers, processors, centring.

Names, options and their defaults are those of the original.  What concerns only how it computes something is accepted
with a notice; what would change results in a way that is not to be had here is refused.  Every table says which
modules exist, and which others are taken for one of them.
"""
import inspect
from dataclasses import dataclass, field, replace

import numpy as np

from . import modifiers
from .engine import averagers, comparators
from .engine.centring import CENTRES
from .engine.local_refinement import refine
from .engine.processors import PROCESSORS
from .errors import UserError
from .modifiers import Modifier


@dataclass(frozen=True)
class Aligner2d:
    """What a search may do to a reference: turn, mirror and shift it.

    max_shift: px, and max_frequency: 1/px, beyond which nothing is looked at; None leaves the choice to the program.
    """

    turns: bool
    mirrors: bool
    shifts: bool
    max_shift: float = None
    max_frequency: float = None


@dataclass(frozen=True)
class Refiner:
    """Local refinement with these settings, see :func:`.engine.local_refinement.refine`."""

    step: tuple
    precision: float
    maxiter: int
    maxshift: float

    def __call__(self, rings, x, references, placed, comparator, pool=map):
        return refine(rings, x, references, placed, comparator, self.step, self.precision, self.maxiter, self.maxshift,
                      pool)


# ---- what there is

@dataclass(frozen=True)
class Option:
    """An option of a module; the type of its default is that of its values.

    low, high: limits.  idle: why it has no effect; refused: why another value than the default cannot be.
    """

    default: object
    low: float = None
    high: float = None
    idle: str = ""
    refused: str = ""


@dataclass(frozen=True)
class Module:
    """What a name stands for, a value or a function that makes it, and its options by name."""

    means: object
    options: dict = field(default_factory=dict)


NO_LIMIT = Option(-1.0)
EXHAUSTIVE = Option(0, idle="the search is exhaustive")
COSTLESS = Option(0.0, idle="the search finds out by itself how much it must look at")
ZERO_TOO = Option(False, refused="a shift of zero is a shift like any other")
SEARCH = {"maxshift": NO_LIMIT, "rfp_mode": EXHAUSTIVE, "useflcf": EXHAUSTIVE, "zscore": EXHAUSTIVE}

ALIGNERS = {
    "rotate_translate_tree": Module(Aligner2d(True, True, True), {
        "flip": Option(True), "maxshift": NO_LIMIT, "maxres": NO_LIMIT, "sigmathis": COSTLESS, "sigmato": COSTLESS,
        "verbose": EXHAUSTIVE}),
    "rotate_translate_flip": Module(Aligner2d(True, True, True), {
        **SEARCH, "usebispec": EXHAUSTIVE, "useharmonic": EXHAUSTIVE, "usedot": EXHAUSTIVE}),
    "rotate_translate": Module(Aligner2d(True, False, True), {
        **SEARCH, "nozero": ZERO_TOO, "usebispec": EXHAUSTIVE, "useharmonic": EXHAUSTIVE}),
    "rotate_translate_bispec": Module(Aligner2d(True, False, True), {
        **SEARCH, "size": EXHAUSTIVE, "harmonic": EXHAUSTIVE}),
    "rotate_flip": Module(Aligner2d(True, True, False), {"rfp_mode": EXHAUSTIVE, "imask": EXHAUSTIVE}),
    "rotational": Module(Aligner2d(True, False, False), {
        "maxshift": EXHAUSTIVE, "rfp_mode": EXHAUSTIVE, "zscore": EXHAUSTIVE, "ambig180": EXHAUSTIVE}),
    "translational": Module(Aligner2d(False, False, True), {
        "maxshift": NO_LIMIT, "nozero": ZERO_TOO, "useflcf": EXHAUSTIVE,
        "intonly": Option(False, refused="shifts are found to fractions of a pixel"),
        "masked": Option(False, idle="references are masked in any case")}),
}
NEAREST_ALIGNERS = {
    "rotate_translate_radon": "rotate_translate", "rotate_translate_iterative": "rotate_translate",
    "rotate_translate_best": "rotate_translate", "rotate_translate_scale": "rotate_translate",
    "rotate_translate_flip_iterative": "rotate_translate_flip", "rotate_translate_scale_flip": "rotate_translate_flip",
    "rtf_best": "rotate_translate_flip", "rtf_exhaustive": "rotate_translate_flip",
    "rtf_slow": "rotate_translate_flip", "rtf_slow_exhaustive": "rotate_translate_flip",
    "rotate_flip_iterative": "rotate_flip", "rotational_iterative": "rotational", "rotate_precenter": "rotational",
}

REFINERS = {
    "refine": Module(Refiner, {
        "stepx": Option(1.0, 0), "stepy": Option(1.0, 0), "stepaz": Option(5.0, 0, 90), "precision": Option(0.04, 1e-4),
        "maxiter": Option(28, 1), "maxshift": NO_LIMIT, "mode": Option(0, idle="nor has it there"),
        "verbose": Option(0, idle="there is nothing to say"),
        "mask": Option("", refused="references are masked already, with the particle's radius"),
        "stepscale": Option(0.0, refused="images are not scaled")}),
}
NEAREST_REFINERS = {"refinecg": "refine"}

MASKED = Option("", refused="references are masked already, with the particle's radius")
LARGER_IS_BETTER = Option(True, refused="it would make the least similar the best")
ZEROMASK = Option(False, idle="references are masked in any case, and what an image has outside adds to all its scores "
                              "alike")
CURVES = {"snrweight": Option(False), "ampweight": Option(False), "zeromask": ZEROMASK}

COMPARATORS = {
    "ccc": Module(comparators.Ccc, {"mask": MASKED, "negative": LARGER_IS_BETTER}),
    "dot": Module(comparators.Dot, {"normalize": Option(False), "mask": MASKED, "negative": LARGER_IS_BETTER}),
    "sqeuclidean": Module(comparators.SqEuclidean, {"normto": Option(False), "zeromask": ZEROMASK, "mask": MASKED}),
    "frc": Module(comparators.Frc, {
        "sweight": Option(True), **CURVES, "nweight": Option(False), "minres": Option(200.0), "maxres": Option(8.0),
        "pmin": NO_LIMIT, "pmax": NO_LIMIT}),
    "phase": Module(comparators.Phase, {
        **CURVES, "minres": Option(500.0), "maxres": Option(10.0),
        "snrfn": Option(0, refused="weights that know nothing of the data are not to be had")}),
    "optvariance": Module(comparators.OptVariance, {
        "matchfilt": Option(True), "invert": Option(False),
        "keepzero": Option(True, idle="references stay zero outside their mask"),
        "matchamp": Option(False, refused="amplitudes that are all the image's leave nothing to compare but phases: "
                                          "take phase"),
        "radweight": Option(False, refused="all pixels weigh alike"),
        "debug": Option(0, idle="there is nothing to say")}),
}
NEAREST_COMPARATORS = {"quadmindot": "dot", "lod": "ccc", "vertical": "ccc", "optsub": "optvariance"}

AVERAGERS = {name: Module(name, {key: Option(value) for key, value in options.items()})
             for name, options in averagers.OPTIONS.items()}
NEAREST_AVERAGERS = {
    "mean.tomo": "mean", "iteration": "mean", "localweight": "mean", "fourierweight": "mean", "weightedfourier": "mean",
    "absmaxmin": "mean", "minmax": "mean", "ctf.snr": "ctf.auto", "ctf.snr.weight": "ctf.auto", "ctfc.auto": "ctf.auto",
    "ctfc": "ctf.auto", "ctfcw.auto": "ctfw.auto", "ctfcw": "ctfw.auto", "ctfw": "ctfw.auto",
    "ctf.weight.auto": "ctf.weight.autofilt",
}


def _own_options(processor):
    """Of a function of images: all arguments but those that are images, too."""
    defaults = {key: argument.default for key, argument in inspect.signature(processor).parameters.items()
                if key not in ("images", "mask", "to")}
    return {key: Option(value if isinstance(value, bool) else float(value)) for key, value in defaults.items()}


NORMALIZATIONS = {name: Module(name, _own_options(processor)) for name, processor in PROCESSORS.items()}
NEAREST_PROCESSORS = {
    "normalize.local": "normalize.edgemean", "normalize.maxmin": "normalize", "normalize.lredge": "normalize.edgemean",
    "normalize.toimage.lsq": "normalize.toimage", "normalize.ramp": "normalize.ramp.normvar",
}

SUBPIXEL = Option(True, idle="centres are found to fractions of a pixel")
LEVEL = "which level is background is found by the method itself"
CENTRINGS = {name: Module(name) for name in CENTRES}
CENTRINGS["xform.centeracf"] = Module("xform.centeracf", {"int_shift_only": SUBPIXEL})
CENTRINGS["xform.centerofmass"] = Module("xform.centerofmass", {
    "int_shift_only": SUBPIXEL, "threshold": Option(0.0, refused=LEVEL), "positive": Option(0, refused=LEVEL)})


# ---- reading them

class Modules:
    """Reads the modules of a command line; lines to tell the user gather in ``notices``.

    size: px of the images' side.  pixel_size: Å/px, or None.  ctf: whether the images' CTFs are known.
    In every method ``option`` is the command line's, for messages, and ``text`` what was given.
    """

    def __init__(self, size, pixel_size=None, ctf=False):
        self.size, self.pixel_size, self.ctf = size, pixel_size, ctf
        self.notices = []

    def aligner(self, option, text):
        """:class:`Aligner2d`; ``None`` leaves images where they are."""
        modifier, module = self._read(option, text, "aligner", ALIGNERS, NEAREST_ALIGNERS)
        if modifier is None:
            return Aligner2d(False, False, False)
        values = modifier.options
        shift, resolution = values.get("maxshift", 0), values.get("maxres", 0)
        return replace(module.means, mirrors=module.means.mirrors and values.get("flip", True),
                       max_shift=shift if shift > 0 and module.means.shifts else None,
                       max_frequency=self._frequency(option, text, "maxres", resolution) if resolution > 0 else None)

    def refiner(self, option, text):
        """:class:`Refiner`, or None for ``None``."""
        modifier, module = self._read(option, text, "refining aligner", REFINERS, NEAREST_REFINERS)
        if modifier is None:
            return None
        values = modifier.options
        longest = values["maxshift"] if values["maxshift"] > 0 else self.size / 4
        return module.means((values["stepx"], values["stepy"], values["stepaz"]), values["precision"],
                            values["maxiter"], longest)

    def comparator(self, option, text):
        """One of the :mod:`.engine.comparators`, which may want to be ``informed``."""
        modifier, module = self._read(option, text, "comparator", COMPARATORS, NEAREST_COMPARATORS, none=False)
        values, known = modifier.options, vars(module.means())
        arguments = {name: value for name, value in values.items() if name in known}
        if values.get("snrweight") and not self.ctf:
            raise UserError(f"{option} {text}: snrweight needs the particles' CTFs, expected an input that has them")
        if "low" in known:
            arguments["low"] = self._edge(option, text, values, "pmin", "minres")
            arguments["high"] = self._edge(option, text, values, "pmax", "maxres")
        return module.means(**arguments)

    def averager(self, option, text):
        """:class:`.modifiers.Modifier` for :func:`.engine.averagers.make`."""
        return self._read(option, text, "averager", AVERAGERS, NEAREST_AVERAGERS, none=False)[0]

    def processor(self, option, text):
        """:class:`.modifiers.Modifier` for :func:`.engine.processors.process`, or None for ``None``."""
        return self._read(option, text, "processor", NORMALIZATIONS, NEAREST_PROCESSORS)[0]

    def centring(self, option, text):
        """Name for :func:`.engine.centring.centre`; ``None`` is nocenter."""
        modifier, _ = self._read(option, text, "centring", CENTRINGS, {})
        return "nocenter" if modifier is None else modifier.name

    # ---- names and values

    def _read(self, option, text, kind, modules, nearest, none=True):
        """(:class:`.modifiers.Modifier` with all options that have an effect, :class:`Module`); None, None for None.

        nearest: other names, and which of the modules they are taken for.
        """
        modifier = modifiers.parse(option, text)
        if modifier is None:
            if none:
                return None, None
            raise UserError(f"{option} {text}: no {kind} is given, expected {_listed(modules)}")
        name = nearest.get(modifier.name, modifier.name)
        if name not in modules:
            raise UserError(f"{option} {text}: there is no {kind} '{modifier.name}', expected {_listed(modules)}"
                            f"{' or None' if none else ''}")
        if name != modifier.name:
            self.notices.append(f"{option}: {name} is taken for {modifier.name}, being the nearest there is")
        values = {key: value.default for key, value in modules[name].options.items()
                  if not value.idle and not value.refused}
        for key, value in modifier.options.items():
            if key in modules[name].options:
                value = self._checked(option, text, key, value, modules[name].options[key])
                if key in values:
                    values[key] = value
            elif name != modifier.name:
                self.notices.append(f"{option}: {key} has no effect, {name} has no such option")
            else:
                raise UserError(f"{option} {text}: {name} has no option '{key}', expected "
                                f"{', '.join(modules[name].options) or 'none'}")
        return Modifier(name, values), modules[name]

    def _checked(self, option, text, key, value, known):
        """The value of an option as its type; :class:`UserError` where it cannot be, a notice where it does nothing."""
        if known.idle:
            self.notices.append(f"{option}: {key} has no effect, {known.idle}")
            return value
        expected = self._misfit(value, known)
        if expected:
            raise UserError(f"{option} {text}: {key}={value} does not fit, expected {expected}")
        value = type(known.default)(value)
        if known.refused and value != known.default:
            raise UserError(f"{option} {text}: {key}={value} is not to be had, {known.refused}; expected it to be "
                            "left out")
        return value

    @staticmethod
    def _misfit(value, known):
        """What is expected instead of a value, "" where it fits."""
        kind, number = type(known.default), isinstance(value, (int, float)) and not isinstance(value, bool)
        if kind is bool:
            return "" if value in (0, 1) else "0 or 1"
        if kind is str:
            return ""
        if not number or (kind is int and not isinstance(value, int)):
            return "an integer" if kind is int else "a number"
        low, high = (-np.inf if known.low is None else known.low), (np.inf if known.high is None else known.high)
        if not np.isfinite(value):
            return "a finite number"
        if low <= value <= high:
            return ""
        return f"{low:g} to {high:g}" if high < np.inf else f"at least {low:g}"

    # ---- frequencies

    def _frequency(self, option, text, name, resolution):
        """1/px of a resolution in Å."""
        if not self.pixel_size:
            raise UserError(f"{option} {text}: {name} needs the pixel size, expected --sampling_rate")
        return self.pixel_size / resolution

    def _edge(self, option, text, values, pixels, resolution):
        """Limit in 1/px, 0 for none, given as so many Fourier pixels or as a resolution in Å."""
        given = modifiers.parse(option, text).options
        if values.get(pixels, -1) >= 0:
            return values[pixels] / self.size
        if values[resolution] <= 0:
            return 0.0
        if not self.pixel_size and resolution not in given:
            self.notices.append(f"{option}: without a pixel size no frequency is left out by {resolution}, whose "
                                f"default is {values[resolution]:g} Å; --sampling_rate tells it")
            return 0.0
        return self._frequency(option, text, resolution, values[resolution])


def _listed(modules):
    """Names and options of all modules, on one line."""
    return "; ".join(name + (f" ({', '.join(module.options)})" if module.options else "")
                     for name, module in modules.items())
