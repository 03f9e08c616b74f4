"""Every parameter of the form reaches the program, and only where the form shows it."""
import contextlib

import pytest

from mlalign.programs import ml_align2d, mlf_align2d
from mlalign.protocols.base import command_line
from mlalign.tests.protocols.scipion import connect, new_ml2d, new_mlf2d

GIVEN = {"doGenerateReferences": False}
# parameter: (another value than the default, what must be set for it to count)
SHARED = {
    "doGenerateReferences": (False, {}),
    "numberOfClasses": (7, {}),
    "restarts": (1, {}),
    "splitReferences": (2, GIVEN),
    "doMirror": (False, {}),
    "doFast": (False, {}),
    "significance": (1e-6, {}),
    "zeroOffsets": (True, {}),
    "radius": (12, {}),
    "psiStep": (7.5, {}),
    "maxShift": (4.0, {}),
    "narrowShifts": (True, {}),
    "doNorm": (True, {}),
    "doStudent": (True, {}),
    "studentDf": (9.0, {"doStudent": True}),
    "sigmaTrick": (False, {"doStudent": True}),
    "stdNoise": (1.5, {}),
    "fixNoise": (True, {}),
    "stdOffset": (2.0, {}),
    "fixOffset": (True, {}),
    "fractions": ("fractions of classes.txt", {}),
    "fixFractions": (True, {}),
    "maxIters": (12, {}),
    "randomSeed": (5, {}),
    "eps": (1e-3, {}),
    "minClassSize": (8.0, {}),
    "writeProbs": (True, {}),
    "memory": (2.5, {}),
    "numberOfThreads": (3, {}),
    "useGpu": (True, {}),
    "gpuList": ("1,3", {"useGpu": True}),
}
ML2D_ALONE = {
    "limitResolution": (1, {}),
    "highResLimit": (11.0, {"limitResolution": 1}),
    "maxFrequency": (0.3, {"limitResolution": 2}),
    "iemBlocks": (4, {}),
}
MLF2D_ALONE = {
    "doCorrectAmplitudes": (False, {}),
    "areImagesPhaseFlipped": (1, {}),
    "ctfAffectedRefs": (True, GIVEN),
    "includeAllFreqs": (True, {}),
    "fixHigh": (15.0, {}),
    "highResLimit": (11.0, {}),
    "firstResLimit": (50.0, {}),
    "lowResLimit": (200.0, {}),
    "noiseGroups": (1, {}),
    "groupSize": (100, {}),
    "reduceSnr": (0.5, {}),
    "testResiduals": (True, {}),
}
OF = {"ML2D": {**SHARED, **ML2D_ALONE, "doMlf": (True, {})}, "MLF2D": {**SHARED, **MLF2D_ALONE}}
ALL = {**OF["ML2D"], **OF["MLF2D"]}
PARSER = {"ML2D": ml_align2d.parser, "MLF2D": mlf_align2d.parser}
# settings on which the conditions of the form depend
SETTINGS = [{}, GIVEN, {"doFast": False}, {"maxShift": 3.0}, {"limitResolution": 1}, {"limitResolution": 2}]
MLF_SETTINGS = [*SETTINGS, {"doCorrectAmplitudes": False}, {"doCorrectAmplitudes": False, **GIVEN}, {"noiseGroups": 2},
                {"includeAllFreqs": True}, {"fixHigh": 12.0}, {"fixHigh": 12.0, "includeAllFreqs": True}]
POINTERS = {"inputParticles", "inputReferences"}
IN_THE_INPUT = {"normaliseParticles"}                # what the conversion of the input does
BESIDE_THREADS = {"useGpu", "gpuList"}               # where Scipion shows them, whatever the form's conditions
NOT_OURS = {"hostName", "runName", "runMode", "numberOfMpi"}        # Scipion's own


@pytest.fixture(scope="module")
def protocols(imported):
    """{label: protocol with references to choose from}, for reading; changes go through :func:`changed`."""
    made = {"ML2D": new_ml2d(imported.project, imported.particles),
            "MLF2D": new_mlf2d(imported.project, imported.particles)}
    for protocol in made.values():
        connect(protocol.inputReferences, imported.averages, "outputAverages")
        imported.project.saveProtocol(protocol)
    return made


@pytest.fixture
def protocol(protocols):
    return protocols["ML2D"]


@contextlib.contextmanager
def changed(protocol, values):
    """The protocol with these values as long as the context lasts."""
    before = {name: getattr(protocol, name).get() for name in values}
    try:
        for name, value in values.items():
            getattr(protocol, name).set(value)
        yield protocol
    finally:
        for name, value in before.items():
            getattr(protocol, name).set(value)


def parameters(protocol):
    names = {name for name, _ in protocol.getDefinition().iterParams()}
    return {name for name in names - NOT_OURS if not name.startswith("_")}


@pytest.mark.parametrize("label", OF)
def test_the_list_is_complete(protocols, label):
    assert parameters(protocols[label]) == set(ALL) | POINTERS | IN_THE_INPUT


@pytest.mark.parametrize("label, name", [(label, name) for label, changes in OF.items() for name in changes])
def test_parameter_reaches_the_program(protocols, label, name):
    protocol, (value, needed) = protocols[label], OF[label][name]
    parser = PARSER["MLF2D" if name == "doMlf" else label]()
    with changed(protocol, needed):
        assert getattr(protocol, name).get() != value, "the value is the default"
        without = command_line(protocol._options())
        with changed(protocol, {name: value}):
            arguments = command_line(protocol._options())
    assert arguments != without
    parser.parse_args(arguments)                    # and the program understands it


@pytest.mark.parametrize("label, setting", [("ML2D", setting) for setting in SETTINGS]
                         + [("MLF2D", setting) for setting in MLF_SETTINGS])
def test_the_form_shows_what_counts_and_nothing_else(protocols, label, setting):
    with changed(protocols[label], setting) as protocol:
        PARSER[label]().parse_args(command_line(protocol._options()))
        check_that_shown_is_what_counts(protocol, ALL, {*setting, "doMlf", *BESIDE_THREADS})


def check_that_shown_is_what_counts(protocol, parameters, left_out):
    """A parameter is shown when another value, as ``parameters`` has it, changes the options, and only then."""
    without = protocol._options()
    for name, (value, _) in parameters.items():
        if name not in left_out:
            with changed(protocol, {name: value}):
                counts = protocol._options() != without
            assert protocol.evalParamCondition(name) == counts, name


def test_the_switch_makes_ml2d_mlf2d(protocols):
    for setting in MLF_SETTINGS:
        with changed(protocols["MLF2D"], setting), changed(protocols["ML2D"], {"doMlf": True, **setting}) as switched:
            same = dict.fromkeys(("-i", "--ref", "--oroot"))
            assert {**switched._options(), **same} == {**protocols["MLF2D"]._options(), **same}
            assert (switched._program, switched._prefix) == ("mlf_align2d", "mlf2d")
            for name, _ in switched.getDefinition().iterParams():
                assert switched.evalParamCondition(name) == protocols["MLF2D"].evalParamCondition(name) \
                    or name == "doMlf"


@pytest.mark.parametrize("name", sorted(POINTERS))
def test_input_is_part_of_the_signature(imported, protocol, name):
    protocol.doGenerateReferences.set(False)
    pointer = getattr(protocol, name)
    before = pointer.getObjValue(), pointer.getExtended()
    signature = protocol._signature()
    try:
        if name == "inputParticles":
            connect(pointer, imported.averages, "outputAverages")
        else:
            connect(pointer, imported.particles, "outputParticles")
        assert protocol._signature() != signature
    finally:
        connect(pointer, *before)
        protocol.doGenerateReferences.set(True)


def test_values_for_automatic_are_left_out(protocols):
    automatic = {"--max_shift", "--radius", "--maxres", "--min_class", "--ref", "--student", "--fix_high", "-C"}
    for protocol in protocols.values():
        assert not automatic & set(command_line(protocol._options()))


def test_resolution_in_angstrom_becomes_a_frequency(protocol):
    with changed(protocol, {"limitResolution": 1, "highResLimit": 12.0}):
        assert protocol._options()["--maxres"] == pytest.approx(3 / 12)


@pytest.mark.parametrize("values, limits", [
    ({}, [0, 20, 999]),
    ({"highResLimit": 0.0}, None),
    ({"highResLimit": 9.0, "firstResLimit": 30.0, "lowResLimit": 300.0}, [30, 9, 300]),
    ({"fixHigh": 10.0}, None),
    ({"fixHigh": 10.0, "lowResLimit": 300.0}, [0, 0, 300]),
    ({"includeAllFreqs": True, "lowResLimit": 300.0}, None),
])
def test_resolution_limits_in_fourier_space(protocols, values, limits):
    with changed(protocols["MLF2D"], values) as protocol:
        assert protocol._options()["--limit_resolution"] == limits


@pytest.mark.parametrize("choice, of_the_set, flipped", [
    (0, False, False), (1, False, True), (1, True, True), (2, False, False), (2, True, True),
    (False, False, False), (True, True, True)])
def test_phase_flip(imported, protocols, monkeypatch, choice, of_the_set, flipped):
    monkeypatch.setattr(imported.particles.outputParticles, "isPhaseFlipped", lambda: of_the_set)
    with changed(protocols["MLF2D"], {"areImagesPhaseFlipped": choice}) as protocol:
        assert ("--not_phase_flipped" in command_line(protocol._options())) != flipped


def test_command_line():
    options = {"-i": "a b.xmd", "--fast": True, "--norm": False, "--ref": None, "--eps": 5e-5, "--iter": 3,
               "--offset": 0.0, "--limit_resolution": [0.0, 7.5, 999.0]}
    assert command_line(options) == ["-i", "a b.xmd", "--fast", "--eps", "5e-05", "--iter", "3",
                                     "--offset", "0", "--limit_resolution", "0", "7.5", "999"]


@pytest.mark.parametrize("label", OF)
def test_every_option_of_the_program_is_offered_or_known_to_be_left_out(protocols, label):
    with changed(protocols[label], {"doStudent": True}) as protocol:
        offered = set(protocol._options())
    ours = {"--continue", "--restart"}              # set when a run is resumed
    left_out = {"--help", "--version", "--save_memA"}
    if label == "MLF2D":
        left_out |= {"--var_psi", "--var_trans", "--search_shift", "--iter_histogram"}
    options = {action.option_strings[-1] for action in PARSER[label]()._actions}
    assert options == offered | ours | left_out
