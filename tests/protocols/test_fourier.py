"""What the form says before a run of MLF2D, and what its summary and methods say afterwards."""
import pytest

from mlalign.protocols.fourier import fourier_methods, fourier_summary
from mlalign.protocols.particles import AS_SET, NO, YES
from mlalign.tests.protocols.scipion import connect, new_ml2d, new_mlf2d


@pytest.fixture(params=["MLF2D", "ML2D with its switch on"])
def protocol(request, with_ctf):
    """On particles with a CTF, not phase-flipped; enough of them."""
    if request.param == "MLF2D":
        return new_mlf2d(with_ctf.project, with_ctf.particles)
    return new_ml2d(with_ctf.project, with_ctf.particles, doMlf=True)


@pytest.fixture
def particles(with_ctf):
    return with_ctf.particles.outputParticles


def set_values(protocol, values):
    for name, value in values.items():
        getattr(protocol, name).set(value)


def test_defaults_are_valid(protocol):
    assert protocol.validate() == [] and protocol.warnings() == []


@pytest.mark.parametrize("values, message", [
    ({"highResLimit": 5.0}, "*High-resolution limit* is 5 Å, expected 6 Å (twice the pixel size) to 48 Å (half"),
    ({"highResLimit": -1.0}, "*High-resolution limit (Å)* should not be negative"),
    ({"firstResLimit": 1.0}, "*Limit in the first iteration* is 1 Å, expected 6 Å"),
    ({"fixHigh": 5.9}, "*Fix the resolution at* is 5.9 Å, expected 6 Å"),
    ({"lowResLimit": 20.0}, "*Low-resolution limit* is 20 Å, expected more than the highest resolution, 20 Å"),
    ({"lowResLimit": 8.0, "fixHigh": 9.0}, "more than the highest resolution, 9 Å"),
    ({"lowResLimit": 6.0, "highResLimit": 0.0}, "more than the highest resolution, 6 Å"),
    ({"lowResLimit": 0.0}, "*Low-resolution limit (Å)*"),
    ({"groupSize": 0}, "*Smallest noise group*"),
    ({"reduceSnr": 0.0}, "*Factor for the SNR*"),
    ({"doGenerateReferences": False}, "*Class image(s)*: choose images"),
    ({"numberOfClasses": 500}, "500 classes are more than the 200 particles"),
])
def test_error(protocol, values, message):
    set_values(protocol, values)
    assert message in " ".join(protocol.validate())


@pytest.mark.parametrize("values", [
    {"highResLimit": 0.0}, {"fixHigh": 12.0, "highResLimit": 1.0, "firstResLimit": 1.0}, {"iemBlocks": 0},
    {"includeAllFreqs": True, "fixHigh": 1.0, "lowResLimit": 1.0, "highResLimit": 1.0},
    {"limitResolution": 2, "maxFrequency": 0.9}, {"noiseGroups": 2, "groupSize": 0}])
def test_what_is_not_used_is_not_checked(protocol, values):
    set_values(protocol, values)
    assert protocol.validate() == []


def test_a_ctf_is_needed_only_when_it_is_corrected_for(protocol, imported):
    connect(protocol.inputParticles, imported.particles, "outputParticles")
    error, = protocol.validate()
    assert "no CTF" in error and "say No to *Use CTF-amplitude correction?*" in error
    protocol.doCorrectAmplitudes.set(False)
    assert protocol.validate() == []
    assert {"--no_ctf"} == {option for option in protocol._options() if "ctf" in option and protocol._options()[option]}


@pytest.mark.parametrize("name, value, message", [
    ("setVoltage", None, "voltage in the particles' acquisition is None, expected kV, more than 0"),
    ("setVoltage", 0.0, "voltage in the particles' acquisition is 0.0, expected kV, more than 0"),
    ("setSphericalAberration", None, "spherical aberration in the particles' acquisition is None"),
    ("setSphericalAberration", -1.0, "spherical aberration in the particles' acquisition is -1.0"),
    ("setAmplitudeContrast", None, "amplitude contrast in the particles' acquisition is None"),
    ("setAmplitudeContrast", 10.0, "amplitude contrast in the particles' acquisition is 10.0, expected 0 to 1"),
])
def test_microscope(protocol, particles, monkeypatch, name, value, message):
    acquisition = particles.getAcquisition().clone()
    getattr(acquisition, name)(value)
    monkeypatch.setattr(particles, "getAcquisition", lambda: acquisition)
    error, = protocol.validate()
    assert message in error
    protocol.doCorrectAmplitudes.set(False)
    assert protocol.validate() == []


def test_an_aberration_free_microscope_is_fine(protocol, particles, monkeypatch):
    acquisition = particles.getAcquisition().clone()
    acquisition.setSphericalAberration(0.0)
    monkeypatch.setattr(particles, "getAcquisition", lambda: acquisition)
    assert protocol.validate() == []


@pytest.mark.parametrize("choice, of_the_set, error, warning", [
    (AS_SET, False, None, None), (AS_SET, True, None, None), (YES, True, None, None), (NO, False, None, None),
    (NO, True, "marked as phase-flipped", None), (YES, False, None, "not marked as phase-flipped")])
def test_phase_flip_state(protocol, particles, monkeypatch, choice, of_the_set, error, warning):
    monkeypatch.setattr(particles, "isPhaseFlipped", lambda: of_the_set)
    protocol.areImagesPhaseFlipped.set(choice)
    for found, expected in ((protocol.validate(), error), (protocol.warnings(), warning)):
        assert len(found) == (expected is not None)
        assert expected is None or expected in found[0]
    protocol.doCorrectAmplitudes.set(False)         # then it does not matter
    assert protocol.validate() == protocol.warnings() == []


@pytest.mark.parametrize("values, line, sentence", [
    ({}, "corrected for the CTF (not phase-flipped particles)", "every (not phase-flipped) particle was modelled"),
    ({"areImagesPhaseFlipped": YES}, "(phase-flipped particles)", "same optics and similar defocus"),
    ({"doCorrectAmplitudes": False}, "without CTF: the averages are not corrected", "was estimated for all particles"),
    ({"noiseGroups": 1}, "MLF2D", "spectrum was estimated for each optics group"),
    ({"highResLimit": 12.5}, "MLF2D", "Frequencies beyond 12.5 Å were not used."),
])
def test_words(protocol, values, line, sentence):
    set_values(protocol, values)
    assert line in fourier_summary(protocol)
    assert sentence in " ".join(fourier_methods(protocol))


def test_summary_when_the_input_is_gone(protocol):
    protocol.inputParticles.set(None)
    assert fourier_summary(protocol) == "MLF2D: the averages are corrected for the CTF."
