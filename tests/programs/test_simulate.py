"""simulate: the images are what its truth says they are."""
import mrcfile
import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from mlalign.programs.formats.images import open_images
from mlalign.programs.formats.metadata import read_metadata
from mlalign.programs.formats.star import read_star
from mlalign.programs.phantoms import Placer, phantoms, projections
from mlalign.programs.simulate import main
from mlalign.programs.simulation import normalised, particles, truth

CENTRES = np.array([[7.0, -3.0], [-5.0, 9.0], [2.0, 11.0]])        # (x, y) from the origin
HEIGHTS, WIDTH = np.array([1.0, 0.7, 0.4]), 2.5


def gaussians(size, centres):
    """An image (size, size) of three Gaussian spots; their centres (3, 2) are in px from the origin."""
    y, x = np.mgrid[:size, :size] - size // 2
    return sum(height * np.exp(-((x - cx)**2 + (y - cy)**2) / (2 * WIDTH**2))
               for height, (cx, cy) in zip(HEIGHTS, centres))


def move(points, psi, x, y, flip):
    """r_ref = M r + shift, written out: points (n, 2)."""
    c, s = np.cos(np.deg2rad(psi)), np.sin(np.deg2rad(psi))
    sign = -1 if flip else 1
    column, row = points.T
    return np.stack([sign * (c * column + s * row) + x, -s * column + c * row + y], 1)


def aligned(image, psi, x, y, flip):
    """The image brought to its reference's frame, pixel by pixel backwards through :func:`move`."""
    size = len(image)
    rows, columns = np.mgrid[:size, :size] - size // 2
    zero = move(np.zeros((1, 2)), psi, x, y, flip)
    matrix = (move(np.eye(2), psi, x, y, flip) - zero).T
    source = np.linalg.solve(matrix, np.stack([columns.ravel(), rows.ravel()]) - zero.T) + size // 2
    return ndimage.map_coordinates(image, source[::-1], order=3).reshape(size, size)


@pytest.mark.parametrize("size", [64, 61])
@pytest.mark.parametrize("pose", [(0, 0, 0, 0), (90, 0, 0, 0), (33.3, 4.2, -1.7, 0), (33.3, 4.2, -1.7, 1),
                                  (250, -6, 0.5, 1)])
def test_a_particle_shows_its_reference_where_the_pose_says(size, pose):
    # The particle's spots are those points that the pose carries onto the reference's.
    zero = move(np.zeros((1, 2)), *pose)
    matrix = (move(np.eye(2), *pose) - zero).T
    spots = np.linalg.solve(matrix, (CENTRES - zero).T).T
    found = Placer(gaussians(size, CENTRES)[None])(0, *pose)
    np.testing.assert_allclose(found, gaussians(size, spots), atol=1e-3)


def test_what_leaves_the_box_does_not_come_back():
    found = Placer(gaussians(64, CENTRES)[None])(0, 0, -60, 0, 0)
    assert np.abs(found).max() < 1e-4


def test_particles_are_normalised_to_the_snr():
    references = normalised(phantoms(2, 64) * 37 + 5, 0.2)
    y, x = np.mgrid[:64, :64] - 32
    disk = x**2 + y**2 <= 32**2
    np.testing.assert_allclose(references[:, disk].var(1), 0.2)
    assert np.abs(references[:, ~disk]).max() == 0
    poses = truth(np.random.default_rng(0), 60, 2)
    images = np.concatenate(list(particles(references, poses, np.random.default_rng(1))))
    place = Placer(references)
    clean = np.stack([place(ref - 1, *rest) for ref, *rest in
                      zip(*(poses[label] for label in ("ref", "anglePsi", "shiftX", "shiftY", "flip")))])
    noise = images - clean
    assert abs(noise.mean()) < 0.01 and abs(noise.std() - 1) < 0.01
    assert clean.var(axis=(1, 2)).mean() / 0.2 == pytest.approx(disk.mean(), rel=0.2)


def test_chunks_do_not_change_the_images():
    references = normalised(phantoms(3, 32), 0.1)
    poses = truth(np.random.default_rng(0), 25, 3, mirror=True, contrast=0.3)
    once, often = (np.concatenate(list(particles(references, poses, np.random.default_rng(1), chunk)))
                   for chunk in (25, 4))
    np.testing.assert_array_equal(once, often)


def test_truth_is_distributed_as_asked():
    poses = truth(np.random.default_rng(0), 20000, 4, offset=3, mirror=True, contrast=0.2)
    assert np.all(np.abs(np.bincount(poses["ref"])[1:] / 20000 - 0.25) < 0.015)
    assert poses["shiftX"].std() == pytest.approx(3, rel=0.03)
    assert poses["shiftY"].std() == pytest.approx(3, rel=0.03)
    assert poses["flip"].mean() == pytest.approx(0.5, abs=0.02)
    assert np.abs(np.exp(1j * np.deg2rad(poses["anglePsi"])).mean()) < 0.02
    assert np.log(poses["intScale"]).std() == pytest.approx(0.2, rel=0.03)
    assert not truth(np.random.default_rng(0), 100, 4)["flip"].any()


def test_files_agree_with_each_other(tmp_path):
    root = f"{tmp_path}/new/sim_"
    main(["--views", "3", "-n", "40", "--snr", "20", "--mirror", "--contrast", "0.2", "--pixel_size", "2.5",
          "-o", root])
    source = open_images(root + "particles.star")
    assert (source.count, source.size, source.pixel_size) == (40, 64, 2.5)
    rows = read_metadata(root + "truth.xmd")
    references = mrcfile.read(root + "references.mrcs")
    np.testing.assert_array_equal(rows["itemId"], np.arange(1, 41))
    labels = "ref", "anglePsi", "shiftX", "shiftY", "flip", "intScale"
    columns = (rows[label] for label in labels)
    for image, ref, psi, x, y, flip, scale in zip(source.read(slice(None)), *columns):
        expected = scale * references[ref - 1]
        assert np.corrcoef(aligned(image, psi, x, y, flip).ravel(), expected.ravel())[0, 1] > 0.95


def test_the_star_file_is_relion_3_1(tmp_path):
    main(["-n", "3", "--box", "32", "-o", f"{tmp_path}/"])
    blocks = read_star(tmp_path / "particles.star")
    assert list(blocks) == ["optics", "particles"]
    assert blocks["optics"]["rlnImageSize"][0] == 32 and blocks["optics"]["rlnImagePixelSize"][0] == 3
    assert blocks["particles"]["rlnImageName"][2] == "000003@particles.mrcs"


def test_the_seed_decides_everything(tmp_path):
    for name, seed in (("a", 4), ("b", 4), ("c", 5)):
        main(["-n", "5", "--box", "32", "--seed", str(seed), "-o", f"{tmp_path}/{name}/"])
    for file in ("particles.mrcs", "truth.xmd"):
        a, b, c = ((tmp_path / name / file).read_bytes() for name in "abc")
        assert a == b != c


def test_phantoms_differ_from_each_other_and_from_their_mirror_images():
    images = phantoms(20, 32)
    radii, angles = np.arange(1, 16)[:, None], np.deg2rad(np.arange(0, 360, 6))

    def polar(image, x=0, y=0):
        where = 16 + y + radii * np.sin(angles), 16 + x + radii * np.cos(angles)
        rings = ndimage.map_coordinates(image, where, order=1)
        rings = rings - (rings * radii).sum() / (radii.sum() * len(angles))
        return rings / np.sqrt((rings**2 * radii).sum())

    left = np.fft.fft(np.stack([polar(image) * radii for image in images]))
    shifts = [(x, y) for x in range(-4, 5, 2) for y in range(-4, 5, 2)]
    moved = np.stack([[polar(image, x, y) for x, y in shifts] for image in images])
    plain, mirrored = np.fft.fft(moved), np.fft.fft(moved[..., ::-1])

    def best(first, second):
        return np.fft.ifft((left[first] * second.conj()).sum(1)).real.max()

    for i in range(20):
        assert best(i, plain[i]) > 0.99
        assert best(i, mirrored[i]) < 0.86
        for j in range(i):
            assert max(best(i, plain[j]), best(i, mirrored[j])) < 0.8


def test_projections_are_line_integrals():
    # Gaussian balls in a box that is not cubic: their projections are Gaussian spots, whose places are known.
    shape, voxel, pixel = (40, 48, 44), 2.0, 3.0
    balls = np.array([[6.0, -4, 5], [-7.0, 2, -3], [0.0, 9, 1]])      # (x, y, z) from the origin
    # The views turn about the centre of mass.
    balls -= HEIGHTS @ balls / HEIGHTS.sum()
    z, y, x = np.meshgrid(*(np.arange(n) - n // 2 for n in shape), indexing="ij")
    volume = sum(height * np.exp(-((x - a)**2 + (y - b)**2 + (z - c)**2) / (2 * WIDTH**2))
                 for height, (a, b, c) in zip(HEIGHTS, balls + np.array([2, -1, 3])))
    found = projections(volume, voxel, 3, 32, pixel, np.random.RandomState(5))
    for image, rotation in zip(found, Rotation.random(3, random_state=np.random.RandomState(5)).as_matrix()):
        centres = (balls @ rotation)[:, :2] * voxel / pixel
        row, column = np.mgrid[:32, :32] - 16
        width2 = 2 * (WIDTH * voxel / pixel)**2
        expected = sum(height * np.exp(-((column - a)**2 + (row - b)**2) / width2)
                       for height, (a, b) in zip(HEIGHTS, centres))
        expected *= image.sum() / expected.sum()
        np.testing.assert_allclose(image, expected, atol=1e-3 * expected.max())


def test_maps_become_references(tmp_path):
    volume = np.zeros((24, 24, 24), np.float32)
    volume[8:16, 6:12, 10:14] = 1
    with mrcfile.new(tmp_path / "map.mrc", ndimage.gaussian_filter(volume, 1)) as mrc:
        mrc.voxel_size = 4
    main(["--maps", f"{tmp_path}/map.mrc", "--views_per_map", "3", "-n", "4", "--box", "24",
          "-o", f"{tmp_path}/"])
    references = mrcfile.read(tmp_path / "references.mrcs")
    assert references.shape == (3, 24, 24)
    assert open_images(tmp_path / "particles.star").pixel_size == 4
    correlation = np.corrcoef(references.reshape(3, -1))
    assert correlation[0, 1] < 0.99 and correlation[0, 2] < 0.99


def test_a_stack_becomes_references(tmp_path):
    with mrcfile.new(tmp_path / "refs.mrcs", (10 + phantoms(4, 40)).astype(np.float32)) as mrc:
        mrc.voxel_size = 1.5
    main(["--refs", str(tmp_path / "refs.mrcs"), "-n", "4", "--snr", "0.5", "-o", f"{tmp_path}/"])
    found, expected = mrcfile.read(tmp_path / "references.mrcs"), normalised(phantoms(4, 40), 0.5)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert open_images(tmp_path / "particles.star").pixel_size == pytest.approx(1.5)


@pytest.mark.parametrize("arguments, words", [
    (["--refs", "none.mrcs"], ["none.mrcs"]),
    (["--refs", "flat.mrcs"], ["flat.mrcs", "constant"]),
    (["--refs", "wide.mrcs"], ["wide.mrcs", "square"]),
    (["--refs", "good.mrcs", "--box", "32"], ["good.mrcs", "--box"]),
    (["--maps", "ball.mrc", "--box", "16"], ["ball.mrc", "--box", "--pixel_size"]),
    (["--maps", "good.mrcs"], ["good.mrcs", "3-D map"]),
    (["--snr", "0"], ["--snr", "more than 0"]),
    (["--views", "21"], ["--views", "1 to 20"]),
    (["--views", "3", "--refs", "good.mrcs"], ["--refs", "--views"]),
])
def test_a_user_s_mistake_is_one_line(tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    ones = np.ones((2, 24, 24), np.float32)
    ramp = np.tile(np.arange(24, dtype=np.float32), (1, 24, 1))
    mrcfile.write("flat.mrcs", ones)
    mrcfile.write("wide.mrcs", ramp[:, :12])
    mrcfile.write("good.mrcs", ramp)
    mrcfile.write("ball.mrc", np.pad(np.ones((16, 16, 16), np.float32), 4), voxel_size=5)
    with pytest.raises(SystemExit) as stop:
        main([*arguments, "-n", "2"])
    assert stop.value.code == 2
    message = capsys.readouterr().err.strip()
    assert "\n" not in message and all(word in message for word in words)
    assert not list(tmp_path.glob("simulated_*"))
