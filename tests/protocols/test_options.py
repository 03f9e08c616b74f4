"""Every parameter of the form reaches the program."""
import pytest

from mlalign.programs.ml_align2d import parser
from mlalign.protocols.base import command_line
from mlalign.tests.protocols.scipion import connect, new_ml2d

# parameter: (another value than the default, what must be set for it to count)
CHANGES = {
    "doGenerateReferences": (False, {}),
    "numberOfClasses": (7, {}),
    "restarts": (1, {}),
    "splitReferences": (2, {"doGenerateReferences": False}),
    "doMirror": (False, {}),
    "doFast": (False, {}),
    "significance": (1e-6, {}),
    "zeroOffsets": (True, {}),
    "radius": (12, {}),
    "limitResolution": (1, {}),
    "highResLimit": (11.0, {"limitResolution": 1}),
    "maxFrequency": (0.3, {"limitResolution": 2}),
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
    "iemBlocks": (4, {}),
    "writeProbs": (True, {}),
    "memory": (2.5, {}),
    "numberOfThreads": (3, {}),
}
POINTERS = {"inputParticles", "inputReferences"}
NOT_OURS = {"hostName", "runName", "runMode"}        # Scipion's own


@pytest.fixture(scope="module")
def protocol(imported):
    protocol = new_ml2d(imported.project, imported.particles)
    connect(protocol.inputReferences, imported.averages, "outputAverages")
    imported.project.saveProtocol(protocol)
    return protocol


def parameters(protocol):
    names = {name for name, _ in protocol.getDefinition().iterParams()}
    return {name for name in names - NOT_OURS if not name.startswith("_")}


def test_the_list_is_complete(protocol):
    assert parameters(protocol) == set(CHANGES) | POINTERS


@pytest.mark.parametrize("name", CHANGES)
def test_parameter_reaches_the_program(protocol, name):
    value, needed = CHANGES[name]
    changed = {**needed, name: value}
    before = {key: getattr(protocol, key).get() for key in changed}
    try:
        for key, wanted in needed.items():
            getattr(protocol, key).set(wanted)
        assert getattr(protocol, name).get() != value, "the value is the default"
        without = command_line(protocol._options())
        getattr(protocol, name).set(value)
        arguments = command_line(protocol._options())
        assert arguments != without
        parser().parse_args(arguments)              # and the program understands it
    finally:
        for key, old in before.items():
            getattr(protocol, key).set(old)


@pytest.mark.parametrize("name", POINTERS)
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


def test_values_for_automatic_are_left_out(protocol):
    arguments = command_line(protocol._options())
    assert not {"--max_shift", "--radius", "--maxres", "--min_class", "--ref", "--student"} & set(arguments)


def test_resolution_in_angstrom_becomes_a_frequency(protocol):
    protocol.limitResolution.set(1)
    protocol.highResLimit.set(12.0)
    try:
        assert protocol._options()["--maxres"] == pytest.approx(3 / 12)
    finally:
        protocol.limitResolution.set(0)


def test_command_line():
    options = {"-i": "a b.xmd", "--fast": True, "--norm": False, "--ref": None, "--eps": 5e-5, "--iter": 3,
               "--offset": 0.0}
    assert command_line(options) == ["-i", "a b.xmd", "--fast", "--eps", "5e-05", "--iter", "3",
                                     "--offset", "0"]


def test_every_option_of_the_program_is_offered_or_known_to_be_left_out(protocol):
    protocol.doStudent.set(True)
    offered = set(protocol._options())
    protocol.doStudent.set(False)
    ours = {"--continue", "--restart"}              # set when a run is resumed
    left_out = {"--help", "--version", "--save_memA"}
    options = {action.option_strings[-1] for action in parser()._actions}
    assert options == offered | ours | left_out
