"""What particles tell about radius, resolution, number of classes and angular step."""
import numpy as np
import pytest

from mlalign.programs import suggest
from mlalign.programs.engine.sphere import directions
from mlalign.programs.phantoms import ball

BOX = 48


def scene(radius, count=200, dimensions=2, strength=0.5, halo=0.0, offset=1.0, seed=0, size=BOX):
    """Discs or balls of this radius, off centre by ``offset`` px, in noise, with the grey values of a camera."""
    rng = np.random.default_rng(seed)
    particle = strength * ball(size, radius, 2, dimensions) - halo * (
        ball(size, radius + 6, 2, dimensions) - ball(size, radius + 2, 2, dimensions))
    items = []
    for _ in range(count):
        shift = np.rint(rng.normal(0, offset, dimensions)).astype(int)
        items.append(np.roll(particle, shift, range(dimensions)) + rng.normal(0, 1, particle.shape))
    return 20 * np.array(items) + 130


def profile_of(items):
    return suggest.radial_profile(suggest.standardised(items))


def test_standardised():
    items = scene(10, 5)
    found = suggest.standardised(items)
    for item, one in zip(items, found):
        outside = [item[y, x] for y in range(BOX) for x in range(BOX) if np.hypot(y - BOX // 2, x - BOX // 2) > BOX / 2]
        np.testing.assert_allclose(one, (item - np.mean(outside)) / np.std(outside), atol=1e-3)


def test_standardised_without_background():
    """Particles in a mask: nothing varies around them."""
    items = scene(10, 3) * (ball(BOX, 20, 0, 2))
    found = suggest.standardised(items)
    np.testing.assert_allclose(found.std((1, 2)), 1, rtol=1e-4)
    assert np.all(suggest.standardised(np.zeros((2, 8, 8))) == 0)


@pytest.mark.parametrize("dimensions, size", [(2, BOX), (3, 13)])
def test_radial_profile(dimensions, size):
    items = np.random.default_rng(0).normal(1, 2, (4, *[size] * dimensions)).astype(np.float32)
    found = suggest.radial_profile(items)
    rings, outside = [{} for _ in items], 0
    for place in np.ndindex(items[0].shape):
        outside += sum((c - size // 2) ** 2 for c in place) > (size / 2) ** 2
    for item, ring in zip(items, rings):
        for place, value in np.ndenumerate(item):
            r = round(float(np.sqrt(sum((c - size // 2) ** 2 for c in place))))
            ring.setdefault(r, []).append(float(value))
    assert list(found.radius) == list(range(size // 2 + 1))
    for r in found.radius:
        means, squares = [np.mean(ring[r]) for ring in rings], [np.mean(np.square(ring[r])) for ring in rings]
        assert found.pixels[r] == len(rings[0][r])
        assert found.mean[r] == pytest.approx(np.mean(means), abs=1e-5)
        assert found.mean_error[r] == pytest.approx(np.std(means) / 2, abs=1e-5)
        assert found.excess[r] == pytest.approx(np.mean(squares) - 1 - 4 / outside, abs=1e-4)
        assert found.excess_error[r] == pytest.approx(np.std(squares) / 2, abs=1e-4)


@pytest.mark.parametrize("radius", [8, 14])
@pytest.mark.parametrize("more", [{}, {"strength": -0.5}, {"halo": 0.2}, {"strength": -0.5, "halo": -0.2}])
def test_radius_of_discs(radius, more):
    """Bright or dark, with or without a rim of the other sign."""
    found = suggest.particle_edge(profile_of(scene(radius, **more)))
    assert radius < found <= radius + 4
    suggested = suggest.suggested_radius(profile_of(scene(radius, **more)))
    assert found < suggested <= radius + 7


def test_radius_of_a_hollow_particle():
    items = scene(14, strength=0.6) - 20 * 0.6 * ball(BOX, 9, 2, 2)
    assert 14 < suggest.particle_edge(profile_of(items)) <= 18


def test_radius_by_the_power_where_the_mean_is_nothing():
    """Bright and dark particles alike: their mean is nothing, their power is not."""
    items = np.concatenate([scene(12, 300, strength=1.0), scene(12, 300, strength=-1.0, seed=1)])
    assert 10 <= suggest.particle_edge(profile_of(items)) <= 16


def test_radius_of_balls():
    assert 6 < suggest.particle_edge(profile_of(scene(6, 12, dimensions=3, size=24))) <= 10


def test_noise_has_no_radius():
    for seed in range(5):
        profile = profile_of(scene(10, strength=0.0, seed=seed))
        assert suggest.particle_edge(profile) is None and suggest.suggested_radius(profile) is None


def test_radius_stays_in_the_box():
    assert suggest.suggested_radius(profile_of(scene(23, offset=0))) == BOX // 2


@pytest.mark.parametrize("strength", [0.2, 0.5])
def test_signal_to_noise(strength):
    profile = profile_of(scene(14, 400, strength=strength, offset=0))
    assert suggest.signal_to_noise(profile, 12) == pytest.approx(strength**2, rel=0.1, abs=0.005)
    assert suggest.signal_to_noise(profile_of(scene(14, strength=0)), 12) < 0.01


def gratings(frequency, strength=0.6, count=200):
    """Noise with a wave of this frequency (1/px), in any direction, within a circle."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:BOX, :BOX] - BOX // 2
    items = rng.normal(0, 1, (count, BOX, BOX))
    for item in items:
        angle, phase = rng.uniform(0, 2 * np.pi, 2)
        wave = np.sin(2 * np.pi * frequency * (x * np.cos(angle) + y * np.sin(angle)) + phase)
        item += strength * wave * ball(BOX, 14, 4, 2)
    return items


def test_spectrum():
    """Of noise in noise, with a third of its power added within the circle: by the definition, bin after bin."""
    items = suggest.standardised(gratings(0.2, count=12))
    found = suggest.signal_spectrum(items, 14)
    mask = ball(BOX, 14, suggest.SOFT_EDGE, 2)
    powers = []
    for window in (mask, 1 - mask):
        transforms = np.abs(np.fft.fftn(items * window, axes=(1, 2))) ** 2 / (window**2).sum()
        k = np.fft.fftfreq(BOX) * BOX
        ring = np.rint(np.hypot(k[:, None], k))
        half = np.broadcast_to(np.arange(BOX) <= BOX // 2, ring.shape)
        powers.append([transforms[:, (ring == r) & half].mean() for r in range(2, BOX // 2 + 1)])
    np.testing.assert_allclose(found.ratio, np.divide(*powers) - 1, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.frequency, np.arange(2, BOX // 2 + 1) / BOX)


@pytest.mark.parametrize("cutoff", [0.12, 0.25])
def test_visible_frequency(cutoff):
    items = sum(gratings(frequency, 0.5) for frequency in np.arange(0.03, cutoff, 0.02)) / 3
    spectrum = suggest.signal_spectrum(suggest.standardised(items), 14)
    visible = suggest.visible_frequency(spectrum)
    assert cutoff - 0.05 <= visible <= cutoff + 0.05
    assert suggest.suggested_limit(spectrum) == pytest.approx(min(0.5, suggest.FINER * visible))


def test_nothing_visible_in_noise():
    for seed in range(5):
        spectrum = suggest.signal_spectrum(suggest.standardised(scene(10, strength=0.0, seed=seed)), 14)
        assert suggest.visible_frequency(spectrum) is None and suggest.suggested_limit(spectrum) is None


def test_no_spectrum_without_background():
    items = suggest.standardised(scene(10, 20) * ball(BOX, 12, 0, 2))
    assert suggest.signal_spectrum(items, 20) is None and suggest.suggested_limit(None) is None


@pytest.mark.parametrize("count, snr, rule, expected, why", [
    (937, 0.086, suggest.IMAGES, 4, "the average of 232 particles has a signal-to-noise ratio of about 20"),
    (3000, None, suggest.IMAGES, 10, "300 particles make a clear average"),
    (3000, 2.0, suggest.IMAGES, 30, "the average of 100 particles"),
    (3000, 0.001, suggest.IMAGES, 6, "the average of 500 particles"),
    (1000000, None, suggest.IMAGES, 50, "more than 50 classes are tedious"),
    (320, None, suggest.IMAGES, 2, "fewer than 2 classes nothing is told apart"),
    (80, None, suggest.IMAGES, 1, "with fewer than 50 particles an average stays noisy"),
    (3, None, suggest.IMAGES, 1, "noisy"),
    (937, 0.086, suggest.MANY, 16, "the average of 58 particles has a signal-to-noise ratio of about 5"),
    (120, None, suggest.MANY, 2, "50 particles make a clear average"),
    (400, 0.2, suggest.VOLUMES, 4, "the average of 100 subtomograms"),
    (45, None, suggest.VOLUMES, 2, "fewer than 2 classes"),
    (5000, None, suggest.VOLUMES, 10, "more than 10 classes"),
])
def test_classes(count, snr, rule, expected, why):
    found, sentence = suggest.suggested_classes(count, snr, rule)
    assert found == expected and why in sentence and sentence.startswith(f"{found} of {count} ")


@pytest.mark.parametrize("resolution, diameter", [(20, 120), (10, 300), (3, 200)])
def test_angular_step(resolution, diameter):
    step = np.deg2rad(suggest.angular_step(resolution, diameter))
    rim = diameter / 2 * np.array([[1, 0], [np.cos(step), np.sin(step)]])
    assert np.linalg.norm(rim[1] - rim[0]) == pytest.approx(resolution / 2)
    assert suggest.angular_step(300, 100) == 180


@pytest.mark.parametrize("step, rounded", [
    (9.56, 9.5), (9.8, 10), (2.0, 2.0), (0.97, 1.0), (0.93, 0.9), (0.01, 0.1), (180, 45)])
def test_round_step(step, rounded):
    assert suggest.round_step(step) == pytest.approx(rounded)


def test_counts():
    assert suggest.rotations(5) == 72 and suggest.rotations(500) == 1
    for step in (20, 15, 10):
        assert suggest.orientations(step) == len(directions(step)) * round(360 / step)
    assert suggest.orientations(10, 5) == 2 * suggest.orientations(10)
