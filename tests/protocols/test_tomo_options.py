"""Every parameter of ML tomo's form reaches the program, and only where the form shows it."""
import pytest

from mlalign.programs import ml_tomo
from mlalign.protocols.base import command_line
from mlalign.protocols.tomo_command import PARAMETER_OF, in_words, option_errors, stage_iterations, words
from mlalign.protocols.tomo_form import CLASSES, NOTHING, SHIFTS
from mlalign.tests.protocols.subtomograms import new_tomo
from mlalign.tests.protocols.test_options import BESIDE_THREADS, changed, check_that_shown_is_what_counts, parameters

GIVEN = {"generateReferences": False}
LOCAL = {"angSearch": "50"}
REGULARISED = {"regIni": 5.0}
# parameter: (another value than the default, what must be set for it to count)
ALL = {
    "copyAlignment": (True, {}),
    "searchMode": (SHIFTS, {}),
    "generateReferences": (False, {}),
    "numberOfReferences": (2, {}),
    "restarts": (1, {}),
    "symmetry": ("d7", {}),
    "missingDataType": (5, {}),
    "angSampling": ("15 10", {}),
    "angSearch": ("-1 40", {}),
    "anchor": (True, LOCAL),
    "globalPsi": (True, LOCAL),
    "psiSampling": ("20", {}),
    "tiltMin": (10.0, {}),
    "tiltMax": (90.0, {}),
    "doPerturb": (False, {}),
    "noSmallAngle": (True, {}),
    "limitTrans": ("4", {}),
    "doRefine": (False, {}),
    "dim": ("16", {}),
    "maxRes": ("0.35", {}),
    "growResolution": (False, {}),
    "radius": (8, {}),
    "maxCC": (True, {}),
    "halfSets": (True, {}),
    "dontImpute": (True, {}),
    "noImpThresh": (2.0, {}),
    "numberOfImpIterations": (3, {}),
    "regIni": (5.0, {}),
    "regFinal": (1.0, REGULARISED),
    "regSteps": (3, REGULARISED),
    "doFilter": (True, {}),
    "iniFilter": (True, {}),
    "stdNoise": (1.5, {}),
    "fixSigmaNoise": (True, {}),
    "sigmaShells": (True, {}),
    "stdOrig": (2.0, {}),
    "fixSigmaOffset": (True, {}),
    "fractions": ("fractions of classes.txt", {}),
    "fixFrac": (True, {}),
    "numberOfIterations": ("12", {}),
    "randomSeed": (5, {}),
    "eps": (1e-3, {}),
    "memory": (2.5, {}),
    "numberOfThreads": (3, {}),
    "useGpu": (True, {}),
    "gpuList": ("1,3", {"useGpu": True}),
}
# what is written to the converted input instead: another value, what must be set for it to count
CONVERTED = {
    "copyAlignment": (True, {}),
    "tiltFromAcquisition": (False, {}),
    "missingAng": ("-50 50", {}),
    "negateTilts": (True, {}),
    "missingDataType": (1, {}),
}
POINTERS = {"inputVolumes", "inputReferences", "maskFile", "missingWeight"}
# settings on which the conditions of the form depend
SETTINGS = [{}, GIVEN, LOCAL, REGULARISED, {"copyAlignment": True}, {"maxCC": True}, {"dontImpute": True},
            {"fixSigmaNoise": True}, {"searchMode": SHIFTS}, {"searchMode": CLASSES},
            {"searchMode": NOTHING}, {"searchMode": CLASSES, **GIVEN}, {"searchMode": NOTHING, "maxCC": True, **GIVEN}]
# counts nothing by itself: whether shown or not, it says how others are searched
SAYS_LITTLE = {"copyAlignment"}


@pytest.fixture(scope="module")
def protocol(tomography):
    """With references to choose from, for reading; changes go through ``changed``."""
    protocol = new_tomo(tomography.project, tomography.subtomograms, "outputSubTomograms",
                        (tomography.references, "outputVolumes"))
    protocol.generateReferences.set(True)
    tomography.project.saveProtocol(protocol)
    return protocol


def test_the_list_is_complete(protocol):
    assert parameters(protocol) == set(ALL) | set(CONVERTED) | POINTERS


@pytest.mark.parametrize("name", ALL)
def test_parameter_reaches_the_program(protocol, name):
    value, needed = ALL[name]
    with changed(protocol, needed):
        assert getattr(protocol, name).get() != value, "the value is the default"
        without = command_line(protocol._options())
        with changed(protocol, {name: value}):
            arguments = command_line(protocol._options())
    assert arguments != without
    ml_tomo.parser().parse_args(arguments)          # and the program understands it


@pytest.mark.parametrize("name", CONVERTED)
def test_parameter_reaches_the_converted_input(protocol, name):
    value, needed = CONVERTED[name]
    with changed(protocol, needed):
        without = protocol._signature()
        with changed(protocol, {name: value}):
            assert protocol._signature() != without


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_form_shows_what_counts_and_nothing_else(protocol, setting):
    with changed(protocol, setting):
        ml_tomo.parser().parse_args(command_line(protocol._options()))
        check_that_shown_is_what_counts(protocol, ALL, {*setting, *SAYS_LITTLE, *BESIDE_THREADS})


@pytest.mark.parametrize("kind, shown", [
    (0, {"tiltFromAcquisition", "missingAng", "negateTilts"}), (1, {"tiltFromAcquisition", "missingAng", "negateTilts"}),
    (2, {"missingAng", "negateTilts"}), (3, {"missingAng"}), (4, {"missingWeight"}), (5, set())])
def test_the_form_shows_what_the_kind_of_missing_data_needs(protocol, kind, shown):
    with changed(protocol, {"missingDataType": kind}):
        names = ("tiltFromAcquisition", "missingAng", "negateTilts", "missingWeight")
        assert {name for name in names if protocol.evalParamCondition(name)} == shown


def test_every_option_of_the_program_is_offered_or_known_to_be_left_out(protocol):
    offered = set(protocol._options())
    ours = {"--continue", "--restart"}              # set when a run is resumed
    left_out = {"--help", "--version", "--doc", "--istart", "--trymindiff_factor"}
    options = {action.option_strings[-1] for action in ml_tomo.parser()._actions}
    assert options == offered | ours | left_out
    assert offered - {"-i", "--oroot", "--missing", "--pixel_size"} == set(PARAMETER_OF)


def test_options_that_stand_for_a_choice_or_an_absence(protocol):
    assert not {"--ref", "-C", "--radius", "--frac", "--mask", "--dont_align"} & set(command_line(protocol._options()))
    with changed(protocol, {"missingDataType": 5}):
        assert "--missing" not in command_line(protocol._options())
    for mode, option in ((SHIFTS, "--dont_rotate"), (CLASSES, "--dont_align"), (NOTHING, "--only_average")):
        with changed(protocol, {"searchMode": mode}):
            assert option in command_line(protocol._options())
    with changed(protocol, {"copyAlignment": True}):
        assert "--keep_angles" in command_line(protocol._options())
        with changed(protocol, GIVEN):
            assert "--keep_angles" not in command_line(protocol._options())


@pytest.mark.parametrize("text, values", [("15", ["15"]), ("15 10 5", ["15", "10", "5"]), ("15,10; 5 ", ["15", "10", "5"]),
                                          ("", [])])
def test_values_in_a_text_field(protocol, text, values):
    with changed(protocol, {"angSampling": text}):
        assert words(protocol.angSampling) == values


@pytest.mark.parametrize("values, stages", [
    ({}, [25]), ({"numberOfIterations": "15 5 5", "angSampling": "15 10 5"}, [15, 5, 5]),
    ({"numberOfIterations": "7", "dim": "32 -1"}, [7, 7]), ({"searchMode": NOTHING}, [1]),
    ({"numberOfIterations": "many"}, [])])
def test_iterations_by_stage(protocol, values, stages):
    with changed(protocol, values):
        assert stage_iterations(protocol) == stages


@pytest.mark.parametrize("values, message", [
    ({"angSampling": "46"}, "*Angular sampling (degrees)*: 46 is out of range, expected 0.1 to 45."),
    ({"angSampling": "ten"}, "*Angular sampling (degrees)*: 'ten' is not a number."),
    ({"angSampling": ""}, "*Angular sampling (degrees)*: expected at least one argument."),
    ({"maxRes": "0.6"}, "*Highest digital frequency*: 0.6 is out of range, expected more than 0 to 0.5."),
    ({"angSampling": "15 10", "numberOfIterations": "1 2 3"}, "*Angular sampling (degrees)*: 2 of *Angular sampling "
     "(degrees)*, 3 of *Maximum number of iterations*, expected one value or the same number of values, one per stage."),
    ({"angSearch": "10"}, "*Search range (degrees)*: 10 degrees is less than the step of *Angular sampling (degrees)*, 15 "
     "degrees: no other orientation is that near; expected at least the step."),
    ({"regIni": 1.0, "regFinal": 2.0},
     "*Final regularisation*: 2 is more than *Initial regularisation*, 1; expected at most that."),
    ({"tiltMin": 95.0, "tiltMax": 90.0},
     "*Smallest tilt (degrees)*: 95 degrees, expected less than *Largest tilt (degrees)*, 90 degrees."),
    ({"angSearch": "50", "globalPsi": True, "symmetry": "c4"}, "*Search all in-plane angles?*: expected no symmetry (c1), "
     "as psi has no meaning of its own under c4."),
])
def test_objections_of_the_program_in_the_form_s_words(protocol, values, message):
    with changed(protocol, values):
        assert option_errors(protocol, protocol._options()) == [message]


def test_words_that_are_no_options_stay(protocol):
    assert in_words(protocol, "-1 of a-b --unknown -i") == "-1 of a-b --unknown -i."
