"""Ready workflows: that Scipion finds and understands them, and the command that makes projects of them."""
import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from pyworkflow import Config
from pyworkflow.template import TemplateList, Validations

from mlalign import headless, template
from mlalign.programs.simulate import main as simulate
from mlalign.programs.simulate_tomo import main as simulate_tomo

NAMES = template.names()
OURS = "mlalign."
IMAGES = "--views 2 -n 40 --box 24 --pixel_size 3 --snr 0.5 --mirror"
BEHIND_CTF = "--defocus 9000 28000 --phase_flip"
VOLUMES = "--phantoms 2 -n 6 --box 16 --voxel_size 8 --snr 1"
IMPORTED = {"outputParticles", "outputSubTomograms"}          # by protocols that do not say what they may bring


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Few and small particles, as the templates' simulators write them: a folder for each template."""
    folder = tmp_path_factory.mktemp("data")
    simulate([*IMAGES.split(), *BEHIND_CTF.split(), "-o", f"{folder}/ml2d_mlf2d/"])
    simulate([*IMAGES.split(), "-o", f"{folder}/refine2d_mref/"])
    simulate_tomo([*VOLUMES.split(), "-o", f"{folder}/ml_tomo/"])
    return folder


@pytest.fixture
def made(data, tmp_path, monkeypatch):
    """A function that makes the project of a template and returns it and the runs, in order."""
    monkeypatch.chdir(tmp_path)         # the command goes into the project

    def make(name, *words):
        arguments = [name, "--project", f"{name}_{tmp_path.name}", "--data", str(data / name), *words]
        seen = SimpleNamespace()
        monkeypatch.setattr(template, "open_project", lambda project: vars(seen).setdefault(
            "project", headless.open_project(project)))
        template.main(arguments)
        return seen.project, seen.project.getRuns(iterate=False)

    return make


def fields(name):
    return {field.getAlias(): field for field in template.load(name).params.values()}


def workflow(name, tmp_path, **values):
    """The runs of a template as a list of dicts."""
    path = tmp_path / "there"
    path.mkdir(exist_ok=True)
    return json.loads(template.filled(template.load(name), {template.DEMOS[name].alias: str(path), **values}))


# ---- the templates

def test_scipion_offers_them():
    found = TemplateList()
    found.addPluginTemplates()
    ours = {one.getObjId(): one for one in found.templates if one.source == "mlalign"}
    assert set(ours) == {f"mlalign-{name}" for name in NAMES} and sorted(template.DEMOS) == NAMES
    for name in NAMES:
        words = ours[f"mlalign-{name}"].description
        assert f"mlalign template {name} " in words and "  " not in words.replace(".  ", ". ")


@pytest.mark.parametrize("name", NAMES)
def test_values_can_be_told_apart_and_are_valid(name):
    loaded = template.load(name)
    titles = [text.split("|")[0] for text in loaded.getContent()[1::2]]
    assert len(titles) == len(set(titles)) == len(fields(name))         # Scipion replaces one of a title only
    demo = template.DEMOS[name]
    for alias, field in fields(name).items():
        if alias == demo.alias:
            assert field.getValue() == f"{os.environ['SCIPION_USER_DATA']}/mlalign_data/{name}/{demo.file}"
        else:
            assert Validations.check(field.getValue(), field.getType()) is None or field.getValue()[0] == "-", alias


@pytest.mark.parametrize("name", NAMES)
def test_runs_and_parameters_exist(name, tmp_path):
    protocols, known = Config.getDomain().getProtocols(), {}
    for run in workflow(name, tmp_path):
        protocol = protocols[run["object.className"]]()
        parameters = dict(protocol.getDefinition().iterParams())
        for key, value in run.items():
            if key.startswith("object."):
                continue
            assert key in parameters, key
            if getattr(protocol, key).isPointer():
                number, output = value.split(".")
                assert number in known, "inputs come from runs before"
                outputs = known[number]._possibleOutputs or IMPORTED
                assert output in {getattr(one, "name", one) for one in outputs}
            else:
                getattr(protocol, key).set(value)
                assert getattr(protocol, key).get() == value, key
        known[run["object.id"]] = protocol
    ours = [protocol for protocol in known.values() if type(protocol).__module__.startswith(OURS)]
    assert ours and len(known) > len(ours)


def test_values_are_filled_in(tmp_path):
    runs = workflow("ml2d_mlf2d", tmp_path, classes="7", pixel="1.25", mlf_threads="3")
    assert runs[1]["numberOfClasses"] == 7 and runs[0]["samplingRate"] == 1.25
    assert (runs[1]["numberOfThreads"], runs[3]["numberOfThreads"]) == (2, 3)


def test_names_with_quotes(tmp_path):
    odd = tmp_path / 'my "best" particles\\.star'
    odd.touch()
    text = template.filled(template.load("ml2d_mlf2d"), {"particles": str(odd)})
    assert json.loads(text)[0]["starFile"] == str(odd)


# ---- the command

def test_the_list(capsys):
    template.main([])
    text = capsys.readouterr().out
    for name in NAMES:
        assert f"{name}\n" in text
        for alias, field in fields(name).items():
            assert f"{alias}={field.getValue()}" in text and field.getTitle() in text


@pytest.mark.parametrize("words, message", [
    (["ml3d"], "no workflow 'ml3d', expected one of ml2d_mlf2d"),
    (["ml_tomo", "--project", "a b"], "project 'a b': expected a name"),
    (["ml_tomo", "--set", "classes"], "--set classes: expected KEY=VALUE"),
    (["ml_tomo", "--set", "=3"], "expected KEY=VALUE"),
    (["ml_tomo", "--set", "views=3"], "--set views: the workflow has no such value, expected one of particles, "),
    (["ml_tomo", "--set", "classes=many"], "--set classes=many: expected an integer"),
    (["ml_tomo", "--set", "classes=2.5"], "--set classes=2.5: expected an integer"),
    (["ml_tomo", "--set", "voxel=nan"], "--set voxel=nan: expected a number"),
    (["ml_tomo", "--set", "voxel=true"], "--set voxel=true: expected a number"),
    (["ml2d_mlf2d", "--set", "particles=nowhere.star"], "nowhere.star: no such file"),
    (["ml_tomo", "--set", "particles=nowhere"], "nowhere: no such folder"),
    (["ml_tomo", "--set", "particles=.", "--data", "here"], "expected one of the two"),
])
def test_errors(words, message, data, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if "--data" not in words and not any("particles=" in word for word in words):
        words = [*words, "--data", str(data / "ml_tomo")]
    with pytest.raises(SystemExit) as stopped:
        template.main(words)
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and error.startswith("mlalign template: error: ") and error.count("\n") == 1
    assert message in error


def test_data_are_simulated_once(tmp_path, monkeypatch, capsys):
    demo = template.DEMOS["ml_tomo"]._replace(arguments="--phantoms 1 -n 2 --box 8")
    path = template.demo_data(demo, tmp_path / "new data")
    assert path == tmp_path / "new data" / "particles" and len(list(path.glob("*.mrc"))) == 2
    stamps = [file.stat().st_mtime_ns for file in path.glob("*.mrc")]
    capsys.readouterr()
    assert template.demo_data(demo, tmp_path / "new data") == path
    assert "already" in capsys.readouterr().out
    assert [file.stat().st_mtime_ns for file in path.glob("*.mrc")] == stamps
    (tmp_path / "new data" / "truth.xmd").unlink()                      # as if it had been killed
    template.demo_data(demo, tmp_path / "new data")
    assert [file.stat().st_mtime_ns for file in path.glob("*.mrc")] != stamps


@pytest.mark.parametrize("name", NAMES)
def test_a_project_of_it(name, made, data, capsys):
    project, runs = made(name, "--set", "classes=3")
    said = capsys.readouterr().out
    assert f"Type next\n  mlalign project {project.getShortName()}" in said
    labels = [run["object.label"] for run in json.loads(template.filled(
        template.load(name), {template.DEMOS[name].alias: str(data / name / template.DEMOS[name].file)}))]
    assert [run.getObjLabel() for run in runs] == labels and " -> ".join(labels) in said
    assert all(run.isSaved() for run in runs)
    first, second = runs[:2]
    inputs = [pointer for _, pointer in second.iterInputPointers() if pointer.hasValue() or pointer.hasExtended()]
    assert inputs[0].getObjValue().getObjId() == first.getObjId()
    counts = [run.numberOfReferences if name == "ml_tomo" else run.numberOfClassAvg if "refine" in name
              else run.numberOfClasses for run in runs[1:2]]
    assert counts[0].get() == 3
    assert Path(project.path).is_relative_to(os.environ["SCIPION_USER_DATA"])
