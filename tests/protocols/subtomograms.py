"""Simulated subtomograms in a project of Scipion's."""
import contextlib
from pathlib import Path

from mlalign.programs.simulate_tomo import main as simulate_tomo
from mlalign.tests.protocols.scipion import connect, run

BOX, PIXEL, COUNT = 20, 10.0, 24
WEDGE = (-60.0, 55.0)
# Parameters of a run that is over soon; no convergence, so that it ends where it is told to.
QUICK = {"numberOfReferences": 2, "angSampling": "25", "numberOfIterations": "2", "maxRes": "0.25", "eps": 0.0,
         "stdOrig": 0.8, "restarts": 1, "doRefine": False, "numberOfThreads": 1}


def simulated(folder, *more, count=COUNT, snr=0.5, seed=2):
    """Make particles/000001.mrc …, references and truth.xmd in ``folder``: two species, one wedge.

    more: other arguments of ``mlalign simulate_tomo``.
    """
    with contextlib.suppress(SystemExit):
        simulate_tomo(["--phantoms", "2", "-n", str(count), "--box", str(BOX), "--pixel_size", str(PIXEL), "--snr",
                       str(snr), "--offset", "1", "--wedge", *map(str, WEDGE), "--seed", str(seed), "-o", f"{folder}/",
                       *more])
    return Path(folder)


def import_subtomograms(project, folder):
    """Import the particles in ``folder``, with their tilts; the finished protocol, with ``outputSubTomograms``."""
    from tomo.protocols import ProtImportSubTomograms
    return run(project, project.newProtocol(
        ProtImportSubTomograms, filesPath=str(folder / "particles"), filesPattern="*.mrc", samplingRate=PIXEL,
        acquisitionAngleMin=WEDGE[0], acquisitionAngleMax=WEDGE[1], step=3.0, tiltAxisAngle=0.0, voltage=300.0,
        sphericalAberration=2.7, amplitudeContrast=0.1, magnification=50000.0))


def import_volumes(project, folder, pattern="particles/*.mrc"):
    """Import volumes; the finished protocol, with ``outputVolumes`` (or ``outputVolume``, if it is one)."""
    from pwem.protocols import ProtImportVolumes
    return run(project, project.newProtocol(ProtImportVolumes, filesPath=str(folder), filesPattern=pattern,
                                            samplingRate=PIXEL))


def new_tomo(project, particles, output, references=None, **parameters):
    """A new ML tomo on an output of a protocol; references: (protocol, output) to start from."""
    from mlalign.protocols import MlalignProtMLTomo
    protocol = project.newProtocol(MlalignProtMLTomo, **parameters)
    connect(protocol.inputVolumes, particles, output)
    if references is not None:
        protocol.generateReferences.set(False)
        connect(protocol.inputReferences, *references)
    return protocol
