"""simulate: CTFs, phase flipping, coloured noise and images without a particle."""
import mrcfile
import numpy as np
import pytest

from mlalign.programs.engine.ctf import Ctf
from mlalign.programs.formats.metadata import read_metadata
from mlalign.programs.formats.star import read_star
from mlalign.programs.imaging import ColouredNoise, Microscope, random_ctfs
from mlalign.programs.phantoms import Placer, phantoms
from mlalign.programs.simulate import main
from mlalign.programs.simulation import Imaging, normalised, particles, truth

CTF = "ctfDefocusU", "ctfDefocusV", "ctfDefocusAngle", "ctfVoltage", "ctfSphericalAberration", "ctfQ0", "ctfPhaseShift"
LOUD = "1e10"         # an SNR at which the noise is nothing


class Simulated:
    """What simulate makes of ``options``."""

    def __init__(self, folder, *options):
        main([*" ".join(map(str, options)).split(), "-o", f"{folder}/"])
        self.images = mrcfile.read(folder / "particles.mrcs")
        self.references = mrcfile.read(folder / "references.mrcs")
        self.truth = read_star(folder / "truth.xmd")["particles"]
        self.folder = folder

    def signal(self, row):
        """The particle without CTF and noise."""
        pose = (self.truth[label][row] for label in ("anglePsi", "shiftX", "shiftY", "flip"))
        return self.truth["intScale"][row] * Placer(self.references)(self.truth["ref"][row] - 1, *pose)

    def ctf(self, row, size):
        """The CTF (size, size) in fft2's order, from the columns of the truth."""
        k = np.fft.fftfreq(size, self.truth["samplingRate"][row])
        ky, kx = np.meshgrid(k, k, indexing="ij")
        return obvious_ctf(kx, ky, *(self.truth[label][row] for label in CTF))


@pytest.fixture
def simulated(tmp_path):
    count = iter(range(10))
    return lambda *options: Simulated(tmp_path / str(next(count)), *options)


def obvious_ctf(kx, ky, u, v, angle, kilovolts, cs, q0, phase_shift):
    turn, volts = np.deg2rad(angle), 1e3 * kilovolts
    along, across = kx * np.cos(turn) + ky * np.sin(turn), ky * np.cos(turn) - kx * np.sin(turn)
    length = 12.2643 / np.sqrt(volts + 0.97845e-6 * volts**2)
    waves = np.pi * length * (u * along**2 + v * across**2) - np.pi / 2e-7 * cs * length**3 * (kx**2 + ky**2)**2
    return np.sin(waves + np.deg2rad(phase_shift) + np.arcsin(q0))


def circle(size):
    y, x = np.mgrid[:size, :size] - size // 2
    return x**2 + y**2 <= (size / 2)**2


# ---- the CTF

@pytest.mark.parametrize("options", [
    "--defocus 25000 28000 --astigmatism 900 --pixel_size 1.5 --mirror --contrast 0.3",
    "--defocus 9000 9000 --voltage 200 --cs 2 --q0 0.2 --phase_shift 70 --micrographs 2",
])
def test_an_image_shows_its_reference_behind_its_ctf(simulated, options):
    # In a box of 1024 px no wave comes back on the other side.
    data = simulated(options, "--views 2 -n 6 --box 40 --snr", LOUD)
    for row, image in enumerate(data.images):
        wide = np.fft.ifft2(np.fft.fft2(data.signal(row), (1024, 1024)) * data.ctf(row, 1024)).real[:40, :40]
        assert np.abs(image - wide).max() < 5e-3 * wide.std()
        boxed = np.fft.ifft2(np.fft.fft2(data.signal(row)) * data.ctf(row, 40)).real
        assert np.abs(image - boxed).max() > 0.02 * wide.std()


def test_metadata_tells_of_the_ctf(simulated):
    data = simulated("--defocus 9000 28000 --astigmatism 900 --voltage 200 --cs 2 --q0 0.2 --phase_shift 30 -n 300",
                     "--box 16 --pixel_size 2")
    for label, value in (("ctfVoltage", 200), ("ctfSphericalAberration", 2), ("ctfQ0", 0.2), ("ctfPhaseShift", 30),
                         ("samplingRate", 2)):
        assert np.all(data.truth[label] == value)
    u, v, angle = (data.truth[label] for label in CTF[:3])
    for values, low, high in (((u + v) / 2, 9000, 28000), (u - v, 0, 900), (angle, 0, 180)):
        assert low <= values.min() < low + 0.1 * (high - low) and high - 0.1 * (high - low) < values.max() <= high
    relion = read_metadata(data.folder / "particles.star")
    for label in (*CTF, "samplingRate"):
        np.testing.assert_array_equal(relion[label], data.truth[label])


def test_without_astigmatism_there_is_none(simulated):
    data = simulated("--defocus 9000 28000 -n 20 --box 16")
    np.testing.assert_array_equal(data.truth["ctfDefocusU"], data.truth["ctfDefocusV"])
    assert len(set(data.truth["ctfDefocusU"])) == 20
    assert "micrograph" not in data.truth


def test_particles_of_a_micrograph_share_its_ctf(simulated):
    data = simulated("--defocus 9000 28000 --astigmatism 900 -n 20 --box 16 --micrographs 3")
    ctfs = {(name, *values) for name, *values in zip(data.truth["micrograph"], *(data.truth[label] for label in CTF))}
    assert len(ctfs) == len(set(data.truth["ctfDefocusU"])) == 3
    names, counts = np.unique(data.truth["micrograph"], return_counts=True)
    assert len(names) == 3 and counts.min() >= 6
    relion = read_metadata(data.folder / "particles.star")
    np.testing.assert_array_equal(relion["micrograph"], data.truth["micrograph"])


@pytest.mark.parametrize("angle", [0, 30, 120])
def test_a_point_is_smeared_most_along_the_angle_of_the_larger_defocus(angle):
    ctf = Ctf(*(np.array([value], float) for value in (30000, 5000, angle, 300, 2.7, 0.1, 0)))
    point = np.zeros((97, 97), np.float32)
    point[48, 48] = 1
    power = np.square(Microscope(ctf, 97, 4.0)(point, 0), dtype=float)
    y, x = np.mgrid[:97, :97] - 48
    moments = [[(x * x * power).sum(), (x * y * power).sum()], [(x * y * power).sum(), (y * y * power).sum()]]
    widths, axes = np.linalg.eigh(moments)
    assert widths[1] > 5 * widths[0]
    off = np.rad2deg(np.arctan2(axes[1, 1], axes[0, 1])) - angle
    assert abs((off + 90) % 180 - 90) < 2


def test_the_snr_is_that_of_the_images_behind_the_ctf(simulated):
    data = simulated("--defocus 9000 28000 --views 3 -n 60 --box 32 --contrast 0.5 --snr", LOUD)
    variances = data.images[:, circle(32)].var(1) / data.truth["intScale"]**2
    assert variances.mean() == pytest.approx(float(LOUD), rel=1e-3)
    # One scale for all: the references keep the equal contrast that they have without a CTF.
    before = data.references[:, circle(32)].var(1)
    assert before.std() < 1e-4 * before.mean() and before.mean() > 1.5 * float(LOUD)


def test_the_snr_of_a_large_set_is_measured_on_a_part_of_it(simulated, monkeypatch):
    monkeypatch.setattr("mlalign.programs.simulation.MEASURED", 50)
    data = simulated("--defocus 9000 28000 --views 3 -n 400 --box 16 --snr", LOUD)
    assert data.images[:, circle(16)].var(1).mean() == pytest.approx(float(LOUD), rel=0.1)


def test_flipping_phases_makes_the_ctf_positive(simulated):
    options = "--defocus 9000 28000 --astigmatism 900 -n 5 --box 31 --noise_fall 8 --outliers 0.2 --seed 3"
    plain, flipped = simulated(options), simulated(options, "--phase_flip")
    assert plain.truth.columns.keys() == flipped.truth.columns.keys()
    for row in range(5):
        expected = np.fft.ifft2(np.fft.fft2(plain.images[row]) * np.sign(plain.ctf(row, 31))).real
        np.testing.assert_allclose(flipped.images[row], expected, atol=1e-4)


# ---- the noise

def test_coloured_noise_has_the_spectrum_that_is_written(simulated):
    data = simulated("--outliers 1 --outlier_noise 1 --noise_fall 10 -n 4000 --box 32")
    assert data.images.mean() == pytest.approx(0, abs=0.01)
    assert data.images.var() == pytest.approx(1, abs=0.01)
    power = np.mean(np.abs(np.fft.fft2(data.images))**2, axis=0) / 32**2
    k = np.fft.fftfreq(32)
    radius = np.rint(32 * np.hypot(k[:, None], k)).astype(int)
    found = np.array([power[radius == shell].mean() for shell in range(17)])
    written = read_star(data.folder / "noise.xmd")["ctf000001"]
    np.testing.assert_allclose(written["resolutionFreqFourier"], np.arange(17) / 32)
    np.testing.assert_allclose(found[1:], written["mlfNoise"][1:], rtol=0.03)
    assert found[0] == pytest.approx(written["mlfNoise"][0], rel=0.1)       # 4000 numbers tell no more
    assert written["mlfNoise"][1] / written["mlfNoise"][16] == pytest.approx(10, rel=0.2)
    assert np.all(np.diff(written["mlfNoise"]) < 0)


def test_coloured_noise_is_alike_everywhere_and_does_not_wrap_around():
    noise, rng = ColouredNoise(15, 24), np.random.default_rng(0)
    images = np.stack([noise(rng) for _ in range(4000)])
    np.testing.assert_allclose(images.var(0), 1, atol=0.12)
    neighbours = np.mean(images[:, :, :-1] * images[:, :, 1:])
    assert neighbours > 0.2
    for first, last in ((images[:, 0], images[:, -1]), (images[:, :, 0], images[:, :, -1])):
        assert abs(np.mean(first * last)) < 0.02


def test_a_fall_of_one_is_white():
    _, spectrum = ColouredNoise(1, 20).spectrum()
    np.testing.assert_allclose(spectrum, 1)


# ---- images without a particle

def test_outliers_are_strong_noise_without_a_class(simulated):
    options = "--views 3 --box 24 -n 200 --snr 5 --defocus 9000 28000"
    plain, mixed = simulated(options), simulated(options, "--outliers 0.1 --outlier_noise 7")
    outliers = mixed.truth["ref"] == 0
    assert outliers.sum() == 20
    np.testing.assert_array_equal(mixed.truth["intScale"] == 0, outliers)
    assert mixed.images[outliers].std() == pytest.approx(7, rel=0.03)
    assert abs(np.fft.fft2(mixed.images[outliers]).mean(0)).max() / 24 < 7
    np.testing.assert_array_equal(mixed.images[~outliers], plain.images[~outliers])
    assert np.all(np.diff(np.flatnonzero(outliers)) < 60)           # all over the set


# ---- all of it

EVERYTHING = "--defocus 9000 28000 --astigmatism 900 --noise_fall 9 --phase_flip --outliers 0.1 --mirror"


def test_the_seed_decides_everything(simulated):
    a, b, c = (simulated(EVERYTHING, "-n 20 --box 16 --seed", seed) for seed in (1, 1, 2))
    for name in ("particles.mrcs", "references.mrcs", "truth.xmd", "particles.star"):
        first, again, other = ((data.folder / name).read_bytes() for data in (a, b, c))
        assert first == again and first != other


def test_chunks_do_not_change_the_images():
    references, count = normalised(phantoms(3, 16), 0.1), 25
    poses = truth(np.random.default_rng(0), count, 3)
    poses["ref"][4] = 0
    ctfs = random_ctfs(np.random.default_rng(1), count, (9000, 28000), 900)
    imaging = Imaging(Microscope(ctfs, 16, 5.0), ColouredNoise(9, 16), flip=True, outlier_noise=10)
    once, often = (np.concatenate(list(particles(references, poses, np.random.default_rng(1), chunk, imaging)))
                   for chunk in (25, 4))
    np.testing.assert_array_equal(once, often)


def test_without_these_options_white_noise_is_added_and_nothing_else(simulated):
    data = simulated("--views 2 -n 8 --box 20 --seed 5")
    noise = np.random.default_rng([5, 2]).standard_normal((8, 20, 20), dtype=np.float32)
    expected = noise + np.stack([data.signal(row) for row in range(8)])
    np.testing.assert_allclose(data.images, expected, atol=1e-5)
    np.testing.assert_allclose(data.references, normalised(phantoms(2, 20), 0.1), atol=1e-6)
    assert not any(label.startswith("ctf") for label in data.truth.columns)
    assert sorted(path.name for path in data.folder.iterdir()) == [
        "particles.mrcs", "particles.star", "references.mrcs", "truth.xmd"]


@pytest.mark.parametrize("options, words", [
    ("--defocus 28000 9000", ["--defocus", "lower"]),
    ("--defocus 0.9 2.8", ["--defocus", "at least 100"]),
    ("--phase_flip", ["--phase_flip", "--defocus"]),
    ("--astigmatism 900", ["--astigmatism", "--defocus"]),
    ("--phase_shift 90", ["--phase_shift", "--defocus"]),
    ("--micrographs 5", ["--micrographs", "--defocus"]),
    ("--noise_fall 0.5", ["--noise_fall", "at least 1"]),
    ("--outliers 1.5", ["--outliers", "0 to 1"]),
    ("--voltage 0", ["--voltage", "more than 0"]),
    ("--q0 2", ["--q0", "0 to 1"]),
])
def test_a_user_s_mistake_is_one_line(simulated, capsys, tmp_path, options, words):
    with pytest.raises(SystemExit) as stop:
        simulated(options, "-n 2")
    assert stop.value.code == 2
    message = capsys.readouterr().err.strip()
    assert "\n" not in message and all(word in message for word in words)
    assert not list(tmp_path.rglob("*.mrcs"))
