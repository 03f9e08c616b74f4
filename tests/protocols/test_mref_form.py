"""The form of multi-ref ali2d in a window."""
import os

import pytest

from mlalign.tests.protocols.scipion import new_mref
from mlalign.tests.protocols.test_form import check_conditions, set_value, window

pytestmark = pytest.mark.skipif("DISPLAY" not in os.environ, reason="no display, and no Xvfb to make one")


@pytest.fixture
def form(imported):
    with window(imported, new_mref(imported.project, imported.particles, imported.averages)) as form:
        yield form


def test_every_parameter_has_a_widget(form):
    wanted = {name for name, _ in form.protocol.getDefinition().iterParams() if not name.startswith("_")}
    assert wanted - set(form.widgetDict) <= {"hostName", "numberOfThreads", "numberOfMpi", "runMode", "runName"}


@pytest.mark.parametrize("switch, value, appears, vanishes", [
    ("useCtf", 1, [], ["areImagesPhaseFlipped", "snr"]),
    ("function", 5, ["ownFunction"], []),
    ("maxIters", 5, [], ["eps"]),
])
def test_conditions(form, switch, value, appears, vanishes):
    check_conditions(form, switch, value, appears, vanishes)


def test_values_typed_into_the_form_are_validated(form):
    set_value(form, "radius", "400")
    assert len(form.protocol.validate()) == 1
