"""Programs that are killed at random moments go on as if nothing had happened, and leave nothing behind."""
import pytest

from mlalign.tests.faults.killing import Tally
from mlalign.tests.faults.scenes import SCENES

KILLED = 3          # runs of each program; benchmarks/faults.py kills as many as one likes


@pytest.mark.parametrize("name", SCENES)
def test_killed_anywhere(name, killers):
    for seed in range(KILLED):
        killers(name).trial(seed, Tally())
