"""Items of a file, read piece by piece; what becomes of the file meanwhile is said."""
import errno
import os

import numpy as np
import pytest

from mlalign.programs.errors import UserError
from mlalign.programs.formats.stack import StackFile

COUNT, SHAPE, HEADER = 7, (3, 4), 16


@pytest.fixture(params=[("<f4", 0), (">f4", 0), ("<f4", 8), ("<i2", 0), ("<f2", 6), ("u1", 0)], ids=str)
def stack(request, tmp_path):
    """A stack with this type of pixels and so many bytes between items, and its items."""
    dtype, gap = request.param
    items = np.random.default_rng(0).integers(0, 100, (COUNT, *SHAPE)).astype(dtype)
    path = tmp_path / "stack"
    path.write_bytes(bytes(HEADER) + bytes(gap).join(item.tobytes() for item in items))
    size = items[0].nbytes
    return StackFile(path, items.shape, dtype, HEADER, stride=size + gap if gap else None), items


@pytest.mark.parametrize("indices", [slice(None), slice(2, 5), slice(0, 0), [3], [5, 6, 0, 1, 2, 4], np.array([6, 5])],
                         ids=str)
def test_any_items(stack, indices):
    stack, items = stack
    found = stack.read(indices)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, items[indices].astype(np.float32))


def test_pieces_come_when_they_like(stack, monkeypatch):
    """A read may give less than it was asked for."""
    stack, items = stack
    read = os.preadv
    monkeypatch.setattr(os, "preadv", lambda file, buffers, at: read(file, [buffers[0][:5]], at))
    np.testing.assert_array_equal(stack.read(slice(None)), items.astype(np.float32))


def test_a_file_that_is_gone_can_be_read_on(stack):
    stack, items = stack
    os.unlink(stack.path)
    np.testing.assert_array_equal(stack.read([4, 1]), items[[4, 1]].astype(np.float32))


def test_a_file_that_has_become_shorter(stack):
    stack, items = stack
    whole = os.path.getsize(stack.path)
    os.truncate(stack.path, whole - 1)
    np.testing.assert_array_equal(stack.read(slice(0, 6)), items[:6].astype(np.float32))
    with pytest.raises(UserError) as error:
        stack.read([0, 6])
    assert str(error.value) == (f"{stack.path}: has become shorter while it was in use: {whole - 1} bytes, "
                                f"expected {whole}")


def test_a_disk_that_fails(stack, monkeypatch):
    stack, _ = stack

    def fails(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "preadv", fails)
    with pytest.raises(UserError, match=f"cannot read {stack.path}: Input/output error"):
        stack.read([0])


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*none: No such file"):
        StackFile(tmp_path / "none", (1, 2, 2), "<f4", 0)
