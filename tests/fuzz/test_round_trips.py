"""Whatever is written comes back: tables, stacks, headers, docfiles, regions, checkpoints, modules, for any content."""
import json
import string

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mlalign.programs import modifiers
from mlalign.programs.engine.missing import Region
from mlalign.programs.errors import UserError
from mlalign.programs.formats.checkpoint import load_checkpoint, save_checkpoint
from mlalign.programs.formats.docfile import ORIENTATION, read_docfile, read_selfile, write_docfile, write_selfile
from mlalign.programs.formats.hdf import HdfStack, hdf_writer
from mlalign.programs.formats.labels import NUMBERS, TEXT
from mlalign.programs.formats.mrc import open_mrc, open_mrc_volumes, write_stack, write_volume_stack
from mlalign.programs.formats.star import read_star, write_star
from mlalign.programs.missing_regions import read_regions, write_regions

thorough = settings(max_examples=80, deadline=None, derandomize=True, database=None,
                    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
some = settings(thorough, max_examples=30)

# anything a name of a file may be, and more; no surrogates but those that stand for bytes
WORD = st.text(st.characters(blacklist_categories=["Cs"]) | st.sampled_from("'\"#_; \t\udc80\udcff"), max_size=12)
LABEL = st.text(string.ascii_letters + string.digits, min_size=1, max_size=8).filter(lambda x: x not in NUMBERS | TEXT)
PATH = st.text(string.ascii_letters + "._-/ é@:'\"$(;", min_size=1, max_size=20).map(str.strip).filter(bool)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
ANGLE = st.floats(-360, 360)


def columns(rows):
    return st.dictionaries(LABEL, st.one_of(
        st.lists(WORD, min_size=rows, max_size=rows).map(lambda words: np.array(words, dtype=object)),
        hnp.arrays(np.int64, rows), hnp.arrays(np.float64, rows), hnp.arrays(np.float32, rows),
        hnp.arrays(bool, rows)), min_size=1, max_size=4)


@thorough
@given(blocks=st.dictionaries(LABEL, st.integers(1, 4).flatmap(columns), min_size=1, max_size=3))
def test_star(blocks, tmp_path):
    path = tmp_path / "x.star"
    try:
        write_star(path, blocks)
    except UserError as error:          # said, not written so that it means something else
        words = [set(word) for table in blocks.values() for column in table.values() for word in column
                 if isinstance(word, str)]
        assert any({"'", '"'} <= word or word & set("\r\n") for word in words), error
        return
    found = read_star(path)
    assert list(found) == list(blocks)
    for name, table in blocks.items():
        assert list(found[name].columns) == list(table)
        for label, values in table.items():
            got = found[name][label]
            if values.dtype == object:
                assert [str(one) for one in got] == as_read(values)
            else:
                assert np.array_equal(got.astype(values.dtype), values, equal_nan=values.dtype.kind == "f")


def as_read(words):
    """A column of words that all look like numbers is one of numbers."""
    for kind in np.int64, np.float64:
        try:
            return list(map(str, [kind(int(word) if kind is np.int64 else word) for word in words]))
        except (ValueError, OverflowError):
            continue
    return list(words)


@some
@given(words=st.lists(PATH, min_size=1, max_size=4), data=st.data())
def test_docfiles_and_selections(words, data, tmp_path):
    path = str(tmp_path / "x.doc")
    poses = {label: data.draw(hnp.arrays(np.float64, len(words), elements=ANGLE)) for label in ORIENTATION[:6]}
    write_docfile(path, words, poses)
    found = read_docfile(path)
    assert list(found["image"]) == words
    for label, values in poses.items():
        np.testing.assert_allclose(found[label], values, rtol=1e-8, atol=1e-300)
    enabled = [1, -1, -1, 1][: len(words)]
    kept = [word for word in words if not word.startswith((";", "#"))]
    write_selfile(path, kept, enabled)
    if kept:
        selected = read_selfile(path)
        assert list(selected["image"]) == kept and list(selected["enabled"]) == enabled[: len(kept)]


@some
@given(images=hnp.arrays(np.float32, hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=5),
                         elements=st.floats(width=32)), pixel_size=st.none() | st.floats(0.125, 100, width=16))
def test_mrc(images, pixel_size, tmp_path):
    with np.errstate(all="ignore"):
        write_stack(tmp_path / "x.mrcs", images, pixel_size)
        write_volume_stack(tmp_path / "v.mrc", np.stack([images, images]), pixel_size)
    stack, volumes = open_mrc(tmp_path / "x.mrcs"), open_mrc_volumes(tmp_path / "v.mrc")
    assert np.array_equal(stack.read(slice(None)), images, equal_nan=True)
    assert np.array_equal(volumes.read([1])[0], images, equal_nan=True)
    for found in (stack.pixel_size, volumes.pixel_size):
        assert found == (pytest.approx(pixel_size, rel=1e-6) if pixel_size else None)


@some
@given(image=hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=5),
                        elements=st.floats(width=32)),
       header=st.dictionaries(LABEL.map("x_".__add__), st.one_of(
           st.booleans(), st.integers(-2**31 + 1, 2**31 - 1), FINITE, st.text(string.printable, min_size=1).filter(
               lambda text: text.strip("\0")), st.lists(st.integers(-1000, 1000), min_size=2, max_size=5)), max_size=4))
def test_hdf(image, header, tmp_path):
    with hdf_writer(tmp_path / "x.hdf", 2.5) as out:
        out.append(image, header)
    stack = HdfStack(tmp_path / "x.hdf")
    assert np.array_equal(stack.read(slice(None))[0], image, equal_nan=True)
    found = stack.attributes(0)
    assert {name: found[name] for name in header} == header and stack.pixel_size == 2.5


LIMITS = st.tuples(st.integers(-90, 89), st.integers(1, 179)).map(lambda pair: (pair[0], min(sum(pair), 90)))


@some
@given(regions=st.lists(st.one_of(
    LIMITS.map(lambda y: ("wedge_y", {"y": y})), LIMITS.map(lambda x: ("wedge_x", {"x": x})),
    st.tuples(LIMITS, LIMITS).map(lambda both: ("pyramid", dict(zip("yx", both)))),
    st.integers(1, 90).map(lambda tilt: ("cone", {"cone": tilt}))), min_size=1, max_size=5))
def test_missing_regions(regions, tmp_path):
    written = {number: Region(number, kind, **limits) for number, (kind, limits) in enumerate(regions, 3)}
    write_regions(tmp_path / "x.xmd", written)
    found = read_regions(tmp_path / "x.xmd")
    assert found == written
    k = np.random.default_rng(0).uniform(-3, 3, (3, 100))
    for number, region in written.items():
        assert np.array_equal(found[number].observed(*k), region.observed(*k))


JSON = st.recursive(st.none() | st.booleans() | st.integers() | FINITE | st.text(), lambda inner: (
    st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)), max_leaves=6)
NAMES = st.text(string.ascii_letters + "._", min_size=1, max_size=8).filter(lambda name: not name.endswith(".npy"))


@some
@given(arrays=st.dictionaries(NAMES, hnp.arrays(hnp.scalar_dtypes().filter(lambda kind: kind.kind in "biufcU"),
                                                hnp.array_shapes(min_dims=0, min_side=0)), max_size=3),
       meta=st.dictionaries(st.text(), JSON, max_size=3))
def test_checkpoints(arrays, meta, tmp_path):
    save_checkpoint(tmp_path / "x.npz", arrays, meta)
    found, said = load_checkpoint(tmp_path / "x.npz")
    assert said == json.loads(json.dumps(meta)) and found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype and found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes()
    with pytest.raises(UserError, match="the checkpoint has no 7"):
        found["7"]


NAME = st.text(string.ascii_letters + string.digits, min_size=1, max_size=8)
VALUE = st.one_of(st.booleans(), st.integers(-10**17, 10**17), FINITE,
                  st.text(string.ascii_letters + ".:-", min_size=1))


@thorough
@given(name=NAME.filter(lambda name: name.lower() != "none"), options=st.dictionaries(NAME, VALUE, max_size=4))
def test_modules(name, options):
    def said(value):
        return f'"{value}"' if isinstance(value, str) else repr(value)

    text = ":".join([name, *(f"{key}={said(value)}" for key, value in options.items())])
    assert modifiers.parse("--x", text) == modifiers.Modifier(name, options)
