"""STAR files: what is written comes back, emtable agrees, and a faulty file is named with its line."""
import numpy as np
import pytest
from emtable import Table

from mlalign.programs.errors import UserError
from mlalign.programs.formats import star
from mlalign.programs.formats.star import MetaData, Rows, copy_star, read_star, write_star


def write(folder, text, name="x.star"):
    path = folder / name
    path.write_text(text)
    return path


def error(path, *arguments):
    with pytest.raises(UserError) as caught:
        read_star(path, *arguments)
    message = str(caught.value)
    assert "\n" not in message
    return message


COLUMNS = {
    "itemId": np.array([3, 1, 2_000_000_000_000]),
    "image": ["000001@a.mrcs", "000002@a b.mrcs", "000003@it's.mrcs"],
    "logLikelihood": np.array([-3e9 - 1 / 3, 0.1, 1e-300]),
    "pMax": np.array([0.1, 1, 1e-30], np.float32),
    "flip": np.array([True, False, True]),
    "note": ["", "#1", "data_x"],
}


def test_values_come_back_exactly(tmp_path):
    write_star(tmp_path / "x.star", {"particles": COLUMNS, "info": {"n": [1.5]}})
    tables = read_star(tmp_path / "x.star")
    assert list(tables) == ["particles", "info"]
    particles = tables["particles"]
    assert list(particles.columns) == list(COLUMNS)
    for label, values in COLUMNS.items():
        values = np.asarray(values)
        assert np.array_equal(particles[label].astype(values.dtype), values), label
    assert particles["itemId"].dtype == np.int64
    assert particles["logLikelihood"].dtype == np.float64
    assert tables["info"]["n"].tolist() == [1.5]


def test_emtable_reads_what_we_write(tmp_path):
    write_star(tmp_path / "x.star", {"particles": COLUMNS, "empty": {"ref": []}})
    table = Table(fileName=str(tmp_path / "x.star"), tableName="particles")
    assert table.getColumnValues("image") == COLUMNS["image"]
    assert table.getColumnValues("logLikelihood") == COLUMNS["logLikelihood"].tolist()
    assert table.getColumnValues("itemId") == COLUMNS["itemId"].tolist()


def test_we_read_what_emtable_writes(tmp_path):
    table = Table(columns=["rlnImageName", "rlnDefocusU", "rlnOpticsGroup"])
    rows = [(f"{i:06d}@s.mrcs", 1000.5 * i, 1) for i in range(1, 200)]
    for row in rows:
        table.addRow(*row)
    table.write(str(tmp_path / "x.star"), "particles")
    got = read_star(tmp_path / "x.star")["particles"]
    assert list(zip(*(got[label] for label in got.columns))) == rows


def test_blocks_of_one_row_comments_and_blank_lines(tmp_path):
    path = write(tmp_path, """# XMIPP_STAR_1 *
#
data_info
 _iterationNumber    7   # a comment
 _comment 'two words'
data_classes

loop_
 _ref
 _image #2
# between rows
   1 000001@"quoted".mrcs
   2 "a b.mrcs"   # after a row

   3 data_/c.mrcs
data_none
loop_
_ref
""")
    tables = read_star(path)
    assert tables["info"]["iterationNumber"].tolist() == [7]
    assert tables["info"]["comment"].tolist() == ["two words"]
    assert tables["classes"]["ref"].tolist() == [1, 2, 3]
    assert tables["classes"]["image"].tolist() == ['000001@"quoted".mrcs', "a b.mrcs", "data_/c.mrcs"]
    assert len(tables["none"]) == 0
    assert list(read_star(path, ["classes"])) == ["classes"]
    assert error(path, ["class"]) == (f"{path}: no block data_class; "
                                      "there are data_info, data_classes, data_none")


def test_a_first_column_that_looks_like_a_block(tmp_path):
    path = write(tmp_path, "data_\nloop_\n_image\n_x\ndata_set/1.spi 1\ndata_set/2.spi 2\n")
    assert read_star(path)[""]["image"].tolist() == ["data_set/1.spi", "data_set/2.spi"]


@pytest.mark.parametrize(("words", "values"), [
    (["0", "0.5"], [0.0, 0.5]),                     # the first row does not decide
    (["1", "2"], [1, 2]),
    (["1", "x"], ["1", "x"]),
    (["1_0", "2_0"], ["1_0", "2_0"]),               # numbers in Python, not in STAR
    (["1e3", "nan"], [1000.0, float("nan")]),
    (["123456789012345678901", "1"], [123456789012345678901.0, 1.0]),
])
def test_the_type_holds_all_rows(tmp_path, monkeypatch, words, values):
    path = write(tmp_path, "data_a\nloop_\n_foo\n" + "\n".join(words))
    for chunk in (10, 1):                           # decided within a chunk, and only by a later one
        monkeypatch.setattr(star, "CHUNK", chunk)
        got = read_star(path)["a"]["foo"]
        assert repr(got.tolist()) == repr(values)


def test_chunks_are_joined(tmp_path, monkeypatch):
    monkeypatch.setattr(star, "CHUNK", 7)
    columns = {"a": np.arange(100), "b": [f"m{i // 9}" for i in range(100)]}
    write_star(tmp_path / "x.star", {"p": columns})
    got = read_star(tmp_path / "x.star")["p"]
    assert got["a"].tolist() == list(range(100))
    assert got["b"].tolist() == columns["b"]


def test_errors_name_file_and_line(tmp_path):
    head = "# x\ndata_p\n\nloop_\n_image #1\n_anglePsi #2\n1@a.mrcs 0\n"
    path = write(tmp_path, head + "2@a.mrcs\n")
    assert error(path) == f"{path}, line 8: 1 values, expected 2 (block data_p: _image, _anglePsi)"
    path = write(tmp_path, head + "\n2@a b.mrcs 1\n")
    assert error(path) == f"{path}, line 9: 3 values, expected 2 (block data_p: _image, _anglePsi)"
    path = write(tmp_path, head + "2@a.mrcs 1,5\n")
    assert error(path) == f"{path}, line 8: _anglePsi is '1,5', expected a number"
    path = write(tmp_path, head.replace("_anglePsi", "_itemId") + "2@a.mrcs six\n")
    assert error(path) == f"{path}, line 8: _itemId is 'six', expected a whole number"
    path = write(tmp_path, "data_a\n_x 1\ndata_a\n_x 2\n")
    assert error(path) == f"{path}, line 3: a second block data_a"
    path = write(tmp_path, "data_a\nloop_\n_x\n_x\n")
    assert error(path) == f"{path}, line 4: a second column _x"
    path = write(tmp_path, "data_a\n_x 1 2\n")
    assert error(path) == f"{path}, line 2: 2 values after _x, expected one"
    path = write(tmp_path, "data_a\n_x 1\n_shiftX abc\n_y 1\n")
    assert error(path) == f"{path}, line 3: _shiftX is 'abc', expected a number"
    path = write(tmp_path, "data_a\nfoo bar\n")
    assert error(path) == f"{path}, line 2: found 'foo bar', expected loop_ or a _label"
    path = write(tmp_path, "some text\n")
    assert error(path) == f"{path}: no data_ block, expected a STAR metadata file"
    path = tmp_path / "binary.star"
    path.write_bytes(bytes(range(256)) * 10)
    assert error(path) == f"{path}: no data_ block, expected a STAR metadata file"
    path = tmp_path / "none.star"
    assert error(path) == f"cannot read {path}: No such file or directory"


def test_the_bad_row_is_found_in_a_later_chunk(tmp_path, monkeypatch):
    monkeypatch.setattr(star, "CHUNK", 3)
    rows = [f"{i}" for i in range(20)]
    rows[16] = "x"
    path = write(tmp_path, "data_a\nloop_\n_shiftX\n" + "\n".join(rows))
    assert error(path) == f"{path}, line 20: _shiftX is 'x', expected a number"


def test_writing_is_whole_or_nothing(tmp_path):
    path = write(tmp_path, "before")
    with pytest.raises(ValueError, match="different lengths"):
        write_star(path, {"good": {"a": [1]}, "bad": {"a": [1, 2], "b": [1]}})
    assert path.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["x.star"]


def test_blocks_may_be_an_iterator(tmp_path):
    def blocks():
        for k in (1, 2):
            yield f"class{k:06d}_images", MetaData({"ref": [k] * k})
    write_star(tmp_path / "x.star", blocks())
    assert {name: len(table) for name, table in read_star(tmp_path / "x.star").items()} == {
        "class000001_images": 1, "class000002_images": 2}


def test_table_answers(tmp_path):
    path = write(tmp_path, "data_a\nloop_\n_x\n_name\n_y\n1 a 0.5\n2 b nan\n3 c 1\n")
    table = read_star(path)["a"]
    assert "x" in table and "z" not in table
    assert table.take([2, 0])["name"].tolist() == ["c", "a"]
    assert table.take(table["x"] > 1)["x"].tolist() == [2, 3]
    assert table.numbers("x").dtype == np.float64
    with pytest.raises(UserError, match=r"x\.star: no column _z; there are _x, _name, _y$"):
        table["z"]
    with pytest.raises(UserError, match=r"x\.star: row 2: _y is nan, expected a number"):
        table.numbers("y")
    with pytest.raises(UserError, match=r"x\.star: row 2: _y is nan, expected a number"):    # as in the file
        table.take([2, 0, 1]).take([False, True, True]).numbers("y")
    with pytest.raises(UserError, match="column _name holds text, expected numbers"):
        table.numbers("name")


# ---- a million rows

def test_rows_are_written_as_their_table(tmp_path, monkeypatch):
    monkeypatch.setattr(star, "CHUNK", 7)
    columns = {"itemId": np.arange(20), "image": [f"{i}@a b.mrcs" if i == 13 else f"{i}@c.mrcs" for i in range(20)],
               "shiftX": np.linspace(0, 1, 20), "pMax": np.linspace(0, 1, 20, dtype=np.float32)}
    some = np.array([3, 13, 4])
    write_star(tmp_path / "rows.star", {"all": Rows.of(columns), "some": Rows.of(columns).take(some)})
    write_star(tmp_path / "table.star", {"all": columns, "some": {k: np.array(v)[some] for k, v in columns.items()}})
    rows, table = (read_star(tmp_path / name) for name in ("rows.star", "table.star"))
    for block in ("all", "some"):
        for label in columns:
            assert rows[block][label].tolist() == table[block][label].tolist()
    assert (tmp_path / "rows.star").read_text() == (tmp_path / "table.star").read_text()


def test_rows_need_columns_of_one_length():
    with pytest.raises(ValueError, match="different lengths"):
        Rows.of({"a": [1, 2], "b": [1]})


@pytest.mark.parametrize("word", ["", "a b", "_a", "#a", "'a", '"a', ";a", "data_a", "loop_", "a\tb"])
def test_one_word_that_needs_quotes_has_its_column_quoted(tmp_path, monkeypatch, word):
    monkeypatch.setattr(star, "CHUNK", 2)
    words = ["plain", "words", "and", word, "more"]
    write_star(tmp_path / "x.star", {"a": {"name": words, "n": np.arange(5)}})
    assert read_star(tmp_path / "x.star")["a"]["name"].tolist() == words
    assert (tmp_path / "x.star").read_text().count('"plain"') == 1


def test_a_word_that_looks_like_the_end_of_a_row(tmp_path):
    path = write(tmp_path, "data_a\nloop_\n_x\n_name\n1 \0\n2 b\n")
    assert read_star(path)["a"]["name"].tolist() == ["\0", "b"]
    path = write(tmp_path, "data_a\nloop_\n_name\na \0 b\n")
    assert error(path) == f"{path}, line 4: 3 values, expected 1 (block data_a: _name)"


def test_reading_ends_with_the_last_block_wanted(tmp_path):
    path = write(tmp_path, "data_a\n_x 1\ndata_b\n_x 2\ndata_c\nnonsense\n")
    assert list(read_star(path, ["b"])) == ["b"]
    assert "nonsense" in error(path)


def test_a_copy_with_another_block(tmp_path):
    blocks = {"classes": {"ref": [1, 2], "image": ["1@a", "2@a"]}, "info": {"n": [3]}, "class1_images": {"ref": [1]}}
    write_star(tmp_path / "a.star", blocks)
    copy_star(tmp_path / "a.star", tmp_path / "b.star", "classes", {**blocks["classes"], "image": ["1@b", "2@b"]})
    blocks["classes"]["image"] = ["1@b", "2@b"]
    write_star(tmp_path / "expected.star", blocks)
    assert (tmp_path / "b.star").read_text() == (tmp_path / "expected.star").read_text()
