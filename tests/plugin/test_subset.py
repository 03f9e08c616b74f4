"""python -m mlalign.subset: a run of select classes from outside, as the class gallery asks for it."""
import re
import subprocess
import sys

import pytest

from mlalign.subset import main
from mlalign.tests.protocols import scipion  # first: it makes Scipion's environment
from mlalign.tests.protocols.outputs import members

QUICK = {"numberOfThreads": 1, "radius": 11, "maxIters": 2}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """(project, finished classification, import of its particles)"""
    with scipion.new_project("Subsets of") as project:
        folder = scipion.simulated(tmp_path_factory.mktemp("simulated"))
        particles, averages = (load(project, folder) for load in (scipion.import_particles, scipion.import_averages))
        yield project, scipion.run(project, scipion.new_mref(project, particles, averages, **QUICK)), particles


def subset(project, *words, folder=None):
    return subprocess.run([sys.executable, "-m", "mlalign.subset", "--project", folder or project.getPath(),
                           *map(str, words)], capture_output=True, text=True)


def refused(capsys, said, *words):
    """In this process: one line of error, exit status 2."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        main(list(map(str, words)))
    out, error = capsys.readouterr()
    assert end.value.code == 2 and not out
    lines = [line for line in error.splitlines() if line.startswith("mlalign.subset")]
    assert len(lines) == 1 and lines[0].startswith("mlalign.subset: error: ") and said in lines[0]


def made(project, answer):
    """The protocol that the answer tells of."""
    assert answer.returncode == 0, answer.stderr
    assert len(answer.stdout.splitlines()) == 1
    number = int(re.search(r"\(id (\d+)\)", answer.stdout)[1])
    return next(protocol for protocol in project.getRuns(refresh=True) if protocol.getObjId() == number)


def test_particles_of_the_final_result(project):
    project, classified, _ = project
    answer = subset(project, "--protocol", classified.getObjId(), "--kind", "particles", "--classes", "2",
                    "--iteration", "final")
    protocol = made(project, answer)
    expected = members(classified.outputClasses)[2][0]
    assert answer.stdout == (f"Created 'select particles 2' (id {protocol.getObjId()}): 1 class, "
                             f"{len(expected)} particles\n")
    assert protocol.isFinished() and protocol.getObjLabel() == "select particles 2"
    assert [name for name, _ in protocol.iterOutputAttributes()] == ["outputParticles"]
    assert sorted(item.getObjId() for item in protocol.outputParticles.iterItems()) == sorted(expected)
    assert protocol.inputClasses.getObjValue().getObjId() == classified.getObjId()
    assert protocol.inputClasses.getExtended() == "outputClasses"


def test_classes_of_an_iteration(project):
    project, classified, _ = project
    protocol = made(project, subset(project, "--protocol", classified.getObjId(), "--kind", "classes", "--classes",
                                    "1,2", "--iteration", 1, "--label", "what I like"))
    assert protocol.getObjLabel() == "what I like"
    for ref, (found, _) in members(protocol.outputClasses).items():
        assert found == sorted(classified.getRun().members(1, ref)["itemId"])


@pytest.mark.parametrize("words, said", [
    (("--kind", "classes", "--classes", "1,9"), "Classes: no class 9"),
    (("--kind", "classes", "--classes", "one"), "'one' is no list of classes"),
    (("--kind", "classes", "--classes", "1", "--iteration", "7"), "Iteration is 7; there are 1 to 2"),
    (("--kind", "classes", "--classes", "1", "--iteration", "last"), "'last' is not an integer"),
    (("--kind", "volumes", "--classes", "1"), "invalid choice: 'volumes'"),
])
def test_errors(project, words, said, capsys):
    project, classified, _ = project
    before = len(project.getRuns(refresh=True))
    refused(capsys, said, "--project", project.getPath(), "--protocol", classified.getObjId(), *words)
    assert len(project.getRuns(refresh=True)) == before


def test_runs_without_classes_and_no_runs(project, capsys):
    project, _, particles = project
    choice = "--kind", "averages", "--classes", 1
    here = "--project", project.getPath()
    refused(capsys, "has no classes as output yet", *here, "--protocol", particles.getObjId(), *choice)
    refused(capsys, "no such run in the project", *here, "--protocol", 9999, *choice)
    refused(capsys, "no project there", "--project", "nowhere", "--protocol", 1, *choice)
