"""mlf_align2d goes on under other limits and noise groups, and not where the other program was at work."""
import shutil
from pathlib import Path

import numpy as np
import pytest

from mlalign.programs.errors import UserError
from mlalign.programs.formats.star import read_star
from mlalign.programs.scoring import score
from mlalign.tests.programs.conftest import Outcome, run_program
from mlalign.tests.programs.measures import checkpoint

pytestmark = pytest.mark.programs("mlf_align2d")
FEW = "--mirror --fast --fix_high 10 --eps 0"
GROWING = "--mirror --fast --eps 0"


@pytest.fixture
def going_on(planted, classified, tmp_path):
    """``going_on(first, then)``: a run with options, continued with others."""
    def run(first, then, program="mlf_align2d"):
        shutil.copytree(Path(classified(first).oroot).parent, tmp_path / "run")
        return run_program("-i", planted.star, "--ref", planted.references, "--oroot", tmp_path / "run" / "ml2d_",
                           "--random_seed", 1, *then.split(), "--continue", program=program)
    return run


def snapshot(folder):
    return {path: path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


# ---- the other program

def test_a_run_of_the_other_program_is_refused(going_on, planted, tmp_path):
    with pytest.raises(UserError, match=r"--continue: the run under .* is one of mlf_align2d"):
        going_on(f"{FEW} --iter 1", "--mirror --iter 2", "ml_align2d")
    assert Outcome(tmp_path / "run" / "ml2d_").iterations() == [0, 1]
    base = ["-i", planted.star, "--ref", planted.references, "--oroot", tmp_path / "ml2d_"]
    run_program(*base, "--iter", 1, "--maxres", 0.2)
    there = snapshot(tmp_path)
    for how in (["--continue"], ["--restart", 1]):
        with pytest.raises(UserError, match="is one of ml_align2d"):
            run_program(*base, *how, program="mlf_align2d")
    assert snapshot(tmp_path) == there


def test_a_new_run_of_the_other_program_leaves_nothing_of_the_old_one(planted, tmp_path):
    base = ["-i", planted.star, "--ref", planted.references, "--oroot", tmp_path / "ml2d_", "--maxres", 0.2]
    first = run_program(*base, "--iter", 2, program="mlf_align2d")
    assert first.has_spectra()
    second = run_program(*base, "--iter", 0)
    assert not second.has_spectra() and second.iterations() == [0]
    assert not list(tmp_path.rglob("cref*")) and not list(tmp_path.rglob("*noise*"))
    run_program(*base, "--iter", 1, program="mlf_align2d")
    assert Outcome(tmp_path / "ml2d_").has_spectra()


# ---- other limits

def test_a_coarser_limit_holds_from_now_on(going_on):
    found = going_on(f"{GROWING} --iter 6", f"{GROWING} --limit_resolution 0 15 999 --iter 8")
    maxres = found.column("maxres")
    assert maxres[6] > 0.4 and maxres[7:] == [pytest.approx(0.2)] * 2


def test_without_its_limit_the_resolution_grows_on(going_on):
    found = going_on(f"{GROWING} --limit_resolution 0 14 999 --iter 4", f"{GROWING} --iter 9")
    maxres = found.column("maxres")
    assert max(maxres[:5]) == pytest.approx(3 / 14) and maxres[-1] > 0.4


def test_a_lowest_limit_holds_from_now_on(going_on, classified):
    """Probabilities that look at less are less sure."""
    plain = classified(f"{FEW} --iter 3")
    found = going_on(f"{FEW} --iter 2", f"{FEW} --iter 3 --limit_resolution 0 0 25")
    before, after = (outcome.images.numbers("classProbability") for outcome in (plain, found))
    assert found.column("logLikelihood")[:3] == plain.column("logLikelihood")[:3]
    assert found.info()["logLikelihood"] < plain.info()["logLikelihood"] and after.mean() < before.mean()


# ---- other noise groups

@pytest.mark.parametrize("first, then, count", [
    ("--noise_groups pooled", "--group_size 20", 6), ("--group_size 20", "--noise_groups pooled", 1),
    ("--group_size 20", "--group_size 60", 2)])
def test_noise_groups_may_change(first, then, count, going_on, classified, planted):
    found = going_on(f"{FEW} --iter 2 {first}", f"{FEW} --iter 4 {then}")
    assert found.column("noiseGroups")[3:] == [count, count]
    assert len(read_star(f"{found.oroot}noise.xmd")["groups"]) == count
    np.testing.assert_array_equal(np.bincount(found.images["defocusGroup"])[1:],
                                  read_star(f"{found.oroot}noise.xmd")["groups"]["count"])
    # as good as it would have been
    throughout = classified(f"{FEW} --iter 4 {then}").info()["logLikelihood"]
    assert found.info()["logLikelihood"] == pytest.approx(throughout, abs=30)
    assert found.column("logLikelihood")[3] > found.column("logLikelihood")[2] - 100
    assert score(planted.truth, found.images.columns)["ari"] == 1


def test_the_ctf_may_be_left_out_and_come_back(going_on, planted):
    without = going_on(f"{FEW} --iter 2 --group_size 20", f"{FEW} --iter 3 --no_ctf")
    assert without.info()["noiseGroups"] == 1 and np.isfinite(without.averages).all()
    back = run_program("-i", planted.star, "--ref", planted.references, "--oroot", without.oroot, *FEW.split(),
                       "--iter", 6, "--group_size", 20, "--continue", program="mlf_align2d")
    assert back.column("noiseGroups") == [6, 6, 6, 1, 6, 6, 6]
    assert score(planted.truth, back.images.columns)["ari"] > 0.95


# ---- what a checkpoint keeps

def test_fixed_noise_stays_what_it_was(going_on, classified):
    options = f"{FEW} --fix_sigma_noise"
    found = going_on(f"{options} --iter 2", f"{options} --iter 4")
    spectra = [checkpoint(found, iteration)[0]["model.spectra"] for iteration in (0, 4)]
    np.testing.assert_array_equal(*spectra)
    np.testing.assert_array_equal(found.averages, classified(f"{options} --iter 4").averages)
