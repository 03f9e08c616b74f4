"""Plots of a run's convergence: functions that draw a :class:`~mlalign.programs.results.History` on axes.

``draw(figure, history, names)`` lays the named plots (keys of :data:`PLOTS`) out on any matplotlib figure, so
the gallery's window, Scipion's plot windows and a script that saves a picture share the same look.
"""
import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.colors import to_rgba
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from .style import BLUE, DARK, GREEN, LIGHT, ORANGE, RED, Plot, lay_out, muted, resolution_axis

MOST_CLASSES_NAMED = 9      # more bands than this in a stacked area cannot be told apart


def draw(figure, history, names=None, style=LIGHT, eps=None):
    """Draw the plots ``names`` (default: all of :data:`PLOTS`) of ``history`` on a cleared ``figure``.

    eps: the run's convergence threshold, marked where it belongs; None or 0 leaves the mark out.
    """
    lay_out(figure, [PLOTS[name] for name in names or PLOTS], style, history, eps)


def iteration_axis(axes, history):
    """The horizontal axis all plots over iterations share."""
    axes.set_xlabel("iteration")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    first, last = history.iterations[[0, -1]]
    margin = max(0.5, 0.03 * (last - first))
    axes.set_xlim(first - margin, last + margin)


def iteration_line(axes, history, values, color, **options):
    """A line with a dot at every iteration, or only the line when the dots would touch."""
    marker = "o" if len(values) <= 40 else None
    axes.plot(history.iterations, values, color=color, marker=marker, **options)


def mark_convergence(axes, value, text):
    """A line at the value below which a run has converged."""
    axes.axhline(value, color=RED, linewidth=1.2, linestyle=(0, (4, 3)))
    axes.annotate(text, (0, value), xycoords=("axes fraction", "data"), xytext=(4, 3), textcoords="offset points",
                  ha="left", va="bottom", color=RED, fontsize=8.5)


def nothing(axes, text):
    """Empty axes that say why."""
    axes.set(xticks=[], yticks=[])
    axes.grid(False)
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center",
              color=muted(axes))


def _log_likelihood(axes, history, eps):
    iteration_line(axes, history, history.info["logLikelihood"], BLUE)
    axes.set_ylabel("log-likelihood")
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    iteration_axis(axes, history)


def _p_max(axes, history, eps):
    iteration_line(axes, history, history.info["pMax"], BLUE)
    axes.set(ylabel="mean pMax", ylim=(0, 1.03))
    iteration_axis(axes, history)


def _signal_change(axes, history, eps):
    """Largest change over the classes, as the program compares it with eps (the file holds 1000 times it)."""
    change = _largest(history.classes["signalChange"]) / 1000
    positive = np.where(change > 0, change, np.nan)
    if np.isnan(positive).all():
        return nothing(axes, "known from the second iteration on")
    iteration_line(axes, history, positive, BLUE)
    if eps:
        mark_convergence(axes, eps, f"converged below {eps:g}")
    axes.set(ylabel="largest relative change", yscale="log")
    iteration_axis(axes, history)


def _mirror_fraction(axes, history, eps):
    """Bars of the newest iteration."""
    fraction = history.classes["mirrorFraction"][-1]
    if not (fraction > 0).any():
        return nothing(axes, "mirrors were not searched")
    number = np.arange(1, len(fraction) + 1)
    axes.bar(number, fraction, width=0.8 if len(number) > 3 else 0.4, color=BLUE)
    axes.axhline(0.5, color=muted(axes), linewidth=1, linestyle=(0, (1, 2)))
    axes.set(xlabel=f"class (iteration {history.iterations[-1]})", ylabel="mirrored share",
             xlim=(0.3, len(number) + 0.7), ylim=(0, 1.03))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(False, axis="x")


def _sigma_noise(axes, history, eps):
    iteration_line(axes, history, history.info["sigmaNoise"], ORANGE)
    axes.set_ylabel("σ (image units)")
    iteration_axis(axes, history)


def _sigma_offset(axes, history, eps):
    iteration_line(axes, history, history.info["sigmaOffset"], ORANGE)
    axes.set_ylabel("σ (px)")
    axes.set_ylim(bottom=0)
    iteration_axis(axes, history)


def _occupancy(axes, history, eps):
    """Stacked shares of the particles, the largest class of the newest iteration at the bottom."""
    weight = np.nan_to_num(history.classes["weight"])
    share = weight / np.maximum(weight.sum(axis=1, keepdims=True), 1e-12)
    order = np.argsort(-share[-1], kind="stable")
    bands, labels = share[:, order], [f"{number + 1}" for number in order]
    if len(order) > MOST_CLASSES_NAMED:
        named = MOST_CLASSES_NAMED - 1
        bands = np.column_stack([bands[:, :named], bands[:, named:].sum(axis=1)])
        labels = [*labels[:named], f"{len(order) - named} more"]
    colors = colormaps["viridis"](np.linspace(0.22, 0.86, len(labels)))
    if len(order) > len(labels):
        colors[-1] = to_rgba(muted(axes), 0.35)
    axes.stackplot(history.iterations, bands.T, colors=colors, labels=labels, edgecolor=axes.get_facecolor(),
                   linewidth=0.6)
    axes.set(ylabel="share of particles", ylim=(0, 1))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.grid(False)
    handles, names = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], names[::-1], title="class", loc="center left", bbox_to_anchor=(1, 0.5),
                handlelength=0.9, handleheight=0.9, labelspacing=0.25, borderaxespad=0.3)
    iteration_axis(axes, history)
    axes.set_xlim(history.iterations[0] - 1e-3, history.iterations[-1] + 1e-3)


def _changed(axes, history, eps):
    iteration_line(axes, history, history.info["changed"], GREEN)
    axes.set_ylabel("share of particles")
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    axes.set_ylim(bottom=0)
    iteration_axis(axes, history)


def resolution(axes, history, eps, correlation="FRC"):
    """The resolution used, beside the best class's by ``correlation``; finer is higher."""
    pixel = history.pixel_size
    used = history.info["maxres"]
    iteration_line(axes, history, pixel / used if pixel else used, BLUE, label="used")
    best = history.classes["resolution"]
    best = -_largest(-np.where(best > 0, best, np.nan))
    if pixel and not np.isnan(best).all():
        iteration_line(axes, history, best, GREEN, label=f"best class ({correlation})")
        axes.legend(loc="best")
    axes.set_ylabel("resolution (Å)" if pixel else "highest frequency used (1/px)")
    if pixel:
        axes.invert_yaxis()
    iteration_axis(axes, history)


def _largest(values):
    """Largest of each row of (T, K), NaN where a row has no number."""
    filled = np.where(np.isnan(values), -np.inf, values).max(axis=1)
    return np.where(np.isfinite(filled), filled, np.nan)


PLOTS = {
    "logLikelihood": Plot("Log-likelihood", _log_likelihood,
                          "How well the classes explain the particles. It rises and levels off; it may step "
                          "when the resolution used grows or a class is revived."),
    "pMax": Plot("Probability of the best pose", _p_max,
                 "Mean over the particles of the probability of their best class, rotation and shift: near 1 "
                 "when poses are certain."),
    "signalChange": Plot("Signal change", _signal_change,
                         "The largest relative change of a class average from one iteration to the next; the run "
                         "has converged when it is small beside the noise, or below the threshold if you set one."),
    "occupancy": Plot("Class occupancy", _occupancy,
                      "The share of the particles in each class, largest below."),
    "changed": Plot("Particles that changed class", _changed,
                    "The share of the particles whose most probable class is another than before."),
    "resolution": Plot("Resolution", resolution,
                       "The resolution that the run used, and that of its best class average by FRC."),
    "mirrorFraction": Plot("Mirror fraction", _mirror_fraction,
                           "The share of mirrored particles in each class of the last iteration: near 0 or 1 "
                           "when particles lie on one face, about a half when on both."),
    "sigmaNoise": Plot("Noise deviation", _sigma_noise,
                       "Standard deviation of the pixels' noise; it falls as the class averages improve."),
    "sigmaOffset": Plot("Shift deviation", _sigma_offset,
                        "Standard deviation of the particles' shifts from the centre along each axis."),
}


def draw_frc(figure, frequency, correlation, pixel_size=None, style=DARK, name="FRC"):
    """Fourier ring (or shell) correlation of one class against frequency (1/px), with the 0.5 and 0.143 lines.

    Frequency 0, the images' mean, says nothing of their correlation and is left out.
    """
    shown = np.asarray(frequency) > 0
    frequency, correlation = np.asarray(frequency)[shown], np.asarray(correlation)[shown]
    small = dict.fromkeys(("font.size", "axes.labelsize", "xtick.labelsize", "ytick.labelsize"), 8)
    with rc_context({**style, **small}):
        figure.clear()
        figure.set_facecolor(style["figure.facecolor"])
        figure.set_layout_engine("constrained", w_pad=0.06, h_pad=0.04)
        axes = figure.add_subplot()
        axes.plot(frequency, correlation, color=BLUE, linewidth=1.6)
        axes.fill_between(frequency, correlation, color=BLUE, alpha=0.12, linewidth=0)
        correlation_axes(axes, np.min(correlation), max(frequency[-1], 1e-6), pixel_size, name)


def correlation_axes(axes, lowest, highest, pixel_size, name):
    """Axes of FRC or FSC (``name``) curves that reach down to ``lowest`` and up to the frequency ``highest`` (1/px)."""
    for threshold in (0.5, 0.143):
        axes.axhline(threshold, color=muted(axes), linewidth=0.8, linestyle=(0, (2, 3)))
    axes.set(ylim=(min(0, lowest), 1.03), ylabel=name, yticks=[0, 0.5, 1])
    resolution_axis(axes, highest, pixel_size)
