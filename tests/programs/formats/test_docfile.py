"""Xmipp 2's selections and docfiles, and poses joined to images by name."""
import numpy as np
import pytest

from mlalign.programs.errors import UserError
from mlalign.programs.formats.docfile import merged, read_docfile, read_orientations, read_selfile, text_kind
from mlalign.programs.formats.metadata import image_table
from mlalign.programs.formats.star import write_star

HEAD = (" ; Headerinfo columns: rot (1), tilt (2), psi (3), Xoff (4), Yoff (5), Zoff (6), Ref (7), Wedge (8), "
        "Pmax/sumP (9), LL (10)\n")
ROWS = """\
 ; data/32_000001.scl
    1 10   10.50000   20.00000  -30.00000    1.00000   -2.00000    0.50000    2.00000    1.00000    0.75000 -1234.5
 ; data/32_000002.scl
    2 10    0.00000    0.00000    0.00000    0.00000    0.00000    0.00000    1.00000    3.00000    0.50000 -1200.0
"""


def write(folder, text, name):
    path = folder / name
    path.write_text(text)
    return path


def error(function, *arguments):
    with pytest.raises(UserError) as caught:
        function(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_kinds_of_text(tmp_path):
    kinds = {"# XMIPP_STAR_1 *\n#\ndata_\nloop_\n_image\na 1\n": "star", "data_x\n": "star", HEAD + ROWS: "docfile",
             "a.scl 1\nb.scl -1\n": "selfile", "# comment\na b.scl 1\n": "selfile", "a.scl\n": None, "": None,
             "0 a.hdf\n": None, "a.scl 1\0": None}
    for text, kind in kinds.items():
        assert text_kind(write(tmp_path, text, "x")) == kind, text


def test_a_selection(tmp_path):
    table = read_selfile(write(tmp_path, "a.scl 1\n\n; note\n  b c.scl   -1\n", "x.sel"))
    assert table["image"].tolist() == ["a.scl", "b c.scl"]
    assert table["enabled"].tolist() == [1, -1] and table["itemId"].tolist() == [1, 2]
    path = write(tmp_path, "a.scl 1\nb.scl 2\n", "x.sel")
    assert error(read_selfile, path) == f"{path}, line 2: found 'b.scl 2', expected: file 1 (or -1)"
    assert error(read_selfile, write(tmp_path, "\n", "x.sel")).endswith("x.sel: lists no images")
    assert error(read_selfile, tmp_path / "nix.sel").startswith("cannot read ")


@pytest.mark.parametrize("text", [HEAD + ROWS, ROWS])
def test_a_docfile(tmp_path, text):
    table = read_docfile(write(tmp_path, text, "x.doc"))
    expected = {
        "itemId": [1, 2], "image": ["data/32_000001.scl", "data/32_000002.scl"],
        "angleRot": [10.5, 0], "angleTilt": [20, 0], "anglePsi": [-30, 0],
        "shiftX": [1, 0], "shiftY": [-2, 0], "shiftZ": [0.5, 0],
        "ref": [2, 1], "missingRegionNumber": [1, 3], "pMax": [0.75, 0.5], "logLikelihood": [-1234.5, -1200]}
    assert {label: column.tolist() for label, column in table.columns.items()} == expected
    assert table["ref"].dtype == table["missingRegionNumber"].dtype == np.int64


def test_a_docfile_s_first_line_names_its_columns(tmp_path):
    text = " ; Headerinfo columns: psi (1), Weight (2), Foo (3), LL (4)\n ; a.scl\n 1 4 5 0.5 7 -8\n"
    table = read_docfile(write(tmp_path, text, "x.doc"))
    assert {label: column.tolist() for label, column in table.columns.items()} == {
        "itemId": [1], "image": ["a.scl"], "anglePsi": [5], "weight": [0.5], "logLikelihood": [-8]}


def test_a_short_docfile_has_the_first_columns(tmp_path):
    table = read_docfile(write(tmp_path, " ; a.scl\n 1 3 5 6 7\n", "x.doc"))
    assert list(table.columns) == ["itemId", "image", "angleRot", "angleTilt", "anglePsi"]


@pytest.mark.parametrize(("text", "message"), [
    (" ; a.scl\n 1 3 5 6\n", "line 2: 2 values, expected 3 as its second word says"),
    (" ; a.scl\n 1 2 5 six\n", "line 2: found '1 2 5 six', expected: key ncols value …"),
    (" ; a.scl\n 1 1 5\n 2 1 6\n", "line 3: found '2 1 6', expected a line '; image' before it"),
    (" ; a.scl\n 1 1 5\n ; b.scl\n 2 2 6 7\n", "line 4: 2 values, expected 1 as in the first row"),
])
def test_a_faulty_docfile_is_named(tmp_path, text, message):
    path = write(tmp_path, text, "x.doc")
    assert error(read_docfile, path) == f"{path}, {message}"


def test_a_class_that_is_no_number_and_a_docfile_of_nothing(tmp_path):
    path = write(tmp_path, ROWS.replace("2.00000    1.00000", "2.50000    1.00000"), "x.doc")
    assert error(read_docfile, path) == f"{path}: row 1: Ref is 2.5, expected a whole number"
    path = write(tmp_path, HEAD, "x.doc")
    assert error(read_docfile, path) == f"{path}: lists no images"


def test_orientations_of_either_kind_and_of_an_old_name(tmp_path):
    doc = write(tmp_path, HEAD + ROWS, "x.doc")
    assert read_orientations(doc)["angleRot"].tolist() == [10.5, 0]
    write_star(tmp_path / "run_it000015_img.xmd", {"particles": {"image": ["a.scl"], "angleRot": [7.0]}})
    for name in ("run_it000015_img.xmd", "run_it000015.doc"):
        assert read_orientations(tmp_path / name)["angleRot"].tolist() == [7]
    assert error(read_orientations, tmp_path / "run_it000016.doc") == \
        f"cannot read {tmp_path}/run_it000016.doc: No such file or directory"
    path = write(tmp_path, "a.scl 1\n", "x.sel")
    assert error(read_orientations, path).startswith(f"{path}: expected metadata (STAR) or a docfile")
    write_star(tmp_path / "run_img.xmd", {"particles": {"image": ["a.scl"], "angleRot": [8.0]}})     # it had converged
    assert read_orientations(tmp_path / "run_it000016.doc")["angleRot"][0] == 8


def test_poses_are_joined_by_name(tmp_path):
    images = image_table(["b/x.scl", "a/x.scl", "c/y.scl", "000002@d/z.mrcs"], "in.xmd")
    images.columns.update(angleRot=np.zeros(4), angleTilt=np.full(4, 8.0), itemId=np.arange(5, 9))
    poses = image_table(["2@z.mrcs", "a/x.scl", "elsewhere/y.scl", "b/x.scl", "1@z.mrcs"], "poses.xmd")
    poses.columns.update(angleRot=np.arange(5.0), ref=np.arange(1, 6), itemId=np.arange(5))
    found = merged(images, poses)
    assert found["angleRot"].tolist() == [3, 1, 2, 0] and found["ref"].tolist() == [4, 2, 3, 1]
    assert found["itemId"].tolist() == [5, 6, 7, 8] and found["angleTilt"].tolist() == [8] * 4
    assert images["angleRot"].tolist() == [0] * 4 and found.path == "in.xmd"


def test_paths_of_poses_may_start_at_their_own_folder():
    images = image_table(["run/data/a/x.scl", "run/data/b/x.scl"], "in.xmd")
    poses = image_table(["data/b/x.scl", "./data/a/x.scl"], "run/poses.doc")
    poses.columns["angleRot"] = np.array([1.0, 2.0])
    assert merged(images, poses)["angleRot"].tolist() == [2, 1]


def test_an_image_without_a_pose_is_named():
    images, poses = image_table(["a/x.scl", "c/y.scl"], "in.xmd"), image_table(["a/x.scl", "b/x.scl"], "poses.xmd")
    assert error(merged, images, poses) == ("in.xmd: row 2: no orientation for c/y.scl: poses.xmd has no row of that "
                                            "image")
    images = image_table(["d/x.scl"], "in.xmd")
    assert error(merged, images, poses) == ("in.xmd: row 1: no orientation for d/x.scl: poses.xmd has 2 rows with its "
                                            "file name, none with its path")
