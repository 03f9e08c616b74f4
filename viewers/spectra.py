"""Plots of the spectra of noise and signal that a run of MLF2D estimates.

``draw(figure, spectra, names)`` lays the named plots (keys of :data:`PLOTS`) out on any matplotlib figure.
"""
from typing import NamedTuple

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from mlalign.programs.errors import UserError
from mlalign.programs.results import FINAL

from .style import BLUE, LIGHT, ORANGE, RED, Plot, lay_out, muted, resolution_axis

MOST_NAMED = 8              # groups in a legend; iterations drawn beside the one shown
FAINTEST = 0.35             # of the colour of the earliest iteration
_LEAST_SSNR = 0.01          # what lies below is of no account
_DEFOCUS = LinearSegmentedColormap.from_list("defocus", [BLUE, "#a87ee6", "#e86a9a", ORANGE])


class Spectra(NamedTuple):
    """What the plots show.

    shown      : an iteration's number, or FINAL
    results    : shown and other iterations in order -> list of :class:`~mlalign.programs.results.NoiseGroup`
    limit      : the highest frequency used at the one shown, 1/px; NaN when unknown
    pixel_size : Å/px or None
    """
    shown: object
    results: dict
    limit: float
    pixel_size: float

    @classmethod
    def of_run(cls, run, shown=FINAL, iterations=None):
        """The spectra of a :class:`~mlalign.programs.results.Run`; UserError when the result shown has none.

        iterations : those to show beside it (default: all); of many, a few
        """
        if not run.has_spectra(shown):
            raise UserError(f"{run.prefix(shown)}noise.xmd: no such file")
        numbers = [number for number in iterations or run.iterations() if run.has_spectra(number)]
        beside = few(numbers, MOST_NAMED)
        order = [*beside[:-1], FINAL] if shown is FINAL else sorted({*beside, shown})   # FINAL is the last iteration
        return cls(shown, {result: run.spectra(result) for result in order},
                   run.info(shown).get("maxres", np.nan), run.pixel_size(shown))

    @property
    def groups(self):
        """The noise groups of the result shown, rising in defocus."""
        return sorted(self.results[self.shown], key=lambda group: group.defocus or (group.number, 0))

    @property
    def highest(self):
        """Where the axis of frequencies ends, 1/px: beyond all curves, so that the limit of the last is seen."""
        return min(1.2 * max(groups[0].frequency[-1] for groups in self.results.values()), 0.5)

    def extent(self, curve):
        """(least, largest) positive value of that curve (an attribute of NoiseGroup) in all results."""
        values = np.concatenate([getattr(group, curve) for groups in self.results.values() for group in groups])
        values = values[values > 0]
        return (values.min(), values.max()) if len(values) else (1.0, 1.0)


def draw(figure, spectra, names=None, style=LIGHT):
    """Draw the plots ``names`` (default: all of :data:`PLOTS`) of :class:`Spectra` on a cleared ``figure``."""
    lay_out(figure, [PLOTS[name] for name in names or PLOTS], style, spectra)


def result_name(result):
    """An iteration's number, or FINAL, in words."""
    return "final result" if result is FINAL else f"iteration {result}"


# ---- the groups of one result

def _noise_spectra(axes, spectra):
    groups = spectra.groups
    for group, options in _named(groups):
        _curve(axes, group.frequency, group.noise, **options)
    _curve(axes, groups[0].frequency, mean(groups, "signal"), color=axes.title.get_color(), label="signal",
           linestyle=(0, (4, 2)))
    _power_axes(axes, spectra)
    _group_legend(axes, groups)
    say_which(axes, spectra.shown)


def _ssnr(axes, spectra):
    for group, options in _named(spectra.groups):
        _curve(axes, group.frequency, group.ssnr, **options)
    _ssnr_axes(axes, spectra)
    _group_legend(axes, spectra.groups)
    say_which(axes, spectra.shown)


def _named(groups):
    """(group, options of its line) of every group; those that the legend has no room for get no label."""
    colors = _DEFOCUS(np.linspace(0, 1, len(groups)) if len(groups) > 1 else [0.0])
    named = {group.number for group in few(groups, MOST_NAMED)}
    optics = len({group.optics_group for group in groups}) > 1
    for group, color in zip(groups, colors):
        name = f"{np.mean(group.defocus) / 1e4:.2f}" if group.defocus else \
            str(group.number) if len(groups) > 1 else "all images"
        if optics:
            name += f", optics {group.optics_group}" if group.optics_group else ", other optics"
        yield group, {"color": color, "label": name if group.number in named else None,
                      "linewidth": 1.8 if len(groups) <= 3 else 1.3}


def _group_legend(axes, groups):
    title = "defocus (µm)" if groups[0].defocus else "noise group" if len(groups) > 1 else None
    if len(groups) > MOST_NAMED:
        title += f"\n{MOST_NAMED} of {len(groups)} groups"
    side_legend(axes, title)


def say_which(axes, shown):
    """Name the result shown, quietly."""
    axes.set_title(result_name(shown), loc="right", fontsize=8.5, fontweight="normal", color=muted(axes))


# ---- one result beside the others

def _noise_development(axes, spectra):
    for groups, options in over_iterations(axes, spectra.results, spectra.shown):
        _curve(axes, groups[0].frequency, mean(groups, "noise"), **options)
        _curve(axes, groups[0].frequency, mean(groups, "signal"), linestyle=(0, (4, 2)), **{**options, "label": None})
    _power_axes(axes, spectra)
    side_legend(axes, "iteration")


def _ssnr_development(axes, spectra):
    for groups, options in over_iterations(axes, spectra.results, spectra.shown):
        _curve(axes, groups[0].frequency, mean(groups, "ssnr"), **options)
    _ssnr_axes(axes, spectra)
    side_legend(axes, "iteration")


def over_iterations(axes, results, shown):
    """(value, options of the line) of every one of ``results`` {result: value}, in order.

    The later the stronger; the one ``shown`` in another colour.
    """
    back, ink = np.array(to_rgb(axes.get_facecolor())), np.array(to_rgb(BLUE))
    for (result, value), strength in zip(results.items(), np.linspace(FAINTEST, 1, len(results))):
        label = "final" if result is FINAL else str(result)
        if result == shown:
            yield value, {"color": ORANGE, "linewidth": 2.2, "zorder": 3, "label": label}
        else:
            yield value, {"color": (1 - strength) * back + strength * ink, "linewidth": 1.2, "label": label}


def mean(groups, curve):
    """Mean (M,) of a curve over noise groups, each counting as its images do."""
    return np.average([getattr(group, curve) for group in groups], axis=0, weights=[group.count for group in groups])


# ---- axes

def _curve(axes, frequency, values, **options):
    """A line that breaks where there is nothing to show on a logarithmic axis."""
    axes.plot(frequency, np.where(values > 0, values, np.nan), **options)


def _power_axes(axes, spectra):
    """Signal that is far below the noise is left out: its size there means nothing."""
    least, largest = spectra.extent("noise")
    weakest, strongest = spectra.extent("signal")
    _log_axis(axes, max(min(least, weakest), 1e-3 * least) / 1.5, max(largest, strongest) * 1.5)
    axes.set_ylabel("power (white noise = 1)")
    resolution_axis(axes, spectra.highest, spectra.pixel_size)
    _mark_limit(axes, spectra)


def _ssnr_axes(axes, spectra):
    _log_axis(axes, _LEAST_SSNR, max(spectra.extent("ssnr")[1], 2) * 1.6)
    axes.axhline(1, color=RED, linewidth=1.2, linestyle=(0, (4, 3)), zorder=1)
    axes.annotate("SSNR = 1", (1, 1), xycoords=("axes fraction", "data"), xytext=(-3, 3), textcoords="offset points",
                  ha="right", va="bottom", color=RED, fontsize=8.5)
    axes.set_ylabel("signal-to-noise ratio")
    resolution_axis(axes, spectra.highest, spectra.pixel_size)
    _mark_limit(axes, spectra)


def _log_axis(axes, low, high):
    axes.set(yscale="log", ylim=(low, high))
    axes.yaxis.set_major_locator(LogLocator(subs=(1,) if high / low > 50 else (1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())


def _mark_limit(axes, spectra):
    """A shade over the frequencies that were not used."""
    limit, highest, pixel_size = spectra.limit, spectra.highest, spectra.pixel_size
    if not limit < 0.995 * highest:
        return
    axes.axvspan(limit, highest, color=muted(axes), alpha=0.13, linewidth=0, zorder=0)
    text = f"used to {pixel_size / limit:.3g} Å" if pixel_size else f"used to {limit:.3g}"
    side, align = (4, "left") if limit < 0.6 * highest else (-4, "right")
    axes.annotate(text, (limit, 1), xycoords=("data", "axes fraction"), xytext=(side, -3),
                  textcoords="offset points", ha=align, va="top", color=muted(axes), fontsize=8.5)


def side_legend(axes, title):
    """A legend to the right of the axes."""
    axes.legend(title=title, loc="center left", bbox_to_anchor=(1, 0.5), handlelength=1.4, labelspacing=0.3,
                borderaxespad=0.3, alignment="left")


def few(items, most):
    """At most so many of a list, evenly chosen, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[place] for place in np.linspace(0, len(items) - 1, most).round().astype(int)]


PLOTS = {
    "noiseSpectra": Plot("Noise spectra", _noise_spectra,
                         "Power of the noise against resolution, one curve for each group of images that share "
                         "their optics and about their defocus, and the power of the signal (dashes)."),
    "ssnr": Plot("SSNR", _ssnr,
                 "Spectral signal-to-noise ratio of the average of a class of mean size, one curve for each group of "
                 "images (values above 25 count as 25): where it falls below 1 there is more noise than signal."),
    "noiseDevelopment": Plot("Noise and signal over the iterations", _noise_development,
                             "The noise (lines) and the signal (dashes), means over the groups, at some of the "
                             "iterations, later ones stronger."),
    "ssnrDevelopment": Plot("SSNR over the iterations", _ssnr_development,
                            "The signal-to-noise ratio, mean over the groups, at some of the iterations, later "
                            "ones stronger."),
}
