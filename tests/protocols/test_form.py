"""The form in a window."""
import contextlib
import os

import pytest

from mlalign.tests.protocols.scipion import new_ml2d, new_mlf2d
from mlalign.tests.protocols.test_options import BESIDE_THREADS

pytestmark = pytest.mark.skipif("DISPLAY" not in os.environ, reason="no display, and no Xvfb to make one")


@contextlib.contextmanager
def window(imported, protocol, expert=True):
    from pyworkflow.gui.project import ProjectWindow
    from pyworkflow.gui.form import FormWindow  # isort: skip  (importing it first is circular)
    protocol.expertLevel.set(int(expert))
    imported.project.saveProtocol(protocol)
    project = ProjectWindow(imported.project.path)
    form = FormWindow("Form", protocol, lambda *_: None, project)
    form.root.deiconify()
    form.root.update()
    yield form
    form.root.destroy()
    project.root.destroy()


@pytest.fixture
def form(imported):
    """The window of a new ML2D with all parameters shown."""
    with window(imported, new_ml2d(imported.project, imported.particles)) as form:
        yield form


@pytest.fixture
def mlf_form(imported):
    """The same of MLF2D."""
    with window(imported, new_mlf2d(imported.project, imported.particles)) as form:
        yield form


def set_value(form, name, value):
    form.widgetDict[name].set(value)
    form.setParamFromVar(name)
    form._checkAllChanges()
    form.root.update()


def shown(form, name):
    return form.widgetDict[name].label.winfo_ismapped() or form.widgetDict[name].label.grid_info() != {}


def test_every_parameter_has_a_widget(form):
    wanted = {name for name, _ in form.protocol.getDefinition().iterParams() if not name.startswith("_")}
    assert wanted - set(form.widgetDict) <= {"hostName", "numberOfThreads", "numberOfMpi", "runMode", "runName",
                                             *BESIDE_THREADS}


@pytest.mark.parametrize("switch, value, appears, vanishes", [
    ("doGenerateReferences", False, ["inputReferences", "splitReferences"], ["numberOfClasses", "restarts"]),
    ("doFast", False, [], ["significance", "zeroOffsets"]),
    ("doStudent", True, ["studentDf", "sigmaTrick"], []),
    ("limitResolution", 1, ["highResLimit"], []),
    ("limitResolution", 2, ["maxFrequency"], []),
    ("maxShift", 3.0, [], ["narrowShifts"]),
    ("doMlf", True, ["doCorrectAmplitudes", "areImagesPhaseFlipped", "highResLimit", "noiseGroups", "groupSize",
                     "reduceSnr", "includeAllFreqs", "fixHigh", "firstResLimit", "lowResLimit"],
     ["limitResolution", "iemBlocks"]),
])
def test_conditions(form, switch, value, appears, vanishes):
    check_conditions(form, switch, value, appears, vanishes)


@pytest.mark.parametrize("switch, value, appears, vanishes", [
    ("doCorrectAmplitudes", False, [], ["areImagesPhaseFlipped", "noiseGroups", "groupSize"]),
    ("doGenerateReferences", False, ["ctfAffectedRefs"], []),
    ("includeAllFreqs", True, [], ["fixHigh", "highResLimit", "firstResLimit", "lowResLimit"]),
    ("fixHigh", 12.0, [], ["highResLimit", "firstResLimit"]),
    ("noiseGroups", 2, [], ["groupSize"]),
])
def test_conditions_of_mlf2d(mlf_form, switch, value, appears, vanishes):
    check_conditions(mlf_form, switch, value, appears, vanishes)


def check_conditions(form, switch, value, appears, vanishes):
    before = [bool(shown(form, name)) for name in [*appears, *vanishes]]
    assert before == [False] * len(appears) + [True] * len(vanishes)
    set_value(form, switch, value)
    after = [bool(shown(form, name)) for name in [*appears, *vanishes]]
    assert after == [True] * len(appears) + [False] * len(vanishes)


def test_mlf2d_has_no_switch(mlf_form):
    assert not shown(mlf_form, "doMlf") and shown(mlf_form, "doCorrectAmplitudes")
    assert mlf_form.protocol.doMlf.get() is True


def test_the_empty_group_of_the_ctf_is_not_shown(form):
    frame = form.widgetDict["CTF"].content
    assert not frame.winfo_ismapped()
    set_value(form, "doMlf", True)
    assert frame.winfo_ismapped()


def test_values_typed_into_the_form_are_validated(form):
    set_value(form, "numberOfClasses", "500")
    set_value(form, "radius", "400")
    assert len(form.protocol.validate()) == 2
