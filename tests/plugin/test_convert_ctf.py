"""The CTF of a Scipion set is what the programs read from the metadata written for them."""
import numpy as np
import pytest
from pwem.objects import Acquisition, CTFModel, Particle, SetOfParticles

from mlalign.convert import write_images
from mlalign.programs.errors import UserError
from mlalign.programs.formats.images import open_images
from mlalign.programs.formats.mrc import write_stack
from mlalign.programs.particle_ctf import known_pixel_size, read_ctf

IDS = [3, 4, 10, 11, 12, 40, 41]
DISABLED = {4, 12}
ENABLED = np.array([item for item in IDS if item not in DISABLED])
MICROSCOPE = {"voltage": 300, "sphericalAberration": 2.7, "amplitudeContrast": 0.1}


def model(item_id):
    return CTFModel(defocusU=2e4 + item_id, defocusV=2e4 - item_id, defocusAngle=2 * item_id)


def with_phase_shift(item_id):
    """No phase plate for the first ones: Scipion keeps an empty value."""
    ctf = model(item_id)
    ctf.setPhaseShift(item_id + 20 if item_id > 10 else None)
    return ctf


@pytest.fixture
def program_ctf(tmp_path, monkeypatch):
    """``program_ctf(ctf_of_id, **acquisition)``: what a program reads of a set that was written and loaded again."""
    monkeypatch.chdir(tmp_path)
    write_stack("a.mrcs", np.random.default_rng(1).normal(size=(len(IDS), 16, 16)).astype(np.float32))

    def read(ctf_of_id, **acquisition):
        items = SetOfParticles(filename="particles.sqlite")
        items.setSamplingRate(1.5)
        items.setAcquisition(Acquisition(magnification=1, **acquisition))
        items.setHasCTF(True)
        for number, item_id in enumerate(IDS, 1):
            item = Particle(location=(number, "a.mrcs"), objId=item_id)
            item.setEnabled(item_id not in DISABLED)
            item.setAcquisition(items.getAcquisition())
            item.setCTF(ctf_of_id(item_id))
            items.append(item)
        items.write()
        loaded = SetOfParticles(filename="particles.sqlite")
        loaded.loadAllProperties()
        write_images(loaded, "in.xmd")
        loaded.close()
        source = open_images("in.xmd")
        assert known_pixel_size(source) == 1.5
        return read_ctf(source)

    return read


def test_every_parameter(program_ctf):
    ctf = program_ctf(model, **MICROSCOPE)
    assert ctf.defocus_u.tolist() == (2e4 + ENABLED).tolist() and ctf.defocus_v.tolist() == (2e4 - ENABLED).tolist()
    assert ctf.angle.tolist() == (2 * ENABLED).tolist()
    for name, value in (("voltage", 300), ("cs", 2.7), ("q0", 0.1), ("phase_shift", 0)):
        assert getattr(ctf, name).tolist() == [value] * len(ENABLED), name


def test_phase_shifts_of_some_particles(program_ctf):
    assert program_ctf(with_phase_shift, **MICROSCOPE).phase_shift.tolist() == [0, 0, 31, 60, 61]


@pytest.mark.parametrize(("empty", "named"), [(40, "item 40 has no ctf"), (3, "item 10 has a ctf")])
def test_a_particle_whose_ctf_is_empty(program_ctf, empty, named):
    def ctf_of_id(item_id):
        ctf = with_phase_shift(item_id)
        if item_id == empty:
            for clear in (ctf.setDefocusU, ctf.setDefocusV, ctf.setDefocusAngle):
                clear(None)
        return ctf
    with pytest.raises(ValueError, match=named):
        program_ctf(ctf_of_id, **MICROSCOPE)


@pytest.mark.parametrize(("lacking", "label"), [
    ("amplitudeContrast", "ctfQ0"), ("voltage", "ctfVoltage"), ("sphericalAberration", "ctfSphericalAberration")])
def test_an_incomplete_acquisition(program_ctf, lacking, label):
    known = {name: value for name, value in MICROSCOPE.items() if name != lacking}
    with pytest.raises(UserError, match=rf"^in.xmd: the CTF is incomplete, expected _{label} \(_rln\w+\): "):
        program_ctf(model, **known)


def test_an_absurd_value_is_named_by_its_row(program_ctf):
    def ctf_of_id(item_id):
        ctf = model(item_id)
        if item_id == 11:
            ctf.setDefocusU(1.2)
        return ctf
    with pytest.raises(UserError, match=r"^in.xmd: row 3 \(000004@a.mrcs\): _ctfDefocusU .* which looks like µm"):
        program_ctf(ctf_of_id, **MICROSCOPE)


def test_an_absurd_acquisition_is_named_by_its_first_row(program_ctf):
    with pytest.raises(UserError, match=r"row 1 .* _ctfVoltage .* is 300000, which looks like volts.*4 more like it"):
        program_ctf(model, **{**MICROSCOPE, "voltage": 300000})
