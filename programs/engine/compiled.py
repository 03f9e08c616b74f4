"""How kernels are compiled: kept on disk, without the interpreter's lock."""
import numba as nb

_HOW = {"cache": True, "nogil": True, "error_model": "numpy"}

# sums may be reordered and products fused; nothing is assumed of infinities
kernel = nb.njit(**_HOW, fastmath={"contract", "reassoc", "nsz", "arcp"})

# As written.  What several kernels call exists in several versions, its own and theirs, and which one runs depends on
# whether the kernel has just been compiled or comes from the disk: any freedom would show in the rounding of results.
exact = nb.njit(**_HOW)
