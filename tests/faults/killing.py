"""Kill a program at a random moment, let it go on, and compare it with one that was left alone."""
import random
import re
import signal
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from mlalign.tests.faults import trials

SIGNALS = {signal.SIGKILL: None, signal.SIGTERM: (143, "terminated"), signal.SIGINT: (130, "interrupted")}
MOST_KILLS = 3          # in a row, of one run


@dataclass
class Tally:
    """What happened to a program's runs.

    kills: by signal.  writing: those that left a temporary file behind, in the middle of a write; done: those that
    came too late; again: of runs that were going on.  latencies: s from SIGTERM or SIGINT to the end.
    iterations: kills by the number of checkpoints that there were.  wrong: seeds of runs that came to another end.
    """

    kills: Counter = field(default_factory=Counter)
    writing: int = 0
    done: int = 0
    again: int = 0
    latencies: list = field(default_factory=list)
    iterations: Counter = field(default_factory=Counter)
    wrong: list = field(default_factory=list)


class Killer:
    """Runs of a :class:`.scenes.Scene` on the data in a folder, all of them below another folder."""

    def __init__(self, scene, inputs, work):
        self.scene, self.inputs, self.words, self.work = scene, inputs, scene.words(inputs), Path(work)
        self._stem = scene.name.replace(", ", "_").replace(" ", "_")
        self.reference = self.work / f"{self._stem}_undisturbed"
        trials.warm_up(scene.main, self.words, self.work / f"{self._stem}_first")
        self.changes, self.seconds = trials.count_changes(scene.main, self.words, self.reference)
        assert not (self.reference / scene.lock).exists() and not trials.files(self.reference, hidden=True)

    def trial(self, seed, tally):
        """One run, killed up to :data:`MOST_KILLS` times; AssertionError when it does not come to the same end."""
        rng = random.Random(seed)
        folder = self.fresh()
        words, kills = self.words, 0
        while kills < MOST_KILLS and (not kills or rng.random() < 0.3):
            number = rng.choice(list(SIGNALS))
            before = self._unfinished(folder)        # of a kill before this one
            ended = self._killed(rng, number, [*words, "--thr", rng.choice((1, 2))], folder)
            tally.kills[number] += 1
            tally.again += kills > 0
            self._check_killed(number, ended, folder, tally, before, kills > 0)
            words, kills = [*self.words, self.scene.resume], kills + 1
        self.goes_on(folder)

    def fresh(self):
        """A folder for a run, with room beside it for what the run says."""
        return Path(tempfile.mkdtemp(prefix=f"{self._stem}_", dir=self.work)) / "run"

    def goes_on(self, folder):
        """Continue the run in a folder: it must come to the same end as one that was left alone."""
        ended = trials.run(self.scene.main, [*self.words, self.scene.resume], folder)
        assert ended.status == 0 and not ended.errors, ended.errors
        trials.assert_same_files(folder, self.reference)

    def _killed(self, rng, number, words, folder):
        """By the clock, or at one of the moments at which it changes its files."""
        main = self.scene.main
        if rng.random() < 0.5:
            return trials.run(main, words, folder, trials.signal_at(number, rng.randint(1, self.changes)))
        process = trials.Process(main, words, folder)
        end = time.perf_counter() + rng.uniform(0, self.seconds)
        while time.perf_counter() < end and not process.ended():
            time.sleep(1e-3)
        process.signal(number)
        return process.wait()

    def _unfinished(self, folder):
        """Temporary files and the lock."""
        return {*trials.files(folder, hidden=True), *(name for name in trials.files(folder) if name == self.scene.lock)}

    def _check_killed(self, number, ended, folder, tally, before, again):
        unfinished = self._unfinished(folder) - before
        trials.assert_whole(folder, self.reference, self.scene.lock)
        tally.iterations[self._iterations(folder)] += 1
        if ended.status == 0:
            tally.done += 1
            if not again:
                self.seconds = min(self.seconds, ended.seconds)      # it takes less time than it was thought to
            trials.assert_same_files(folder, self.reference)
        elif number == signal.SIGKILL:
            assert ended.status == -number, ended
            tally.writing += bool(unfinished - {self.scene.lock})
        elif (ended.status == -number and not ended.errors) or _of_python(ended):
            assert not unfinished                        # before the program itself began
        else:
            status, word = SIGNALS[number]
            assert ended.status == status and re.fullmatch(
                rf"{self.scene.program}: {word}; {self.scene.resume} .*last finished .*\n", ended.errors), ended
            assert not unfinished
            tally.latencies.append(ended.latency)

    def _iterations(self, folder):
        return len(list(folder.rglob("*checkpoint.npz")))


def _of_python(ended):
    """Whether it was interrupted while signals were still Python's."""
    return ended.status == 1 and ended.lines[-1:] == ["KeyboardInterrupt"] and "run_program" not in ended.errors
