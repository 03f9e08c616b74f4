"""E-steps on a GPU, played by a stand-in that is as strict as CuPy, against those on the CPU."""
from dataclasses import fields, replace
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest

from mlalign.programs.engine import device_search
from mlalign.programs.engine.backend import Device, Workers
from mlalign.programs.engine.bank import ImageBank
from mlalign.programs.engine.device_pass import DeviceSpectralEStep, DeviceWhiteEStep, bank_on
from mlalign.programs.engine.disk import Disk
from mlalign.programs.engine.em import Particles, Pass, WhiteEStep
from mlalign.programs.engine.model import Model
from mlalign.programs.engine.search import Grid, shift_grid
from mlalign.programs.engine.spectral_pass import SpectralBank, SpectralEStep
from mlalign.programs.errors import UserError
from mlalign.tests.programs.engine.blobs import PHANTOMS, Stack, planted
from mlalign.tests.programs.engine.brute import FRACTIONS, MIRROR, OFFSET
from mlalign.tests.programs.engine.spectral_scenes import scene_of
from mlalign.tests.programs.engine.strict_cupy import StrictCupy

N, COUNT = 32, 40
NARROW, BROAD = 0.3, 3.0          # noise of the models, for posteriors of either kind
ROOM = 2**30
MODES = list(product((True, False), (None, 6.0), (False, True), (None, 1.0)))
NAMES = ["mirror", "df", "norm", "near"]


def on_gpu(free=ROOM, **options):
    """Workers with a GPU that has so many bytes of memory to give."""
    return Workers(1, Device(StrictCupy(**options), lambda: free))


def somewhere(count):
    """Particles that have been found before, but for the first; of various grey scales and backgrounds.

    The third was where no search reaches.
    """
    particles, rng = Particles.unknown(count), np.random.default_rng(0)
    particles.ref[1:] = 0
    particles.psi, particles.flip = rng.uniform(0, 360, count), rng.integers(0, 2, count)
    particles.shift_x, particles.shift_y = rng.normal(0, 1.5, (2, count))
    particles.shift_x[2] = 25
    particles.scale, particles.background = np.linspace(0.7, 1.3, count), np.linspace(-0.1, 0.1, count)
    return particles


class White:
    """Planted particles in white noise."""

    steps = WhiteEStep, DeviceWhiteEStep
    count = COUNT

    def __init__(self, grid):
        self.grid, self.images = grid, planted(PHANTOMS, COUNT, NARROW, seed=1).images

    def bank(self, workers, memory=ROOM):
        return ImageBank(Stack(self.images), self.grid.disk, workers, memory)

    def model(self, sigma):
        disk = self.grid.disk
        return Model(disk, disk.polar(np.stack([phantom.image(N) for phantom in PHANTOMS])), FRACTIONS, MIRROR, sigma,
                     OFFSET, np.array([1.2, 0.9]))


class Spectral:
    """Particles behind astigmatic CTFs in coloured noise, in two groups."""

    steps = SpectralEStep, DeviceSpectralEStep
    count = 6

    def __init__(self, n_psi):
        self.scene = scene_of(n_psi)
        self.grid, self.model = self.scene.grid, self.scene.model

    def bank(self, workers, memory=ROOM, **optics):
        return SpectralBank(Stack(self.scene.images), self.grid.disk, workers, memory,
                            replace(self.scene.optics, **optics))


def pass_of(scene, model, settings, workers, bank=None, affected=None):
    """Statistics and particles of an E-step where the workers have it."""
    step, particles = scene.steps[workers.device is not None], somewhere(scene.count)
    more = () if affected is None else (affected,)
    step = step(model, bank or scene.bank(workers), particles, settings, workers, scene.grid, None, *more)
    return SimpleNamespace(statistics=step.run(np.arange(scene.count)), particles=particles)


def check(found, expected):
    """Rounding of float32 apart, all that E-steps find is the same."""
    for name in (field.name for field in fields(expected.statistics)):
        one, other = (np.asarray(getattr(result.statistics, name)) for result in (found, expected))
        np.testing.assert_allclose(one, other, atol=1e-5 * np.abs(other).max(), rtol=0, err_msg=name)
    for name, other in expected.particles.arrays().items():
        off = np.abs(getattr(found.particles, name) - other)
        off = np.minimum(off, 360 - off) if name == "psi" else off
        assert off.max() < (0 if name in ("ref", "flip") else 1e-3) + 1e-9, (name, off.max())


@pytest.fixture(scope="module", params=[(72, 4, 1), (16, 6, 2)], ids=["usual", "folded"])
def white(request):
    n_psi, reach, step = request.param
    return White(Grid(Disk(N, 0.35, n_psi), shift_grid(reach, step), step))


@pytest.mark.parametrize(NAMES, MODES)
@pytest.mark.parametrize("sigma", [NARROW, BROAD])
def test_white_noise(white, workers, sigma, mirror, df, norm, near):
    model, settings = white.model(sigma), Pass(mirror, df, norm, search_shift=near)
    check(pass_of(white, model, settings, on_gpu()), pass_of(white, model, settings, workers))


@pytest.mark.parametrize(NAMES, MODES)
@pytest.mark.parametrize(("n_psi", "sigma", "lowest"), [(66, 0.4, 0.0), (16, 2.0, 0.08)])
def test_ctfs_and_noise_spectra(workers, n_psi, sigma, lowest, mirror, df, norm, near):
    scene = Spectral(n_psi)
    model, settings = scene.model(sigma, lowest), Pass(mirror, df, norm, search_shift=near)
    check(pass_of(scene, model, settings, on_gpu()), pass_of(scene, model, settings, workers))


def test_references_not_corrected_for_ctfs(workers):
    scene = Spectral(66)
    model, found = scene.model(0.4), []
    for here in (on_gpu(), workers):
        seen = scene.bank(here, ctf=None)
        found.append(pass_of(scene, model, Pass(True), here, affected=seen))
    check(*found)


def test_class_probabilities(white, workers):
    tables = []
    for here in (on_gpu(), workers):
        tables.append(np.zeros((COUNT, 2), np.float32))
        pass_of(white, white.model(BROAD), Pass(True, probabilities=tables[-1]), here)
    np.testing.assert_allclose(*tables, atol=1e-5)
    assert tables[0].min() > 0.01 and tables[0].max() < 0.99


@pytest.mark.parametrize("sigma", [NARROW, BROAD])
def test_both_ways_of_the_m_step(white, workers, monkeypatch, sigma):
    """Adding up pairs, some of them at a time, and the products of all rows give the same."""
    expected = pass_of(white, white.model(sigma), Pass(True, 6.0), workers)
    for share, together in ((0.0, 1), (1.0, 37)):
        monkeypatch.setattr(device_search, "DENSE_SHARE", share)
        monkeypatch.setattr(device_search, "PAIRS", together)
        check(pass_of(white, white.model(sigma), Pass(True, 6.0), on_gpu()), expected)


# ---- memory

def searched_together(scene, workers, settings, monkeypatch):
    """An E-step, and how many images it searched at a time."""
    sizes, block = [], device_search.DeviceExpectation.block

    def noted(search, images, coarse=None):
        sizes.append(len(images))
        return block(search, images, coarse)

    monkeypatch.setattr(device_search.DeviceExpectation, "block", noted)
    return pass_of(scene, scene.model(NARROW), settings, workers), sizes


def test_little_memory_means_smaller_blocks(white, workers, monkeypatch):
    expected = pass_of(white, white.model(NARROW), Pass(True), workers)
    image = device_search.CELL_BYTES * white.grid.disk.n_psi * 4 * len(white.grid.shifts)
    found, sizes = searched_together(white, on_gpu(9 * image), Pass(True), monkeypatch)
    assert sum(sizes) == COUNT and 2 <= min(sizes) <= max(sizes) <= 7
    check(found, expected)
    found, sizes = searched_together(white, on_gpu(), Pass(True), monkeypatch)
    assert sizes == [COUNT // 2, COUNT // 2]


@pytest.mark.parametrize(("df", "norm", "share"), [(None, False, 0.3), (6.0, True, 0.5)])
@pytest.mark.parametrize("sigma", [NARROW, 10 * BROAD])
def test_blocks_take_no_more_memory_than_they_may(white, monkeypatch, sigma, df, norm, share):
    """Nor much less, where all cells count."""
    search, here, most = device_search.DeviceExpectation, on_gpu(), []
    block, spread, cupy = search.block, search.spread, here.device.xp

    def begun(self, images, coarse=None):
        begun.before = cupy.peak = cupy.held
        return block(self, images, coarse)

    def ended(self, found, x, sums):
        spread(self, found, x, sums)
        cells = len(x) * 4 * len(white.grid.shifts) * white.grid.disk.n_psi
        entries = len(x) * white.grid.disk.bins * white.grid.disk.width
        most.append((cupy.peak - begun.before - device_search.ENTRY_BYTES * entries) / cells)

    monkeypatch.setattr(search, "block", begun)
    monkeypatch.setattr(search, "spread", ended)
    pass_of(white, white.model(sigma), Pass(True, df, norm), here)
    assert max(most) < device_search.CELL_BYTES
    assert sigma == NARROW or max(most) > share * device_search.CELL_BYTES


def test_images_stay_on_the_gpu_while_they_fit(white, workers):
    """Each is read once by however many passes; those that do not fit are read again."""
    expected = pass_of(white, white.model(NARROW), Pass(True), workers)
    size = white.bank(workers).image_bytes
    for room, again in ((ROOM, 0), (10 * size / 0.4, COUNT - 10)):
        here = on_gpu()
        here.device.free = lambda room=room: room
        bank, reads = white.bank(workers), []
        bank_on(here.device, bank)
        here.device.free = lambda: ROOM
        bank.read = lambda rows, bank=bank, reads=reads: (reads.extend(rows), ImageBank.read(bank, rows))[1]
        for _ in range(2):
            check(pass_of(white, white.model(NARROW), Pass(True), here, bank), expected)
        assert len(reads) == COUNT + again and set(reads) == set(range(COUNT))


def test_banks_and_their_memory_go_together(white, workers):
    here = on_gpu()
    bank = white.bank(workers)
    twin = bank_on(here.device, bank)
    assert bank_on(here.device, bank) is twin
    del bank
    with pytest.raises(ReferenceError):
        _ = twin.powers


@pytest.mark.parametrize(("free", "room"), [(2000, ROOM), (ROOM, 20000)], ids=["from the start", "all of a sudden"])
def test_no_memory(white, free, room):
    with pytest.raises(UserError, match=r"not enough memory on the GPU .* fewer references"):
        pass_of(white, white.model(NARROW), Pass(True), on_gpu(free, room=room))


def test_threads_leave_the_gpu_to_one(white, workers):
    """A GPU is chosen for a thread: work in others would go to GPU 0."""
    cupy = StrictCupy(gpus=3)
    cupy.cuda.Device(2).use()
    threads = Workers(2, Device(cupy, lambda: ROOM))
    try:
        found = pass_of(white, white.model(NARROW), Pass(True), threads)
    finally:
        threads.close()
    check(found, pass_of(white, white.model(NARROW), Pass(True), workers))
