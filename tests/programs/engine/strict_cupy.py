"""A stand-in for CuPy on machines without a GPU: NumPy behind walls that are where CuPy's are, or closer.

Its arrays do not mix with NumPy's and become such by ``asnumpy`` only; each belongs to a GPU and can be used from
threads that have chosen that one; what a GPU does in any order (writing twice to one place) is an error, so are
functions and arguments that CuPy lacks, as far as they are not listed here, and large arrays in double precision.
Memory that has been asked for without a value holds NaN.
"""
import threading
import weakref
from types import ModuleType, SimpleNamespace

import numpy as np

LARGE = 30_000        # elements; arrays of as many may not be float64


class OutOfMemoryError(MemoryError):
    pass


class Array:
    """A wrapped NumPy array; what is not here CuPy may or may not have."""

    __array_ufunc__ = None
    __hash__ = None

    def __init__(self, owner, values):
        if values.dtype.itemsize >= (16 if values.dtype.kind == "c" else 8) and values.dtype.kind in "fc" \
                and values.size > LARGE:
            raise TypeError(f"a large array {values.shape} of {values.dtype}")
        if values.dtype.kind not in "fciub":
            raise TypeError(f"no {values.dtype} on a GPU")
        if values.nbytes > owner.room and values.base is None:
            raise OutOfMemoryError(f"Out of memory allocating {values.nbytes:,} bytes")
        self._owner, self._values, self._gpu = owner, values, owner.current
        owner.made += 1
        if values.base is None:
            owner.hold(values)

    def __array__(self, *arguments, **options):
        raise TypeError("Implicit conversion to a NumPy array is not allowed")

    def __array_function__(self, function, *arguments):
        raise TypeError(f"numpy.{function.__name__} of an array on a GPU")

    shape = property(lambda self: self._values.shape)
    dtype = property(lambda self: self._values.dtype)
    size = property(lambda self: self._values.size)
    ndim = property(lambda self: self._values.ndim)
    nbytes = property(lambda self: self._values.nbytes)
    real = property(lambda self: self._owner.wrap(self._values.real))
    imag = property(lambda self: self._owner.wrap(self._values.imag))

    def __len__(self):
        return len(self._values)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index):
        return self._owner.wrap(self._values[self._owner.index(index)])

    def __setitem__(self, index, value):
        index = self._owner.index(index)
        arrays = [i for i in (index if isinstance(index, tuple) else (index,)) if isinstance(i, np.ndarray)]
        if arrays:
            places = np.stack([place.ravel() for place in np.broadcast_arrays(*arrays)])
            if len(np.unique(places, axis=1).T) < places.shape[1]:
                raise IndexError("several values for one place: a GPU would keep any of them")
        self._values[index] = self._owner.bare(value)

    def __float__(self):
        return float(self._values)

    def __int__(self):
        return int(self._values)

    def __bool__(self):
        return bool(self._values)


def _operator(name):
    def apply(self, *others):
        values = self._owner.bare(self)
        found = getattr(values, name)(*(self._owner.bare(other) for other in others))
        if found is NotImplemented:
            return found
        return self if found is values else self._owner.wrap(found)

    setattr(Array, name, apply)


for _name in (["add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor"]):
    for _kind in ("", "r", "i"):
        _operator(f"__{_kind}{_name}__")
for _name in ["lt", "le", "gt", "ge", "eq", "ne", "neg", "abs", "invert"]:
    _operator(f"__{_name}__")


def _method(name, options):
    def apply(self, *arguments, **given):
        if set(given) - set(options):
            raise TypeError(f"{name} with {', '.join(given)}")
        return self._owner.wrap(getattr(self._owner.bare(self), name)(*arguments, **given))

    setattr(Array, name, apply)


for _name, _options in {
    "reshape": (), "transpose": (), "swapaxes": (), "astype": (), "ravel": (), "copy": (), "conj": (),
    "sum": ("axis", "dtype"), "max": ("axis",), "min": ("axis",), "argmax": ("axis",), "all": ("axis",),
    "any": ("axis",),
}.items():
    _method(_name, _options)


class StrictCupy(ModuleType):
    """The module.  gpus: their number; free: bytes of memory that are said to be free; room: of the largest array."""

    def __init__(self, gpus=1, free=2**30, room=2**40):
        super().__init__("cupy")
        self.free, self.room, self.made, self.held, self.peak = free, room, 0, 0, 0
        self._chosen = threading.local()
        self.cuda = SimpleNamespace(runtime=SimpleNamespace(getDeviceCount=lambda: gpus,
                                                            memGetInfo=lambda: (self.free, 2 * self.free),
                                                            getDeviceProperties=lambda n: {"name": b"stand-in"}),
                                    Device=self._device)
        self.get_default_memory_pool = lambda: SimpleNamespace(free_bytes=lambda: 0)
        for name, options in {"exp": (), "log1p": (), "maximum": (), "minimum": (), "where": (), "matmul": (),
                              "take": ("axis",), "flatnonzero": (), "unique": ("return_inverse",),
                              "ascontiguousarray": (), "concatenate": ("axis",), "stack": ("axis",)}.items():
            setattr(self, name, self._function(name, options))
        for name in ["zeros", "ones", "full", "arange"]:
            setattr(self, name, self._maker(name))

    @property
    def current(self):
        return getattr(self._chosen, "number", 0)

    def _device(self, number):
        return SimpleNamespace(id=number, use=lambda: setattr(self._chosen, "number", number))

    def hold(self, values):
        """Count memory as long as it is in use; ``peak``: the most there was."""
        self.held += values.nbytes
        self.peak = max(self.peak, self.held)
        weakref.finalize(values, self._release, values.nbytes)

    def _release(self, size):
        self.held -= size

    def wrap(self, values):
        return Array(self, np.asarray(values))

    def bare(self, value):
        """The values of an array, or a number; refuses NumPy's arrays, and its numbers in double precision."""
        if isinstance(value, Array):
            if value._gpu != self.current:
                raise RuntimeError(f"an array of GPU {value._gpu} used while GPU {self.current} is chosen")
            return value._values
        if isinstance(value, (np.float64, np.complex128)):
            raise TypeError(f"{value!r} would make any result one in double precision")
        if isinstance(value, (bool, int, float, complex, np.generic)):
            return value
        raise TypeError(f"Unsupported type {type(value)}")

    def index(self, index):
        if isinstance(index, tuple):
            kinds = {type(one) for one in index}
            if {int, Array} <= kinds:
                raise IndexError("numbers beside arrays: where their axes go is not sure")
            return tuple(map(self.index, index))
        if index is None or index is Ellipsis or isinstance(index, (int, slice)):
            return index
        return self.bare(index)

    def asarray(self, values):
        if not isinstance(values, np.ndarray):
            raise TypeError(f"asarray of {type(values)}")
        return self.wrap(values.copy())

    def asnumpy(self, array):
        if not isinstance(array, Array):
            raise TypeError(f"asnumpy of {type(array)}")
        return self.bare(array).copy()

    def empty(self, shape, dtype=float):
        values = np.empty(shape, dtype)
        values[...] = np.nan if values.dtype.kind in "fc" else -(2**30)
        return self.wrap(values)

    def _function(self, name, options):
        def apply(*arguments, **given):
            if set(given) - set(options):
                raise TypeError(f"{name} with {', '.join(given)}")
            whole = name in ("concatenate", "stack")
            if whole:
                arguments = [self.bare(part) for part in arguments[0]], *arguments[1:]
            else:
                arguments = [self.bare(argument) for argument in arguments]
            found = getattr(np, name)(*arguments, **given)
            return tuple(map(self.wrap, found)) if isinstance(found, tuple) else self.wrap(found)

        return apply

    def _maker(self, name):
        return lambda *arguments: self.wrap(getattr(np, name)(*arguments))


MODULE = """\
import pathlib, sys
from mlalign.tests.programs.engine.strict_cupy import StrictCupy

class Noted(StrictCupy):
    def _device(self, number):
        pathlib.Path(__file__).with_name(f"gpu{number}").touch()
        return super()._device(number)

sys.modules["cupy"] = Noted(gpus=3)
"""


def install(folder):
    """A module cupy with three GPUs in a folder, for other processes' PYTHONPATH; files gpuN tell which were chosen."""
    (folder / "cupy.py").write_text(MODULE)
