"""convert: metadata of subtomograms from one convention to another and back."""
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mlalign.programs.convert import main
from mlalign.programs.formats.metadata import read_metadata
from mlalign.programs.formats.mrc import write_volume
from mlalign.programs.formats.star import read_star, write_star
from mlalign.programs.geometry3d import rotation_matrix

COUNT = 9
ANGLES, SHIFTS = ("angleRot", "angleTilt", "anglePsi"), ("shiftX", "shiftY", "shiftZ")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def aligned():
    """``in.xmd`` with poses of volumes that are nowhere: its columns."""
    rng = np.random.default_rng(0)
    columns = {
        "itemId": np.arange(11, 11 + COUNT), "image": np.array([f"data/{i}.mrc" for i in range(COUNT)], dtype=object),
        "angleRot": rng.uniform(-180, 180, COUNT), "angleTilt": rng.uniform(0, 180, COUNT),
        "anglePsi": rng.uniform(-180, 180, COUNT), "shiftX": rng.normal(size=COUNT), "shiftY": rng.normal(size=COUNT),
        "shiftZ": rng.normal(size=COUNT), "ref": rng.integers(1, 4, COUNT), "pMax": rng.random(COUNT),
        "missingRegionNumber": rng.integers(1, 3, COUNT), "logLikelihood": rng.normal(size=COUNT),
        "halfSet": rng.integers(1, 3, COUNT)}
    columns["angleTilt"][0] = 0
    write_star("in.xmd", {"particles": columns})
    return columns


def converted(*arguments):
    main([str(argument) for argument in arguments])


def check_poses(found, expected):
    rotations = [rotation_matrix(*(np.asarray(table[label]) for label in ANGLES)) for table in (found, expected)]
    np.testing.assert_allclose(*rotations, atol=1e-7)
    for label in SHIFTS:
        np.testing.assert_allclose(found[label], expected[label], atol=1e-7)


def error(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        converted(*arguments)
    assert stop.value.code == 2
    message = capsys.readouterr().err.strip()
    assert message.startswith("convert: error: ") and "\n" not in message
    return message.removeprefix("convert: error: ")


def relion_matrix(rot, tilt, psi):
    """How RELION turns a reference onto a particle."""
    return Rotation.from_euler("zyz", [-rot, -tilt, -psi], degrees=True).as_matrix()


@pytest.mark.parametrize("name", ["out.star", "out.csv", "out.doc", "out.xmd"])
def test_there_and_back(aligned, name):
    converted("-i", "in.xmd", "-o", name)
    converted("-i", name, "-o", "back.xmd")
    back = read_metadata("back.xmd")
    check_poses(back, aligned)
    lost = {"out.star": {"missingRegionNumber", "itemId"}, "out.doc": {"halfSet", "itemId"}, "out.xmd": set(),
            "out.csv": {"pMax", "logLikelihood", "halfSet", "missingRegionNumber", "itemId"}}[name]
    for label in aligned.keys() - set(ANGLES) - set(SHIFTS) - lost:
        if label in ("image", "ref", "missingRegionNumber", "halfSet"):
            assert back[label].tolist() == list(aligned[label]), label
        else:
            np.testing.assert_allclose(back[label], aligned[label], rtol=1e-8)
    assert not (lost - {"itemId"}) & back.columns.keys()        # itemId is always there, counted anew


def test_the_other_way_of_tom(aligned):
    converted("-i", "in.xmd", "-o", "out.csv", "--reference_onto_particle")
    converted("-i", "out.csv", "-o", "back.xmd", "--reference_onto_particle")
    check_poses(read_metadata("back.xmd"), aligned)
    converted("-i", "out.csv", "-o", "wrong.xmd")
    with pytest.raises(AssertionError):
        check_poses(read_metadata("wrong.xmd"), aligned)


def test_a_table_in_tom_s_convention():
    write_star("in.xmd", {"": {"image": ["a.mrc", "b.mrc"], "angleRot": [10.0, 0], "angleTilt": [20.0, 0],
                               "anglePsi": [30.0, 0], "shiftX": [1.0, 0], "shiftY": [2.0, 0], "shiftZ": [3.5, 0],
                               "ref": [2, 1]}})
    converted("-i", "in.xmd", "-o", "out.csv")
    assert Path("out.csv").read_text().splitlines() == [
        "image,phi,psi,theta,x,y,z,class", "a.mrc,80.0,240.0,20.0,1.0,2.0,3.5,2", "b.mrc,90.0,270.0,0.0,0.0,0.0,0.0,1"]
    converted("-i", "in.xmd", "-o", "out.csv", "--reference_onto_particle")
    assert Path("out.csv").read_text().splitlines()[1] == "a.mrc,-240.0,-80.0,-20.0,-1.0,-2.0,-3.5,2"
    Path("in.csv").write_text("Theta, image , phi,psi\n20, a b.mrc,80,240\n")
    converted("-i", "in.csv", "-o", "back.xmd")
    back = read_metadata("back.xmd")
    assert [back[label][0] for label in ("image", *ANGLES, *SHIFTS)] == ["a b.mrc", 10, 20, 30, 0, 0, 0]
    assert "ref" not in back


def test_relion_s_star_file_moves_the_particle_onto_the_reference(aligned):
    converted("-i", "in.xmd", "-o", "out.star", "--voxel_size", 4)
    blocks = read_star("out.star")
    assert blocks["optics"]["rlnImagePixelSize"].tolist() == [4]
    rows = blocks["particles"]
    assert rows["rlnImageName"].tolist() == aligned["image"].tolist()
    assert rows["rlnClassNumber"].tolist() == aligned["ref"].tolist()
    assert rows["rlnRandomSubset"].tolist() == aligned["halfSet"].tolist()
    assert set(rows.columns) == {
        "rlnImageName", "rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi", "rlnOriginXAngst", "rlnOriginYAngst",
        "rlnOriginZAngst", "rlnClassNumber", "rlnOpticsGroup", "rlnRandomSubset", "rlnMaxValueProbDistribution",
        "rlnLogLikeliContribution"}
    point = np.array([3.0, -2, 5])
    ours = rotation_matrix(*(aligned[label] for label in ANGLES))
    for i in range(COUNT):
        turn = relion_matrix(*(rows[f"rlnAngle{name}"][i] for name in ("Rot", "Tilt", "Psi")))
        origin = np.array([rows[f"rlnOrigin{axis}Angst"][i] for axis in "XYZ"]) / 4
        shift = [aligned[label][i] for label in SHIFTS]
        np.testing.assert_allclose(turn.T @ (point + origin), ours[i] @ (point + shift), atol=1e-9)
    np.testing.assert_allclose(rows["rlnAngleTilt"], aligned["angleTilt"])


def test_where_the_voxel_size_comes_from(aligned, capsys):
    def origins(*options):
        converted("-i", "in.xmd", "-o", "out.star", *options)
        rows = read_star("out.star")["particles" if "unknown" not in (said := capsys.readouterr().out) else ""]
        return rows["rlnOriginX" if "unknown" in said else "rlnOriginXAngst"] / aligned["shiftX"], said

    scale, said = origins()
    np.testing.assert_allclose(scale, 1)
    assert "origins in px" in said
    write_volume("data/0.mrc", np.ones((4, 4, 4)), 3)
    np.testing.assert_allclose(origins()[0], 3)
    aligned["samplingRate"] = np.full(COUNT, 2.0)
    write_star("in.xmd", {"particles": aligned})
    np.testing.assert_allclose(origins()[0], 2)
    np.testing.assert_allclose(origins("--voxel_size", 5)[0], 5)


def test_optics_groups_stay(aligned):
    groups = np.where(np.arange(COUNT) < 4, 7, 2)
    aligned.update(rlnOpticsGroup=groups, samplingRate=np.where(groups == 7, 2.0, 3.0),
                   ctfVoltage=np.where(groups == 7, 300.0, 200.0), rlnTomoName=np.full(COUNT, "tomo1", dtype=object))
    write_star("in.xmd", {"particles": aligned})
    converted("-i", "in.xmd", "-o", "out.star")
    optics, rows = read_star("out.star").values()
    assert optics["rlnOpticsGroup"].tolist() == [2, 7] and optics["rlnImagePixelSize"].tolist() == [3, 2]
    assert optics["rlnVoltage"].tolist() == [200, 300] and set(rows["rlnTomoName"]) == {"tomo1"}
    assert "rlnVoltage" not in rows and "rlnImagePixelSize" not in rows
    converted("-i", "out.star", "-o", "back.xmd")
    back = read_metadata("back.xmd")
    check_poses(back, aligned)
    assert back["samplingRate"].tolist() == aligned["samplingRate"].tolist()


def test_images_are_named_from_the_current_folder():
    write_volume("run/data/a.mrc", np.ones((4, 4, 4)))
    Path("run/x.sel").write_text("data/a.mrc 1\ndata/b.mrc 1\n")
    converted("-i", "run/x.sel", "-o", "out/x.xmd")
    assert read_metadata("out/x.xmd")["image"].tolist() == ["run/data/a.mrc", "data/b.mrc"]


def test_disabled_rows():
    Path("in.sel").write_text("a.mrc 1\nb.mrc -1\nc.mrc 1\n")
    for name, count in (("x.xmd", 3), ("x.sel", 3), ("x.star", 2), ("x.csv", 2), ("x.doc", 2)):
        converted("-i", "in.sel", "-o", name)
        converted("-i", name, "-o", "back.sel")
        expected = "a.mrc 1\nb.mrc -1\nc.mrc 1\n" if count == 3 else "a.mrc 1\nc.mrc 1\n"
        assert Path("back.sel").read_text() == expected


def test_what_is_written_may_be_said(aligned):
    converted("-i", "in.xmd", "-o", "out.txt", "--to", "docfile")
    assert Path("out.txt").read_text().startswith(" ; Headerinfo columns: rot (1), tilt (2), psi (3), Xoff (4), ")


def test_a_user_s_mistake_is_one_line(aligned, capsys):
    write_volume("v.mrc", np.ones((4, 4, 4)))
    Path("bad.csv").write_text("image,phi,psi,theta\na.mrc,1,2,x\n")
    Path("short.csv").write_text("image,phi,psi,theta\na.mrc,1,2\n")
    Path("class.csv").write_text("image,phi,psi,theta,class\na.mrc,1,2,3,1.5\n")
    Path("nan.csv").write_text("image,phi,psi,theta\na.mrc,nan,2,3\n")
    Path("none.csv").write_text("image,phi,psi,theta\n")
    Path("off.sel").write_text("a.mrc -1\n")
    for arguments, words in [
            (("-i", "nix.xmd", "-o", "x.star"), "cannot read nix.xmd: No such file or directory"),
            (("-i", "v.mrc", "-o", "x.star"), "v.mrc: holds no metadata of subtomograms, expected STAR"),
            (("-i", "in.xmd", "-o", "x.txt"), "-o x.txt: expected --to, or an extension that says what to write"),
            (("-i", "in.xmd", "-o", "in.xmd"), "-o in.xmd: that is the input, expected another file"),
            (("-i", "nix@in.xmd", "-o", "x.star"), "in.xmd: no block data_nix; there are data_particles"),
            (("-i", "bad.csv", "-o", "x.xmd"), "bad.csv, line 2: theta is 'x', expected a number"),
            (("-i", "nan.csv", "-o", "x.xmd"), "nan.csv, line 2: phi is 'nan', expected a number"),
            (("-i", "short.csv", "-o", "x.xmd"), "short.csv, line 2: 3 values, expected 4 (image, phi, psi, theta)"),
            (("-i", "class.csv", "-o", "x.xmd"), "class.csv, line 2: class is 1.5, expected a whole number"),
            (("-i", "none.csv", "-o", "x.xmd"), "none.csv: lists no images"),
            (("-i", "off.sel", "-o", "x.star"), "off.sel: no row is enabled (_enabled 1)"),
            (("-i", "in.xmd", "-o", "x.star", "--reference_onto_particle"), "--reference_onto_particle: neither of -i"),
            (("-i", "class.csv", "-o", "x.csv", "--reference_onto_particle"), "--reference_onto_particle: both of -i")]:
        assert error(capsys, *arguments).startswith(words)
    assert not list(Path().glob("x.*"))
