"""The lines that tell how a run is doing, or how it ended; one place for all classification protocols."""
import numpy as np

MANY_CLASSES = 12       # beyond these, classes are counted instead of listed
RECENT = 5              # iterations whose mean time says how long the next ones take
BARS, EMPTY = "▁▂▃▄▅▆▇█", "·"     # heights of a bar, and that of an empty class
WIDEST = 40             # bars; of more classes, some are left out


def starting_lines(run):
    """Lines about a run without a first iteration: the last line of its log, which tells of the random starts."""
    lines = ["No iteration has finished yet."]
    if run.log_file.exists():
        *_, last = run.log_file.read_text().splitlines() or [""]
        lines.append(last.partition("  ")[2])       # without the time
    return lines


def progress_lines(run, max_iterations, stages=()):
    """Lines about a run that goes on, from its newest iteration (with at least one result).

    stages: iterations allowed in each, when there are several.
    """
    iteration = run.newest()
    info = run.info(iteration)
    number = int(info["iterationNumber"])
    lines = [f"Iteration *{number}* of at most {max_iterations}.", *_state_lines(run, iteration)]
    if "changed" in info:
        lines.append(f"{100 * info['changed']:.1f} % of the particles changed class in the last iteration.")
    if "angleChange" in info:
        lines.append(f"Orientations changed by {info['angleChange']:.1f} degrees on average.")
    seconds = recent_seconds(run)
    if seconds > 0:
        # another stage takes another time: of its own this one can tell
        end, where = max_iterations, "to go"
        if len(stages) > 1:
            stage = int(info["stage"])
            end, where = sum(stages[:stage]), f"to the end of stage {stage} of {len(stages)}"
        left = (end - number) * seconds
        lines.append(f"{seconds:.3g} s per iteration, so at most {duration(left)} {where}.")
    return lines


def recent_seconds(run):
    """The mean time of the last iterations in s, of those in the newest's stage; 0 when there is none yet.

    The first result on disk does not count: finding a start takes as long as it takes.
    """
    infos = [run.info(iteration) for iteration in run.iterations() if iteration > 0][-RECENT:]
    same = [info["seconds"] for info in infos
            if info.get("seconds", 0) > 0 and info.get("stage") == infos[-1].get("stage")]
    return float(np.mean(same)) if same else 0.0


def final_lines(run, max_iterations):
    """Lines about a finished run."""
    info = run.info()
    iterations = run.iterations()
    last = iterations[-1] if iterations else int(info["iterationNumber"])
    end = f"Stopped after the {max_iterations} iterations allowed" if last >= max_iterations else \
        f"Converged after {last} iterations"
    lines = [f"{end}.", *_state_lines(run, None)]
    best = np.array(run.classes().columns.get("resolution", []), float)
    best = best[best > 0]
    if len(best):
        lines.append(f"Resolution of the averages ({run.correlation}): {best.min():.3g} to {best.max():.3g} Å.")
    if "randomSeed" in info:
        lines.append(f"Random seed {info['randomSeed']}.")
    return lines


def _state_lines(run, iteration):
    info = run.info(iteration)
    pixel_size = run.pixel_size(iteration)
    if "meanCC" in info:
        return [f"Mean correlation of the particles with their references {info['meanCC']:.3f}.",
                occupancy_line(run.classes(iteration))]
    lines = [f"Log-likelihood {info['logLikelihood']:.8g}; a particle's best pose holds "
             f"{100 * info['pMax']:.0f} % of its probability on average."]
    if info.get("maxres", 0) > 0:
        finest = f"{pixel_size / info['maxres']:.3g} Å" if pixel_size else f"{1 / info['maxres']:.3g} px"
        lines.append(f"Resolution used: {finest}.")
    if "noiseGroups" in info:
        groups = int(info["noiseGroups"])
        lines.append("One noise spectrum for all particles." if groups == 1 else
                     f"{groups} groups of particles with a noise spectrum each.")
    lines.append(occupancy_line(run.classes(iteration)))
    return lines


def occupancy_line(classes):
    """How the particles are spread over the classes: their shares, the extreme sizes, a bar for each."""
    counts = np.sort(classes.numbers("classCount"))[::-1]
    shares = 100 * counts / max(counts.sum(), 1)
    empty = np.count_nonzero(counts == 0)
    if len(counts) <= MANY_CLASSES:
        text = "Classes: " + ", ".join(f"{share:.0f} %" for share in shares)
    else:
        text = f"{len(counts)} classes: the largest holds {shares[0]:.1f} %, the smallest {shares[-1]:.1f} %"
    text += f" (of {counts[0]:.0f} to {counts[-1]:.0f} particles)"
    return text + (f"; {empty} empty" if empty else "") + f".  {bars(counts)}"


def bars(counts):
    """A character for each of ``counts`` (K,), which are not rising: a bar as high as its share of the largest."""
    shown = counts[np.linspace(0, len(counts) - 1, min(len(counts), WIDEST)).round().astype(int)]
    heights = np.ceil(len(BARS) * shown / max(counts[0], 1e-9)).astype(int)
    return "".join(BARS[height - 1] if height > 0 else EMPTY for height in heights)


def duration(seconds):
    """A time in words, coarse on purpose."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
