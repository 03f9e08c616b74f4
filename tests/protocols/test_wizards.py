"""Wizards in their windows, beside a form: what the user chooses there comes back into the form."""
import contextlib
import os

import numpy as np
import pytest

from mlalign.protocols.tomo_form import REGIONS
from mlalign.tests.protocols.scipion import BOX, PIXEL, new_ml2d, new_mlf2d, new_mref, new_refine2d
from mlalign.tests.protocols.subtomograms import BOX as BOX3D
from mlalign.tests.protocols.subtomograms import PIXEL as VOXEL
from mlalign.tests.protocols.subtomograms import WEDGE, new_tomo
from mlalign.tests.protocols.test_form import set_value, window
from mlalign.tests.protocols.wizard_windows import click, move, press, settle, use, words

pytestmark = pytest.mark.skipif("DISPLAY" not in os.environ, reason="no display, and no Xvfb to make one")


@pytest.fixture(scope="module")
def windows(imported, tomography):
    """label -> the form's window; each is made once, for windows take long."""
    kinds = {
        "ml2d": lambda: new_ml2d(imported.project, imported.particles),
        "mlf2d": lambda: new_mlf2d(imported.project, imported.particles),
        "mref": lambda: new_mref(imported.project, imported.particles, imported.averages),
        "refine2d": lambda: new_refine2d(imported.project, imported.particles),
        "tomo": lambda: new_tomo(tomography.project, tomography.subtomograms, "outputSubTomograms")}
    made = {}
    with contextlib.ExitStack() as stack:
        def form_of(label):
            if label not in made:
                made[label] = stack.enter_context(window(imported, kinds[label]()))
            return made[label]

        yield form_of


@pytest.fixture
def form_of(windows):
    """The same; after the test all values are as they were."""
    used = []

    def tidy(label):
        form = windows(label)
        used.append((form, values_of(form)))
        return form

    yield tidy
    for form, before in used:
        for name, value in values_of(form).items():
            if value != before[name]:
                set_value(form, name, before[name])


def values_of(form):
    protocol = form.protocol
    return {name: getattr(protocol, name).get() for name, _ in protocol.getDefinition().iterParams()
            if name in form.widgetDict and not getattr(protocol, name).isPointer()}


@pytest.fixture
def ml2d(form_of):
    return form_of("ml2d")


@pytest.fixture
def mlf2d(form_of):
    return form_of("mlf2d")


@pytest.fixture
def mref(form_of):
    return form_of("mref")


@pytest.fixture
def refine2d(form_of):
    return form_of("refine2d")


@pytest.fixture
def tomo(form_of):
    return form_of("tomo")


# ---- radius

@pytest.mark.parametrize("kind", ["ml2d", "mlf2d", "mref", "refine2d"])
def test_radius(form_of, kind):
    form = form_of(kind)
    first = use(form, "radius", move(radius=7))
    assert BOX // 4 < first["radius"] <= BOX // 2 - (2 if kind == "mref" else 0)     # -1 begins where it suggests
    assert form.protocol.radius.get() == 7
    assert use(form, "radius", lambda dialog: press(dialog, "Suggest")) == {"radius": 7}
    assert form.protocol.radius.get() == first["radius"]


def test_radius_of_subtomograms(tomo):
    def choose(dialog):
        before = dialog.picture._tiles.get_array().copy()
        press(dialog, "Other particles")
        settle(dialog)
        assert not np.array_equal(before, dialog.picture._tiles.get_array())
        click(dialog, dialog.picture._mean, BOX3D // 2 + 3, BOX3D // 2 + 4)

    use(tomo, "radius", choose)
    assert tomo.protocol.radius.get() == 5


def test_radius_says_when_it_cuts_the_particle(ml2d):
    def choose(dialog):
        press(dialog, "Suggest")
        assert words(dialog).endswith("px from the centre.")
        move(radius=4)(dialog)
        assert "this circle cuts it" in words(dialog)

    use(ml2d, "radius", choose)


def test_circles_follow_the_radius(mref):
    def choose(dialog):
        move(radius=9)(dialog)
        assert "leaves room for shifts of 6 px" in words(dialog)
        assert {circle.radius for circle in dialog.picture._circles} == {9}
        click(dialog, dialog.picture._curve, 8.2, 0)
        settle(dialog)
        assert {circle.radius for circle in dialog.picture._circles} == {8}

    use(mref, "radius", choose)
    assert mref.protocol.radius.get() == 8


def test_cancel_changes_nothing(ml2d):
    use(ml2d, "radius", move(radius=7), accept=False)
    assert ml2d.protocol.radius.get() == -1


# ---- resolution

def test_limit_in_angstrom(ml2d):
    set_value(ml2d, "limitResolution", 1)
    assert use(ml2d, "highResLimit", move(high=0.25))["high"] == pytest.approx(PIXEL / 20)
    assert ml2d.protocol.highResLimit.get() == 4 * PIXEL and ml2d.protocol.validate() == []


def test_finest_limit_is_valid(ml2d):
    set_value(ml2d, "limitResolution", 1)
    use(ml2d, "highResLimit", move(high=0.5))
    assert ml2d.protocol.highResLimit.get() == 2 * PIXEL and ml2d.protocol.validate() == []


def test_limit_as_frequency(ml2d):
    set_value(ml2d, "limitResolution", 2)
    use(ml2d, "maxFrequency", move(high=0.31))
    assert ml2d.protocol.maxFrequency.get() == pytest.approx(0.31) and ml2d.protocol.validate() == []


def test_suggested_limit(ml2d):
    set_value(ml2d, "limitResolution", 1)
    use(ml2d, "highResLimit", lambda dialog: press(dialog, "Suggest"))
    assert 2 * PIXEL <= ml2d.protocol.highResLimit.get() < 15


@pytest.mark.parametrize("name", ["highResLimit", "lowResLimit"])
def test_both_limits_of_mlf2d(mlf2d, name):
    first = use(mlf2d, name, move(high=0.3, low=0.01))
    assert first["low"] == 0
    assert mlf2d.protocol.highResLimit.get() == 10 and mlf2d.protocol.lowResLimit.get() == 300
    use(mlf2d, name, move(low=0))
    assert mlf2d.protocol.lowResLimit.get() == 999


@pytest.mark.parametrize("name", ["firstResLimit", "fixHigh"])
def test_other_limits_of_mlf2d(mlf2d, name):
    use(mlf2d, name, move(high=0.15))
    assert getattr(mlf2d.protocol, name).get() == 20


def test_limit_of_the_last_stage(tomo):
    set_value(tomo, "maxRes", "0.25 0.4")
    assert use(tomo, "maxRes", move(high=0.35)) == {"high": 0.4}
    assert tomo.protocol.maxRes.get() == "0.25 0.35"


# ---- classes

def test_number_of_classes(ml2d):
    assert use(ml2d, "numberOfClasses", move(classes=5)) == {"classes": 2}       # -1 is what is suggested
    assert ml2d.protocol.numberOfClasses.get() == 5
    use(ml2d, "numberOfClasses", lambda dialog: press(dialog, "Suggest"))
    assert ml2d.protocol.numberOfClasses.get() == 2


def test_number_of_classes_of_refine2d(refine2d):
    assert use(refine2d, "numberOfClassAvg", lambda dialog: press(dialog, "Suggest")) == {"classes": 32}
    assert 2 <= refine2d.protocol.numberOfClassAvg.get() <= 6 and refine2d.protocol.validate() == []


def test_number_of_references(tomo):
    def choose(dialog):
        assert "About 8 subtomograms in each class" in words(dialog) and "too few" in words(dialog)
        press(dialog, "Suggest")

    use(tomo, "numberOfReferences", choose)
    assert tomo.protocol.numberOfReferences.get() == 1


# ---- angular step

def test_step_of_rotations(ml2d):
    def choose(dialog):
        assert "72 rotations, as many as with the form's step" in words(dialog)
        move(resolution=12, diameter=60)(dialog)
        assert "neighbouring rotations move the rim by 6.01 Å" in words(dialog)

    set_value(ml2d, "radius", 10)
    first = use(ml2d, "psiStep", choose)
    assert first["diameter"] == 20 * PIXEL and first["resolution"] == pytest.approx(
        2 * 20 * PIXEL * np.sin(np.deg2rad(2.5)), abs=1)
    assert ml2d.protocol.psiStep.get() == 11.5 and ml2d.protocol.validate() == []


def test_step_of_the_last_stage(tomo):
    set_value(tomo, "angSampling", "25, 15")
    use(tomo, "angSampling", move(resolution=3 * VOXEL, diameter=15 * VOXEL))
    assert tomo.protocol.angSampling.get() == "25 11.5" and tomo.protocol.validate() == []
    use(tomo, "psiSampling", move(resolution=3 * VOXEL, diameter=15 * VOXEL))
    assert tomo.protocol.psiSampling.get() == "11.5"


# ---- tilts

def test_tilts_of_the_acquisition(tomo):
    def choose(dialog):
        assert "acquisition says -60 to 55" in words(dialog)
        assert "From the spectrum, tilts about Y are about -60 to 5" in words(dialog)

    assert tuple(use(tomo, "missingAng", choose).values()) == WEDGE
    assert tomo.protocol.missingAng.get() == "-60 55" and tomo.protocol.tiltFromAcquisition.get() is True


def test_other_tilts_than_the_acquisition_says(tomo):
    use(tomo, "missingAng", move(firsty=-50))
    assert tomo.protocol.missingAng.get() == "-50 55" and tomo.protocol.tiltFromAcquisition.get() is False
    assert tomo.protocol.validate() == []


def test_tilts_from_the_spectrum(tomo):
    set_value(tomo, "tiltFromAcquisition", False)
    assert tuple(use(tomo, "missingAng", lambda dialog: press(dialog, "Suggest")).values()) == (-60, 60)
    assert np.abs(np.subtract([float(word) for word in tomo.protocol.missingAng.get().split()], WEDGE)).max() <= 2
    set_value(tomo, "negateTilts", True)
    use(tomo, "missingAng", lambda dialog: press(dialog, "Suggest"))
    found = [float(word) for word in tomo.protocol.missingAng.get().split()]
    assert np.abs(np.add(found[::-1], WEDGE)).max() <= 2


def test_the_other_axis(tomo):
    def choose(dialog):
        assert "looks more like a tilt axis Y" in words(dialog)

    set_value(tomo, "tiltFromAcquisition", False)
    set_value(tomo, "missingDataType", REGIONS.index("wedge_x"))
    use(tomo, "missingAng", choose)


@pytest.mark.parametrize("kind, values, text", [
    ("pyramid", {"firsty": -40, "lasty": 41, "firstx": -42, "lastx": 43}, "-40 41 -42 43"),
    ("cone", {"last": 44}, "44")])
def test_other_regions(tomo, kind, values, text):
    set_value(tomo, "missingDataType", REGIONS.index(kind))
    use(tomo, "missingAng", move(**values))
    assert tomo.protocol.missingAng.get() == text and tomo.protocol.validate() == []


def test_lines_lie_on_the_planes_of_the_tilts(tomo):
    from mlalign.programs.engine.missing import Region

    def choose(dialog):
        move(firsty=-50, lasty=30)(dialog)
        settle(dialog)
        lines, _, _ = dialog.picture._artists["y"]
        for line, tilt in zip(lines, (-50, 30)):
            across, along = line.get_data()
            inside, outside = (Region(1, "wedge_y", y=sorted((0, tilt + more))).observed(across, 0, along)
                               for more in (np.sign(tilt), -np.sign(tilt)))
            assert inside.all() and not outside.any()

    use(tomo, "missingAng", choose)


# ---- what goes wrong

@pytest.fixture
def told(monkeypatch):
    """What message windows would say."""
    from pyworkflow.gui import dialog
    said = []
    for name in ("showWarning", "showError"):
        monkeypatch.setattr(dialog, name, lambda title, text, parent: said.append(text))
    return said


def test_without_particles(imported, told):
    from mlalign.protocols import MlalignProtML2D
    with window(imported, imported.project.newProtocol(MlalignProtML2D)) as form:
        for name in ("radius", "numberOfClasses", "psiStep", "highResLimit"):
            form.wizParamName = name
            form.wizards[name]().show(form)
    assert told == ["Choose the input particles first."] * 4


def test_particles_that_cannot_be_read(ml2d, imported, told):
    path = imported.particles.outputParticles.getFirstItem().getFileName()
    os.rename(path, path + ".away")
    try:
        ml2d.wizParamName = "radius"
        ml2d.wizards["radius"]().show(ml2d)
    finally:
        os.rename(path + ".away", path)
    assert len(told) == 1 and path in told[0]


def test_empty_fields_begin_with_what_is_usual(tomo):
    for name in ("maxRes", "angSampling", "missingAng", "radius", "numberOfReferences"):
        set_value(tomo, name, "")
        use(tomo, name, accept=False)
