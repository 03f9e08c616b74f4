"""Names that a shell would take for commands, in a real Scipion project: nothing runs, and results are found."""
import os
from pathlib import Path

import pytest
from pyworkflow.project import Manager

from mlalign.convert import read_table
from mlalign.programs.formats.images import open_images
from mlalign.tests.protocols import scipion
from mlalign.tests.protocols.scipion import PIXEL, QUICK, new_ml2d, new_refine2d, run, simulated

# no $ * ? [: Scipion's own import takes them out, or for patterns
FOLDER = "-da ta; touch pwned 'q' \"d\" `touch pwned` é\n%s %(x)d & touch pwned | > pwned <"
STACK = "-par'ticles; `touch pwned` & %s é.mrcs"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project in such a folder."""
    place, before = tmp_path_factory.mktemp("hostile") / FOLDER, os.getcwd()
    place.mkdir()
    (scipion.HOME / "data" / "projects").mkdir(parents=True, exist_ok=True)
    project = Manager().createProject("it's; touch pwned", location=str(place))
    os.chdir(project.path)
    yield project
    os.chdir(before)


@pytest.fixture(scope="module")
def particles(project):
    from pwem.protocols import ProtImportParticles
    folder = simulated(Path(project.path).parent, count=40)
    (folder / "particles.mrcs").rename(folder / STACK)
    return run(project, project.newProtocol(
        ProtImportParticles, filesPath=str(folder / STACK), samplingRate=PIXEL, voltage=300, sphericalAberration=2.7,
        amplitudeContrast=0.1))


def nothing_ran(project):
    return not list(Path(project.path).parents[1].rglob("pwned")) and not list(Path.home().glob("pwned"))


def test_ml2d(project, particles):
    protocol = run(project, new_ml2d(project, particles, **{**QUICK, "maxIters": 2}))
    assert protocol.outputClasses.getSize() == 2
    table = read_table(f"{protocol.getRun().prefix()}images.xmd")
    assert len(open_images(f"{protocol.getRun().prefix()}images.xmd").read(slice(None))) == len(table) == 40
    assert nothing_ran(project)


@pytest.mark.parametrize("words", ["--exclude '; touch pwned'", "--exclude \"$(touch pwned)\"", "; touch pwned",
                                   "--exclude `touch pwned`", "--exclude x\ntouch pwned"])
def test_what_forms_hold_is_no_command(words, project, particles):
    """It reaches the program word by word, which says what is wrong, or the form does."""
    protocol = new_refine2d(project, particles, numberOfClasses=2, numberOfIterations=1, extraParams=words)
    with pytest.raises(AssertionError, match=r"refine2d: error|expected|unrecognized|More options"):
        run(project, protocol)
    assert nothing_ran(project)
