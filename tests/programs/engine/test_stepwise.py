"""Stepwise EM: weights of batches."""
import numpy as np
import pytest

from mlalign.programs.engine.model import Statistics
from mlalign.programs.engine.stepwise import DECAY, blended


def batch(rng, count):
    """Random statistics of so many images."""
    return Statistics(rng.standard_normal((2, 3, 4, 5)) + 0j, *rng.random((1, 2, 3)), *rng.random((4, 3)),
                      rng.random(8), *rng.random(3), count, *rng.random(2))


@pytest.mark.parametrize("longest", [1000, 4])
def test_every_batch_has_its_weight(longest):
    rng = np.random.default_rng(1)
    counts = [50, 40, 60, 50, 50, 30]
    batches, running = [batch(rng, count) for count in counts], None
    for seen, one in enumerate(batches):
        running = blended(running, one, seen, longest)
    shares = [max((t + 1) ** -DECAY, 1 / longest) for t in range(len(counts))]
    weights = [share * np.prod([1 - later for later in shares[t + 1 :]]) for t, share in enumerate(shares)]
    assert sum(weights) == pytest.approx(1) and running.count == pytest.approx(1)
    for name in ("half_sums", "class_mass", "beyond", "power", "squared_shift"):
        expected = sum(w * getattr(one, name) / one.count for w, one in zip(weights, batches))
        np.testing.assert_allclose(getattr(running, name), expected, rtol=1e-12)


def test_in_the_long_run_as_many_batches_count_as_a_pass_has():
    one, zero = batch(np.random.default_rng(1), 10), batch(np.random.default_rng(1), 10).scaled(0)
    zero.count = 10
    running = one
    for seen in range(5000, 5020):
        running = blended(running, zero, seen, 20)
    assert running.power / one.power == pytest.approx((1 - 1 / 20) ** 20)
