"""How kernels are compiled: kept on disk, without the interpreter's lock, sums in any order that is fast."""
import numba as nb

# sums may be reordered and products fused; nothing is assumed of infinities
_HOW = {"cache": True, "nogil": True, "error_model": "numpy", "fastmath": {"contract", "reassoc", "nsz", "arcp"}}

kernel = nb.njit(**_HOW)

# A function that kernels call, always compiled into them.  Otherwise there would be two versions of it, its own and the
# kernel's, and which one runs, and with it the rounding of sums, would depend on whether the kernel has just been
# compiled or comes from the disk.
part = nb.njit(**_HOW, forceinline=True)
