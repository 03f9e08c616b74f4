"""One project with imported particles, averages and subtomograms for all tests of protocols."""
from collections import namedtuple

import pytest

from mlalign.tests.protocols import scipion, subtomograms

Imported = namedtuple("Imported", "project particles averages folder disabled")
Tomography = namedtuple("Tomography", "project subtomograms volumes references folder")
DISABLED = {1, 7, 120}
CTF = ("--defocus", "6000", "16000", "--astigmatism", "600", "--noise_fall", "4")


@pytest.fixture(scope="session")
def project():
    """The project, which is the working folder from then on."""
    with scipion.new_project("Protocols") as project:
        yield project


@pytest.fixture(scope="session")
def imported(project, tmp_path_factory):
    """A project, the protocols that imported particles and averages into it, and their files' folder.

    Of the 120 particles some are disabled.
    """
    folder = scipion.simulated(tmp_path_factory.mktemp("simulated particles"))     # a space on purpose
    particles = scipion.import_particles(project, folder)
    scipion.disable(particles.outputParticles, DISABLED)
    return Imported(project, particles, scipion.import_averages(project, folder), folder, DISABLED)


@pytest.fixture(scope="session")
def tomography(project, tmp_path_factory):
    """A project, the protocols that imported subtomograms, the same as volumes, and the two references, and a folder."""
    folder = subtomograms.simulated(tmp_path_factory.mktemp("simulated subtomograms"))
    return Tomography(project, subtomograms.import_subtomograms(project, folder),
                      subtomograms.import_volumes(project, folder),
                      subtomograms.import_volumes(project, folder, "reference0*.mrc"), folder)


@pytest.fixture(scope="session")
def with_ctf(imported, tmp_path_factory):
    """The same with particles that have a CTF and are not phase-flipped."""
    folder = scipion.simulated(tmp_path_factory.mktemp("simulated with CTF"), *CTF, count=200)
    particles = scipion.import_particles_with_ctf(imported.project, folder)
    return imported._replace(particles=particles, folder=folder, disabled=set())
