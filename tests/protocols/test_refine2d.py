"""The form of refine2d: every parameter reaches the program; errors and warnings before a run."""
import numpy as np
import pytest
from pyworkflow.protocol.params import Line

from mlalign.programs import modules2d, refine2d
from mlalign.programs.formats.mrc import write_stack
from mlalign.protocols.base import command_line
from mlalign.protocols.refine2d_checks import extra_options
from mlalign.protocols.refine2d_form import CENTRINGS, MODULES, REFINERS
from mlalign.tests.protocols.scipion import BOX, connect, new_refine2d, run
from mlalign.tests.protocols.test_options import NOT_OURS, changed, check_that_shown_is_what_counts

SECOND = {"simralignType": 1, "classralignType": 1}
# parameter: (another value than the default, what must be set for it to count)
CHANGES = {
    "numberOfClassAvg": (7, {}),
    "areImagesPhaseFlipped": (1, {}),
    "radius": (11, {}),
    "startingClasses": (1, {}),
    "numberOfAlignRef": (3, {}),
    "nbasisfp": (6, {}),
    "doNormProj": (False, {}),
    "doFastSeed": (False, {}),
    "shrink": (2, {}),
    "classIter": (2, {}),
    "classKeep": (0.7, {}),
    "classKeepSig": (True, {}),
    "classRefSf": (False, {}),
    "centerType": (2, {}),
    "doAutomask": (True, {}),
    "maxShift": (4, {}),
    "numberOfIterations": (5, {}),
    "eps": (0.05, {}),
    "randomSeed": (7, {}),
    "memory": (2.5, {}),
    "extraParams": ("--minchange 20", {}),
    "numberOfThreads": (3, {}),
}
IN_THE_INPUT = {"inputParticles", "inputClassAvg", "normaliseParticles", "useCtf"}


@pytest.fixture(scope="module")
def protocol(imported, with_ctf):
    """On particles that have a CTF; for reading."""
    protocol = new_refine2d(imported.project, with_ctf.particles)
    imported.project.saveProtocol(protocol)
    return protocol


@pytest.fixture
def fresh(imported):
    """On particles without a CTF; may be changed."""
    return new_refine2d(imported.project, imported.particles, numberOfClassAvg=6, nbasisfp=4)


def parsed(protocol):
    return refine2d.parser().parse_args(command_line(protocol._options()))


def errors(protocol, **values):
    for name, value in values.items():
        getattr(protocol, name).set(value)
    return protocol.validate()


def parameters(protocol):
    """Names of what has a value: lines are but places on the form."""
    return {name for name, param in protocol.getDefinition().iterParams()
            if name not in NOT_OURS and not name.startswith("_") and not isinstance(param, Line)}


# ---- the command line

def test_the_list_is_complete(protocol):
    modules = {stem + end for stem in MODULES for end in ("Type", "Params")}
    assert parameters(protocol) == set(CHANGES) | IN_THE_INPUT | modules


@pytest.mark.parametrize("name", CHANGES)
def test_parameter_reaches_the_program(protocol, name):
    value, needed = CHANGES[name]
    with changed(protocol, needed):
        assert getattr(protocol, name).get() != value, "the value is the default"
        without = vars(parsed(protocol))
        with changed(protocol, {name: value}):
            assert vars(parsed(protocol)) != without


@pytest.mark.parametrize("stem", MODULES)
def test_module_reaches_the_program(protocol, stem):
    """By its own option, every choice that there is, and with its parameters."""
    module = MODULES[stem]
    with changed(protocol, SECOND):
        for number, name in enumerate(module.choices):
            with changed(protocol, {f"{stem}Type": number, f"{stem}Params": " some=1:other=2 "}):
                wanted = name if name == "None" else f"{name}:some=1:other=2"
                assert getattr(parsed(protocol), stem.lower()) == wanted


def test_second_comparators_only_with_a_second_aligner(protocol):
    assert not {"--simraligncmp", "--classraligncmp"} & set(command_line(protocol._options()))
    with changed(protocol, SECOND):
        assert {"--simraligncmp", "--classraligncmp"} < set(command_line(protocol._options()))


@pytest.mark.parametrize("setting", [{}, {"useCtf": 1}, SECOND, {"classKeepSig": True}])
def test_the_form_shows_what_counts_and_nothing_else(protocol, setting):
    modules = {}
    for stem, module in MODULES.items():
        other = (module.choices.index(module.default) + 1) % len(module.choices)
        modules[f"{stem}Type"] = other, {}
        modules[f"{stem}Params"] = "some=1", {}
    check_that_shown_is_what_counts(protocol, {**CHANGES, **modules}, set(setting))


def test_starting_averages_take_the_place_of_starting_classes(imported, fresh):
    assert "--initial" not in command_line(fresh._options()) and fresh._options()["--start"] == "harmonics"
    before = fresh._signature()
    connect(fresh.inputClassAvg, imported.averages, "outputAverages")
    assert fresh._options()["--start"] is None and fresh._options()["--initial"] == fresh._averagesFile()
    assert not fresh.evalParamCondition("startingClasses") and fresh._signature() != before
    assert errors(fresh) == []


def test_every_option_of_the_program_is_offered_or_known_to_be_left_out(protocol):
    """What is left out can be given as *More options*, but for what is Scipion's own."""
    options = {action.option_strings[0] for action in refine2d.parser()._actions if action.option_strings}
    free = {"--minchange", "--resultmx", "--verbose", "--dbls", "--centeracf", "--check", "--ppid"}
    left_out = {"-h", "--version", "--exclude", "--parallel"}
    assert options == set(protocol._options()) | free | left_out
    flags = {"--resultmx", "--centeracf", "--check"}
    with changed(protocol, {"extraParams": " ".join([*flags, *(f"{name} 3" for name in free - flags)])}):
        assert protocol.validate() == []


def test_files_that_the_program_gets(protocol):
    asked = parsed(protocol)
    assert asked.input == protocol._particlesFile() and f"{asked.path}/" == protocol._root()


@pytest.mark.parametrize("choice, of_the_set, flip", [(2, False, True), (2, True, False), (1, False, False),
                                                      (0, False, True)])
def test_phases_are_flipped_once(protocol, with_ctf, monkeypatch, choice, of_the_set, flip):
    monkeypatch.setattr(with_ctf.particles.outputParticles, "isPhaseFlipped", lambda: of_the_set)
    with changed(protocol, {"areImagesPhaseFlipped": choice}):
        assert parsed(protocol).phase_flip == flip


def test_phases_stay_without_ctf(protocol, fresh):
    assert not parsed(fresh).phase_flip
    signature = protocol._signature()
    with changed(protocol, {"useCtf": 1}):
        assert not parsed(protocol).phase_flip and protocol._signature() != signature


@pytest.mark.parametrize("name", CHANGES)
def test_a_run_goes_on_after_changes_of_how_far_and_how_fast(protocol, name):
    """And after a change of anything else it begins anew."""
    before = protocol._whatIsComputed(protocol._options())
    with changed(protocol, {name: CHANGES[name][0]}):
        same = protocol._whatIsComputed(protocol._options()) == before
    assert same == (name in {"numberOfIterations", "eps", "numberOfThreads", "memory"})


# ---- more options

@pytest.mark.parametrize("text, options", [
    ("", {}),
    ("--resultmx --minchange 20", {"--resultmx": True, "--minchange": ["20"]}),
    ("--minchange=-1 -v 3", {"--minchange": ["-1"], "-v": ["3"]}),
    ("--dbls 'a b'", {"--dbls": ["a b"]}),
])
def test_more_options(fresh, text, options):
    fresh.extraParams.set(text)
    assert extra_options(fresh) == options
    assert list(fresh._options())[-len(options):] == list(options) or not options
    assert errors(fresh) == []


@pytest.mark.parametrize("text, message", [
    ("--minchange 20 --nothing 3", "--nothing"),
    ("--minchange many", "--minchange"),
    ("--ncls 5", "--ncls is not for here: the form has it"),
    ("-P thread:3", "-P is not for here: the form has it"),
    ("--exclude some.txt", "disable the particles instead"),
    ("--path there", "Scipion sees to it"),
    ("--help", "nothing would be classified"),
    ("5 --minchange 3", "'5' is no option"),
    ("--dbls 'a", "no closing quotation"),
])
def test_more_options_that_are_refused(fresh, text, message):
    found, = errors(fresh, extraParams=text)
    assert found.startswith("*More options*: ") and message in found


# ---- checks

def test_defaults_are_valid_and_nothing_to_warn_of(fresh):
    assert errors(fresh) == [] and fresh.warnings() == []


def test_without_input(imported):
    from mlalign.protocols import MlalignProtRefine2D
    assert errors(imported.project.newProtocol(MlalignProtRefine2D)) == ["*Input particles* cannot be EMPTY."]


@pytest.mark.parametrize("values, message", [
    ({"radius": BOX // 2 + 1}, f"*Particle radius* is {BOX // 2 + 1} px, expected 2 to {BOX // 2}"),
    ({"radius": 0}, "*Particle radius* is 0 px"),
    ({"maxShift": BOX // 2 + 1}, "*Largest shift* is 17 px"),
    ({"classKeep": 1.5}, "*Keep* is 1.5, expected a share of at most 1"),
    ({"classKeep": 0.0}, "*Keep*"),
    ({"numberOfClassAvg": 1}, "should be at least 2"),
    ({"numberOfClassAvg": 500}, "500 classes are more than the"),
    ({"eps": 1.5}, "should be between 0 and 1"),
    ({"simcmpParams": "minres"}, "*Similarity* (simcmp) ccc:minres: 'minres' is not a pair"),
    ({"classaligncmpParams": "none=1"}, "*its comparator* (classaligncmp) ccc:none=1: ccc has no option 'none'"),
    ({"simralignType": 1, "simralignParams": "maxiter=0"}, "*Second aligner* (simralign)"),
    ({"classAveragerParams": "snr=1"}, "*Averager* (classaverager)"),
])
def test_errors(protocol, values, message):
    with changed(protocol, values):
        found = protocol.validate()
    assert len(found) == 1 and message in found[0]


@pytest.mark.parametrize("name", ["numberOfClassAvg", "eps", "maxShift"])
def test_an_emptied_field_is_one_error(fresh, name):
    getattr(fresh, name).set(None)
    assert len(fresh.validate()) == 1


def test_deviations_may_be_more_than_one(fresh):
    assert errors(fresh, classKeep=1.5, classKeepSig=True) == []


def test_averages_that_do_not_fit(imported, fresh, tmp_path):
    from pwem.protocols import ProtImportAverages
    path = tmp_path / "small.mrcs"
    write_stack(path, np.zeros((4, BOX - 8, BOX - 8), np.float32), 4.0)
    small = run(imported.project, imported.project.newProtocol(ProtImportAverages, filesPath=str(path),
                                                               samplingRate=4.0))
    connect(fresh.inputClassAvg, small, "outputAverages")
    found = errors(fresh)
    assert f"{BOX - 8} px and the particles {BOX} px" in found[0] and "4 Å/px and the particles 3 Å/px" in found[1]


@pytest.mark.parametrize("values, message", [
    ({"numberOfClassAvg": 20}, "make 6 per class on average, less than 20"),
    ({"nbasisfp": 6}, "*Number of eigenimages* is 6, but 6 classes have 5 at most"),
    ({"numberOfAlignRef": 7}, "*Number of alignment references* is 7, but 6 classes have 6 at most"),
])
def test_warnings(fresh, values, message):
    assert errors(fresh, **values) == []
    warning, = fresh.warnings()
    assert message in warning


def test_flips_are_asked_about_only_with_ctf(protocol):
    with changed(protocol, {"areImagesPhaseFlipped": 1, "numberOfClassAvg": 8, "nbasisfp": 4}):
        assert "not marked as phase-flipped" in protocol.warnings()[0]
        with changed(protocol, {"useCtf": 1}):
            assert protocol.warnings() == []


def test_warns_of_parameters_without_effect(fresh):
    assert errors(fresh, simalignType=1, simalignParams="rfp_mode=1:maxshift=3") == []
    assert fresh.warnings() == ["*Aligner* (simalign): rfp_mode has no effect, the search is exhaustive."]


def test_modules_are_those_of_the_program():
    there = {"aligner": {**modules2d.ALIGNERS, "None": None}, "refiner": {"None": None, **modules2d.REFINERS},
             "comparator": modules2d.COMPARATORS, "averager": modules2d.AVERAGERS}
    for module in MODULES.values():
        if module.kind == "processor":
            there_too = {name for name in modules2d.NORMALIZATIONS if name.startswith("normalize")}
            assert set(module.choices) == there_too | {"None"}
        else:
            assert set(module.choices) == set(there[module.kind])
    assert set(CENTRINGS) == set(modules2d.CENTRINGS)


def test_second_aligners_begin_with_none():
    """The form's conditions count on it."""
    assert REFINERS[0] == "None"
    assert {stem for stem, module in MODULES.items() if module.condition} == {"simraligncmp", "classraligncmp"}
