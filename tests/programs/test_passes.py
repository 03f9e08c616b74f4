"""Passes over the images: blocks of many images, passes kept on disk part by part, memory for each particle."""
import re
import tracemalloc
from itertools import count

import numpy as np
import pytest

from mlalign.programs import passes
from mlalign.programs.engine.disk import Disk
from mlalign.programs.engine.model import Model
from mlalign.programs.passes import Passes, dealt
from mlalign.programs.results import Run
from mlalign.programs.scoring import score
from mlalign.tests.programs.conftest import Planted, run_program, spoken
from mlalign.tests.programs.test_ml_align2d_resume import assert_same

IN_BLOCKS = "--mirror --fast --iem 6 --eps 1e-9 --iter 4 --maxres 0.3"
PARTICLE_BYTES = 600         # that docs/performance.md promises for a particle of a plain stack


class Killed(BaseException):
    """No program catches it."""


@pytest.fixture
def many(monkeypatch):
    """120 images are many, and every part of a pass is kept."""
    monkeypatch.setattr(passes, "MANY", 100)
    monkeypatch.setattr(passes, "PART", 40)
    monkeypatch.setattr(passes, "KEPT_EVERY", 0)
    monkeypatch.setattr(passes, "ENOUGH_BLOCKS", 10)


@pytest.fixture
def command(program, planted):
    return lambda folder, options: ["-i", planted.star, "--ref", planted.references, "--oroot", str(folder / "ml2d_"),
                                    "--random_seed", "1", *spoken(program, options.split())]


def killed(monkeypatch, program, command, parts):
    """Run until so many parts of passes have been kept, and end without a word."""
    left, keep = count(1), Passes._keep

    def keep_and_die(self, *arguments):
        keep(self, *arguments)
        if self.files.unfinished.exists() and next(left) == parts:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Passes, "_keep", keep_and_die)
        with pytest.raises(Killed):
            run_program(*command, program=program)


# ---- interruptions

@pytest.mark.parametrize("program, options, parts, where", [
    ("ml_align2d", IN_BLOCKS, 2, "iteration 1 goes on after 2 of 6 parts"),
    ("ml_align2d", IN_BLOCKS, 8, "iteration 2 goes on after 2 of 6 parts"),
    ("ml_align2d", IN_BLOCKS, 13, "iteration 3 goes on after 1 of 3 parts"),
    ("ml_align2d", "--mirror --fast --iem 12 --nref 3 --norm --write_probs --iter 2", 6, "iteration 1 goes on after 6"),
    ("ml_align2d", "--mirror --maxres 0.3 --student --iter 2", 2, "iteration 0 goes on after 2 of 3 parts"),
    ("ml_align2d", "--mirror --maxres 0.3 --iter 2", 4, "iteration 2 goes on after 1 of 3 parts"),
    ("mlf_align2d", "--mirror --fast --group_size 20 --norm --iter 2", 4, "iteration 1 goes on after 1 of 3 parts"),
], indirect=["program"])
def test_a_pass_goes_on_where_it_was_killed(program, options, parts, where, many, command, monkeypatch, tmp_path):
    whole = run_program(*command(tmp_path / "whole", options), program=program)
    words = command(tmp_path / "parts", options)
    killed(monkeypatch, program, words, parts)
    assert Run(tmp_path / "parts" / "ml2d_").checkpoints()      # that a protocol goes on from
    found = run_program(*words, "--continue", program=program)
    assert where in found.log
    assert_same(found, whole)
    assert not list(tmp_path.rglob("unfinished*"))


@pytest.mark.parametrize("program", ["ml_align2d"], indirect=True)
def test_a_pass_with_other_options_begins_anew(program, many, command, monkeypatch, tmp_path):
    words = command(tmp_path, "--mirror --maxres 0.3 --iter 2")
    killed(monkeypatch, program, words, 4)
    found = run_program(*words, "--continue", "--student", program=program)
    assert "options have changed: iteration 2 begins anew" in found.log and "goes on after" not in found.log
    expected = run_program(*words, "--student", program=program)
    assert found.iterations() == expected.iterations()


@pytest.mark.parametrize("program", ["ml_align2d"], indirect=True)
def test_parts_add_up_to_the_whole(program, many, command, monkeypatch, tmp_path):
    options = "--mirror --maxres 0.3 --iter 2 --eps 0"
    parts = run_program(*command(tmp_path / "parts", options))
    monkeypatch.setattr(passes, "PART", 10**6)
    whole = run_program(*command(tmp_path / "whole", options))
    assert parts.info()["logLikelihood"] == pytest.approx(whole.info()["logLikelihood"], rel=1e-7)
    np.testing.assert_allclose(parts.averages, whole.averages, atol=1e-4 * abs(whole.averages).max())


# ---- blocks of many images

@pytest.fixture(scope="module")
def crowd(tmp_path_factory):
    """400 particles in three classes."""
    return Planted(tmp_path_factory.mktemp("crowd"), "--views 3 -n 400 --box 32 --mirror --offset 1 --snr 0.1 --seed 3")


@pytest.fixture
def classified(crowd, many, tmp_path):
    return lambda name, options: run_program(
        "-i", crowd.star, "--oroot", tmp_path / name / "ml2d_", "--random_seed", 2, "--mirror", "--fast", "--psi_step",
        10, *options.format(references=crowd.references).split())


def test_blocks_find_the_classes_in_fewer_passes(crowd, classified):
    options = "--nref 3 --min_class 0 --maxres 0.25 --iter 15"
    whole, blocks = classified("whole", options), classified("blocks", f"{options} --iem 6")
    assert len(blocks.iterations()) < len(whole.iterations()) - 1
    assert score(crowd.truth, blocks.images.columns)["ari"] > score(crowd.truth, whole.images.columns)["ari"] - 0.02
    assert "converged: " in blocks.log and "2% of the images changed class" in blocks.log


def test_the_resolution_grows_within_a_pass(classified):
    found = classified("blocks", "--ref {references} --iem 12 --iter 1")
    steps = [float(step) for step in re.findall(r"iteration +1: on to (\S+)/px", found.log)]
    assert steps and steps == sorted(steps)
    assert found.info(1)["maxres"] == pytest.approx(steps[-1], abs=1e-3)


def test_blocks_take_the_memory_of_one(classified, monkeypatch):
    kept = []
    expect = passes.Passes._keep
    monkeypatch.setattr(passes.Passes, "_keep", lambda self, *rest: (kept.append(len(self.block_statistics)),
                                                                    expect(self, *rest)))
    classified("blocks", "--ref {references} --maxres 0.2 --iem 12 --iter 1")
    assert kept == [1] * 12


def test_what_is_noise_of_an_average_is_filtered_before_the_next_block():
    disk = Disk(16, 0.4, 24)
    polar = np.random.default_rng(1).standard_normal((3, *disk.kx.shape)).astype(np.complex64)
    model = Model(disk, polar, np.full(3, 1 / 3), np.zeros(3), 1.0, 1.0, np.ones(3))
    frc = np.zeros((3, len(disk.k)))
    frc[0, :2], frc[0, 2] = (1, 0.5), -0.3             # the last class has images of one half only
    frc[1] = 0.8
    found = passes._filtered(model, frc).polar
    np.testing.assert_allclose(found[0, :2], polar[0, :2] * np.array([[1], [2 / 3]]), rtol=1e-5)
    assert not found[0, 2:].any()
    np.testing.assert_allclose(found[1], polar[1] * (1.6 / 1.8), rtol=1e-5)
    np.testing.assert_array_equal(found[2], polar[2])


def test_classes_do_not_starve_from_block_to_block(many, tmp_path):
    """Of 80 images each, to frequencies where their averages are noise; unfiltered, all end in one class."""
    planted = Planted(tmp_path / "six", "--views 6 -n 480 --box 32 --mirror --offset 1 --snr 0.05 --seed 3")
    found = run_program("-i", planted.star, "--ref", planted.references, "--oroot", tmp_path / "ml2d_", "--mirror",
                        "--fast", "--psi_step", 10, "--maxres", 0.5, "--iem", 12, "--iter", 2, "--min_class", 0)
    sizes = np.bincount(found.images["ref"], minlength=7)[1:]
    assert sizes.min() > 0.4 * sizes.mean() and sizes.max() < 2 * sizes.mean()


def test_there_is_always_a_first_pass(classified):
    found = classified("blocks", "--ref {references} --iem 6 --iter 0 --maxres 0.2")
    assert found.iterations() == [1] and (found.images["ref"] > 0).all()
    assert found.info()["changed"] == 1


# ---- which images come when

@pytest.mark.parametrize("images, parts, together", [(1000, 7, 16), (10, 10, 4), (1000, 3, 1), (5, 1, 2)])
@pytest.mark.parametrize("rng", [None, 4])
def test_every_image_is_dealt_once(images, parts, together, rng):
    found = dealt(images, parts, together, None if rng is None else np.random.default_rng(rng))
    assert len(found) == parts and all((np.diff(part) > 0).all() for part in found)
    np.testing.assert_array_equal(np.sort(np.concatenate(found)), np.arange(images))
    assert max(map(len, found)) - min(map(len, found)) <= 2 * together


def test_neighbours_are_dealt_together_from_everywhere():
    for rng in (None, np.random.default_rng(1)):
        for part in dealt(100_000, 5, 100, rng):
            assert (np.diff(part) == 1).mean() > 0.98
            assert abs(part.mean() - 50_000) < 5000


# ---- memory

def peak(folder, particles):
    """Most memory, in bytes, that a run on so many particles has at one time, the kernels compiled."""
    planted = Planted(folder, f"--views 3 -n {particles} --box 32 --mirror --offset 1.5 --snr 0.2")
    words = ["--mirror", "--maxres", "0.2", "--max_shift", "2", "--psi_step", "15", "--memory", "1e-6", "--iter", "1"]
    command = ["-i", planted.stack, "--ref", planted.references, "--oroot", folder / "ml2d_", *words]
    run_program(*command)
    tracemalloc.start()
    try:
        run_program(*command)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_for_a_particle(tmp_path):
    few, more = 500, 2500
    found = [peak(tmp_path / str(particles), particles) for particles in (few, more)]
    assert (found[1] - found[0]) / (more - few) < PARTICLE_BYTES
