"""The form of ML tomo in a window."""
import os
from types import SimpleNamespace

import pytest

from mlalign.protocols.tomo_form import CLASSES, NOTHING, SHIFTS
from mlalign.tests.protocols.subtomograms import new_tomo
from mlalign.tests.protocols.test_form import check_conditions, set_value, shown, window
from mlalign.tests.protocols.test_options import BESIDE_THREADS

pytestmark = pytest.mark.skipif("DISPLAY" not in os.environ, reason="no display, and no Xvfb to make one")


@pytest.fixture
def form(tomography):
    """The window of a new ML tomo with all parameters shown."""
    protocol = new_tomo(tomography.project, tomography.subtomograms, "outputSubTomograms")
    with window(SimpleNamespace(project=tomography.project), protocol) as form:
        yield form


def test_every_parameter_has_a_widget(form):
    wanted = {name for name, _ in form.protocol.getDefinition().iterParams() if not name.startswith("_")}
    assert wanted - set(form.widgetDict) <= {"hostName", "numberOfThreads", "numberOfMpi", "runMode", "runName", *BESIDE_THREADS}


@pytest.mark.parametrize("switch, value, appears, vanishes", [
    ("generateReferences", False, ["inputReferences"], ["numberOfReferences", "restarts"]),
    ("copyAlignment", True, [], ["restarts", "growResolution"]),
    ("missingDataType", 2, [], ["tiltFromAcquisition"]),
    ("missingDataType", 4, ["missingWeight"], ["missingAng", "negateTilts"]),
    ("missingDataType", 5, [], ["missingAng", "negateTilts", "tiltFromAcquisition"]),
    ("searchMode", SHIFTS, [], ["angSampling", "angSearch", "doPerturb"]),
    ("searchMode", CLASSES, ["maskFile"], ["angSampling", "limitTrans", "stdOrig"]),
    ("searchMode", NOTHING, [], ["numberOfIterations", "maxCC", "regIni"]),
    ("angSearch", "-1 50", ["anchor", "globalPsi"], []),
    ("maxCC", True, [], ["dontImpute", "stdNoise", "numberOfImpIterations"]),
    ("regIni", 5.0, ["regFinal", "regSteps"], []),
])
def test_conditions(form, switch, value, appears, vanishes):
    check_conditions(form, switch, value, appears, vanishes)


def test_values_typed_into_the_form_are_validated(form):
    set_value(form, "angSampling", "50")
    assert form.protocol.validate() == ["*Angular sampling (degrees)*: 50 is out of range, expected 0.1 to 45."]
    set_value(form, "angSampling", "15 10 5")
    set_value(form, "angSearch", "-1 50 25")
    assert form.protocol.validate() == []
    assert shown(form, "anchor")


@pytest.mark.parametrize("name", ["radius", "numberOfReferences", "angSampling", "maxRes", "regIni", "symmetry", "missingAng"])
def test_an_emptied_field_is_an_error_and_no_crash(form, name):
    set_value(form, name, "")
    found, = form.protocol.validate()
    label = form.protocol.getParam(name).getLabel().partition(" (")[0]
    assert found.startswith(f"*{label}") and "\n" not in found
