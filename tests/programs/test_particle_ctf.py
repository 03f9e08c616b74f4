"""CTFs as users' files give them, and what is said about those that cannot be."""
import os
import re
import time
from pathlib import Path

import numpy as np
import pytest

from mlalign.programs.errors import UserError
from mlalign.programs.formats.images import open_images
from mlalign.programs.formats.mrc import write_stack
from mlalign.programs.formats.star import MetaData, write_star
from mlalign.programs.particle_ctf import known_pixel_size, read_ctf

N = 4
GOOD = {
    "ctfDefocusU": [15000.0, 16000.0, 17000.0, 18000.0], "ctfDefocusV": [14000.0, 15500.0, 17000.0, 17500.0],
    "ctfDefocusAngle": [10.0, -20.0, 30.0, 170.0], "ctfVoltage": [300] * N, "ctfSphericalAberration": [2.7] * N,
    "ctfQ0": [0.1] * N, "samplingRate": [1.5] * N,
}
FIELDS = ("defocus_u", "defocus_v", "angle", "voltage", "cs", "q0", "phase_shift")


@pytest.fixture(autouse=True)
def stack(tmp_path, monkeypatch):
    """N images without a pixel size, in the current folder."""
    monkeypatch.chdir(tmp_path)
    write_stack("a.mrcs", np.random.default_rng(1).normal(size=(N, 16, 16)).astype(np.float32))


def source(without=(), **columns):
    """The images with good CTFs, but for the columns given; a number stands for all rows."""
    columns = {"image": [f"{i + 1}@a.mrcs" for i in range(N)], **GOOD,
               **{label: np.full(N, value) if np.isscalar(value) else value for label, value in columns.items()}}
    write_star("x.xmd", {"particles": {label: columns[label] for label in columns if label not in without}})
    return open_images("x.xmd")


def ctf(*arguments, **columns):
    return read_ctf(source(*arguments, **columns))


def error(*arguments, **columns):
    with pytest.raises(UserError) as caught:
        ctf(*arguments, **columns)
    return str(caught.value)


def values(table):
    return {name: getattr(table, name).tolist() for name in FIELDS}


def text(body, name="x.star"):
    Path(name).write_text(body)
    return open_images(name)


# ---- what is read

def test_columns():
    table = ctf(ctfPhaseShift=[90.0, 80.0, 0.0, 70.0])
    assert values(table) == {
        "defocus_u": GOOD["ctfDefocusU"], "defocus_v": GOOD["ctfDefocusV"], "angle": GOOD["ctfDefocusAngle"],
        "voltage": [300] * N, "cs": [2.7] * N, "q0": [0.1] * N, "phase_shift": [90, 80, 0, 70]}
    assert all(getattr(table, name).dtype == np.float64 for name in FIELDS)


def test_disabled_rows_are_left_out():
    assert ctf(enabled=[1, -1, -1, 1], ctfVoltage=[200, 0, np.nan, 300]).voltage.tolist() == [200, 300]


def test_what_may_be_absent():
    assert ctf().phase_shift.tolist() == [0] * N
    round_ = ctf(["ctfDefocusV", "ctfDefocusAngle"])
    assert round_.defocus_v.tolist() == GOOD["ctfDefocusU"] and round_.angle.tolist() == [0] * N
    assert ctf(["ctfDefocusAngle"], ctfDefocusV=GOOD["ctfDefocusU"]).angle.tolist() == [0] * N


@pytest.mark.parametrize(("column", "field", "value", "read"), [
    ("ctfSphericalAberration", "cs", 0, 0), ("ctfQ0", "q0", 0, 0), ("ctfQ0", "q0", 1, 1),
    ("ctfQ0", "q0", -0.1, 0.1),                         # older versions of Xmipp
    ("ctfVoltage", "voltage", 100, 100), ("ctfPhaseShift", "phase_shift", -45, -45),
    ("ctfVPPphaseshift", "phase_shift", 80, 80), ("CTF_Voltage", "voltage", 200, 200),
])
def test_odd_but_possible(column, field, value, read):
    absent = ["ctfVoltage"] if column == "CTF_Voltage" else []
    assert getattr(ctf(absent, **{column: value}), field).tolist() == [read] * N


def test_old_xmipp_labels():
    old = {"ctfDefocusU": "CTF_Defocus_U", "ctfDefocusV": "CTF_Defocus_V", "ctfDefocusAngle": "CTF_Defocus_angle",
           "ctfVoltage": "CTF_Voltage", "ctfSphericalAberration": "CTF_Spherical_aberration", "ctfQ0": "CTF_Q0",
           "samplingRate": "sampling_rate"}
    images = source(old.keys(), **{name: GOOD[label] for label, name in old.items()})
    assert values(read_ctf(images)) == values(ctf())
    assert images.pixel_size == 1.5


RELION_31 = """
data_optics

loop_
_rlnOpticsGroup
_rlnVoltage
_rlnSphericalAberration
_rlnAmplitudeContrast
_rlnImagePixelSize
7 300.0 2.7 0.1  1.5
2 200.0 1.4 0.07 1.5

data_particles

loop_
_rlnImageName
_rlnOpticsGroup
_rlnDefocusU
_rlnDefocusV
_rlnDefocusAngle
_rlnPhaseShift
1@a.mrcs 2 10000 9000 45 90
2@a.mrcs 7 10001 9001 46 91
4@a.mrcs 7 10002 9002 47 92
"""

RELION_30 = """
data_

loop_
_rlnImageName
_rlnVoltage
_rlnSphericalAberration
_rlnAmplitudeContrast
_rlnDefocusU
_rlnDefocusV
_rlnDefocusAngle
_rlnMagnification
_rlnDetectorPixelSize
000001@a.mrcs 300.0 2.0 0.1 15000.0 14000.0 12.0 10000.0 1.5
000002@a.mrcs 300.0 2.0 0.1 25000.0 24000.0 13.0 10000.0 1.5
"""


def test_relion_31():
    images = text(RELION_31)
    assert values(read_ctf(images)) == {
        "defocus_u": [10000, 10001, 10002], "defocus_v": [9000, 9001, 9002], "angle": [45, 46, 47],
        "voltage": [200, 300, 300], "cs": [1.4, 2.7, 2.7], "q0": [0.07, 0.1, 0.1], "phase_shift": [90, 91, 92]}
    assert known_pixel_size(images) == 1.5


def test_relion_30():
    images = text(RELION_30)
    assert values(read_ctf(images)) == {
        "defocus_u": [15000, 25000], "defocus_v": [14000, 24000], "angle": [12, 13], "voltage": [300, 300],
        "cs": [2, 2], "q0": [0.1, 0.1], "phase_shift": [0, 0]}
    assert known_pixel_size(images) == 1.5


def test_the_optics_of_a_bad_voltage_are_named_by_their_first_particle():
    images = text(RELION_31.replace("7 300.0", "7 300000"))
    with pytest.raises(UserError) as caught:
        read_ctf(images)
    assert str(caught.value) == ("x.star: row 2 (2@a.mrcs): _ctfVoltage (_rlnVoltage) is 300000, which looks like "
                                 "volts, expected 10 to 3000 kV (1 more like it)")


@pytest.mark.skipif("MLALIGN_TEST_DATA" not in os.environ, reason="MLALIGN_TEST_DATA is not set")
def test_real_particles():
    images = open_images(Path(os.environ["MLALIGN_TEST_DATA"]) / "apoferritin" / "apoferritin.star")
    table = read_ctf(images)
    assert len(table) == 937 and known_pixel_size(images) == 3
    assert {name: column[0] for name, column in values(table).items()} == {
        "defocus_u": 22319.8, "defocus_v": 21342.3, "angle": 126.72, "voltage": 300, "cs": 0, "q0": 0.07,
        "phase_shift": 0}
    assert len(np.unique(table.defocus)) > 5


# ---- Xmipp's files of CTF parameters

CTFPARAM = """# XMIPP_STAR_1 *
#
data_fullMicrograph
 _ctfSamplingRate 0.75
 _ctfVoltage 200
 _ctfDefocusU {0}
 _ctfDefocusV {1}
 _ctfDefocusAngle 33
 _ctfSphericalAberration 1.4
 _ctfQ0 0.08
 _ctfModel NULL
"""
NO_CTF = [label for label in GOOD if label.startswith("ctf")]


@pytest.fixture
def models(tmp_path):
    (tmp_path / "ctfs").mkdir()
    for name, u, v in (("one", 11000, 10000), ("two", 12000.5, 11500)):
        Path(f"ctfs/{name}.ctfparam").write_text(CTFPARAM.format(u, v))
    return ["ctfs/two.ctfparam", "ctfs/one.ctfparam", "fullMicrograph@ctfs/two.ctfparam", "ctfs/one.ctfparam"]


def test_ctf_files(models):
    images = source(NO_CTF, ctfModel=models)
    assert values(read_ctf(images)) == {
        "defocus_u": [12000.5, 11000, 12000.5, 11000], "defocus_v": [11500, 10000, 11500, 10000], "angle": [33] * N,
        "voltage": [200] * N, "cs": [1.4] * N, "q0": [0.08] * N, "phase_shift": [0] * N}
    assert images.pixel_size == 1.5         # not the micrograph's


def test_columns_go_before_ctf_files(models):
    table = ctf([label for label in NO_CTF if label != "ctfDefocusU"], ctfModel=models, ctfDefocusU=12000.0)
    assert table.defocus_u.tolist() == [12000] * N and table.defocus_v.tolist() == [11500, 10000] * 2


def test_ctf_files_are_found_beside_the_metadata(models, tmp_path, monkeypatch):
    source(NO_CTF, ctfModel=models)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert read_ctf(open_images("../x.xmd")).voltage.tolist() == [200] * N


def test_phase_shift_in_some_ctf_files(models):
    with open("ctfs/one.ctfparam", "a") as file:
        file.write(" _ctfVPPphaseshift 70\n")
    assert ctf(NO_CTF, ctfModel=models).phase_shift.tolist() == [0, 70, 0, 70]


def test_no_ctf_file_is_needed_when_columns_say_it_all():
    assert values(ctf(ctfModel="NULL")) == values(ctf())


def test_errors_in_ctf_files(models):
    Path("ctfs/one.ctfparam").write_text(CTFPARAM.format(0, 10000))
    assert error(NO_CTF, ctfModel=models) == (
        "x.xmd: row 2 (2@a.mrcs): _ctfDefocusU (_rlnDefocusU) is 0 in ctfs/one.ctfparam, expected 50 to 200000 Å, "
        "positive for underfocus (1 more like it)")
    models[1] = models[3] = "none.ctfparam"
    assert error(NO_CTF, ctfModel=models).startswith("x.xmd: row 2: no file none.ctfparam, looked for it from ")
    models[1], models[3] = "ctfs/two.ctfparam", "NULL"
    assert error(NO_CTF, ctfModel=models) == (
        "x.xmd: row 4 (4@a.mrcs): _ctfDefocusU (_rlnDefocusU) is nan in NULL, expected 50 to 200000 Å, positive for "
        "underfocus")
    models[3] = "region1@ctfs/two.ctfparam"
    assert error(NO_CTF, ctfModel=models) == "ctfs/two.ctfparam: no block data_region1; there are data_fullMicrograph"
    Path("ctfs/two.ctfparam").write_text("sampling_rate= 1\n")
    assert error(NO_CTF, ctfModel=models) == "ctfs/two.ctfparam: no data_ block, expected a STAR metadata file"


# ---- what is missing or absurd

@pytest.mark.parametrize("missing", ["ctfDefocusU", "ctfVoltage", "ctfSphericalAberration", "ctfQ0", "ctfDefocusAngle"])
def test_missing_columns(missing):
    assert error([missing]).startswith(f"x.xmd: the CTF is incomplete, expected _{missing} (_rln")


def test_all_missing_columns_are_listed():
    message = error(["ctfVoltage", "ctfQ0"])
    assert message == ("x.xmd: the CTF is incomplete, expected _ctfVoltage (_rlnVoltage): 10 to 3000 kV; _ctfQ0 "
                       "(_rlnAmplitudeContrast): an amplitude contrast from 0 to 1; or option --no_ctf, which does "
                       "without the CTF")


def test_images_without_metadata():
    with pytest.raises(UserError, match=r"^a.mrcs: the CTF is incomplete, expected _ctfDefocusU"):
        read_ctf(open_images("a.mrcs"), 1.5)


DEFOCUS = "expected 50 to 200000 Å, positive for underfocus"


@pytest.mark.parametrize(("column", "value", "said"), [
    ("ctfDefocusU", 1.5, f"is 1.5, which looks like µm, {DEFOCUS}"),
    ("ctfDefocusV", 1.5, f"is 1.5, which looks like µm, {DEFOCUS}"),
    ("ctfDefocusU", -15000, f"is -15000, {DEFOCUS}"),
    ("ctfDefocusU", 2.5e6, f"is 2500000, {DEFOCUS}"),
    ("ctfDefocusU", 0, f"is 0, {DEFOCUS}"),
    ("ctfDefocusU", -999, f"is -999, {DEFOCUS}"),
    ("ctfDefocusU", np.nan, f"is nan, {DEFOCUS}"),
    ("ctfDefocusV", np.inf, f"is inf, {DEFOCUS}"),
    ("ctfDefocusAngle", np.nan, "is nan, expected degrees from -360 to 360"),
    ("ctfDefocusAngle", 1e4, "is 10000, expected degrees from -360 to 360"),
    ("ctfVoltage", 0, "is 0, expected 10 to 3000 kV"),
    ("ctfVoltage", 300000, "is 300000, which looks like volts, expected 10 to 3000 kV"),
    ("ctfVoltage", 5, "is 5, expected 10 to 3000 kV"),
    ("ctfVoltage", -np.inf, "is -inf, expected 10 to 3000 kV"),
    ("ctfSphericalAberration", -2.7, "is -2.7, expected 0 to 100 mm"),
    ("ctfSphericalAberration", 2700, "is 2700, which looks like µm, expected 0 to 100 mm"),
    ("ctfQ0", 7, "is 7, which looks like per cent, expected an amplitude contrast from 0 to 1"),
    ("ctfQ0", -1.5, "is -1.5, expected an amplitude contrast from 0 to 1"),
    ("ctfPhaseShift", np.nan, "is nan, expected degrees from -360 to 360"),
    ("ctfPhaseShift", 1000, "is 1000, expected degrees from -360 to 360"),
])
def test_absurd_values(column, value, said):
    """The first bad row is named, by its number in the file, and how many more there are."""
    column_values = np.array(GOOD.get(column, [0.0] * N), float)
    column_values[2:] = value
    name = rf"_{column} (_rln\w+)".replace("(", r"\(").replace(")", r"\)")
    message = error(**{column: column_values})
    assert re.fullmatch(rf"x.xmd: row 3 \(3@a.mrcs\): {name} {re.escape(said)} \(1 more like it\)", message), message
    message = error(**{column: column_values}, enabled=[1, -1, -1, 1])
    assert re.fullmatch(rf"x.xmd: row 4 \(4@a.mrcs\): {name} {re.escape(said)}", message), message


def test_absurd_astigmatism():
    assert error(ctfDefocusV=[14000.0, 15500.0, 7000.0, 17500.0]) == (
        "x.xmd: row 3 (3@a.mrcs): defocus 17000 Å in one direction and 7000 Å in the other, "
        "expected less astigmatism")


def test_phase_shifts_in_radians():
    assert error(ctfVPPphaseshift=[0, 1.4, 1.5707, 1.2]) == (
        "x.xmd: _ctfPhaseShift (_rlnPhaseShift) is 1.5707 at most, which looks like radians, expected degrees")
    assert ctf(ctfPhaseShift=[0, 1.4, 60, 1.2]).phase_shift.tolist() == [0, 1.4, 60, 1.2]


def test_pixel_size():
    unknown = source(["samplingRate"])
    for images in (unknown, source(samplingRate=0.0)):
        with pytest.raises(UserError) as caught:
            read_ctf(images)
        assert str(caught.value) == ("x.xmd: the pixel size is not known, expected a positive _samplingRate "
                                     "(_rlnImagePixelSize) in Å/px, or option --sampling_rate")
    assert known_pixel_size(unknown, 2.0) == 2 and len(read_ctf(unknown, 2.0)) == N
    assert known_pixel_size(source(), 2.0) == 2
    assert error(samplingRate=99999.0) == ("x.xmd: a pixel size of 99999 Å/px, expected at most 100; option "
                                           "--sampling_rate gives the right one")
    with pytest.raises(UserError, match=r"^--sampling_rate: a pixel size of 150 Å/px, expected at most 100"):
        read_ctf(source(), 150)
    with pytest.raises(UserError, match=r"^x.xmd: row 3: _samplingRate is nan, expected a number"):
        source(samplingRate=[1.5, 1.5, np.nan, 1.5], enabled=[1, -1, 1, 1])


def test_a_million_rows_take_a_second():
    """The bound leaves room for a busy machine."""
    count, names = 1_000_000, np.array([f"{name}.ctfparam" for name in "abcde"], dtype=object)
    for i, name in enumerate(names):
        Path(name).write_text(CTFPARAM.format(10000 + i, 10500))
    images = source()
    images.count, images.rows = count, np.arange(1, count + 1)
    images.metadata = MetaData({"ctfModel": names[np.arange(count) % 5], "ctfVoltage": np.full(count, 300),
                                "ctfQ0": np.full(count, 0.1)}, "x.xmd")
    start = time.process_time()
    table = read_ctf(images)
    assert time.process_time() - start < 3
    assert table.defocus_u[:7].tolist() == [10000, 10001, 10002, 10003, 10004, 10000, 10001]
