"""The stand-in for CuPy refuses what CuPy refuses, and promises nothing that CuPy has not."""
import inspect
import threading

import numpy as np
import pytest

from mlalign.tests.programs.engine.strict_cupy import LARGE, Array, OutOfMemoryError, StrictCupy

xp = StrictCupy()
ONES = xp.ones((3, 4), np.float32)
HERE = np.ones((3, 4), np.float32)


@pytest.mark.parametrize("mixed", [
    lambda: ONES + HERE, lambda: HERE * ONES, lambda: ONES @ HERE.T, lambda: np.exp(ONES), lambda: np.asarray(ONES),
    lambda: np.concatenate([ONES, ONES]), lambda: np.matmul(HERE.T, ONES), lambda: xp.exp(HERE),
    lambda: xp.concatenate([ONES, HERE]), lambda: xp.where(ONES > 0, HERE, 0), lambda: ONES[np.array([0])],
    lambda: ONES.__setitem__(0, HERE[0]), lambda: HERE.__setitem__(0, ONES[0]), lambda: xp.asarray([ONES]),
    lambda: np.add(HERE, 1, out=ONES), lambda: ONES.__iadd__(HERE), lambda: xp.asnumpy(HERE),
])
def test_arrays_do_not_mix_with_numpys(mixed):
    with pytest.raises(TypeError):
        mixed()


@pytest.mark.parametrize("lacking", [
    lambda: xp.einsum("ij->i", ONES), lambda: xp.add.at(ONES, 0, 1), lambda: xp.take(ONES, 0, mode="clip"),
    lambda: xp.bincount(ONES), lambda: ONES.view(np.int32), lambda: ONES.sum(initial=1), lambda: xp.exp(ONES, out=ONES),
])
def test_what_is_not_known_to_work_is_missing(lacking):
    with pytest.raises((AttributeError, TypeError)):
        lacking()


def test_what_comes_out_is_right():
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    array = xp.asarray(values)
    values[0] = 100                                                 # not shared
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    expected = np.log1p(2 * values.T @ values)[[0, 2]]
    found = xp.log1p(2 * array.transpose() @ array)[xp.asarray(np.array([0, 2]))]
    np.testing.assert_array_equal(xp.asnumpy(found), expected)
    array[1] += array[0]
    np.testing.assert_array_equal(xp.asnumpy(array[1]), values[1] + values[0])
    assert float(array.sum()) == values.sum() + values[0].sum() and bool((array[0] == array[0]).all())
    assert [len(row) for row in array] == [4, 4, 4] and all(isinstance(row, Array) for row in array)


def test_what_a_gpu_does_in_any_order_is_an_error():
    array, twice = xp.zeros(4, np.float32), xp.asarray(np.array([1, 2, 1]))
    with pytest.raises(IndexError, match="several values"):
        array[twice] = 1.0
    with pytest.raises(IndexError, match="several values"):
        array[twice] += 1.0
    xp.ones((2, 4))[xp.asarray(np.array([0, 1])), xp.asarray(np.array([1, 1]))] = 2


def test_numbers_and_arrays_do_not_mix_in_an_index():
    with pytest.raises(IndexError, match="numbers beside arrays"):
        ONES[0, xp.asarray(np.array([1, 2]))]
    assert ONES[0, 1:].shape == (3,) and ONES[:, xp.asarray(np.array([1, 2]))].shape == (3, 2)


def test_large_arrays_are_in_single_precision():
    assert xp.zeros(LARGE).dtype == float
    with pytest.raises(TypeError, match="large array"):
        xp.zeros(LARGE + 1)
    with pytest.raises(TypeError, match="large array"):
        xp.zeros(LARGE + 1, np.float32) * xp.ones(1)
    with pytest.raises(TypeError, match="double precision"):
        xp.zeros(3, np.float32) * np.float64(2)
    assert (xp.zeros(LARGE + 1, np.float32) * 2.0).dtype == np.float32


def test_memory_holds_nothing_of_use_at_first_and_ends():
    assert not (xp.empty(3, np.float32) == xp.empty(3, np.float32))[0]
    with pytest.raises(OutOfMemoryError):
        StrictCupy(room=100).zeros(26, np.float32)


def test_gpus_are_chosen_for_a_thread():
    two = StrictCupy(gpus=2)
    two.cuda.Device(1).use()
    array, errors = two.ones(3), []

    def elsewhere():
        try:
            array + 1
        except RuntimeError as error:
            errors.append(str(error))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert errors == ["an array of GPU 1 used while GPU 0 is chosen"]
    assert float((array + 1).sum()) == 6


def test_cupy_has_all_that_the_stand_in_has():
    """Where CuPy is installed; it need not have a GPU."""
    cupy = pytest.importorskip("cupy")
    names = [name for name in vars(xp) if not name.startswith("_") and callable(vars(xp)[name])]
    assert {"matmul", "take", "unique"} <= set(names)
    for name in names:
        assert callable(getattr(cupy, name)), name
    for name in (name for name in vars(Array) if not name.startswith("_")):
        assert hasattr(cupy.ndarray, name), name
    assert "return_inverse" in inspect.signature(cupy.unique).parameters
    assert "axis" in inspect.signature(cupy.take).parameters
    assert issubclass(cupy.cuda.memory.OutOfMemoryError, MemoryError)
    assert callable(cupy.cuda.runtime.memGetInfo) and callable(cupy.cuda.runtime.getDeviceProperties)
    assert callable(cupy.get_default_memory_pool().free_bytes)
