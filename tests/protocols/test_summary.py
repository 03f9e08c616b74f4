"""The lines that tell how a run is doing."""
import numpy as np
import pytest

from mlalign.programs.formats.star import MetaData
from mlalign.programs.phantoms import phantoms
from mlalign.programs.results import Run
from mlalign.protocols.summary import (
    bars,
    duration,
    final_lines,
    occupancy_line,
    progress_lines,
    recent_seconds,
    starting_lines,
)
from mlalign.tests.viewers.fabricate import make_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run"), phantoms(3, 32), count=60, iterations=4, final=False)[0]


def test_before_the_first_iteration(tmp_path):
    run = Run(tmp_path / "ml2d_")
    assert starting_lines(run) == ["No iteration has finished yet."]
    (tmp_path / "ml2d_run.log").write_text("2026-01-01 12:00:00  read 60 images\n"
                                           "2026-01-01 12:00:02  start 1 of 3\n")
    assert starting_lines(run) == ["No iteration has finished yet.", "start 1 of 3"]


def test_while_running(run):
    text = "\n".join(progress_lines(run, 100))
    assert "Iteration *4* of at most 100" in text
    assert f"Log-likelihood {run.info(4)['logLikelihood']:.8g}" in text
    assert f"Resolution used: {3 / run.info(4)['maxres']:.3g} Å" in text
    assert "Classes: " in text and "1.5 s per iteration, so at most 2 min to go" in text


def test_finished(tmp_path):
    run = make_run(tmp_path, phantoms(3, 32), count=60, iterations=4)[0]
    assert "Converged after 4 iterations." in final_lines(run, 100)
    text = "\n".join(final_lines(run, 4))
    assert "Stopped after the 4 iterations allowed." in text and "Random seed 1." in text
    best = run.classes().numbers("resolution")
    assert f"{best.min():.3g} to {best.max():.3g} Å" in text


@pytest.mark.parametrize("counts, line", [
    ([10, 60, 30], "Classes: 60 %, 30 %, 10 % (of 60 to 10 particles).  █▄▂"),
    ([1, 0, 1], "Classes: 50 %, 50 %, 0 % (of 1 to 0 particles); 1 empty.  ██·"),
    ([0, 0], "Classes: 0 %, 0 % (of 0 to 0 particles); 2 empty.  ··"),
    ([5] * 19 + [10], "20 classes: the largest holds 9.5 %, the smallest 4.8 % (of 10 to 5 particles).  █" + 19 * "▄"),
])
def test_occupancy(counts, line):
    assert occupancy_line(MetaData({"classCount": np.array(counts)})) == line


def test_bars_of_very_many_classes_are_a_sample():
    line = bars(np.arange(200, 0, -1))
    assert len(line) == 40 and line[0] == "█" and line[-1] == "▁"
    assert [line.index(one) for one in "█▇▆▅▄▃▂▁"] == sorted(line.index(one) for one in "█▇▆▅▄▃▂▁")


class Timed:
    """A run of which only the times of its iterations are known: [(seconds, stage), …] from iteration 0 on."""

    def __init__(self, times):
        self.times = times

    def iterations(self):
        return list(range(len(self.times)))

    def info(self, iteration):
        seconds, stage = self.times[iteration]
        return {"seconds": seconds, "stage": stage}


@pytest.mark.parametrize("times, expected", [
    ([(60, 1)], 0),                                             # only the start
    ([(60, 1), (2, 1)], 2),
    ([(60, 1), (9, 1), (1, 1), (2, 1), (3, 1), (4, 1), (5, 1)], 3),
    ([(60, 1), (9, 1), (9, 1), (4, 2), (2, 2)], 3),             # the others were of another stage
    ([(60, 1), (0, 1), (4, 1)], 4),                             # one did not say
])
def test_time_of_an_iteration(times, expected):
    assert recent_seconds(Timed(times)) == expected


@pytest.mark.parametrize("seconds, words", [(3.4, "3 s"), (89, "89 s"), (100, "2 min"), (4000, "67 min"),
                                            (7200, "2.0 h")])
def test_duration(seconds, words):
    assert duration(seconds) == words
