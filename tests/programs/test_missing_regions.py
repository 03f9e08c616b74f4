"""Tables of missing regions: Xmipp's metadata, Xmipp 2's docfiles, and what is wrong with them."""
import numpy as np
import pytest

from mlalign.programs.engine.missing import EVERYTHING, Region
from mlalign.programs.errors import UserError
from mlalign.programs.formats.metadata import read_metadata
from mlalign.programs.formats.mrc import write_volume
from mlalign.programs.formats.star import read_star
from mlalign.programs.missing_regions import read_regions, write_regions

XMIPP = """# XMIPP_STAR_1 *
# Wedgeinfo
data_
loop_
 _missingRegionNumber
 _missingRegionType
 _missingRegionThetaY0
 _missingRegionThetaYF
 _missingRegionThetaX0
 _missingRegionThetaXF
  7  wedge_y  -64  64   0   0
  1  wedge_x    0   0 -40.5 60
  2  pyramid  -60  50 -30  70
  3  cone      60   0   0   0
"""
REGIONS = {
    7: Region(7, "wedge_y", y=(-64, 64)),
    1: Region(1, "wedge_x", x=(-40.5, 60)),
    2: Region(2, "pyramid", y=(-60, 50), x=(-30, 70)),
    3: Region(3, "cone", cone=60),
}


def write(folder, text, name="wedges.xmd"):
    path = folder / name
    path.write_text(text)
    return path


def error(path):
    with pytest.raises(UserError) as caught:
        read_regions(path)
    message = str(caught.value)
    assert message.startswith((f"{path}", f"cannot read {path}")) and "\n" not in message
    return message


def star(columns, *rows):
    return "data_\nloop_\n" + "".join(f"_missingRegion{name}\n" for name in columns.split()) + "\n".join(rows) + "\n"


# ---- metadata -------------------------------------------------------------------------------------------------

def test_metadata(tmp_path):
    found = read_regions(write(tmp_path, XMIPP))
    assert list(found) == [7, 1, 2, 3] and found == REGIONS


def test_only_the_columns_of_a_type_are_needed(tmp_path):
    found = read_regions(write(tmp_path, star("Number Type ThetaY0 ThetaYF", "1.00 wedge_y -64 64", "2 CONE 60 0")))
    assert found == {1: Region(1, "wedge_y", y=(-64, 64)), 2: Region(2, "cone", cone=60)}
    found = read_regions(write(tmp_path, star("Number Type ThetaY0 ThetaX0 ThetaXF", "1 wedge_x nan -64 64")))
    assert found == {1: Region(1, "wedge_x", x=(-64, 64))}


def test_the_block_is_found_among_others(tmp_path):
    assert read_regions(write(tmp_path, "data_info\n_seconds 3\n" + XMIPP)) == REGIONS


def test_regions_come_back(tmp_path):
    write_regions(tmp_path / "x.xmd", REGIONS)
    assert list(read_regions(tmp_path / "x.xmd").items()) == list(REGIONS.items())
    assert "missingRegionWeight" not in read_star(tmp_path / "x.xmd")["noname"]
    exact = {1: Region(1, "wedge_y", y=(-100 / 3, 200 / 3))}
    write_regions(tmp_path / "x.xmd", exact)
    assert read_regions(tmp_path / "x.xmd") == exact


def test_nothing_missing_is_written_as_a_full_wedge(tmp_path):
    write_regions(tmp_path / "x.xmd", {0: EVERYTHING})
    region, = read_regions(tmp_path / "x.xmd").values()
    assert region.number == 0 and region.coverage == 1


def test_weights(tmp_path, monkeypatch):
    volume = np.random.default_rng(0).uniform(0, 1, (6, 6, 6)).astype(np.float32)
    (tmp_path / "masks").mkdir()
    write_volume(tmp_path / "masks" / "w.mrc", volume)
    path = write(tmp_path, star("Number Type Weight", "4 weight masks/w.mrc"))
    region = read_regions(path)[4]
    assert region.radial
    k = np.random.default_rng(1).normal(size=(3, 50))
    np.testing.assert_array_equal(region.observed(*k), Region(4, "weight", weight=volume).observed(*k))
    # both kinds in one table, and back
    write_regions(tmp_path / "masks" / "both.xmd", {4: region, **REGIONS})
    again = read_regions(tmp_path / "masks" / "both.xmd")
    np.testing.assert_array_equal(again[4].weight, volume)
    assert again[7] == REGIONS[7]
    # the path may also start at the current folder
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    relative = write(tmp_path / "elsewhere", path.read_text())
    np.testing.assert_array_equal(read_regions(relative)[4].weight, volume)


def test_a_weight_without_a_file_cannot_be_written(tmp_path):
    with pytest.raises(ValueError, match="missing region 4: a weight without a file"):
        write_regions(tmp_path / "x.xmd", {4: Region(4, "weight", weight=np.ones((4, 4, 4)))})
    assert not (tmp_path / "x.xmd").exists()


def test_faulty_weights(tmp_path):
    path = write(tmp_path, star("Number Type Weight", "4 weight w.mrc"))
    assert "row 1: no file w.mrc" in error(path)
    write_volume(tmp_path / "w.mrc", np.ones((4, 4, 5)))
    assert "expected a cube" in error(path)
    write_volume(tmp_path / "w.mrc", np.full((4, 4, 4), 3))
    message = error(path)
    assert "row 1: missing region 4 (weight)" in message and "holds values from 3 to 3, expected 0 to 1" in message
    assert "w.mrc" in message


# ---- docfiles -------------------------------------------------------------------------------------------------

def test_docfile(tmp_path):
    text = """ ; Wedgeinfo
 ; wedge_y
    7 2 -64 64
 ; wedge_x
    1   2   -40.5  6.0e1
 ; pyramid
 2 4 -60 50 -30 70
 ; cone

 3 1 60
"""
    assert read_regions(write(tmp_path, text, "wedges.doc")) == REGIONS


def test_a_comment_holds_for_all_rows_that_follow(tmp_path):
    found = read_regions(write(tmp_path, " ; Wedgeinfo\n ; wedge_y\n1 2 -60 60\n2 2 -50 40\n"))
    assert found == {1: Region(1, "wedge_y", y=(-60, 60)), 2: Region(2, "wedge_y", y=(-50, 40))}


def test_a_row_may_end_with_its_type(tmp_path):
    found = read_regions(write(tmp_path, "1 2 -60 60 wedge_x\n ; wedge_y\n2 1 60 ; cone\n3 2 -50 40\n"))
    assert found == {1: Region(1, "wedge_x", x=(-60, 60)), 2: Region(2, "cone", cone=60),
                     3: Region(3, "wedge_y", y=(-50, 40))}


# ---- what is wrong --------------------------------------------------------------------------------------------

@pytest.mark.parametrize("text, fault", [
    (star("Type ThetaY0", "cone 60"), "no column _missingRegionNumber; there are"),
    (star("Number ThetaY0", "1 60"), "no column _missingRegionType; there are"),
    (star("Number Type ThetaY0", "1 wedge_y -60"), "no column _missingRegionThetaYF; there are"),
    (star("Number Type ThetaY0 ThetaYF", "1 pyramid -60 60"), "no column _missingRegionThetaX0; there are"),
    (star("Number Type ThetaY0 ThetaYF", "1 weight -60 60"), "no column _missingRegionWeight; there are"),
    (star("Number Type ThetaY0 ThetaYF", "1 wedge_y -60 60", "2 wedge_z -60 60"),
     "row 2: missingRegionType is 'wedge_z', expected one of wedge_y wedge_x pyramid cone weight"),
    (star("Number Type ThetaY0", "1 cone 60", "2 cone 50", "1 cone 60"),
     "row 3: missing region 1 is in row 1, too"),
    (star("Number Type ThetaY0", "1.5 cone 60"), "row 1: _missingRegionNumber is 1.5, expected a whole number"),
    (star("Number Type ThetaY0", "one cone 60"), "_missingRegionNumber is 'one', expected a whole number"),
    (star("Number Type ThetaY0 ThetaYF", "1 wedge_y -60 sixty"), "_missingRegionThetaYF is 'sixty', expected a num"),
    (star("Number Type ThetaY0 ThetaYF", "1 cone 60 0", "2 wedge_y -60 nan"), "row 2: _missingRegionThetaYF is nan"),
    (star("Number Type ThetaY0 ThetaYF", "1 cone 60 0", "2 wedge_y 60 -60"),
     "row 2: missing region 2 (wedge_y): tilts from 60 to -60 about Y, expected the last to be above the first"),
    (star("Number Type ThetaY0"), "no missing regions"),
    ("", "no missing regions"),
    (" ; Wedgeinfo\n ; wedge_y\n", "no missing regions"),
    ("1 2 -60 60\n", "line 1: no type, expected a comment before it: one of '; wedge_y'"),
    ("; wedge_y\n1 2 -60 60\n; wedge_z\n2 2 -60 60\n", "line 3: unknown type 'wedge_z', expected one of wedge_y"),
    ("; wedge_y\n1 1 -60\n", "line 2: 1 values where its second word says 1, expected 2 for a wedge_y"),
    ("; wedge_y\n1 2 -60\n", "line 2: 1 values where its second word says 2, expected 2 for a wedge_y"),
    ("; wedge_y\n1\n", "line 2: found '1', expected metadata (STAR), or a docfile"),
    ("; wedge_y\n1 2 -60 x\n", "line 2: found '1 2 -60 x', expected metadata (STAR), or a docfile"),
    ("; wedge_y\n1 2 -60 95\n", "line 2: missing region 1 (wedge_y): tilts from -60 to 95 about Y, expected -90 to"),
    ("; cone\n1 1 60\n\n1 1 50\n", "line 4: missing region 1 is in line 2, too"),
])
def test_faulty_tables(tmp_path, text, fault):
    assert fault in error(write(tmp_path, text))


def test_no_file(tmp_path):
    assert error(tmp_path / "none.xmd") == f"cannot read {tmp_path / 'none.xmd'}: No such file or directory"
    assert error(tmp_path) == f"cannot read {tmp_path}: Is a directory"


def test_particles_refer_to_regions_by_whole_numbers(tmp_path):
    text = "data_\nloop_\n_image\n_missingRegionNumber\n_halfSet\na.mrc 7.00 1\nb.mrc 1 2\n"
    table = read_metadata(write(tmp_path, text))
    assert table["missingRegionNumber"].tolist() == [7, 1] and table["missingRegionNumber"].dtype == np.int64
    with pytest.raises(UserError, match="row 2: _missingRegionNumber is 1.5, expected a whole number"):
        read_metadata(write(tmp_path, text.replace("b.mrc 1 ", "b.mrc 1.5 ")))
