"""CTFs, pixel sizes and limits of resolution that cannot be: one line, exit status 2, nothing written."""
import numpy as np
import pytest

from mlalign.programs import mlf_align2d
from mlalign.programs.formats.mrc import write_stack
from mlalign.programs.formats.star import read_star, write_star

pytestmark = pytest.mark.programs("mlf_align2d")
ONES = np.ones(120)


@pytest.fixture
def error(planted, tmp_path, capfd):
    """Run on the planted images, or those of a file, and give the message."""
    def run(options="", images=None):
        command = ["-i", images or planted.star, "--ref", planted.references, "--oroot", f"{tmp_path}/out/x_"]
        with pytest.raises(SystemExit) as stop:
            mlf_align2d.main([*command, *options.split()])
        assert stop.value.code == 2 and not (tmp_path / "out").exists()
        line, = capfd.readouterr().err.splitlines()
        assert line.startswith("mlf_align2d: error: ")
        return line
    return run


@pytest.fixture
def particles(planted, tmp_path):
    """Write the planted particles' metadata with other columns, None to leave one out; the file."""
    def write(**columns):
        given = {**read_star(planted.folder / "truth.xmd")["particles"].columns,
                 "image": [f"{i + 1:06d}@{planted.stack}" for i in range(120)], **columns}
        path = tmp_path / "particles.xmd"
        write_star(path, {"particles": {label: values for label, values in given.items() if values is not None}})
        return str(path)
    return write


# ---- CTF: the reader has tests of its own

@pytest.mark.parametrize("columns, words", [
    ({"ctfDefocusU": None}, "the CTF is incomplete, expected _ctfDefocusU"),
    ({"ctfVoltage": None, "ctfQ0": None}, "_ctfQ0"),
    ({"ctfVoltage": 0 * ONES}, "row 1 (000001@"),
    ({"ctfVoltage": 0 * ONES}, "_ctfVoltage (_rlnVoltage) is 0, expected 10 to 3000 kV (119 more"),
    ({"ctfDefocusU": 1.5 * ONES, "ctfDefocusV": 1.4 * ONES}, "is 1.5, which looks like µm"),
    ({"ctfDefocusV": np.where(np.arange(120) == 7, np.nan, 9000)}, "row 8 (000008@"),
    ({"ctfDefocusU": 20000 * ONES, "ctfDefocusV": 9000 * ONES}, "expected less astigmatism"),
    ({"ctfPhaseShift": 1.57 * ONES}, "radians")])
def test_ctfs_that_cannot_be(columns, words, error, particles):
    line = error(images=particles(**columns))
    assert "particles.xmd" in line and words in line


def test_a_stack_alone_has_no_ctf(error, planted):
    line = error(images=planted.stack)
    assert planted.stack in line and "_ctfDefocusU" in line and "--no_ctf" in line


def test_pixel_size_that_nobody_knows(error, planted, particles, tmp_path):
    images = np.random.default_rng(0).standard_normal((120, 32, 32))
    write_stack(tmp_path / "bare.mrcs", images)
    path = particles(samplingRate=None, image=[f"{i + 1:06d}@bare.mrcs" for i in range(120)])
    for name, options in ((path, ""), (path, "--no_ctf"), (str(tmp_path / "bare.mrcs"), "--no_ctf")):
        line = error(options, name)
        assert name in line and "the pixel size is not known" in line and "--sampling_rate" in line


def test_absurd_pixel_sizes(error, particles):
    assert "500 Å/px, expected at most 100" in error(images=particles(samplingRate=500 * ONES))
    assert "--sampling_rate: a pixel size of 500 Å/px" in error("--sampling_rate 500")


# ---- limits, for 32 px of 3 Å

@pytest.mark.parametrize("options, words", [
    ("--limit_resolution 10 20 999", "10 Å in the first iteration and 20 Å in all, expected a larger number"),
    ("--limit_resolution 0 20 10", "10 Å as the lowest resolution, expected at least 40 Å"),
    ("--limit_resolution 0 20 20", "20 Å as the lowest resolution, expected at least 40 Å"),
    ("--limit_resolution 20 0 30", "30 Å as the lowest resolution, expected at least 40 Å"),
    ("--limit_resolution 0 0 15", "15 Å as the lowest resolution"),
    ("--fix_high 20 --limit_resolution 0 0 30", "30 Å as the lowest resolution, expected at least 40 Å"),
    ("--limit_resolution 0 49 999", "49 Å, expected at most 48 Å, half of the box"),
    ("--limit_resolution 49 0 999", "49 Å, expected at most 48 Å, half of the box"),
    ("--fix_high 49", "49 Å, expected at most 48 Å, half of the box"),
    ("--fix_high 5.9", "5.9 Å, expected at least 6, Nyquist of 3 Å pixels"),
    ("--fix_high 10 --include_allfreqs", "exclude one another"),
    ("--fix_high 10 --limit_resolution 0 10 999", "exclude one another"),
    ("--include_allfreqs --limit_resolution 20 0 999", "exclude one another")])
def test_limits_that_cannot_be(options, words, error):
    assert words in error(options)


def test_limits_are_those_of_the_pixel_size_given(error):
    assert "Nyquist of 6 Å pixels" in error("--fix_high 10 --sampling_rate 6")


@pytest.mark.parametrize("options, words", [
    ("--limit_resolution 10 20", "expected 3 arguments"), ("--limit_resolution a b c", "'a' is not a number"),
    ("--noise_groups none", "auto"), ("--maxres 0.3", "--maxres"), ("--iem 2", "--iem")])
def test_options_it_does_not_understand(options, words, error):
    assert words in error(options)


def test_affected_references_that_are_not_given(planted, tmp_path, capfd):
    with pytest.raises(SystemExit) as stop:
        mlf_align2d.main(["-i", planted.star, "--nref", "2", "--ctf_affected_refs", "--oroot", f"{tmp_path}/x_"])
    assert stop.value.code == 2 and not list(tmp_path.iterdir())
    assert "--ctf_affected_refs" in capfd.readouterr().err
