"""What wizards draw, without their windows."""
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure

from mlalign.programs import suggest
from mlalign.programs.formats.mrc import write_stack, write_volume

BOX, COUNT = 32, 60


@pytest.fixture(scope="module")
def wizards():
    """The modules, which import Scipion."""
    from mlalign.wizards import base, classes, dialog, radius, resolution, sample, steps, tilts
    return SimpleNamespace(base=base, classes=classes, dialog=dialog, radius=radius, resolution=resolution,
                           sample=sample, steps=steps, tilts=tilts)


class Set(dict):
    """As much of a set of Scipion's as a sample looks at."""

    def getSize(self):
        return len(self)

    def getSamplingRate(self):
        return 2.0

    def getIdSet(self):
        return set(self)


def set_of(path, count, kind, disabled=()):
    found = Set()
    for number in range(1, count + 1):
        item = kind(location=(number if count > 1 else 0, str(path)))
        item.setEnabled(number not in disabled)
        found[number + 10] = item
    return found


@pytest.fixture(scope="module")
def particles(tmp_path_factory):
    """(set of particles, raw images): discs of radius 8 px; two of the particles are disabled."""
    from pwem.objects import Particle
    y, x = np.mgrid[:BOX, :BOX] - BOX // 2
    images = np.random.default_rng(0).normal(100, 5, (COUNT, BOX, BOX)) + 5 * (np.hypot(x, y) < 8)
    path = tmp_path_factory.mktemp("particles") / "particles.mrcs"
    write_stack(path, images)
    return set_of(path, COUNT, Particle, {3, 5}), images.astype(np.float32)


def test_sample(wizards, particles):
    items, images = particles
    found = wizards.sample.Sample(items)
    assert (found.count, found.pixel, found.size, found.volumes) == (COUNT, 2.0, BOX, False)
    kept = np.delete(images, [2, 4], 0)
    assert sorted(map(np.ndarray.tobytes, found.raw)) == sorted(map(np.ndarray.tobytes, kept))
    assert found.edge == suggest.particle_edge(found.profile) and 8 <= found.edge <= 10
    assert found.noise_ratio == pytest.approx(0.7, abs=0.2)      # of a circle wider than the disc
    np.testing.assert_allclose(found.average, found.items.mean(0))


def test_sample_of_a_large_set(wizards, particles, monkeypatch):
    monkeypatch.setattr(wizards.sample, "MOST", 10)
    assert len(wizards.sample.Sample(particles[0]).raw) == 10
    monkeypatch.setattr(wizards.sample, "VALUES", 9.5 * BOX**2)
    monkeypatch.setattr(wizards.sample, "MOST", 30)
    assert len(wizards.sample.Sample(particles[0]).raw) == 10


def test_sample_of_those_wanted(wizards, particles):
    items, images = particles
    found = wizards.sample.Sample(items, lambda item: item.getIndex() == 8)
    assert np.array_equal(found.raw, images[7:8])


def test_samples_that_cannot_be(wizards, particles, tmp_path):
    from pwem.objects import Particle
    items, _ = particles
    write_stack(tmp_path / "oblong.mrcs", np.ones((2, 8, 6)))
    oblong = set_of(tmp_path / "oblong.mrcs", 2, Particle)
    for bad, words in ((oblong, "oblong.mrcs: a box of 6 x 8"), (Set(), "no particles"),
                       (Set({11: items[13]}), "none of the particles looked at is enabled")):
        with pytest.raises(wizards.sample.UserError, match=words):
            wizards.sample.Sample(bad)


def test_section_of_volumes(wizards, tmp_path):
    from pwem.objects import Volume
    volume = np.random.default_rng(1).normal(0, 1, (40, 40, 40)).astype(np.float32)
    write_volume(tmp_path / "one.mrc", volume)
    found = wizards.sample.Sample(set_of(tmp_path / "one.mrc", 1, Volume))
    assert found.volumes and np.array_equal(found.raw, volume[None])
    np.testing.assert_allclose(wizards.sample.section(volume), volume[19:22].mean(0), atol=1e-6)


def test_montage(wizards):
    images = np.array([np.arange(4.0).reshape(2, 2) + value for value in (0.0, 10.0, 20.0)])
    found = wizards.sample.montage(images, 2)
    assert found.shape == (4, 4) and np.allclose(found[:2, :2], found[:2, 2:]) and np.all(found[2:, 2:] == 1)
    assert found[0, 0] == 0 and found[1, 1] == 1


@pytest.mark.parametrize("frequency, kept", [(0.05, 0), (0.15, 1), (0.35, 0)])
def test_band(wizards, frequency, kept):
    x = np.arange(80)
    wave = np.tile(np.sin(2 * np.pi * frequency * x), (80, 1))[None]
    np.testing.assert_allclose(wizards.resolution.band(wave, 0.25, 0.1), kept * wave, atol=1e-9)
    np.testing.assert_allclose(wizards.resolution.band(wave, 0.5), wave, atol=1e-9)


@pytest.mark.parametrize("pixel, frequency, limit", [(3, 0.5, 6), (1.3456, 0.5, 2.70), (4, 0.3, 13.34), (2, 0.1, 20)])
def test_angstrom_is_never_beyond_the_pixels(wizards, pixel, frequency, limit):
    found = wizards.resolution.angstrom(pixel, frequency)
    assert found == pytest.approx(limit) and found >= pixel / frequency - 1e-9


@pytest.mark.parametrize("text, number, replaced", [
    ("15", 15, "9"), ("15 10 5", 5, "15 10 9"), ("15, 10;5", 5, "15 10 9"), ("", 3, "9"), (None, 3, "9"),
    ("-1", 3, "9"), ("x", 3, "9")])
def test_last_of_several_stages(wizards, text, number, replaced):
    protocol = SimpleNamespace(field=SimpleNamespace(get=lambda: text))
    assert wizards.base.last_number(protocol, "field", 3) == number
    assert wizards.base.with_last(protocol, "field", "9") == replaced


@pytest.mark.parametrize("value, expected", [(0, 1), (7.26, 7.2), (99, 10), (7.3, 7.2), (7.31, 7.4)])
def test_what_a_slider_can_show(wizards, value, expected):
    control = wizards.dialog.Control("a", "A", 1, 10, 0.2, 3)
    assert control.nearest(value) == pytest.approx(expected)


def drawn(picture, **values):
    """A picture on a figure that is never shown."""
    figure = Figure(figsize=picture.size)
    picture.draw(figure)
    picture.update({**picture.values(), **values})
    figure.canvas.draw()
    return picture.words({**picture.values(), **values})


def test_pictures_of_noise(wizards):
    """Nothing can be told, and nothing is suggested but numbers of classes."""
    noise = SimpleNamespace(**dict.fromkeys(("edge", "radius", "noise_ratio", "spectrum", "limit")))
    noise.items = noise.images = suggest.standardised(np.random.default_rng(3).normal(0, 1, (20, BOX, BOX)))
    noise.average, noise.profile = noise.items.mean(0), suggest.radial_profile(noise.items)
    noise.size, noise.pixel, noise.count, noise.volumes = BOX, 2.0, 900, False
    radius = wizards.radius.RadiusPicture(noise, 0)
    assert radius.values() == {"radius": BOX // 2} and not radius.suggestion
    assert "cannot be told" in drawn(radius)
    resolution = wizards.resolution.ResolutionPicture(noise, 0.5, 0)
    assert not resolution.suggestion and "No frequency" in drawn(resolution)
    assert "300 particles make a clear average" in drawn(wizards.classes.ClassesPicture(noise, 3, suggest.IMAGES))
    assert "degrees" in drawn(wizards.steps.StepPicture(noise, 5, 40))


def test_picture_of_tilts_without_a_wedge(wizards):
    power = np.ones((16, 16, 16))
    picture = wizards.tilts.TiltPicture(power, "wedge_y", (-60, 60))
    assert not picture.suggestion and "shows no missing part about Y" in drawn(picture)
    assert drawn(picture, firsty=10, lasty=10) == "The last tilt must be above the first."
