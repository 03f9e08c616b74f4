"""Programs that are killed at random moments go on as if nothing had happened, and leave nothing behind."""
import pytest

from mlalign.tests.faults.killing import Killer, Tally
from mlalign.tests.faults.scenes import SCENES, simulated

KILLED = 4          # runs of each program; benchmarks/faults.py kills as many as one likes


@pytest.mark.parametrize("name", SCENES)
def test_killed_anywhere(name, tmp_path_factory):
    killer = Killer(SCENES[name], simulated(tmp_path_factory.getbasetemp() / "faults"), tmp_path_factory.mktemp(name))
    for seed in range(KILLED):
        killer.trial(seed, Tally())
