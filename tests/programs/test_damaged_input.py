"""What fuzzing found in programs' input, besides formats: headers of EMAN, tables of runs, command lines, modules."""
import json

import numpy as np
import pytest

from mlalign.programs import eman_files, ml_align2d, modifiers
from mlalign.programs.errors import UserError
from mlalign.programs.formats.hdf import hdf_writer
from mlalign.programs.formats.images import open_images
from mlalign.programs.formats.mrc import write_stack
from mlalign.programs.formats.star import write_star
from mlalign.programs.modules2d import Modules
from mlalign.programs.mref_input import header_attributes, read_ctfs
from mlalign.programs.ranking import rank
from mlalign.programs.results import Run


@pytest.mark.parametrize("words", [
    "nan 0 0 0 10 300 2.7 1.2", "1.5 0 0 inf 10 300 2.7 1.2", "1e30 0 0 0 10 300 2.7 1.2", "1.5 0 0 0 10 300 2.7 0",
    "1.5 0 0"])
def test_ctfs_of_headers(words, tmp_path):
    with hdf_writer(tmp_path / "x.hdf") as out:
        out.append(np.eye(8), {"ctf": f"E{words}"})
    source = open_images(tmp_path / "x.hdf")
    with pytest.raises(UserError, match=r"expected E and eight numbers: defocus in µm \(-20 to 20\)"):
        read_ctfs(source, header_attributes(source))


def test_attributes_of_averages(tmp_path):
    for name, value in (("class_ptcl_qual", "good"), ("class_ptcl_idxs", [0.5, 1.5]), ("class_ptcl_idxs", "all")):
        with hdf_writer(tmp_path / "x.hdf") as out:
            out.append(np.eye(8), {name: value})
        with pytest.raises(UserError, match=f"attribute {name} "):
            eman_files.read_averages(tmp_path / "x.hdf")


def test_parameters_nested_without_end(tmp_path):
    (tmp_path / "x.json").write_text("[" * 100_000)
    with pytest.raises(UserError, match=r"x\.json: not JSON"):
        eman_files.read_parameters(tmp_path / "x.json")
    (tmp_path / "x.json").write_text(json.dumps({"a": 1}))
    assert eman_files.read_parameters(tmp_path / "x.json") == {"a": 1}


@pytest.fixture
def a_run(tmp_path, monkeypatch):
    """``a_run(classes, info, average)``: a run's files with these changes."""
    monkeypatch.chdir(tmp_path)

    def write(classes=(), info=(), average=1.0):
        write_stack("classes.mrcs", np.stack([average * np.eye(16), np.eye(16)]), 3)
        image = [f"{k:06d}@classes.mrcs" for k in (1, 2)]
        write_star("classes.xmd", {"classes": {"ref": [1, 2], "image": image, **dict(classes)},
                                   "info": {"maxres": [0.4], "samplingRate": [3.0], **dict(info)}})
        write_star("images.xmd", {"particles": {"itemId": [1, 2], "ref": [1, 2], "image": image}})
        return Run("")
    return write


@pytest.mark.parametrize("change, message", [
    ({"info": {"maxres": ["fine"]}}, "_maxres is 'fine', expected a number"),
    ({"info": {"maxres": [], "samplingRate": []}}, "block data_info has no rows"),
    ({"classes": {"ref": [1.5, 2]}}, "_ref is 1.5, expected a whole number"),
    ({"average": np.nan}, r"row 1 \(000001@classes.mrcs\): the average holds NaN or Inf")])
def test_damaged_results(change, message, a_run):
    with pytest.raises(UserError, match=message):
        rank(a_run(**change))


def test_averages_of_any_scale(a_run):
    assert np.isfinite(rank(a_run(average=1e30)).score).all()


@pytest.mark.parametrize("words", ["--random_seed=--", "--oroot=--", "--nref=--"])
def test_options_without_a_value(words, capsys):
    with pytest.raises(SystemExit) as left:
        ml_align2d.parser().parse_args(["-i", "in.mrcs", words])
    assert left.value.code == 2 and "expected one argument" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["1e999", "9" * 5000])
def test_endless_numbers_of_modules(value):
    assert isinstance(modifiers.parse("--x", f"refine:stepx={value}").options["stepx"], float)
    with pytest.raises(UserError, match="expected a finite number"):
        Modules(16).refiner("--simralign", f"refine:stepx={value}")
