"""Tiny data, and an undisturbed run of each program on them, for all tests of faults."""
from functools import cache

import pytest

from mlalign.tests.faults.killing import Killer
from mlalign.tests.faults.scenes import SCENES, simulated


@pytest.fixture(scope="session")
def killers(tmp_path_factory):
    """``killers(name)``: the :class:`.killing.Killer` of a program, which has been run once."""
    inputs = simulated(tmp_path_factory.mktemp("faults"))
    return cache(lambda name: Killer(SCENES[name], inputs, tmp_path_factory.mktemp(name)))
