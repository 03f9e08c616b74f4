"""Odd but legal input of mlf_align2d: few images, one defocus, strange CTFs, boxes and pixels, empty noise groups."""
from pathlib import Path

import numpy as np
import pytest

from mlalign.programs.formats.star import read_star, write_star
from mlalign.programs.scoring import score
from mlalign.tests.programs.conftest import BEHIND_CTF, pixels, run_program
from mlalign.tests.programs.measures import shell_power

pytestmark = pytest.mark.programs("mlf_align2d")
PARTICLES = "--offset 1.5 --mirror --snr 0.3 --noise_fall 8 --phase_flip"


def every_number_is_finite(outcome):
    """In all files of a run."""
    folder = Path(outcome.oroot).parent
    for path in folder.rglob("*.xmd"):
        for name, table in read_star(path).items():
            for label, values in table.columns.items():
                if isinstance(values, np.ndarray) and values.dtype.kind == "f":
                    assert np.isfinite(values).all(), (path, name, label)
    for path in folder.rglob("*.mrcs"):
        assert np.isfinite(pixels(path)).all(), path
    return True


@pytest.fixture
def run(scenes, tmp_path):
    """``run(simulated, options)``: particles, and a run on them from the true references, or ``--nref`` in options."""
    def classify(simulated, options):
        planted = scenes("mlf_align2d", f"--box 32 {simulated}").planted
        references = [] if "--nref" in options else ["--ref", planted.references]
        found = run_program("-i", planted.star, *references, "--oroot", tmp_path / "run" / "mlf_", "--random_seed", 1,
                            *options.split(), program="mlf_align2d")
        assert every_number_is_finite(found)
        assert found.classes()["classCount"].sum() == len(found.images) == len(planted.truth["ref"])
        return planted, found
    return classify


def recovered(planted, found, angle=3.0):
    scores = score(planted.truth, found.images.columns)
    return scores["ari"] > 0.9 and scores["angle"] < angle and scores["shift"] < 0.6 and scores["wrong_mirror"] < 0.1


# ---- few images

@pytest.mark.parametrize("count, options", [
    (1, "--nref 1 --iter 3"), (1, "--nref 1 --fast --norm --student --group_size 1 --iter 2 --kstest"),
    (2, "--nref 2 --mirror --group_size 1 --norm --iter 3"), (2, "--nref 1 --mirror --fast --iter 3"),
    (5, "--nref 5 --mirror --fast --group_size 1 --iter 3"),
    (5, "--nref 2 --group_size 1 --include_allfreqs --iter 3")])
def test_a_handful_of_images(count, options, run):
    """As many noise groups as images where --group_size lets them."""
    _, found = run(f"--views 1 -n {count} {PARTICLES} --defocus 9000 20000 --astigmatism 900", options)
    assert found.info()["noiseGroups"] == (count if "--group_size 1" in options else 1)
    assert found.info()["sigmaNoise"] > 0.3


def test_two_images_for_every_class(run):
    _, found = run(f"--views 3 -n 12 {PARTICLES} --defocus 9000 20000", "--nref 6 --mirror --fast --iter 4")
    assert len(found.classes()) == 6


@pytest.mark.parametrize("search", ["", "--fast --norm"])
def test_all_images_alike(search, planted, tmp_path):
    """They come to lie in one class, in one pose, one as likely as the other."""
    images = pixels(planted.stack)
    star = planted.altered(tmp_path, np.repeat(images[:1], len(images), axis=0))
    blocks = {name: dict(table.columns) for name, table in read_star(star).items()}
    for label in ("rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle"):
        blocks["particles"][label] = np.repeat(blocks["particles"][label][:1], len(images))
    write_star(star, blocks)
    found = run_program("-i", star, "--nref", 3, "--mirror", "--fix_high", 9, "--iter", 2, *search.split(), "--oroot",
                        tmp_path / "run" / "x_", program="mlf_align2d")
    assert every_number_is_finite(found)
    assert len(set(found.images["ref"])) == 1 and np.ptp(found.images["logLikelihood"]) < 0.1
    for label in ("anglePsi", "shiftX", "shiftY"):
        assert np.ptp(found.images[label]) < 0.01


# ---- CTFs

@pytest.mark.parametrize("options", ["--include_allfreqs --iter 6", "--include_allfreqs --iter 6 --reduce_snr 1e9",
                                     "--nref 2 --fast --fix_high 10 --iter 4"])
def test_one_defocus(options, run):
    """Where it has no contrast nothing is known of the averages; they stay calm there."""
    planted, found = run(f"--views 2 -n 100 {PARTICLES} --defocus 15000 15000", f"--mirror {options}")
    assert recovered(planted, found)
    power, true = shell_power(found.averages), shell_power(pixels(planted.references))
    if "reduce_snr" not in options:
        assert (power[:10] < 2 * true[:10]).all()
    assert found.info()["noiseGroups"] == 1


def test_one_micrograph_of_many_images_stays_one_group(run):
    planted, found = run(f"--views 2 -n 60 {PARTICLES} --defocus 9000 20000 --micrographs 1",
                         "--mirror --fast --group_size 5 --iter 3")
    assert found.info()["noiseGroups"] == 1 and recovered(planted, found)


@pytest.mark.parametrize("options, optics", [
    ("--mirror --fast --fix_high 8 --iter 5", "--defocus 18000 22000 --astigmatism 9000"),       # 45 %
    ("--mirror --fix_high 8 --iter 4", "--defocus 18000 22000 --astigmatism 9000"),
    ("--mirror --fast --fix_high 8 --iter 5", "--defocus 5000 9000 --phase_shift 90"),
    ("--mirror --fast --fix_high 8 --iter 5", "--defocus 9000 20000 --voltage 120 --cs 0 --q0 0"),
    ("--mirror --fast --fix_high 8 --iter 5", "--defocus 100 200 --q0 1")])
def test_strange_ctfs(options, optics, run):
    planted, found = run(f"--views 2 -n 80 {PARTICLES} {optics}", options)
    assert recovered(planted, found)


def test_phase_plate_shows_low_frequencies(run):
    _, found = run(f"--views 2 -n 80 {PARTICLES} --defocus 5000 9000 --phase_shift 90", "--mirror --iter 0")
    table = read_star(f"{found.oroot}ssnr.xmd")["ctf000001"]
    assert table["mlfCtf"][0] > 0.95


# ---- boxes and pixels

@pytest.mark.parametrize("simulated, options", [
    (f"--box 33 {BEHIND_CTF}", "--mirror --fast"), (f"--box 33 {BEHIND_CTF}", "--mirror --fix_high 9 --iter 4"),
    (f"--box 33 {BEHIND_CTF}", "--nref 2 --mirror --fast --fix_high 9"),
    (f"{BEHIND_CTF} --pixel_size 8", "--mirror --fast"),
    (f"{BEHIND_CTF} --pixel_size 1 --defocus 500 2000 --astigmatism 100", "--mirror --fast")])
def test_boxes_and_pixels(simulated, options, run):
    planted, found = run(f"--views 2 -n 80 --mirror --offset 1.5 --phase_flip {simulated}", options)
    assert recovered(planted, found)


def test_tiny_box(run):
    _, found = run(f"--box 16 --views 2 -n 40 {PARTICLES} --defocus 9000 20000", "--nref 2 --mirror --fast --iter 3")
    assert len(found.images) == 40


def test_small_circle(run):
    """Smaller than the particles, and not much to look at."""
    _, found = run(f"--views 2 -n 80 {PARTICLES} --defocus 9000 20000", "--mirror --radius 4 --fast --iter 3")
    y, x = np.mgrid[:32, :32] - 16
    inside = x**2 + y**2 < 16
    assert found.averages[:, inside].all() and not found.averages[:, ~inside].any()
