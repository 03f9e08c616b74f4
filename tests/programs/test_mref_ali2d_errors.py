"""Errors that users of mref_ali2d can cause: one line that says what is wrong and what is expected."""
import numpy as np
import pytest

from mlalign.programs import mref_ali2d
from mlalign.programs.errors import UserError
from mlalign.programs.formats.hdf import hdf_writer
from mlalign.programs.formats.mrc import write_stack
from mlalign.tests.programs.conftest import pixels
from mlalign.tests.programs.mref_scene import SEARCH, Scene, run_mref


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    return Scene(tmp_path_factory.mktemp).planted


@pytest.fixture
def fails(tmp_path, planted):
    """``fails(message, options, ...)``: the run raises a UserError that matches, and leaves no folder."""
    def run(message, options=SEARCH, stack=planted.star, refs=planted.references):
        with pytest.raises(UserError, match=message):
            run_mref(stack, refs, tmp_path / "out", options)
        assert not (tmp_path / "out").exists()
    return run


def stack_of(images, path, **header):
    with hdf_writer(path, 3.0) as out:
        for image in images:
            out.append(image, header)
    return path


def test_an_output_folder_that_exists(tmp_path, planted):
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match=r"out: exists already, expected a new output folder, or --continue"):
        run_mref(planted.star, planted.references, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_input_that_would_be_overwritten(tmp_path, planted):
    run = run_mref(planted.star, planted.references, tmp_path / "out", f"{SEARCH} --maxit 1")
    for stack, refs in ((run.outdir / "images.xmd", planted.references), (planted.star, run.outdir / "aqm000.hdf")):
        with pytest.raises(UserError, match=r"out/(images.xmd|aqm000.hdf): a run in .*out would overwrite it"):
            run_mref(stack, refs, run.outdir, f"{SEARCH} --continue")
    with pytest.raises(UserError, match=r"--write_headers .*particles.hdf: is one of the input stacks"):
        path = stack_of(pixels(planted.stack), tmp_path / "particles.hdf")
        run_mref(path, planted.references, tmp_path / "new", f"{SEARCH} --write_headers {path}")
    with pytest.raises(UserError, match=r"--write_headers copy.mrcs: expected a name that ends in .hdf"):
        run_mref(planted.star, planted.references, tmp_path / "new", f"{SEARCH} --write_headers copy.mrcs")


def test_radii(fails):
    fails(r"--ou: 15 px, expected more than 1 and less than 15 for images of 32 px \(-1 for 14\)", "--ou=15")
    fails(r"--ou: 0.5 px, expected more than 1", "--ou=0.5")
    fails(r"--ir: the first ring at 13 px lies outside the last one at 12", "--ou=12 --ir=13")


def test_references_and_masks(fails, planted, tmp_path):
    write_stack(tmp_path / "large.mrcs", np.random.default_rng(0).normal(size=(1, 36, 36)))
    fails(r"large.mrcs: references of 36 px, expected 32 px like the images of .*particles.star",
          refs=tmp_path / "large.mrcs")
    fails(r"large.mrcs: 1 images of 36 px, expected one mask of 32 px", f"{tmp_path / 'large.mrcs'} {SEARCH}")
    write_stack(tmp_path / "mask.mrcs", np.full((1, 32, 32), 2.0))
    fails(r"mask.mrcs: values from 2 to 2, expected a mask from 0 to 1", f"{tmp_path / 'mask.mrcs'} {SEARCH}")
    write_stack(tmp_path / "nothing.mrcs", np.zeros((1, 32, 32)))
    fails(r"nothing.mrcs: the mask holds 0 pixels of the rings searched", f"{tmp_path / 'nothing.mrcs'} {SEARCH}")
    fails(r"row 1 .*nothing.mrcs\): the image is constant", refs=tmp_path / "nothing.mrcs")
    many = np.random.default_rng(0).normal(size=(200, 32, 32))
    write_stack(tmp_path / "many.mrcs", many)
    fails(r"many.mrcs: 200 references for 150 images, expected at least one image per reference",
          refs=tmp_path / "many.mrcs")


def test_images(fails, planted, tmp_path):
    write_stack(tmp_path / "odd.mrcs", np.random.default_rng(0).normal(size=(9, 33, 33)))
    fails(r"odd.mrcs: images of 33 px, expected an even number", stack=tmp_path / "odd.mrcs")
    bad = pixels(planted.stack)
    bad[7, 3, 3] = np.nan
    write_stack(tmp_path / "bad.mrcs", bad)
    fails(r"row 8 \(000008@.*bad.mrcs\): the image holds NaN or Inf", stack=tmp_path / "bad.mrcs")
    scaled = stack_of(pixels(planted.stack), tmp_path / "scaled.hdf", **{"xform.align2d": 2 * np.eye(3, 4)})
    fails(r"scaled.hdf: row 1 .*: xform.align2d scales by 2, expected a transform of scale 1", stack=scaled)


def test_ctfs(fails, planted, tmp_path):
    fails(r"particles.star: the CTF is incomplete, expected _ctfDefocusU", f"{SEARCH} --CTF")
    images = pixels(planted.stack)
    fails(r"row 1 .*: no CTF in the header, expected an attribute ctf such as", f"{SEARCH} --CTF",
          stack=stack_of(images, tmp_path / "none.hdf"))
    fails(r"row 1 .*: ctf is 'E1.5 0 0', expected E and eight numbers", f"{SEARCH} --CTF",
          stack=stack_of(images, tmp_path / "short.hdf", ctf="E1.5 0 0"))


def test_preparations(fails, tmp_path, monkeypatch):
    fails(r"--function nothing: no such function, expected one of ref_ali2d, .*, a dotted path such as",
          f"{SEARCH} --function nothing")
    fails(r"--function numpy.no_such: cannot be loaded \(AttributeError", f"{SEARCH} --function numpy.no_such")
    fails(r"--function no_module.x: cannot be loaded \(ModuleNotFoundError", f"{SEARCH} --function no_module.x")
    fails(r"--function numpy.pi: pi is not a function", f"{SEARCH} --function numpy.pi")
    fails(r"--function \[here,mine,prepare\]: no file here/mine.py", f"{SEARCH} --function [here,mine,prepare]")


@pytest.mark.parametrize(("body", "message"), [
    ("raise ValueError('no')", r"failed in iteration 1, class 1 \(ValueError: no\)"),
    ("return data[2]", r"returned something else .*expected an image and its centre"),
    ("return data[2][:5], (0, 0)", r"returned an image of shape \(5, 32\), expected \(32, 32\)"),
    ("return data[2] / 0, (0, 0)", r"and finite pixels"),
])
def test_faulty_preparations(planted, tmp_path, body, message):
    (tmp_path / "mine.py").write_text(f"def prepare(data):\n    {body}\n")
    with pytest.raises(UserError, match=message):
        run_mref(planted.star, planted.references, tmp_path / "out",
                 f"{SEARCH} --function [{tmp_path},mine,prepare]")


@pytest.mark.parametrize(("option", "message"), [
    ("--center=8", "8 is out of range, expected -1 to 7"), ("--snr=0", "0 is out of range, expected more than 0"),
    ("--ts=0", "0 is out of range"), ("--rs=0.5", "0.5 is out of range"), ("--maxit=x", "'x' is not an integer"),
    ("--scoring=other", "invalid choice"),
])
def test_values_out_of_range(capsys, option, message):
    with pytest.raises(SystemExit) as stopped:
        mref_ali2d.parser().parse_args(["a", "b", "c", option])
    assert stopped.value.code == 2 and message in capsys.readouterr().err
