"""A Scipion of its own for the tests, in a temporary folder.  Import this before anything of pyworkflow."""
import atexit
import contextlib
import importlib
import os
import shutil
import tempfile
import traceback
from pathlib import Path
from unittest import mock

from mlalign.environment import set_scipion_environment
from mlalign.programs.simulate import main as simulate

HOME = Path(tempfile.mkdtemp(prefix="mlalign-tests-"))
atexit.register(shutil.rmtree, HOME, ignore_errors=True)
for variable in [name for name in os.environ if name.startswith("SCIPION_")]:
    del os.environ[variable]
os.environ.update(SCIPION_HOME=str(HOME / "scipion"), SCIPION_USER_DATA=str(HOME / "data"))
set_scipion_environment()

BOX, PIXEL = 32, 3.0
# Parameters of a run that is over soon; no convergence, so that it ends where it is told to, and no classes moved.
QUICK = {"numberOfClasses": 2, "restarts": 1, "maxIters": 6, "psiStep": 10.0, "eps": 0.0, "numberOfThreads": 1,
         "minClassSize": 0.0}


@contextlib.contextmanager
def new_project(name):
    """A new project, which is also the working folder as long as the context lasts."""
    from pyworkflow.project import Manager
    before = os.getcwd()
    project = Manager().createProject(name)
    os.chdir(project.path)
    try:
        yield project
    finally:
        os.chdir(before)


def simulated(folder, *more, count=120, views=2, snr=0.5, seed=3):
    """Make particles.mrcs, references.mrcs and truth.xmd in ``folder``, of BOX pixels of PIXEL Å.

    more: other arguments of ``mlalign simulate``.
    """
    with contextlib.suppress(SystemExit):
        simulate(["--views", str(views), "-n", str(count), "--box", str(BOX), "--pixel_size", str(PIXEL),
                  "--snr", str(snr), "--mirror", "--seed", str(seed), "-o", f"{folder}/", *more])
    return Path(folder)


def import_particles(project, folder):
    """Import the particles in ``folder``; the finished protocol, with ``outputParticles``."""
    from pwem.protocols import ProtImportParticles
    protocol = project.newProtocol(ProtImportParticles, filesPath=str(folder / "particles.mrcs"),
                                   samplingRate=PIXEL, voltage=300, sphericalAberration=2.7,
                                   amplitudeContrast=0.1)
    return run(project, protocol)


def import_particles_with_ctf(project, folder, flipped=False):
    """Import the particles in ``folder`` with the CTF that particles.star has; flipped: say that they are."""
    from pwem.protocols import ProtImportParticles
    protocol = project.newProtocol(ProtImportParticles, importFrom=ProtImportParticles.IMPORT_FROM_RELION,
                                   starFile=str(folder / "particles.star"), samplingRate=PIXEL, voltage=300,
                                   sphericalAberration=2.7, amplitudeContrast=0.1,
                                   haveDataBeenPhaseFlipped=flipped)
    return run(project, protocol)


def disable(images, ids):
    """Disable these items of a set, in its file."""
    for item_id in ids:
        item = images[item_id].clone()
        item.setEnabled(False)
        images.update(item)
    images.write()
    images.close()


def import_averages(project, folder):
    from pwem.protocols import ProtImportAverages
    protocol = project.newProtocol(ProtImportAverages, filesPath=str(folder / "references.mrcs"),
                                   samplingRate=PIXEL)
    return run(project, protocol)


def run(project, protocol):
    """Run a protocol to its end, in a process of its own as Scipion does; the protocol as it is then."""
    with run_forked(protocol):
        project.launchProtocol(protocol, wait=True)
    if protocol.isFailed():
        log = Path(protocol.getStdoutLog()).read_text() + Path(protocol.getStderrLog()).read_text()
        raise AssertionError(f"{protocol.getErrorMessage()}\n{log}")
    return protocol


def assert_continue_does_nothing(project, protocol, file):
    """Continue a finished run without a change: its ``file`` is not written again."""
    from pyworkflow.protocol.constants import MODE_RESUME
    stamp = Path(file).stat().st_mtime_ns
    protocol.runMode.set(MODE_RESUME)
    run(project, protocol)
    assert Path(file).stat().st_mtime_ns == stamp


def run_forked(protocol, wait=True):
    """A context in which Scipion launches this protocol in a copy of this process, where all is imported already.

    That saves a run more than a second.  wait: until it has ended.
    """
    # The module, whose name pyworkflow.protocol gives to a function of it.
    launch = importlib.import_module("pyworkflow.protocol.launch")
    return mock.patch.object(launch, "_run", lambda *_, **__: _forked(protocol, wait))


def _forked(protocol, wait):
    """What Scipion's pw_protocol_run.py does, to its end; the number of the process."""
    process = os.fork()
    if process == 0:
        try:
            _run_here(protocol)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)             # nothing of the tests' own goes on here
    if wait:
        os.waitpid(process, 0)
    return process


def _run_here(protocol):
    from pyworkflow.protocol import runProtocolMain
    from pyworkflow.utils import LoggingConfigurator
    LoggingConfigurator.setUpProtocolRunLogging(*(os.path.abspath(path) for path in (
        protocol.getStdoutLog(), protocol.getStderrLog())))
    runProtocolMain(protocol.getProject().path, protocol.getDbPath(), int(protocol.strId()))


def connect(pointer, protocol, output):
    """Let an input of one protocol be an output of another."""
    pointer.set(protocol)
    pointer.setExtended(output)


def new_ml2d(project, particles, references=None, **parameters):
    """A new ML2D on the output of an import of particles; references: protocol that imported averages."""
    from mlalign.protocols import MlalignProtML2D
    return _new(project, MlalignProtML2D, particles, references, parameters)


def new_mlf2d(project, particles, references=None, **parameters):
    """A new MLF2D, see :func:`new_ml2d`."""
    from mlalign.protocols import MlalignProtMLF2D
    return _new(project, MlalignProtMLF2D, particles, references, parameters)


def new_mref(project, particles, references, output="outputAverages", **parameters):
    """A new multi-ref ali2d; references: a protocol whose ``output`` they are."""
    from mlalign.protocols import MlalignProtMref
    protocol = project.newProtocol(MlalignProtMref, **parameters)
    connect(protocol.inputParticles, particles, "outputParticles")
    connect(protocol.inputReferences, references, output)
    return protocol


def new_refine2d(project, particles, averages=None, **parameters):
    """A new refine2d; averages: a protocol whose ``outputAverages`` it begins with."""
    from mlalign.protocols import MlalignProtRefine2D
    protocol = project.newProtocol(MlalignProtRefine2D, **parameters)
    connect(protocol.inputParticles, particles, "outputParticles")
    if averages is not None:
        connect(protocol.inputClassAvg, averages, "outputAverages")
    return protocol


def _new(project, cls, particles, references, parameters):
    protocol = project.newProtocol(cls, **parameters)
    connect(protocol.inputParticles, particles, "outputParticles")
    if references is not None:
        protocol.doGenerateReferences.set(False)
        connect(protocol.inputReferences, references, "outputAverages")
    return protocol


def copy_of(project, protocol, **changes):
    """A new protocol with the parameters of another."""
    copy = project.copyProtocol(protocol)
    for name, value in changes.items():
        getattr(copy, name).set(value)
    return copy


def json_round_trip(project, source, protocol, path):
    """A protocol exported with its source to the file ``path`` and loaded again, all of whose parameters are equal."""
    project.saveProtocol(protocol)
    project.getRunsGraph(refresh=True)
    project.exportProtocols([source, protocol], str(path))
    loaded = next(other for other in project.loadProtocols(str(path)).values()
                  if other.getClassName() == protocol.getClassName())
    for name, _ in protocol.getDefinition().iterParams():
        if not getattr(protocol, name).isPointer() and name != "runName":
            assert getattr(loaded, name).get() == getattr(protocol, name).get(), name
    return loaded
