"""Checkpoints come back exactly, or a clear error says why not."""
import numpy as np
import pytest

from mlalign.programs.errors import UserError
from mlalign.programs.formats import checkpoint
from mlalign.programs.formats.checkpoint import load_checkpoint, save_checkpoint

ARRAYS = {
    "references": np.random.default_rng(0).normal(size=(3, 5, 5)).astype(np.float32),
    "harmonics": np.array([[1 + 2j, np.nan]], np.complex64),
    "offsets": np.asfortranarray(np.arange(12, dtype=np.int16).reshape(3, 4)),
    "scalar": np.array(0.1),
    "empty": np.empty((0, 7), np.int8),
    "file": np.array([True, False]),                # a name that numpy.savez cannot take
    "names": np.array(["a", "bcd", "µ"]),
    "big_endian": np.arange(3, dtype=">i4"),
    "records": np.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")]),
}
META = {"iteration": 12, "options": {"oroot": "out/ä_", "eps": 5e-5, "ref": None, "list": [1, 2]},
        "rng": np.random.default_rng(1).bit_generator.state, "sigma": np.float64(0.1), "on": np.bool_(True)}


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "iter_checkpoint.npz"
    save_checkpoint(path, ARRAYS, META)
    return path


def test_everything_comes_back(saved):
    arrays, meta = load_checkpoint(saved)
    assert list(arrays) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype and arrays[name].shape == array.shape
        assert arrays[name].tobytes() == array.tobytes()
    assert meta == META
    rng = np.random.default_rng()
    rng.bit_generator.state = meta["rng"]
    assert rng.random() == np.random.default_rng(1).random()


def test_numpy_opens_it(saved):
    with np.load(saved, allow_pickle=False) as file:
        assert (file["references"] == ARRAYS["references"]).all()


def test_objects_are_refused_and_leave_the_old_checkpoint(saved):
    for arrays, meta in (({"x": np.array([object()])}, {}), ({}, {"x": np.zeros(3)})):
        with pytest.raises((ValueError, TypeError)):
            save_checkpoint(saved, arrays, meta)
    assert load_checkpoint(saved)[1] == META


def test_damage_never_passes(saved):
    """A flipped byte or a missing end: either an error, or (in the zip's idle fields) no effect at all."""
    whole, good = saved.read_bytes(), load_checkpoint(saved)
    errors = 0
    for place in range(0, len(whole), 7):
        saved.write_bytes(whole[:place] + bytes([whole[place] ^ 0x15]) + whole[place + 1:])
        try:
            arrays, meta = load_checkpoint(saved)
        except UserError as error:
            assert str(error).startswith(f"{saved}: damaged checkpoint ("), error
            assert str(error).endswith("continue from an earlier one") and "\n" not in str(error)
            errors += 1
        else:
            assert meta == good[1] and arrays.keys() == good[0].keys()
            assert all(arrays[name].tobytes() == good[0][name].tobytes() for name in arrays)
    assert errors > 0.5 * len(range(0, len(whole), 7))
    for length in (0, 10, len(whole) // 2, len(whole) - 1):
        saved.write_bytes(whole[:length])
        with pytest.raises(UserError, match="damaged checkpoint"):
            load_checkpoint(saved)


def test_missing_and_foreign_files(tmp_path, saved, monkeypatch):
    with pytest.raises(UserError, match=r"^cannot read checkpoint .*nix\.npz: No such file or directory$"):
        load_checkpoint(tmp_path / "nix.npz")
    np.savez(tmp_path / "other.npz", a=[1])
    with pytest.raises(UserError, match=r"other\.npz: damaged checkpoint"):
        load_checkpoint(tmp_path / "other.npz")
    monkeypatch.setattr(checkpoint, "FORMAT", 3)
    with pytest.raises(UserError, match=r"checkpoint of format 2, this program reads 3$"):
        load_checkpoint(saved)
