"""Xmipp's and RELION's metadata come out in one vocabulary, and RELION's pose in our geometry."""
import numpy as np
import pytest

from mlalign.programs.errors import UserError
from mlalign.programs.formats.metadata import read_list, read_metadata
from mlalign.programs.geometry import pose_matrix
from mlalign.programs.geometry3d import pose_matrix3d

RELION_31 = """
# version 30001

data_optics

loop_
_rlnOpticsGroupName #1
_rlnOpticsGroup #2
_rlnVoltage #3
_rlnSphericalAberration #4
_rlnAmplitudeContrast #5
_rlnImagePixelSize #6
_rlnImageSize #7
late  7 300.0 2.7 0.1  1.5 64
early 2 200.0 1.4 0.07 1.2 64


# version 30001

data_particles

loop_
_rlnImageName #1
_rlnMicrographName #2
_rlnOpticsGroup #3
_rlnDefocusU #4
_rlnDefocusV #5
_rlnDefocusAngle #6
_rlnPhaseShift #7
_rlnAnglePsi #8
_rlnOriginXAngst #9
_rlnOriginYAngst #10
_rlnClassNumber #11
_rlnGroupNumber #12
1@a.mrcs m1.mrc 2 10000 9000 45 90   0  2.4 1.2 3 1
2@a.mrcs m1.mrc 7 10001 9001 46 91  30  3.0 -1.5 1 1
3@b.mrcs m2.mrc 7 10002 9002 47 92 -90 -1.5 0.75 2 2
"""

RELION_30 = """
data_

loop_
_rlnImageName #1
_rlnVoltage #2
_rlnMagnification #3
_rlnDetectorPixelSize #4
_rlnOriginX #5
_rlnOriginY #6
_rlnAnglePsi #7
000001@a.mrcs 300.000000 10000.000000 1.500000 1.0 2.0 10.0
"""

XMIPP = """# XMIPP_STAR_1 *
#
data_noname
loop_
 _enabled
 _itemId
 _image
 _ctfDefocusU
 _ctfVPPphaseshift
 _flip
         1         11 000001@a.stk   15000.0 0.0 0
        -1         12 000002@a.stk   15000.0 0.0 1
"""


def write(folder, text, name="x.star"):
    path = folder / name
    path.write_text(text)
    return path


def error(path, *arguments):
    with pytest.raises(UserError) as caught:
        read_metadata(path, *arguments)
    return str(caught.value)


def test_relion_31_optics_are_joined(tmp_path):
    table = read_metadata(write(tmp_path, RELION_31))
    expected = {
        "itemId": [1, 2, 3], "image": ["1@a.mrcs", "2@a.mrcs", "3@b.mrcs"],
        "micrograph": ["m1.mrc", "m1.mrc", "m2.mrc"],
        "ctfVoltage": [200, 300, 300], "ctfSphericalAberration": [1.4, 2.7, 2.7], "ctfQ0": [0.07, 0.1, 0.1],
        "samplingRate": [1.2, 1.5, 1.5], "ctfDefocusU": [10000, 10001, 10002],
        "ctfDefocusV": [9000, 9001, 9002], "ctfDefocusAngle": [45, 46, 47], "ctfPhaseShift": [90, 91, 92],
        "ref": [3, 1, 2], "rlnGroupNumber": [1, 1, 2], "rlnOpticsGroup": [2, 7, 7],
    }
    for label, values in expected.items():
        assert table[label].tolist() == values, label
    assert set(table.columns) == expected.keys() | {"anglePsi", "shiftX", "shiftY"}


def test_relion_30_has_one_block_and_a_magnification(tmp_path):
    table = read_metadata(write(tmp_path, RELION_30))
    assert table["samplingRate"].tolist() == [1.5]
    assert table["ctfVoltage"].tolist() == [300]
    assert table["anglePsi"].tolist() == [-10]


@pytest.mark.parametrize(("text", "psi", "origins"), [
    (RELION_31, [0, 30, -90], [(2.0, 1.0), (2.0, -1.0), (-1.0, 0.5)]),
    (RELION_30, [10], [(1.0, 2.0)]),
])
def test_relion_pose_moves_points_as_relion_does(tmp_path, text, psi, origins):
    """RELION moves an image by its origin (px), then turns it by psi: x right, y down, x towards y."""
    table = read_metadata(write(tmp_path, text))
    point = np.array([3.0, -5.0])
    for i, (angle, origin) in enumerate(zip(np.radians(psi), origins)):
        moved = point + origin
        turned = [np.cos(angle) * moved[0] - np.sin(angle) * moved[1],
                  np.sin(angle) * moved[0] + np.cos(angle) * moved[1]]
        ours = pose_matrix(*(table[label][i] for label in ("anglePsi", "shiftX", "shiftY")), 0) @ [*point, 1]
        assert ours[:2] == pytest.approx(turned, abs=1e-12)


def test_a_part_of_a_pose_is_completed(tmp_path):
    head = "data_\nloop_\n_rlnImageName\n"
    table = read_metadata(write(tmp_path, head + "_rlnAnglePsi\n1@a.mrcs 30\n2@a.mrcs -5\n"))
    assert [table[label].tolist() for label in ("anglePsi", "shiftX", "shiftY")] == [[-30, 5], [0, 0], [0, 0]]
    table = read_metadata(write(tmp_path, head + "_rlnOriginY\n1@a.mrcs 2\n2@a.mrcs 3\n"))
    assert [table[label].tolist() for label in ("anglePsi", "shiftX", "shiftY")] == [[0, 0], [0, 0], [2, 3]]
    assert "anglePsi" not in read_metadata(write(tmp_path, head + "1@a.mrcs\n"))


RELION_3D = """
data_optics
loop_
_rlnOpticsGroup
_rlnImagePixelSize
1 2.0

data_particles
loop_
_rlnImageName
_rlnOpticsGroup
_rlnAngleRot
_rlnAngleTilt
_rlnAnglePsi
_rlnOriginXAngst
_rlnOriginYAngst
_rlnOriginZAngst
_rlnClassNumber
a.mrc 1   0   0   0   0   0    0 1
b.mrc 1  40  75 -50   4  -3  2.6 2
c.mrc 1 -170 130 10  -2   5   -1 2
"""


def relion_matrix(rot, tilt, psi):
    """How RELION turns a reference onto a particle: by -rot about z, by -tilt about y, by -psi about z."""
    def turned(angle, a, b):
        matrix = np.eye(3)
        cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        matrix[[a, b, a, b], [a, b, b, a]] = cos, cos, -sin, sin
        return matrix
    return turned(-psi, 0, 1) @ turned(-tilt, 2, 0) @ turned(-rot, 0, 1)


def test_relion_s_pose_of_a_subtomogram_brings_its_blobs_onto_the_reference_s(tmp_path):
    """RELION shifts the particle by its origin; the reference, turned by E, then lies upon it."""
    table = read_metadata(write(tmp_path, RELION_3D), dimensions=3)
    assert table["ref"].tolist() == [1, 2, 2] and table["samplingRate"].tolist() == [2, 2, 2]
    blobs = np.array([[5.0, 0, 0], [0, 3, 0], [1, -2, 4], [0, 0, -6]])          # of the reference, x y z
    raw = [(0, 0, 0, 0, 0, 0), (40, 75, -50, 2, -1.5, 1.3), (-170, 130, 10, -1, 2.5, -0.5)]
    for i, (rot, tilt, psi, *origin) in enumerate(raw):
        in_particle = blobs @ relion_matrix(rot, tilt, psi).T - origin
        shift = [table[f"shift{axis}"][i] for axis in "XYZ"]
        ours = pose_matrix3d(table["angleRot"][i], table["angleTilt"][i], table["anglePsi"][i], shift)
        assert in_particle @ ours[:3, :3].T + ours[:3, 3] == pytest.approx(blobs, abs=1e-12)
    assert table["angleTilt"].tolist() == [0, 75, 130]
    assert all(-180 < angle <= 180 for label in ("angleRot", "anglePsi") for angle in table[label])
    assert "rlnAngleTilt" not in table and "rlnOriginZAngst" not in table


def test_a_part_of_a_subtomogram_s_pose_is_completed(tmp_path):
    head = "data_\nloop_\n_rlnImageName\n"
    table = read_metadata(write(tmp_path, head + "_rlnOriginZ\na.mrc 3\n"), dimensions=3)
    shift = [table[f"shift{axis}"][0] for axis in "XYZ"]
    assert shift == [0, 0, 3]
    pose = pose_matrix3d(table["angleRot"], table["angleTilt"], table["anglePsi"], shift)[0]
    assert pose[:3, :3] == pytest.approx(np.eye(3), abs=1e-12)
    assert "angleRot" not in read_metadata(write(tmp_path, head + "a.mrc\n"), dimensions=3)


def test_a_2d_pose_is_what_it_was_where_there_is_a_tilt(tmp_path):
    table = read_metadata(write(tmp_path, RELION_3D))
    assert table["anglePsi"].tolist() == [0, 50, -10] and table["rlnAngleTilt"].tolist() == [0, 75, 130]


def test_xmipp_labels_and_item_ids(tmp_path):
    table = read_metadata(write(tmp_path, XMIPP, "x.xmd"))
    assert table["itemId"].tolist() == [11, 12]
    assert table["enabled"].tolist() == [1, -1]
    assert table["ctfPhaseShift"].tolist() == [0, 0]
    assert table["flip"].dtype == np.int64


def test_labels_of_old_xmipp_stand_beside_relion_s(tmp_path):
    old = XMIPP.replace("_ctfDefocusU", "_CTF_Defocus_U").replace("_flip", "_rlnOpticsGroup")
    old = old.replace(" 0.0 0", " 80 3")
    table = read_metadata(write(tmp_path, old, "x.xmd"))
    assert table["ctfDefocusU"].tolist() == [15000, 15000]
    assert table["ctfPhaseShift"].tolist() == [80, 0]
    assert table["rlnOpticsGroup"].tolist() == [3, 1]
    with pytest.raises(UserError, match="line 11: _CTF_Defocus_U is 'one', expected a number"):
        read_metadata(write(tmp_path, old.replace("15000.0", "one", 1), "x.xmd"))


def test_the_block_with_images_is_found(tmp_path):
    text = ("data_info\n_n 1\ndata_classes\nloop_\n_image\n1@c.mrcs\n"
            "data_{}\nloop_\n_image\n1@p.mrcs\n2@p.mrcs\n")
    path = write(tmp_path, text.format("class000001_images"))
    assert read_metadata(path)["image"].tolist() == ["1@c.mrcs"]
    assert len(read_metadata(path, "class000001_images")) == 2
    assert len(read_metadata(write(tmp_path, text.format("particles")))) == 2
    assert "no block data_nix; there are data_info" in error(path, "nix")
    assert error(path, "info") == (f"{path}: no image column, expected _image or _rlnImageName; "
                                   "found data_info: _n")


def test_errors_say_what_is_there(tmp_path):
    path = write(tmp_path, "data_a\nloop_\n_ref\n_weight\n1 1\n")
    assert error(path) == (f"{path}: no image column, expected _image or _rlnImageName; "
                           "found data_a: _ref, _weight")
    path = write(tmp_path, "data_a\nloop_\n_image\n")
    assert error(path) == f"{path}: block data_a has no rows"
    path = write(tmp_path, "data_a\nloop_\n_image\n_ref\n1@a.mrcs 1.5\n")
    assert error(path) == f"{path}: row 1: _ref is 1.5, expected a whole number"
    path = write(tmp_path, RELION_31.replace("m2.mrc 7", "m2.mrc 5"))
    assert error(path) == f"{path}: row 3: optics group 5 is not in block data_optics"
    path = write(tmp_path, RELION_31.replace("_rlnImagePixelSize", "_rlnFoo"))
    assert error(path) == f"{path}: _rlnOriginXAngst is in Å, expected _rlnImagePixelSize, too"
    path = write(tmp_path, RELION_31.replace("_rlnOpticsGroup #3", "_rlnFoo #3"))
    assert error(path) == f"{path}: no column _rlnOpticsGroup, and data_optics has 2 groups"


def test_eman_list(tmp_path):
    path = write(tmp_path, "#LSX\n# comment\n# 25\n0\ta.hdf\tnote\n12\tsome/b.hdf\n", "x.lst")
    table = read_list(path)
    assert table["image"].tolist() == ["000001@a.hdf", "000013@some/b.hdf"]
    assert table["itemId"].tolist() == [1, 2]
    path = write(tmp_path, "#LSX\n#\n# 25\n3\tmy data/a b.hdf     \n\n \t\n", "x.lst")
    assert read_list(path)["image"].tolist() == ["000004@my data/a b.hdf"]
    path = write(tmp_path, "#LST\nfoo a.hdf\n", "x.lst")
    with pytest.raises(UserError, match=r"x\.lst, line 2: found 'foo a\.hdf', expected: index file"):
        read_list(path)
