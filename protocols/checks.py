"""What can be found wrong, or doubtful, with the input before a run; shared by the protocols' forms."""
from importlib.util import find_spec
from shutil import which

from pwem.objects import Class2D
from pyworkflow.protocol.params import FloatParam, IntParam

from mlalign import Plugin
from mlalign.convert import background
from mlalign.programs.errors import UserError
from mlalign.programs.formats.images import open_stack

FEW_PARTICLES = 50      # per class


def mpi_errors(protocol):
    """Errors of the number of MPI processes, as far as they can be told here; a queue may run them elsewhere."""
    count = protocol.numberOfMpi.get() or 1
    if count == 1:
        return []
    if find_spec("mpi4py") is None:
        return [f"*MPI* is {count}, but mpi4py is not installed in Scipion's environment, expected "
                "`pip install mpi4py` there; or 1, and more threads."]
    host = protocol.getProject().getHostConfig(protocol.getHostName())
    launcher = host.getMpiCommand().split()[:1]
    if protocol.useQueue() or not launcher or which(launcher[0], path=Plugin.getEnviron()["PATH"]):
        return []
    return [f"*MPI* is {count}, but there is no {launcher[0]} here (as Scipion's hosts.conf calls it), expected an MPI "
            "such as OpenMPI, or `pip install mpich` in Scipion's environment; or 1, and more threads."]


def lacks_numbers(protocol):
    """Whether a number that counts was deleted from the form; Scipion reports it."""
    return any(isinstance(param, (IntParam, FloatParam)) and getattr(protocol, name).get() is None
               and protocol.evalParamCondition(name) for name, param in protocol.getDefinition().iterParams())


def image_errors(images):
    """Errors of a set of images (or classes): an unreadable first file, a box that is not square."""
    path = _first_path(images)
    try:
        _, y, x = open_stack(path).shape
    except UserError as error:
        return [f"The images cannot be read: {error}."]
    return [] if x == y else [f"The images of {path} have {x} x {y} pixels, expected a square box."]


def pixel_size_errors(particles):
    """An error when a set has no pixel size."""
    size = particles.getSamplingRate()
    return [] if size and size > 0 else [f"The particles' pixel size is {size} Å/px, expected more than 0."]


def _first_path(images):
    first = images.getFirstItem()
    return (first.getRepresentative() if isinstance(first, Class2D) else first).getFileName()


def resolution_errors(label, limit, particles, otherwise=""):
    """An error when a limit in Å is beyond what the particles' pixels and box can hold."""
    finest, coarsest = 2 * particles.getSamplingRate(), particles.getSamplingRate() * particles.getXDim() / 2
    if finest <= limit <= coarsest:
        return []
    return [f"*{label}* is {limit:g} Å, expected {finest:g} Å (twice the pixel size) to {coarsest:g} Å (half the box)"
            f"{otherwise}."]


def match_errors(particles, references):
    """Errors when references (that can be read) have not the particles' box and pixel size."""
    errors = []
    box, size = particles.getXDim(), open_stack(_first_path(references)).shape[-1]
    if size != box:
        errors.append(f"The class images have {size} px and the particles {box} px, expected the same box.")
    ours, theirs = particles.getSamplingRate(), references.getSamplingRate()
    if abs(theirs - ours) > 0.01 * ours:
        errors.append(f"The class images have {theirs:g} Å/px and the particles {ours:g} Å/px, expected the "
                      "same pixel size.")
    return errors


def few_particles(particles, classes, enough=FEW_PARTICLES):
    """A warning when the classes will be small."""
    if particles >= enough * classes:
        return []
    return [f"{particles} particles make {particles // classes} per class on average, less than "
            f"{enough}: the averages may stay noisy.  They suffice for {max(1, particles // enough)}."]


def not_normalised(particles):
    """A warning when the background of some particles is far from mean 0 and standard deviation 1."""
    return normalisation_warning(*background(particles), "Let *Normalise the particles first?* do so.")


def normalisation_warning(mean, deviation, advice="Normalise them first."):
    """A warning when the mean and standard deviation of the background are far from 0 and 1."""
    if is_normalised(mean, deviation):
        return []
    return [f"The particles seem not to be normalised: around them the mean is {mean:.2g} and the standard "
            f"deviation {deviation:.2g}, expected about 0 and 1.  {advice}"]


def is_normalised(mean, deviation):
    """Whether the mean and standard deviation of the background are about 0 and 1."""
    return abs(mean) <= 0.3 * deviation and 0.5 < deviation < 2
