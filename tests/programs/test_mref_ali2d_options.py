"""What each option of mref_ali2d does."""
import numpy as np
import pytest

from mlalign.programs.engine.image_filters import distances, fit_tangent, tangent_filter
from mlalign.programs.formats.hdf import hdf_writer
from mlalign.programs.formats.mrc import write_stack
from mlalign.programs.geometry import pose_matrix
from mlalign.programs.mref_references import Preparation
from mlalign.tests.programs.conftest import pixels
from mlalign.tests.programs.mref_scene import SEARCH, Scene, near, run_mref, same


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return Scene(tmp_path_factory.mktemp)


@pytest.fixture(scope="module")
def planted(scene):
    return scene.planted


@pytest.fixture
def aligned(tmp_path, planted):
    """``aligned(options, refs=..., stack=...)``: a run of one iteration without centring, unless said otherwise."""
    def run(options, refs=planted.references, stack=planted.star):
        return run_mref(stack, refs, tmp_path / f"out{len(list(tmp_path.iterdir()))}",
                        f"--maxit 1 --center 0 {options}")
    return run


def places(images):
    """Where in the images the particles' centres are (N, 2)."""
    matrix = pose_matrix(*(images[label] for label in ("anglePsi", "shiftX", "shiftY", "flip")))
    return -np.linalg.solve(matrix[:, :2, :2], matrix[:, :2, 2:])[..., 0]


@pytest.mark.parametrize(("options", "x", "y"), [("--xr 2 --yr 1", 2, 1), ("--xr 0 --yr 1.5", 0, 1.5),
                                                 ("--xr=0 --yr=0", 0, 0)])
def test_ranges_of_shifts(aligned, options, x, y):
    there = np.abs(places(aligned(f"--ou 12 {options}").images)).max(0)
    assert there == pytest.approx([x, y], abs=1e-6)             # of so many particles some are at the rim


def test_shifts_around_where_particles_were(aligned, planted, tmp_path):
    """Particles 3 px off centre are found by a search of 1 px once metadata or headers say where they are."""
    shifted = np.roll(pixels(planted.stack), (2, -3), (1, 2))
    write_stack(tmp_path / "far.mrcs", shifted, 3.0)
    truth = planted.truth
    lines = ["data_", "loop_", "_image", "_shiftX", "_shiftY"]
    lines += [f"{i + 1:06d}@far.mrcs 3 -2" for i in range(len(shifted))]
    (tmp_path / "far.xmd").write_text("\n".join(lines) + "\n")
    with hdf_writer(tmp_path / "far.hdf", 3.0) as out:
        for image in shifted:
            out.append(image, {"xform.align2d": np.array([[1, 0, 0, 3.0], [0, 1, 0, -2.0], [0, 0, 1, 0]])})
    lost = aligned("--ou 10 --xr 1 --yr 1", stack=tmp_path / "far.mrcs")
    runs = [aligned("--ou 10 --xr 1 --yr 1", stack=tmp_path / name) for name in ("far.xmd", "far.hdf")]
    for run in runs:
        assert (run.images["ref"] == truth["ref"]).mean() > (lost.images["ref"] == truth["ref"]).mean() + 0.1
        assert np.abs(places(run.images) - (-3, 2)).max() < 1 + 1e-6
    assert (runs[0].images["anglePsi"] == runs[1].images["anglePsi"]).all()


def test_a_particle_between_pixels_stays_there_without_a_search(aligned, planted, tmp_path):
    (tmp_path / "p.xmd").write_text("\n".join(
        ["data_", "loop_", "_image", "_shiftX", "_shiftY", "_anglePsi", "_flip"]
        + [f"{i + 1:06d}@{planted.stack} {x!r} {y!r} {psi!r} {flip}" for i, (x, y, psi, flip) in enumerate(zip(*(
            planted.truth[label].tolist() for label in ("shiftX", "shiftY", "anglePsi", "flip"))))]) + "\n")
    run, truth = aligned("--ou 10", stack=tmp_path / "p.xmd"), planted.truth
    before = places(truth)
    inside = np.abs(before).max(1) < 5
    assert inside.sum() > 100 and places(run.images)[inside] == pytest.approx(before[inside], abs=1e-6)
    assert (run.images["ref"] == truth["ref"])[inside].mean() > 0.97


def test_a_radius_that_leaves_no_room_is_told(aligned):
    run = aligned("--xr 3 --yr 3")                              # --ou is 14 of a box of 32 px
    assert "warning: --xr 3: in boxes of 32 px a radius of 14 px leaves room for shifts of 1 px" in run.log
    assert np.abs(places(run.images)).max() <= 1 + 1e-9
    assert "warning" not in aligned(SEARCH).log


def test_rings_that_are_left_out(aligned, planted, tmp_path):
    """Whatever is put into the references where no ring is changes nothing."""
    references = pixels(planted.references)
    distance = distances(32)
    other = references.copy()
    other[:, (distance < 4.4) | (distance > 12.1)] += 3
    write_stack(tmp_path / "other.mrcs", other)
    first, second = aligned(f"{SEARCH} --ir 5"), aligned(f"{SEARCH} --ir 5", refs=tmp_path / "other.mrcs")
    assert same(first, second) and not same(first, aligned(f"{SEARCH} --ir 4"))
    other = references.copy()
    other[:, np.abs((distance - 2) % 3 - 1.5) < 0.9] += 3       # between the rings at 2, 5, 8, 11
    write_stack(tmp_path / "between.mrcs", other)
    first, second = (aligned(f"{SEARCH} --ir 2 --rs 3", refs=refs) for refs in (planted.references,
                                                                               tmp_path / "between.mrcs"))
    assert same(first, second)


def test_a_mask(aligned, planted, tmp_path):
    """A mask of a half plane: what is in the other half of a reference changes nothing."""
    mask = (np.arange(32) > 14) * np.ones((32, 1)) * (distances(32) <= 12)
    write_stack(tmp_path / "mask.mrcs", mask[None])
    other = pixels(planted.references)
    other[:, :, :14] = 7
    write_stack(tmp_path / "other.mrcs", other)
    runs = [run_mref(planted.star, refs, tmp_path / name, f"{tmp_path / 'mask.mrcs'} {SEARCH} --maxit 1 --center 0")
            for name, refs in (("a", planted.references), ("b", tmp_path / "other.mrcs"))]
    assert same(*runs) and not same(runs[0], aligned(SEARCH))
    assert (np.abs(runs[0].references(0)[:, mask == 0]).max() < 0.3 * np.abs(runs[0].references(0)).max())


def test_the_step_of_shifts(aligned, planted):
    """Coarser steps find less."""
    fine, coarse = (aligned(f"{SEARCH} --ts {step}").images["maxCC"].mean() for step in (0.5, 2))
    usual = aligned(SEARCH).images["maxCC"].mean()
    assert coarse < usual < fine + 1e-3 and fine == pytest.approx(usual, abs=0.02)


def test_everything_scored(aligned):
    fast, slow = aligned(SEARCH), aligned(f"{SEARCH} --exhaustive")
    assert (fast.images["ref"] == slow.images["ref"]).mean() > 0.98
    assert fast.images["maxCC"] == pytest.approx(slow.images["maxCC"], abs=0.02)


def test_scoring_with_references_of_their_own_strength(aligned, planted, tmp_path):
    strong = pixels(planted.references) * np.array([5, 1, 1])[:, None, None]
    write_stack(tmp_path / "strong.mrcs", strong)
    fair, unfair = (aligned(f"{SEARCH} --scoring {scoring}", refs=tmp_path / "strong.mrcs").images["ref"]
                    for scoring in ("normalized", "original"))
    assert (fair == planted.truth["ref"]).mean() > 0.97 and (unfair == 1).mean() > 0.9


def test_soft_assignment(aligned, planted, tmp_path):
    twice = pixels(planted.references)[[0, 0, 1, 2]]
    write_stack(tmp_path / "twice.mrcs", twice)
    run = aligned(f"{SEARCH} --soft --min_class 0", refs=tmp_path / "twice.mrcs")
    table = run.classes()
    assert table["weight"][0] == pytest.approx(table["weight"][1], rel=0.01) and table["classCount"][1] == 0
    assert near(run.averages[0], run.averages[1], 0.02)


def test_preparations(aligned, planted):
    k = np.fft.fftfreq(32)
    radius = np.hypot(k[:, None], k)
    disc = (distances(32) <= 12).astype(float)

    def transfer(name):
        run = aligned(f"{SEARCH} --function {name}")
        average, reference = run.averages[0].astype(float), run.references(0)[0].astype(float)
        if name not in ("none", "ref_random"):
            average = (average - (average * disc).sum() / disc.sum()) * disc
        return run, np.fft.fft2(average), np.fft.fft2(reference)

    for name in ("none", "ref_random"):
        _, average, reference = transfer(name)
        assert reference == pytest.approx(average, abs=1e-3 * np.abs(average).max())
    for name, cutoff, falloff in (("ref_ali2d_m", 0.4, 0.2), ("ref_ali2d_c", 0.103, 0.1)):
        _, average, reference = transfer(name)
        expected = average * tangent_filter(radius, cutoff, falloff)
        assert reference == pytest.approx(expected, abs=1e-3 * np.abs(average).max())
    run, average, reference = transfer("ref_ali2d")
    expected = average * tangent_filter(radius, *fit_tangent(*run.frc(None, 1)))
    assert reference == pytest.approx(expected, abs=1e-3 * np.abs(average).max())


def test_a_users_own_preparation(aligned, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "def prepare(data):\n"
        "    mask, method, average, frc = data\n"
        "    assert method == 0 and len(frc) == 3 and len(frc[0]) == 17\n"
        "    return average * mask * 2, (0.5, 0)\n")
    monkeypatch.syspath_prepend(tmp_path)
    still = aligned(SEARCH)
    for name in ("mine.prepare", f"[{tmp_path},mine,prepare]"):
        run = aligned(f"{SEARCH} --function {name}")
        assert np.abs(run.references(0)[:, distances(32) > 12]).max() == 0
        assert run.images["shiftX"] == pytest.approx(still.images["shiftX"] - 0.5)


@pytest.mark.parametrize("method", [1, 2, 4, 5, 6, 7])
def test_centring_methods(method):
    """An average 2 px off centre comes back there."""
    disc = (distances(48) <= 20).astype(float)
    y, x = np.mgrid[:48, :48] - 24
    def blob(x0, y0):
        return np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / 30)
    prepare = Preparation("ref_random", disc, method, 16, np.stack([blob(0, 0)]))
    reference, centre = prepare(1, 0, blob(2, -1), None)
    assert centre == pytest.approx((2, -1), abs=0.35)
    assert near(reference, blob(2 - centre[0], -1 - centre[1]))


def test_an_average_too_far_off_is_not_centred():
    disc = (distances(48) <= 20).astype(float)
    image = np.roll(np.exp(-(distances(48) ** 2) / 30), (3, -6), (0, 1))
    for room, expected in ((7, (-6, 3)), (4, (0, 0))):
        reference, centre = Preparation("ref_random", disc, 1, 16, None, room)(1, 0, image, None)
        assert centre == pytest.approx(expected, abs=0.5)
    assert (reference == image).all()


def test_centring_on_a_ring():
    disc, y, x = (distances(48) <= 20).astype(float), *(np.mgrid[:48, :48] - 24)
    prepare = Preparation("ref_random", disc, 3, 16, None)
    ring = np.exp(-((np.hypot(x - 2, y + 1) - 8) ** 2) / 4)
    assert prepare(1, 0, ring, None)[1] == pytest.approx((2, -1), abs=0.3)


def test_the_wiener_constant(tmp_path_factory):
    from mlalign.tests.programs.mref_scene import BEHIND_CTF
    scene = Scene(tmp_path_factory.mktemp, BEHIND_CTF)
    strong, weak = (scene.aligned(f"--maxit 1 --center 0 --CTF --snr {snr}").averages for snr in (100, 0.01))
    assert np.linalg.norm(weak) < 0.6 * np.linalg.norm(strong)
    flipped = scene.aligned("--maxit 1 --center 0 --CTF --phase_flipped").averages
    assert not near(flipped, strong, 0.3)


def test_a_pixel_size_from_the_command_line(aligned, planted):
    run = aligned(f"{SEARCH} --sampling_rate 5")
    assert run.pixel_size() == 5 and run.classes()["resolution"].min() >= 10 - 1e-6


def test_the_seed_chooses_who_begins_a_class_anew(aligned, planted, tmp_path):
    noise = np.random.default_rng(0).normal(size=(1, 32, 32)).astype(np.float32)
    write_stack(tmp_path / "refs.mrcs", np.concatenate([pixels(planted.references), noise]))
    first, again, other = (aligned(f"{SEARCH} --rand_seed {seed}", refs=tmp_path / "refs.mrcs").averages[3]
                           for seed in (1, 1, 2))
    assert (first == again).all() and not near(first, other, 0.01)
