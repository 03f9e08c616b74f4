"""E-steps of subtomograms on a GPU, played by a stand-in that is as strict as CuPy, against those on the CPU."""
from dataclasses import replace

import numpy as np
import pytest

from mlalign.programs.engine import device_volumes
from mlalign.programs.engine.backend import Device, Workers
from mlalign.programs.engine.device_volumes import DeviceTemplates, DeviceVolumeEstimator, volume_estimator
from mlalign.programs.engine.sphere import random_rotations
from mlalign.programs.engine.volume_estimator import Plan, Poses, VolumeEstimator
from mlalign.programs.errors import UserError
from mlalign.tests.programs.engine.strict_cupy import StrictCupy
from mlalign.tests.programs.engine.subtomogram_scenes import COARSE, FEW, REGIONS, SHIFTS, Scene, e_step

ROOM = 2**30


def on_gpu(free=ROOM, **options):
    return Workers(1, Device(StrictCupy(**options), lambda: free))


def on_device(scene, workers, memory=1e9):
    """The scene's estimator on the workers' GPU."""
    host = scene.estimator(workers, memory)
    return volume_estimator(host.bank, host.ball, host.coverage, workers)


@pytest.fixture(scope="module", params=REGIONS)
def scene(request):
    return Scene(REGIONS[request.param], 11, 8.0, COARSE, seed=3)


def plans(scene):
    everywhere, rng = Plan(COARSE, SHIFTS), np.random.default_rng(0)
    local = replace(everywhere, orientations=FEW, frames=random_rotations(scene.count, rng),
                    centres=rng.integers(-1, 2, (scene.count, 3)))
    return {"everywhere": everywhere, "local": local, "tilts": replace(everywhere, tilts=(30, 80)),
            "correlated": replace(everywhere, correlate=True),
            "correlated, tilts": replace(local, correlate=True, tilts=(30, 80))}


def check(found, expected):
    """The same totals and poses, up to rounding and to the posterior mass that the CPU's M-step may lose."""
    for name, value in vars(expected[0]).items():
        largest = np.abs(value).max()
        np.testing.assert_allclose(getattr(found[0], name), value, rtol=0, atol=1e-5 * largest, err_msg=name)
    for name, value in vars(expected[1]).items():
        np.testing.assert_allclose(getattr(found[1], name), value, rtol=1e-5, atol=1e-3, err_msg=name)


@pytest.mark.parametrize("name", plans(Scene(REGIONS["wedges"], 1, 1.0)))
@pytest.mark.parametrize("sigma", [8.0, 40.0], ids=["narrow", "broad"])
def test_e_steps(scene, workers, name, sigma):
    plan, model = plans(scene)[name], replace(scene.truth(), variance=np.full(len(scene.ball.k), sigma**2))
    found = e_step(on_device(scene, on_gpu()), scene, model, plan)
    check(found, e_step(scene.estimator(workers), scene, model, plan))
    assert found[0].count == scene.count


def test_halves_of_their_own_and_some_particles(scene, workers):
    truth = scene.truth()
    model = replace(truth, vectors=np.concatenate([truth.vectors, scene.start().vectors]))
    rows, done = np.array([0, 3, 4, 9]), []
    here = on_gpu()
    found = Poses.unknown(scene.count)
    totals = on_device(scene, here).expect(model, found, Plan(COARSE, SHIFTS), scene.half_of, rows, done.append)
    assert sum(done) == 4 and here.device.xp.made > 0
    check((totals, found), e_step(scene.estimator(workers), scene, model, Plan(COARSE, SHIFTS), rows))


def test_little_memory_means_fewer_particles_together(scene, workers, monkeypatch):
    sizes, search = [], DeviceTemplates.search

    def noted(templates, particles, *rest):
        sizes.append(len(particles))
        return search(templates, particles, *rest)

    monkeypatch.setattr(DeviceTemplates, "search", noted)
    model, plan = scene.truth(), Plan(COARSE, SHIFTS)
    expected = e_step(scene.estimator(workers), scene, model, plan)
    entries = len(SHIFTS) * scene.ball.size + scene.coverage.size
    particle = device_volumes.CELL_BYTES * len(SHIFTS) * 2 * len(COARSE) + device_volumes.ENTRY_BYTES * entries
    for free, most in ((4 * particle, 2), (ROOM, 6)):
        sizes.clear()
        check(e_step(on_device(scene, on_gpu(free)), scene, model, plan), expected)
        assert sum(sizes) == scene.count and max(sizes) == most


@pytest.mark.parametrize("name", plans(Scene(REGIONS["wedges"], 1, 1.0)))
def test_searches_take_no_more_memory_than_they_may(scene, monkeypatch, name):
    here, most, search = on_gpu(), [], DeviceTemplates.search
    plan, cupy = plans(scene)[name], here.device.xp

    def watched(templates, particles, *rest):
        before = cupy.peak = cupy.held
        found = search(templates, particles, *rest)
        cells = len(particles) * len(plan.shifts) * 2 * len(plan.orientations)
        entries = len(particles) * (len(plan.shifts) * scene.ball.size + scene.coverage.size)
        most.append((cupy.peak - before - device_volumes.ENTRY_BYTES * entries) / cells)
        return found

    monkeypatch.setattr(DeviceTemplates, "search", watched)
    e_step(on_device(scene, here), scene, scene.truth(), plan)
    assert max(most) < device_volumes.CELL_BYTES


@pytest.mark.parametrize(("room", "memory", "again"), [(1000, 1e9, 0), (5.5, 1e9, 6), (1000, 1, 11)])
def test_copies_stay_on_the_gpu_while_they_fit(scene, workers, room, memory, again):
    """Of 11 particles all, or five, unless the CPU keeps none, either."""
    here, uploads = on_gpu(), []
    one = 4 * len(SHIFTS) * scene.ball.size
    here.device.free = lambda: room * one / device_volumes.RESIDENT_SHARE
    estimator = on_device(scene, here, memory)
    here.device.free, put = lambda: ROOM, here.device.put

    def noted(array, dtype=None):
        uploads.append(array.shape == (len(SHIFTS), scene.ball.size))
        return put(array, dtype)

    here.device.put = noted
    plan, expected = Plan(COARSE, SHIFTS), e_step(scene.estimator(workers), scene, scene.truth(), Plan(COARSE, SHIFTS))
    for times in (scene.count, again):
        uploads.clear()
        check(e_step(estimator, scene, scene.truth(), plan), expected)
        assert sum(uploads) == times


@pytest.mark.parametrize(("free", "room"), [(2000, ROOM), (ROOM, 20000)], ids=["from the start", "all of a sudden"])
def test_no_memory(scene, free, room):
    with pytest.raises(UserError, match=r"not enough memory on the GPU .* fewer references"):
        e_step(on_device(scene, on_gpu(free, room=room)), scene, scene.truth(), Plan(COARSE, SHIFTS))


def test_the_cpu_when_there_is_no_gpu(scene, workers):
    assert type(on_device(scene, workers)) is VolumeEstimator
    assert type(on_device(scene, on_gpu())) is DeviceVolumeEstimator
