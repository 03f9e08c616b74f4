"""mlf_align2d on particles of which everything is known: classes, poses, noise, averages; beside ml_align2d."""
import numpy as np
import pytest

from mlalign.programs.formats.star import read_star
from mlalign.programs.scoring import score
from mlalign.tests.programs.conftest import BEHIND_CTF, PARTICLES, run_program
from mlalign.tests.programs.measures import frc_with_truth

pytestmark = pytest.mark.programs("mlf_align2d")
THIRD = 8               # of Nyquist, in Fourier pixels of boxes of 48 px
TO_NOISE = 15           # beyond that, the averages of so few particles are noise


def test_classes_and_poses_from_generated_references(planted, classified):
    scores = score(planted.truth, classified("--nref 3 --mirror --fast", references="").images.columns)
    assert scores["ari"] == 1 and scores["wrong_mirror"] == 0
    assert scores["angle"] < 2 and scores["shift"] < 0.5


def test_classes_and_poses_of_images_that_are_not_phase_flipped(scenes):
    unflipped = scenes("mlf_align2d", f"{PARTICLES} {BEHIND_CTF}")
    found = unflipped.classified("--mirror --fast --not_phase_flipped --fix_high 10 --nref 3", references="")
    scores = score(unflipped.planted.truth, found.images.columns)
    assert scores["ari"] == 1 and scores["wrong_mirror"] < 0.03
    assert scores["angle"] < 3 and scores["shift"] < 0.6


@pytest.fixture(scope="module")
def many(scenes):
    """600 particles at a lower signal-to-noise ratio, from the true references: planted, run."""
    scene = scenes("mlf_align2d", f"{PARTICLES} {BEHIND_CTF} --phase_flip -n 600 --box 48 --snr 0.1 --seed 3")
    return scene.planted, scene.classified("--mirror --fast --group_size 200 --iter 10")


def test_noise_spectra_are_the_true_one(many):
    """Of every group, in every shell."""
    planted, found = many
    truth = read_star(planted.folder / "noise.xmd")["ctf000001"]
    groups = found.spectra()
    assert len(groups) == 3
    for group in groups:
        true = np.interp(group.frequency, truth.numbers("resolutionFreqFourier"), truth.numbers("mlfNoise"))
        np.testing.assert_allclose(group.noise, true, rtol=0.05)


def test_averages_are_the_references(many):
    planted, found = many
    assert score(planted.truth, found.images.columns)["ari"] > 0.98
    frc = frc_with_truth(found, planted)
    assert frc[:, :THIRD].min() > 0.9


def test_averages_are_better_than_those_without_ctf(many, tmp_path):
    """On the same phase-flipped images, from the same references."""
    planted, found = many
    without = run_program("-i", planted.star, "--ref", planted.references, "--mirror", "--fast", "--random_seed", 1,
                          "--iter", 12, "--oroot", tmp_path / "ml2d_")
    ours, theirs = (frc_with_truth(one, planted).mean(0)[:TO_NOISE] for one in (found, without))
    assert np.all(ours > theirs - 0.005)
    assert (ours - theirs)[THIRD - 1 :].mean() > 0.01
    scores = [score(planted.truth, one.images.columns) for one in (found, without)]
    assert scores[0]["ari"] > scores[1]["ari"] and scores[0]["angle"] < scores[1]["angle"]
