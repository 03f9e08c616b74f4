"""The form of multi-ref ali2d: every parameter reaches the program; errors and warnings before a run."""
import numpy as np
import pytest

from mlalign.programs import mref_ali2d
from mlalign.programs.formats.mrc import write_stack
from mlalign.protocols.base import command_line
from mlalign.tests.protocols.scipion import BOX, PIXEL, new_mref, run
from mlalign.tests.protocols.test_options import changed, check_that_shown_is_what_counts, parameters

OWN = {"function": 5, "ownFunction": "some.module.function"}
# parameter: (another value than the default, what must be set for it to count)
CHANGES = {
    "useCtf": (1, {}),
    "areImagesPhaseFlipped": (1, {}),
    "snr": (0.2, {}),
    "radius": (11, {}),
    "shiftX": (2.0, {"radius": 9}),
    "shiftY": (1.5, {"radius": 9}),
    "shiftStep": (0.5, {}),
    "firstRing": (3.0, {}),
    "ringStep": (2.0, {}),
    "scoring": (1, {}),
    "soft": (True, {}),
    "exhaustive": (True, {}),
    "centring": (8, {}),
    "function": (2, {}),
    "ownFunction": ("a.module.function", {"function": 5}),
    "minClassSize": (9, {}),
    "randomSeed": (7, {}),
    "maxIters": (12, {}),
    "eps": (0.02, {}),
    "writeHeaders": (True, {}),
    "memory": (2.5, {}),
    "numberOfThreads": (3, {}),
}
IN_THE_INPUT = {"inputParticles", "inputReferences", "useAlignment", "maskImage", "normaliseParticles"}


@pytest.fixture(scope="module")
def protocol(imported, with_ctf):
    """On particles that have a CTF; for reading."""
    protocol = new_mref(imported.project, with_ctf.particles, imported.averages)
    imported.project.saveProtocol(protocol)
    return protocol


@pytest.fixture
def fresh(imported):
    """On particles without a CTF; may be changed."""
    return new_mref(imported.project, imported.particles, imported.averages)


def parsed(protocol):
    return mref_ali2d.parser().parse_args(command_line(protocol._options()))


def errors(protocol, **values):
    for name, value in values.items():
        getattr(protocol, name).set(value)
    return protocol.validate()


def mask(path, size=BOX):
    """A file with a mask, and Scipion's object of it."""
    from pwem.objects import Mask
    write_stack(path, np.ones((1, size, size), np.float32), PIXEL)
    one = Mask()
    one.setFileName(str(path))
    one.setSamplingRate(PIXEL)
    return one


# ---- the command line

def test_the_list_is_complete(protocol):
    assert parameters(protocol) == set(CHANGES) | IN_THE_INPUT


@pytest.mark.parametrize("name", CHANGES)
def test_parameter_reaches_the_program(protocol, name):
    value, needed = CHANGES[name]
    with changed(protocol, needed):
        assert getattr(protocol, name).get() != value, "the value is the default"
        without = vars(parsed(protocol))
        with changed(protocol, {name: value}):
            assert vars(parsed(protocol)) != without


@pytest.mark.parametrize("setting", [{}, {"useCtf": 1}, {"maxIters": 5}, OWN])
def test_the_form_shows_what_counts_and_nothing_else(protocol, setting):
    with changed(protocol, setting):
        check_that_shown_is_what_counts(protocol, CHANGES, set(setting))


def test_every_option_of_the_program_is_offered_or_known_to_be_left_out(protocol):
    options = {action.option_strings[-1] for action in mref_ali2d.parser()._actions if action.option_strings}
    assert options == set(protocol._options()) - {"--"} | {"--help", "--version", "--MPI"}


def test_files_that_the_program_gets(protocol, tmp_path):
    asked = parsed(protocol)
    assert (asked.stack, asked.refs) == (protocol._particlesFile(), protocol._referencesFile())
    assert (f"{asked.outdir}/", asked.mask) == (protocol._root(), "")
    protocol.maskImage.set(mask(tmp_path / "mask.mrc"))
    try:
        assert parsed(protocol).mask.endswith("mask.mrc")
    finally:
        protocol.maskImage.set(None)


def test_ctf_only_where_there_is_one(protocol, fresh):
    assert parsed(protocol).CTF and not parsed(fresh).CTF


def test_start_from_the_alignment_is_part_of_the_signature(fresh):
    before = fresh._signature()
    fresh.useAlignment.set(True)
    assert fresh._signature() != before


@pytest.mark.parametrize("shift, radius", [(0.0, BOX // 2 - 2), (1.0, BOX // 2 - 2), (2.5, BOX // 2 - 4),
                                           (3.0, BOX // 2 - 4), (99.0, BOX // 4)])
def test_automatic_radius_leaves_room_for_the_shifts(fresh, shift, radius):
    fresh.shiftX.set(shift)
    fresh.shiftY.set(0.0)
    assert parsed(fresh).ou == radius
    fresh.shiftX.set(0.0)
    fresh.shiftY.set(shift)
    assert parsed(fresh).ou == radius


# ---- checks

def test_defaults_are_valid_and_nothing_to_warn_of(fresh):
    assert errors(fresh) == [] and fresh.warnings() == []


def test_without_input(imported):
    from mlalign.protocols import MlalignProtMref
    assert errors(imported.project.newProtocol(MlalignProtMref)) == ["*Input particles* cannot be EMPTY.",
                                                                     "*References* cannot be EMPTY."]


@pytest.mark.parametrize("values, message", [
    ({"radius": BOX // 2 - 1}, f"*Particle radius* is {BOX // 2 - 1} px, expected 2 to {BOX // 2 - 2}"),
    ({"radius": 0}, "*Particle radius* is 0 px"),
    ({"radius": 8, "firstRing": 8.5}, "*First ring* is at 8.5 px, expected it within the particle's radius of 8 px"),
    ({"useAlignment": True}, "the particles have no 2-D alignment"),
    ({"function": 5}, "*Your function*: name one"),
    ({"function": 5, "ownFunction": "no.such.function"}, "*Your function*: --function no.such.function"),
    ({"shiftX": -1.0}, "should not be negative"),
    ({"snr": 0.0}, "*Signal-to-noise ratio*"),
])
def test_errors(protocol, values, message):
    with changed(protocol, values):
        found = protocol.validate()
    assert len(found) == 1 and message in found[0]


@pytest.mark.parametrize("name", ["radius", "shiftX", "shiftStep", "firstRing", "maxIters", "eps", "randomSeed"])
def test_an_emptied_field_is_an_error_and_no_crash(fresh, name):
    found, = errors(fresh, **{name: None})
    assert found.startswith(f"*{fresh.getParam(name).getLabel()}* should be a") and fresh.summary()


def test_references_that_do_not_fit(imported, tmp_path):
    from pwem.protocols import ProtImportAverages
    path = tmp_path / "small.mrcs"
    write_stack(path, np.zeros((4, BOX - 8, BOX - 8), np.float32), 4.0)
    small = run(imported.project, imported.project.newProtocol(ProtImportAverages, filesPath=str(path),
                                                               samplingRate=4.0))
    found = errors(new_mref(imported.project, imported.particles, small))
    assert f"{BOX - 8} px and the particles {BOX} px" in found[0] and "4 Å/px and the particles 3 Å/px" in found[1]


def test_more_references_than_particles(imported, with_ctf):
    protocol = new_mref(imported.project, imported.particles, with_ctf.particles, "outputParticles")
    assert errors(protocol) == ["200 references are more than the 120 particles."]


def test_mask_that_does_not_fit(fresh, tmp_path):
    fresh.maskImage.set(mask(tmp_path / "mask.mrc", BOX - 2))
    assert errors(fresh) == [f"*Mask* has {BOX - 2} px and the particles {BOX} px, expected the same box."]


@pytest.mark.parametrize("radius, shift, room", [(12, 3.5, 3), (BOX // 2 - 2, 3.0, 1), (-1, 9.0, 7)])
def test_warns_of_shifts_without_room(fresh, radius, shift, room):
    fresh.radius.set(radius)
    fresh.shiftY.set(shift)
    assert errors(fresh) == []
    warning, = fresh.warnings()
    assert f"leaves room for shifts of {room} px, not for the {shift:g} px asked for" in warning


def test_flips_are_asked_about_only_with_ctf(protocol):
    with changed(protocol, {"areImagesPhaseFlipped": 1}):
        assert "not marked as phase-flipped" in protocol.warnings()[0]
        with changed(protocol, {"useCtf": 1}):
            assert protocol.warnings() == []
