"""simulate_tomo: the subtomograms are what their truth says they are."""
import mrcfile
import numpy as np
import pytest
from scipy import ndimage

from mlalign.programs.engine.missing import Region
from mlalign.programs.formats.mrc import read_volume
from mlalign.programs.formats.star import read_star
from mlalign.programs.formats.volumes import open_volumes
from mlalign.programs.geometry3d import angular_distance, rotation_matrix
from mlalign.programs.missing_regions import read_regions, write_regions
from mlalign.programs.phantoms3d import phantoms3d
from mlalign.programs.simulate_tomo import main
from mlalign.programs.simulation import normalised
from mlalign.programs.simulation_tomo import particles3d, truth3d

ANGLES, SHIFTS = ("angleRot", "angleTilt", "anglePsi"), ("shiftX", "shiftY", "shiftZ")
SIZE = 32


def simulated(folder, *options):
    """The particles' source, the truth and the references of a simulation with these options."""
    main([*map(str, options), "-o", f"{folder}/sim_"])
    truth = read_star(f"{folder}/sim_truth.xmd")["particles"]
    return open_volumes(f"{folder}/sim_particles.xmd"), truth, open_volumes(f"{folder}/sim_references.mrcs")


def sphere(size, radius):
    z, y, x = np.mgrid[:size, :size, :size] - size // 2
    return x**2 + y**2 + z**2 <= radius**2


def aligned(volume, rotation, shift):
    """The particle brought to its reference's frame: value at p_ref is that of the particle at A^T p_ref - shift."""
    size = len(volume)
    z, y, x = np.mgrid[:size, :size, :size] - size // 2
    points = rotation.T @ np.stack([x.ravel(), y.ravel(), z.ravel()]) - np.reshape(shift, (3, 1)) + size // 2
    return ndimage.map_coordinates(volume, points[::-1], order=3).reshape(volume.shape)


def spectrum(volume):
    """The Fourier transform, and where in it frequencies are not on a Nyquist plane."""
    k = 2 * np.pi * np.fft.fftfreq(len(volume))
    kz, ky, kx = np.meshgrid(k, k, k, indexing="ij")
    return np.fft.fftn(volume), (kx, ky, kz), np.maximum(np.maximum(abs(kx), abs(ky)), abs(kz)) < 3.1


@pytest.mark.parametrize("stack", [(), ("--stack",)])
def test_the_pose_brings_a_particle_onto_its_reference(tmp_path, stack):
    source, truth, references = simulated(tmp_path, "-n", 6, "--snr", 1e8, "--no_wedge", "--voxel_size", 7, *stack)
    assert (source.count, source.size, source.pixel_size) == (6, SIZE, 7)
    assert (references.count, references.pixel_size) == (2, 7)
    assert "missingRegionNumber" not in source.metadata and not (tmp_path / "sim_missing.xmd").exists()
    assert (tmp_path / "sim_particles.mrcs").exists() == bool(stack)
    rotations = rotation_matrix(*(truth[label] for label in ANGLES))
    shifts = np.stack([truth[label] for label in SHIFTS], 1)
    assert np.abs(shifts).max() > 1
    inside = sphere(SIZE, SIZE / 2 - 3)
    for ref, rotation, shift, volume in zip(truth["ref"], rotations, shifts, source.read(slice(None))):
        found, expected = aligned(volume, rotation, shift), references.read([ref - 1])[0]
        assert np.corrcoef(found[inside], expected[inside])[0, 1] > 0.98
        assert np.corrcoef(volume[inside], expected[inside])[0, 1] < 0.9
    for ref in (1, 2):
        assert (read_volume(f"{tmp_path}/sim_reference{ref:06d}.mrc")[0] == references.read([ref - 1])[0]).all()


def test_references_have_the_snr_within_the_sphere(tmp_path):
    _, _, references = simulated(tmp_path, "-n", 1, "--snr", 0.3, "--phantoms", 3)
    volumes = references.read(slice(None))
    np.testing.assert_allclose(volumes[:, sphere(SIZE, SIZE / 2)].var(1, dtype=float), 0.3, rtol=1e-5)
    assert np.abs(volumes[:, ~sphere(SIZE, SIZE / 2)]).max() == 0


def test_the_noise_fills_what_is_observed_and_nothing_else(tmp_path):
    source, truth, _ = simulated(tmp_path, "-n", 4, "--snr", 1e-6, "--wedge", -40, 60)
    region = read_regions(tmp_path / "sim_missing.xmd")[1]
    assert (region.kind, region.y) == ("wedge_y", (-40, 60))
    assert (source.metadata["missingRegionNumber"] == 1).all() and (truth["missingRegionNumber"] == 1).all()
    for volume in source.read(slice(None)):
        transform, k, whole = spectrum(volume)
        seen = region.observed(*k) > 0
        power = np.abs(transform)**2 / volume.size
        assert power[whole & ~seen].max() < 1e-10
        assert power[whole & seen].mean() == pytest.approx(1, abs=0.05)
        assert 0.5 < seen[whole].mean() < 0.6


def test_noise_everywhere_leaves_the_signal_alone_out(tmp_path):
    poses = truth3d(np.random.default_rng(0), 2, 1, 1.0, [1])
    references, regions = normalised(phantoms3d(1, SIZE), 10), {1: Region(1, "wedge_y", y=(-60, 60))}

    def particles(rng, **options):
        return np.stack(list(particles3d(references, poses, regions, np.random.default_rng(rng), **options)))

    transform, k, whole = spectrum(particles(1, noise_everywhere=True)[0])
    missing = whole & (regions[1].observed(*k) == 0)
    assert (np.abs(transform)**2)[missing].mean() / SIZE**3 == pytest.approx(1, abs=0.05)
    # the noise is the same; what differs is that in the missing region
    rest = np.fft.fftn(particles(1)[0]) - transform
    assert np.abs(rest[whole & ~missing]).max() < 1e-2 < np.abs(rest[missing]).mean()


def test_every_particle_gets_a_region_of_the_table(tmp_path):
    regions = {4: Region(4, "wedge_x", x=(-50, 50)), 2: Region(2, "wedge_y", y=(-60, 50))}
    write_regions(tmp_path / "regions.xmd", regions)
    source, truth, _ = simulated(tmp_path, "-n", 40, "--missing", tmp_path / "regions.xmd", "--box", 16)
    numbers = source.metadata["missingRegionNumber"]
    assert set(numbers) == {2, 4} and 10 < (numbers == 2).sum() < 30
    np.testing.assert_array_equal(numbers, truth["missingRegionNumber"])
    assert read_regions(tmp_path / "sim_missing.xmd").keys() == regions.keys()
    for number, volume in zip(numbers, source.read(slice(None))):
        transform, k, whole = spectrum(volume)
        power = np.abs(transform)**2
        assert power[whole & (regions[number].observed(*k) == 0)].max() < 1e-6 * power.mean()
        assert power[whole & (regions[6 - number].observed(*k) == 0)].mean() > 0.1 * power.mean()


def test_truth_is_distributed_as_asked():
    poses = truth3d(np.random.default_rng(0), 20000, 4, offset=3, numbers=[5, 9])
    assert np.all(np.abs(np.bincount(poses["ref"])[1:] / 20000 - 0.25) < 0.015)
    assert (poses["missingRegionNumber"] == 5).mean() == pytest.approx(0.5, abs=0.015)
    for label in SHIFTS:
        assert poses[label].std() == pytest.approx(3, rel=0.03) and abs(poses[label].mean()) < 0.1
    # every entry of a uniformly random rotation has mean 0 and variance 1/3
    rotations = rotation_matrix(*(poses[label] for label in ANGLES))
    assert np.abs(rotations.mean(0)).max() < 0.02 and np.abs(rotations.var(0) - 1 / 3).max() < 0.02


def test_starting_angles_are_off_by_what_was_asked(tmp_path):
    source, truth, _ = simulated(tmp_path, "-n", 12, "--box", 16, "--misaligned", 15)
    start, true = (rotation_matrix(*(table[label] for label in ANGLES)) for table in (source.metadata, truth))
    np.testing.assert_allclose(angular_distance(start, true), 15, atol=1e-6)
    axes = [(a @ b.T)[[2, 0, 1], [1, 2, 0]] - (a @ b.T)[[1, 2, 0], [2, 0, 1]] for a, b in zip(start, true)]
    assert np.std(axes, axis=0).min() > 0.1
    assert "shiftX" not in source.metadata
    plain, _, _ = simulated(tmp_path, "-n", 2, "--box", 16)
    assert "angleRot" not in plain.metadata


def test_the_seed_decides_everything(tmp_path):
    for name, seed in (("a", 4), ("b", 4), ("c", 5)):
        main(["-n", "3", "--box", "16", "--misaligned", "5", "--seed", str(seed), "-o", f"{tmp_path}/{name}/"])
    for file in ("particles/000002.mrc", "particles.xmd", "truth.xmd"):
        a, b, c = ((tmp_path / name / file).read_bytes() for name in "abc")
        assert a == b != c


def test_maps_become_references(tmp_path):
    volume = np.zeros((24, 24, 24), np.float32)
    volume[8:16, 6:12, 10:14] = 1
    for name, voxel in (("fine.mrc", 4), ("coarse.mrc", 5)):
        with mrcfile.new(tmp_path / name, ndimage.gaussian_filter(volume, 1.5)) as mrc:
            mrc.voxel_size = voxel
    maps = "--maps", tmp_path / "fine.mrc", tmp_path / "coarse.mrc"
    source, truth, references = simulated(tmp_path, "-n", 8, "--box", 24, *maps)
    assert source.pixel_size == 5 and set(truth["ref"]) == {1, 2}
    fine, coarse = references.read(slice(None))
    place = ndimage.center_of_mass(coarse)
    np.testing.assert_allclose(place, 12, atol=0.05)
    sizes = [(reference > 0.5 * reference.max()).sum() for reference in (fine, coarse)]
    assert sizes[1] / sizes[0] == pytest.approx((5 / 4)**3, rel=0.1)


@pytest.mark.parametrize("arguments, words", [
    (["--maps", "none.mrc"], ["none.mrc"]),
    (["--maps", "flat.mrc", "--box", "12"], ["flat.mrc", "--box", "--voxel_size"]),
    (["--maps", "no_size.mrc"], ["no_size.mrc", "voxel size"]),
    (["--maps", "zero.mrc"], ["zero.mrc", "positive sum"]),
    (["--phantoms", "13"], ["--phantoms", "1 to 12"]),
    (["--phantoms", "1", "--maps", "flat.mrc"], ["--maps", "--phantoms"]),
    (["--wedge", "60", "-60"], ["--wedge 60 -60", "lower tilt first"]),
    (["--wedge", "-60", "60", "--no_wedge"], ["--no_wedge", "--wedge"]),
    (["--wedge", "-100", "60"], ["--wedge", "-90 to 90"]),
    (["--missing", "nowhere.xmd"], ["nowhere.xmd"]),
    (["--snr", "0"], ["--snr", "more than 0"]),
])
def test_a_user_s_mistake_is_one_line(tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    ones = np.pad(np.ones((16, 16, 16), np.float32), 4)
    mrcfile.write("flat.mrc", ones, voxel_size=5)
    mrcfile.write("no_size.mrc", ones)
    mrcfile.write("zero.mrc", np.zeros_like(ones), voxel_size=5)
    with pytest.raises(SystemExit) as stop:
        main([*arguments, "-n", "2"])
    assert stop.value.code == 2
    message = capsys.readouterr().err.strip()
    assert "\n" not in message and all(word in message for word in words)
    assert not list(tmp_path.glob("simulated_*"))
