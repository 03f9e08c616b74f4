"""What a user gets wrong is one line on stderr and exit status 2, and leaves nothing behind."""
import numpy as np
import pytest

from mlalign.programs import ml_tomo
from mlalign.programs.formats.mrc import write_volume, write_volume_stack
from mlalign.programs.formats.star import write_star
from mlalign.tests.programs.tomo_planted import POSES

BOX = 12
NOISE = np.random.default_rng(0).standard_normal((4, BOX, BOX, BOX)).astype(np.float32)
ZEROS = {label: np.zeros(4) for label in POSES}
NAMES = [f"{i:06d}@good.mrcs" for i in range(1, 5)]
SHORT = ["--ang", "45", "--iter", "0"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to work in, with good.mrcs: four volumes of 12 voxels, and in.xmd: their metadata."""
    monkeypatch.chdir(tmp_path)
    write_volume_stack("good.mrcs", NOISE)
    table("in.xmd")
    return tmp_path


@pytest.fixture
def error(folder, capfd):
    """Run with these options; its message, after checks of all that every error has in common."""
    def run(*options):
        there = tree(folder)
        with pytest.raises(SystemExit) as stop:
            ml_tomo.main([*map(str, options), *SHORT])
        assert stop.value.code == 2 and tree(folder) == there
        lines = capfd.readouterr().err.splitlines()
        assert len(lines) == 1 and lines[0].startswith("ml_tomo: error: "), lines
        return lines[0]
    return run


def tree(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def table(path, images=None, **columns):
    write_star(path, {"particles": {"image": list(images or NAMES), **columns}})
    return path


def regions(path="missing.xmd", kind="wedge_y", number=1, first=-60.0, last=60.0, **more):
    write_star(path, {"noname": {"missingRegionNumber": [number], "missingRegionType": [kind],
                                 "missingRegionThetaY0": [first], "missingRegionThetaYF": [last], **more}})
    return path


# ---- files

@pytest.mark.parametrize("option", ["-i", "--ref", "--missing", "--doc", "--frac", "--mask"])
def test_files_that_are_not_there(option, error):
    table("posed.xmd", **ZEROS)
    words = {"-i": "posed.xmd", "--nref": 1, "--dont_align": None}
    if option == "--ref":
        del words["--nref"]
    words[option] = "none.mrc"
    assert "none.mrc" in error(*(word for pair in words.items() for word in pair if word is not None))


def test_boxes_that_are_not_cubes_or_of_mixed_sizes(error):
    write_volume("flat.mrc", NOISE[0, :10])
    write_volume("big.mrc", np.zeros((14, 14, 14), np.float32))
    line = error("-i", table("flat.xmd", ["flat.mrc", "flat.mrc"]), "--nref", 1)
    assert "flat.mrc" in line and "12 x 12 x 10" in line
    line = error("-i", table("mixed.xmd", [*NAMES, "big.mrc"]), "--nref", 1)
    assert "mixed.xmd" in line and "big.mrc" in line and "14" in line and "12" in line


@pytest.mark.parametrize("value, word", [(np.nan, "NaN"), (np.inf, "Inf"), (None, "constant")])
def test_volumes_with_nan_or_without_contrast(value, word, error):
    bad = NOISE.copy()
    bad[2] = 1
    if value is not None:
        bad[2] = NOISE[2]
        bad[2, 3, 4, 5] = value
    write_volume_stack("bad.mrcs", bad)
    line = error("-i", table("bad.xmd", [f"{i}@bad.mrcs" for i in range(1, 5)]), "--nref", 1)
    assert word in line and "row 3" in line and "bad.mrcs" in line
    assert word in error("-i", "in.xmd", "--ref", "bad.mrcs")


def test_volumes_beyond_the_stack_s_end(error):
    line = error("-i", table("far.xmd", [*NAMES, "000005@good.mrcs"]), "--nref", 1)
    assert "far.xmd" in line and "row 5" in line and "000005@good.mrcs" in line


def test_empty_metadata(error, folder):
    (folder / "empty.xmd").write_text("data_particles\nloop_\n_image\n")
    assert "empty.xmd" in error("-i", "empty.xmd", "--nref", 1)


# ---- missing regions

def test_regions_that_are_not_defined(error):
    table("in.xmd", missingRegionNumber=np.array([1, 1, 7, 1]))
    line = error("-i", "in.xmd", "--missing", regions(), "--nref", 1)
    assert "in.xmd" in line and "missing region 7" in line and "missing.xmd" in line and "000003@good.mrcs" in line


def test_regions_that_particles_do_not_name(error):
    write_star("two.xmd", {"noname": {
        "missingRegionNumber": [1, 2], "missingRegionType": ["cone", "cone"], "missingRegionThetaY0": [50.0, 60.0]}})
    line = error("-i", "in.xmd", "--missing", "two.xmd", "--nref", 1)
    assert "in.xmd" in line and "_missingRegionNumber" in line and "two.xmd" in line


@pytest.mark.parametrize("first, last", [(-100, 60), (60, -60), (-60, 95), (np.nan, 60)])
def test_absurd_tilt_ranges(first, last, error):
    line = error("-i", "in.xmd", "--missing", regions(first=float(first), last=float(last)), "--nref", 1)
    assert "missing.xmd" in line and "row 1" in line


def test_unknown_kinds_of_region(error):
    line = error("-i", "in.xmd", "--missing", regions(kind="wedge_z"), "--nref", 1)
    assert "wedge_z" in line and "wedge_y" in line


def test_weights_beyond_one(error):
    write_volume("weight.mrc", 2 * np.ones((BOX,) * 3, np.float32))
    line = error("-i", "in.xmd", "--missing", regions(kind="weight", missingRegionWeight=["weight.mrc"]), "--nref", 1)
    assert "weight.mrc" in line and "0 to 1" in line


# ---- poses

@pytest.mark.parametrize("option", ["--dont_align", "--dont_rotate", "--only_average", "--keep_angles"])
def test_poses_that_are_not_given(option, error):
    line = error("-i", "in.xmd", "--nref", 1, option)
    assert option in line and "in.xmd" in line and "_angleRot" in line
    if option != "--keep_angles":
        angles = {label: ZEROS[label] for label in POSES[:3]}
        assert "_shiftX" in error("-i", table("angles.xmd", **angles), "--nref", 1, option)


def test_angles_that_a_local_search_lacks(error):
    line = error("-i", "in.xmd", "--nref", 1, "--ang_search", 60)
    assert "--ang_search" in line and "_angleRot" in line


def test_poses_that_are_no_numbers(error):
    bad = {**ZEROS, "angleTilt": np.array([0, np.nan, 0, 0])}
    line = error("-i", table("bad.xmd", **bad), "--nref", 1, "--keep_angles")
    assert "bad.xmd: row 2: _angleTilt is nan" in line


def test_only_average_needs_classes(error):
    line = error("-i", table("a.xmd", **ZEROS, ref=np.array([1, 2, 0, 1])), "--nref", 2, "--only_average")
    assert "--only_average" in line and "_ref" in line and "000003@good.mrcs" in line


# ---- options

def test_local_search_finer_than_the_grid(error):
    line = error("-i", table("a.xmd", **ZEROS), "--nref", 1, "--ang_search", 20)          # --ang is 45
    assert "--ang_search" in line and "20" in line and "45" in line


@pytest.mark.parametrize("option, value", [("--dim", 14), ("--radius", 7), ("--limit_trans", 7), ("--offset", 13),
                                           ("--maxres", 0.1)])
def test_lengths_beyond_the_box(option, value, error):
    line = error("-i", "in.xmd", "--nref", 1, option, value)
    assert f"{option}: {value}" in line and "12" in line


@pytest.mark.parametrize("name", ["q7", "x", "c0"])
def test_unknown_symmetry(name, error):
    assert name in error("-i", "in.xmd", "--nref", 1, "--sym", name)


def test_more_references_than_volumes(error):
    line = error("-i", "in.xmd", "--nref", 5)
    assert "--nref: 5 references for 4 volumes" in line
    write_volume_stack("refs.mrcs", np.concatenate([NOISE, NOISE]))
    assert "--ref: 8 references for 4 volumes" in error("-i", "in.xmd", "--ref", "refs.mrcs")


def test_references_of_another_box(error):
    write_volume("big.mrc", np.random.default_rng(1).standard_normal((14, 14, 14)).astype(np.float32))
    line = error("-i", "in.xmd", "--ref", "big.mrc")
    assert "big.mrc" in line and "14 voxels" in line and "12" in line


@pytest.mark.parametrize("low, high", [(0, 2), (-1, 1), (0, 0), (0, np.nan)])
def test_masks(low, high, error):
    mask = np.zeros((BOX,) * 3, np.float32)
    mask[0, 0, 0], mask[5:7] = low, high
    write_volume("mask.mrc", mask)
    line = error("-i", table("a.xmd", **ZEROS), "--nref", 2, "--dont_align", "--mask", "mask.mrc")
    assert "mask.mrc" in line and "0 to 1" in line


def test_masks_of_another_box(error):
    write_volume("mask.mrc", np.ones((10, 10, 10), np.float32))
    line = error("-i", table("a.xmd", **ZEROS), "--nref", 2, "--dont_align", "--mask", "mask.mrc")
    assert "mask.mrc" in line and "10 voxels" in line


@pytest.mark.parametrize("text, words", [("0.5", "1 fractions"), ("nan 1", "numbers"), ("half half", "half")])
def test_fractions(text, words, error, folder):
    (folder / "fractions").write_text(text)
    line = error("-i", "in.xmd", "--nref", 2, "--frac", "fractions")
    assert "fractions" in line and words in line


@pytest.mark.parametrize("option, name", [("-i", "x_img.xmd"), ("--doc", "x_img.xmd"), ("--ref", "x_ref000001.mrc"),
                                          ("--missing", "x_ref.xmd")])
def test_output_that_would_replace_input(option, name, error):
    if name.endswith(".xmd"):
        table(name, **ZEROS)
        if option == "--missing":
            regions(name)
    else:
        write_volume(name, NOISE[0])
    words = {"-i": "in.xmd", **({} if option == "--ref" else {"--nref": 1}), option: name, "--oroot": "x"}
    line = error(*(word for pair in words.items() for word in pair))
    assert name in line and "overwrite" in line
