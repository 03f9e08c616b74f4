"""The GPU fields of forms, as Scipion has them, and what they become."""
from importlib.util import find_spec

from pyworkflow.protocol.constants import GPU_LIST, USE_GPU
from pyworkflow.protocol.params import BooleanParam, StringParam

from .form import read_manual
from .shared_help import MANUAL


def define_gpu(form):
    """Scipion shows these beside threads and MPI."""
    texts = read_manual(MANUAL)
    form.addHidden(USE_GPU, BooleanParam, default=False, label="Use GPU?", help=texts[USE_GPU])
    form.addHidden(GPU_LIST, StringParam, default="0", label="GPU IDs", help=texts[GPU_LIST])


def gpu_option(protocol):
    """The value of --gpu, or None.  A queue gives a job GPUs of its own, which count from 0 whatever their numbers."""
    if not protocol.usesGpu():
        return None
    numbers = protocol.getGpuList()
    if protocol.useQueue():
        numbers = [list(dict.fromkeys(numbers)).index(number) for number in numbers]
    return ",".join(map(str, numbers))


def gpu_errors(protocol):
    """Errors of the GPU fields, as far as they can be told here; the run may be on another machine."""
    if not protocol.usesGpu():
        return []
    try:
        numbers = protocol.getGpuList()
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 0:
        return [f"*GPU IDs* is '{protocol.gpuList}', expected numbers that count from 0, such as 0 or 0,1."]
    if find_spec("cupy") is None:
        return ["*Use GPU*: CuPy is not installed in Scipion's environment, expected "
                "`pip install 'cupy-cuda12x<14'` there; or say No."]
    return []


def gpu_warnings(protocol):
    """When there are not as many processes as GPUs."""
    if not protocol.usesGpu():
        return []
    gpus, processes = len(set(protocol.getGpuList())), max(1, protocol.numberOfMpi.get())
    if processes < gpus:
        return [f"*GPU IDs* names {gpus} GPUs, MPI asks for {processes} process{'es' * (processes > 1)}, and a process "
                f"uses one GPU: set MPI to {gpus} to use all."]
    if processes > gpus and not protocol.useQueue():
        return [f"{processes} MPI processes would share {gpus} GPU{'s' * (gpus > 1)} and their memory: expected as "
                "many processes as GPUs."]
    return []
