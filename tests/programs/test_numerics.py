"""Odd images and references, for all five programs: refused in one line, or a result of numbers without a warning."""
import contextlib
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest

from mlalign.programs import (
    ml2d,
    ml_align2d,
    ml_tomo,
    mlf2d,
    mlf_align2d,
    mref,
    mref_ali2d,
    msa2d,
    refine2d,
    tomo,
)
from mlalign.programs.eman_files import read_images
from mlalign.programs.errors import UserError
from mlalign.programs.formats.images import open_stack
from mlalign.programs.formats.mrc import write_stack, write_volume_stack
from mlalign.programs.formats.star import read_star
from mlalign.programs.formats.volumes import open_volume_file

SEED = "--random_seed 1"
FEW_POSES = f"-i in.mrc --oroot out/o --ang 45 --iter 1 --limit_trans 1 {SEED}"
# command line, run, dimensions, words
PROGRAMS = {
    "ml_align2d": (ml_align2d, ml2d, 2, f"-i in.mrcs --oroot out/o_ --iter 3 --mirror {SEED}"),
    "ml_align2d fast": (ml_align2d, ml2d, 2, f"-i in.mrcs --oroot out/o_ --iter 3 --fast --norm --student {SEED}"),
    "mlf_align2d": (mlf_align2d, mlf2d, 2, f"-i in.mrcs --oroot out/o_ --iter 2 --no_ctf --sampling_rate 3 {SEED}"),
    "ml_tomo": (ml_tomo, tomo, 3, f"{FEW_POSES} --no_grow"),
    "ml_tomo maxCC": (ml_tomo, tomo, 3, f"{FEW_POSES} --maxCC --no_refine"),
    "mref_ali2d": (mref_ali2d, mref, 2, "in.mrcs ref.mrcs out --ou 5 --xr 1 --maxit 2"),
    "refine2d": (refine2d, msa2d, 2, f"--input in.mrcs --path out --iter 1 --nbasisfp 2 --naliref 1 {SEED}"),
}
SIZE = {2: 16, 3: 8}
WITH_REFERENCES = {"mref_ali2d": "", "refine2d": None}      # how references are given, None where they are not
WITHOUT = {"mref_ali2d": None, "refine2d": "--ncls 2"}
ALL, GIVEN = list(PROGRAMS), [name for name in PROGRAMS if name != "refine2d"]


def views(dimensions, count):
    """Blobs of deviation one: (count, n, n) or (count, n, n, n)."""
    n, rng = SIZE[dimensions], np.random.default_rng(5)
    axes = np.meshgrid(*[np.arange(n) - n // 2] * dimensions, indexing="ij")
    places = rng.uniform(-n / 5, n / 5, (count, 4, dimensions))
    images = np.array([[np.exp(-sum((axis - at) ** 2 for axis, at in zip(axes, place)) / (n / 6) ** 2)
                        for place in some] for some in places]).sum(1)
    return (images / images.std(axis=tuple(range(1, images.ndim)), keepdims=True)).astype(np.float32)


def particles(dimensions, noise=1.0, count=8):
    clean = np.resize(views(dimensions, 2), (count, *[SIZE[dimensions]] * dimensions))
    return clean + noise * np.random.default_rng(6).standard_normal(clean.shape).astype(np.float32)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """``run(program, images, references)``: the log; every number written is finite and no warning is given."""
    monkeypatch.chdir(tmp_path)

    def classify(program, images, references=None):
        parser, work, dimensions, words = PROGRAMS[program]
        shutil.rmtree("out", ignore_errors=True)
        write = write_stack if dimensions == 2 else write_volume_stack
        suffix = ".mrcs" if dimensions == 2 else ".mrc"
        write(f"in{suffix}", images, 3)
        write(f"ref{suffix}", views(dimensions, 2)[: len(images)] if references is None else references, 3)
        given = WITH_REFERENCES.get(program, f"--ref ref{suffix}")
        arguments = parser.parser().parse_args(f"{words} {WITHOUT[program] if given is None else given}".split())
        vars(arguments).update({"processes": 0, "command": "", **vars(arguments)})
        with warnings.catch_warnings(), contextlib.redirect_stdout(None):
            warnings.simplefilter("error", RuntimeWarning)
            work.run(arguments)
        assert_finite("out")
    return classify


def assert_finite(folder):
    """In all files of a run."""
    paths = [path for path in Path(folder).rglob("*") if path.is_file()]
    for path in paths:
        if path.suffix in (".xmd", ".fsc"):
            for table in read_star(path).values():
                for label, values in table.columns.items():
                    assert values.dtype == object or np.isfinite(values).all(), (path, label)
        else:
            open_file = {".mrcs": lambda p: open_stack(p).read(slice(None)), ".hdf": lambda p: read_images(p)[0],
                         ".mrc": lambda p: open_volume_file(p).read(slice(None))}.get(path.suffix)
            assert open_file is None or np.isfinite(open_file(str(path))).all(), path
    assert len(paths) > 4


def _spoiled(value):
    def spoil(images):
        images[3] = value
    return spoil


def _one_pixel(value):
    def spoil(images):
        images[3].flat[40] = value
    return spoil


def _scaled(value):
    def spoil(images):
        images *= np.float32(value)
    return spoil


REFUSED = {
    "NaN": (_one_pixel(np.nan), "holds NaN or Inf"), "Inf": (_one_pixel(-np.inf), "holds NaN or Inf"),
    "zeros": (_spoiled(0), "is constant (every "), "constant": (_spoiled(5), "el is 5)"),
    "hot pixel of 1e30": (_one_pixel(1e30), "too large to compute with"),
    "scale of 1e20": (_scaled(1e20), "too large to compute with"),
    "scale of 1e-20": (_scaled(1e-20), "too faint to compute with"),
}


@pytest.mark.parametrize("program", ALL)
def test_images_that_are_refused(program, run):
    dimensions = PROGRAMS[program][2]
    for spoil, message in REFUSED.values():
        images = particles(dimensions)
        spoil(images)
        with pytest.raises(UserError, match=r"^row [14] \(.*\): the (image|volume) ") as caught:
            run(program, images)
        assert message in str(caught.value)
        assert not list(Path("out").rglob("*classes*"))


@pytest.mark.parametrize("program", GIVEN)
@pytest.mark.parametrize("value", [np.nan, 0, 1e20])
def test_references_that_are_refused(value, program, run):
    references = views(PROGRAMS[program][2], 2)
    references[1] = references[1] * value if value == 1e20 else value
    with pytest.raises(UserError, match=r"^row 2 \(000002@ref\.mrcs?\): the (image|volume) (holds|is|has)"):
        run(program, particles(PROGRAMS[program][2]), references)


def _alike(images):
    images[:] = images[0]


def _delta(images):
    images[:] = 0
    images.reshape(len(images), -1)[:, images[0].size // 2 + images.shape[-1] // 2] = 1


ACCEPTED = {
    "hot pixel of 1e4": _one_pixel(1e4), "mean of 1e6": lambda images: np.add(images, 1e6, out=images), "alike": _alike,
    "one pixel each": _delta, "scale of 1e6": _scaled(1e6), "scale of 1e-6": _scaled(1e-6),
    "one bright image": lambda images: np.multiply(images[3], 1e6, out=images[3]),
    "one faint image": lambda images: np.multiply(images[3], 1e-6, out=images[3]),
}


@pytest.mark.parametrize("spoil", ACCEPTED.values(), ids=ACCEPTED)
@pytest.mark.parametrize("program", [name for name in ALL if name != "ml_tomo"])        # maxCC squares more
def test_odd_images(program, spoil, run):
    images = particles(PROGRAMS[program][2])
    spoil(images)
    run(program, images)


@pytest.mark.parametrize("program", ALL)
def test_images_without_noise(program, run):
    """The noise that is left is next to nothing, and is not divided by."""
    run(program, particles(PROGRAMS[program][2], noise=0))


@pytest.mark.parametrize("program", ALL)
def test_a_class_for_every_image(program, run):
    """And more classes than there are views."""
    run(program, particles(PROGRAMS[program][2], noise=0, count=2))


@pytest.mark.parametrize("program", GIVEN)
def test_references_that_nothing_is_like(program, run):
    """Classes become empty; references that are alike share the particles; their grey scale may be any."""
    dimensions = PROGRAMS[program][2]
    good, images = views(dimensions, 2), particles(dimensions)
    for references in ([good[0], -5 * good[0]], [good[0]] * 3, 1e6 * good, 1e-6 * good)[:: 2 if dimensions == 3 else 1]:
        run(program, images, np.array(references))
