"""Bad input is one line on stderr and exit status 2, and leaves nothing behind: in both programs."""
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mlalign.programs.formats import whole
from mlalign.programs.formats.mrc import write_stack
from mlalign.programs.formats.star import write_star
from mlalign.programs.options import gpus
from mlalign.tests.programs.conftest import BARE, PROGRAMS, run_program

pytestmark = pytest.mark.programs(*PROGRAMS)
NOISE = np.random.default_rng(0).standard_normal((6, 16, 16)).astype(np.float32)
FULL = "No space left on device"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to work in, with good.mrcs: six images of 16 px."""
    write_stack(tmp_path / "good.mrcs", NOISE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def error(program, folder, capfd):
    """Run a program with these options; its message, after checks of all that every error has in common."""
    def run(*options, untouched=True):
        there = tree(folder)
        with pytest.raises(SystemExit) as stop:
            PROGRAMS[program][0].main([*BARE[program], *map(str, options)])
        assert stop.value.code == 2
        if untouched:
            assert tree(folder) == there
        return the_line(program, capfd.readouterr().err)
    return run


@pytest.fixture
def good(program, folder):
    """Run a program with options that are right."""
    return lambda *options: run_program(*BARE[program], *options, program=program)


def the_line(program, stderr):
    lines = stderr.splitlines()
    assert len(lines) == 1, stderr
    assert lines[0].startswith(f"{program}: error: ")
    return lines[0]


def tree(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def metadata(path, *images, **columns):
    write_star(path, {"particles": {"image": list(images), **columns}})
    return path


# ---- files that are not what they should be

def test_missing_files(error):
    assert "none.star" in error("-i", "none.star")
    assert "none.mrcs" in error("-i", "none.mrcs")
    assert "none.mrcs" in error("-i", "good.mrcs", "--ref", "none.mrcs")
    assert "none.txt" in error("-i", "good.mrcs", "--frac", "none.txt")
    metadata("in.xmd", "000001@good.mrcs", "000001@gone.mrcs")
    line = error("-i", "in.xmd")
    assert "in.xmd: row 2" in line and "gone.mrcs" in line


def test_unknown_kinds_of_file(error, folder):
    (folder / "in.txt").write_text("hello")
    assert "in.txt" in error("-i", "in.txt")
    (folder / "in.star").write_text("hello\n")
    assert "in.star" in error("-i", "in.star")
    (folder / "folder.star").mkdir()
    assert "folder.star" in error("-i", "folder.star")


def test_empty_metadata(error, folder):
    (folder / "a.star").write_text("")
    (folder / "b.star").write_text("data_particles\nloop_\n_image\n")
    metadata("c.xmd", "000001@good.mrcs", enabled=[0])
    write_star("d.xmd", {"particles": {"itemId": [1]}})
    for name, words in (("a.star", "data_"), ("b.star", "no rows"), ("c.xmd", "enabled"), ("d.xmd", "_image")):
        line = error("-i", name)
        assert name in line and words in line


def test_images_beyond_the_stack_s_end(error):
    for number in ("000007", "000000", "12345678901"):
        metadata("in.xmd", "000001@good.mrcs", f"{number}@good.mrcs")
        line = error("-i", "in.xmd")
        assert "in.xmd: row 2" in line and f"{number}@good.mrcs" in line and "1 to 6" in line


def test_damaged_metadata(error, folder):
    (folder / "in.star").write_text("data_x\nloop_\n_image\n_shiftX\n1@good.mrcs 0\n2@good.mrcs\n")
    assert "in.star, line 6" in error("-i", "in.star")
    (folder / "in.star").write_text("data_x\nloop_\n_image\n_shiftX\n1@good.mrcs 0\n2@good.mrcs left\n")
    assert "in.star, line 6" in error("-i", "in.star")


def test_images_that_are_not_square_or_of_mixed_sizes(error):
    write_stack("wide.mrcs", np.random.default_rng(1).standard_normal((2, 16, 18)))
    write_stack("big.mrcs", np.random.default_rng(1).standard_normal((2, 18, 18)))
    line = error("-i", "wide.mrcs")
    assert "wide.mrcs" in line and "18 x 16" in line
    metadata("in.xmd", "000001@good.mrcs", "000002@big.mrcs")
    line = error("-i", "in.xmd")
    assert "big.mrcs" in line and "18 x 18" in line and "16 x 16" in line


@pytest.mark.parametrize("value, words", [(np.nan, "NaN"), (np.inf, "Inf"), (None, "constant")])
def test_images_with_nan_or_without_contrast(value, words, error, good):
    images = NOISE.copy()
    images[3] = 1.0
    if value is not None:
        images[3] = NOISE[3]
        images[3, 5, 5] = value
    write_stack("in.mrcs", images)
    metadata("in.xmd", *(f"{i:06d}@in.mrcs" for i in (1, 4)))
    for arguments, name in ((["-i", "in.mrcs"], "000004@in.mrcs"), (["-i", "in.xmd"], "row 2 (000004@in.mrcs"),
                            (["-i", "good.mrcs", "--ref", "in.mrcs"], "000004@in.mrcs")):
        line = error(*arguments)
        assert name in line and words in line
    metadata("ok.xmd", *(f"{i:06d}@in.mrcs" for i in (1, 4, 2)), enabled=[1, 0, 1])
    assert len(good("-i", "ok.xmd", "--iter", 0, "--oroot", "ok_").images) == 2


@pytest.mark.parametrize("damage", ["cut", "short", "text", "mode"])
def test_damaged_stacks(damage, error, folder):
    whole_file = (folder / "good.mrcs").read_bytes()
    damaged = {"cut": whole_file[:-100], "short": whole_file[:500], "text": b"no stack " * 500,
               "mode": whole_file[:12] + b"\x63" + whole_file[13:]}[damage]
    (folder / "bad.mrcs").write_bytes(damaged)
    assert "bad.mrcs" in error("-i", "bad.mrcs")
    assert "bad.mrcs" in error("-i", "good.mrcs", "--ref", "bad.mrcs")
    metadata("in.xmd", "000001@good.mrcs", "000001@bad.mrcs")
    assert "bad.mrcs" in error("-i", "in.xmd")


# ---- things that do not fit together

def test_more_references_than_images(error):
    line = error("-i", "good.mrcs", "--nref", 7)
    assert "--nref" in line and "7 references for 6 images" in line
    metadata("two.xmd", "000001@good.mrcs", "000002@good.mrcs")
    line = error("-i", "two.xmd", "--ref", "good.mrcs")
    assert "--ref" in line and "6 references for 2 images" in line
    assert "12 references" in error("-i", "good.mrcs", "--ref", "good.mrcs", "--nref", 2)


def test_references_of_another_size(error):
    write_stack("big.mrcs", np.random.default_rng(1).standard_normal((2, 18, 18)))
    line = error("-i", "good.mrcs", "--ref", "big.mrcs")
    assert "big.mrcs" in line and "18 px" in line and "16 px" in line


@pytest.mark.parametrize("text, words", [
    ("0.5", "1 fractions, expected 2"), ("1 2 3", "3 fractions, expected 2"), ("", "0 fractions"), ("1 -1", "zero"),
    ("0 0", "zero"), ("nan 1", "numbers"), ("1 inf", "numbers"), ("half half", "half"),
    ("data_\nloop_\n_ref\n1\n2\n", "weight"), ("data_\nloop_\n_weight\n1\n2\n3\n", "3 fractions")])
def test_fractions(text, words, program, error, folder):
    (folder / "fractions").write_text(text)
    line = error("-i", "good.mrcs", "--nref", 2, "--frac", "fractions")
    assert line.startswith(f"{program}: error: fractions") and words in line


def test_fractions_that_are_no_text(error):
    assert "good.mrcs: cannot be read" in error("-i", "good.mrcs", "--frac", "good.mrcs")


def test_output_that_would_replace_the_input(error, good, folder):
    good("-i", "good.mrcs", "--iter", 1, "--oroot", "x_")
    write_stack("y_classes.mrcs", NOISE)
    for arguments in (["-i", "x_images.xmd"], ["-i", "good.mrcs", "--ref", "x_classes.mrcs"],
                      ["-i", "good.mrcs", "--ref", "classes@x_classes.xmd"],
                      ["-i", "good.mrcs", "--ref", f"{folder}/x_extra/iter000/iter_classes.mrcs"],
                      ["-i", "good.mrcs", "--frac", "x_classes.xmd"]):
        line = error(*arguments, "--oroot", "x_")
        assert "overwrite" in line and "--oroot" in line
    assert "y_classes.mrcs" in error("-i", "y_classes.mrcs", "--oroot", "y_")


# ---- options

@pytest.mark.parametrize("options, words", [
    ("--fats", "--fats"), ("--nref", "--nref"), ("--it 3", "--it"), ("stray", "stray"), ("-i", "-i"), ("", "-i"),
    ("--mirror=yes", "--mirror")])
def test_unknown_or_incomplete_options(options, words, error):
    given = options.split()
    line = error(*(["-i", "good.mrcs"] if options not in ("-i", "") else []), *given)
    assert words in line and "--help" in line


# option, values refused by the parser, values that do not fit images of 16 px
RANGES = [
    ("--nref", ["0", "-1", "1.5", "two"], []), ("--sampling_rate", ["0", "-2"], []), ("-C", ["0", "-1", "1.1"], []),
    ("--psi_step", ["0", "-5", "91", "0.05"], []), ("--max_shift", ["-1"], ["8.5"]),
    ("--radius", ["1", "-3"], ["8.5", "100"]), ("--noise", ["0", "-1"], []), ("--offset", ["-1"], ["17", "1e9"]),
    ("--student", ["0", "-6"], []), ("--iter", ["-1", "2.5"], []), ("--eps", ["-1"], []), ("--restarts", ["0"], []),
    ("--min_class", ["-1"], []), ("--restart", ["-1"], []), ("--thr", ["0", "-2", "2.5"], []),
    ("--memory", ["0", "-1"], []), ("--random_seed", ["-2", "2147483648", "1.5"], []),
]
OF_ONE = {
    "ml_align2d": [("--maxres", ["0", "-0.1", "0.51"], ["0.1"]), ("--iem", ["0", "-1"], [])],
    "mlf_align2d": [
        ("--reduce_snr", ["0", "-1"], []), ("--fix_high", ["0", "-5"], []), ("--group_size", ["0", "2.5"], []),
        ("--limit_resolution", ["-1"], []), ("--search_shift", ["0.5", "-3"], []), ("--iter_histogram", ["-2"], [])],
}
EVERY_RANGE = [(program, *one) for program in PROGRAMS for one in (*RANGES, *OF_ONE[program])]


@pytest.mark.parametrize("program, option, value", [
    (program, option, value) for program, option, values, _ in EVERY_RANGE for value in (*values, "nan", "inf", "abc")])
def test_values_out_of_range(option, value, error):
    line = error("-i", "good.mrcs", option, value, *(["9", "99"] if option == "--limit_resolution" else []))
    assert option in line and value in line


@pytest.mark.parametrize("program, option, value", [
    (program, option, value) for program, option, _, values in EVERY_RANGE for value in values])
def test_values_that_do_not_fit_the_images(option, value, error):
    line = error("-i", "good.mrcs", option, value)
    assert option in line and "16 px" in line and "expected at" in line


def test_every_numeric_option_has_its_range_tested(program):
    actions = PROGRAMS[program][0].parser()._actions
    numeric = {action.option_strings[-1] for action in actions if action.type not in (None, gpus)}
    assert numeric == {option for name, option, *_ in EVERY_RANGE if name == program}


# with their values, which are at the edge of the range
EDGES = [
    "--maxres 0.125", "--maxres 0.5", "--radius 8", "--radius 2", "--max_shift 8", "--max_shift 0", "--offset 16",
    "--offset 0", "--psi_step 90", "--psi_step 0.5", "--noise 1e-3", "--noise 1e3", "-C 1 --fast", "--eps 0", "--thr 9",
    "--student 0.01", "--random_seed 2147483647", "--restarts 2", "--min_class 1000"]
EDGES_OF_ONE = {
    "ml_align2d": ["--iem 100"],
    "mlf_align2d": ["--reduce_snr 1e-9", "--reduce_snr 1e9", "--include_allfreqs", "--group_size 1000",
                    "--search_shift 1 --fast", "--limit_resolution 24 0 49", "--limit_resolution 0 0 0"]}


@pytest.mark.parametrize("program, options", [
    (program, options) for program in PROGRAMS for options in (*EDGES, *EDGES_OF_ONE[program])])
def test_values_at_the_edge_of_their_range(options, good):
    outcome = good("-i", "good.mrcs", "--nref", 2, "--iter", 2, *options.split(), "--oroot", "edge_")
    assert np.isfinite(outcome.averages).all() and np.isfinite(outcome.column("logLikelihood")).all()


# ---- output that cannot be written

@pytest.mark.parametrize("oroot, named", [
    ("good.mrcs/x_", "good.mrcs/x_"), ("good.mrcs/sub/x_", "good.mrcs/sub"), ("/proc/x_", "/proc/x_run.lock"),
    ("/proc/sub/x_", "/proc/sub"), ("n" * 300, "nnn")])
def test_unwritable_output(oroot, named, error):
    assert named in error("-i", "good.mrcs", "--oroot", oroot)


def test_disk_full_from_the_start(error, monkeypatch):
    monkeypatch.setattr(whole, "_sync", no_space)
    line = error("-i", "good.mrcs", "--oroot", "out/x_", untouched=False)
    assert "out/x_extra/iter000" in line and FULL in line
    assert left_behind("out") == {"x_run.log"}


def test_disk_full_later(error, good, monkeypatch):
    """The iterations finished before are still there to continue from."""
    real, budget = whole._sync, iter(range(30))

    def sync(path):
        return real(path) if next(budget, None) is not None else no_space(path)

    monkeypatch.setattr(whole, "_sync", sync)
    line = error("-i", "good.mrcs", "--oroot", "out/x_", "--eps", 0, untouched=False)
    broken = int(re.search(r"iter(\d+)/iter_\w+\.\w+", line)[1])
    assert FULL in line and broken >= 2
    assert not list(Path("out").rglob("*.tmp")) and not list(Path("out").rglob(".*"))
    monkeypatch.setattr(whole, "_sync", real)
    outcome = good("-i", "good.mrcs", "--oroot", "out/x_", "--eps", 0, "--iter", broken + 1, "--continue")
    assert f"continuing after iteration {broken - 1}" in outcome.log
    assert outcome.iterations() == list(range(broken + 2))


def no_space(path):
    raise OSError(28, FULL)


def left_behind(folder):
    return {str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file()}


@pytest.mark.programs("ml_align2d")
def test_a_disk_that_is_full(folder, planted):
    """The real thing, where one may mount."""
    small = folder / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(small)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("needs to mount a file system")
    try:
        command = [sys.executable, "-m", "mlalign.programs.ml_align2d", "-i", planted.star, "--oroot", f"{small}/x_",
                   "--ref", planted.references, "--maxres", "0.2", "--eps", "0"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=100)
        assert done.returncode == 2 and FULL in the_line("ml_align2d", done.stderr)
        assert not [name for name in left_behind(small) if name.endswith(".tmp")]
        assert "x_extra/iter000/iter_checkpoint.npz" in left_behind(small)
    finally:
        subprocess.run(["umount", str(small)], check=True)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_standard_output_that_is_full(folder):
    command = [sys.executable, "-m", "mlalign.programs.ml_align2d", "-i", "good.mrcs"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, cwd=folder, timeout=100)
    assert done.returncode == 2 and FULL in the_line("ml_align2d", done.stderr)


def test_a_reader_that_goes_away_is_no_traceback(folder):
    command = f"{sys.executable} -m mlalign.programs.ml_align2d -i good.mrcs --iter 3"
    done = subprocess.run(["bash", "-c", f"{command} | head -n 1; exit ${{PIPESTATUS[0]}}"], capture_output=True,
                          text=True, cwd=folder, timeout=100)
    assert done.returncode in (0, 141) and done.stderr == ""


def test_too_little_memory(program, error, monkeypatch):
    def refuse(*arguments):
        raise MemoryError("Unable to allocate 7 TiB")
    estimator = {"ml_align2d": "ml2d.Estimator", "mlf_align2d": "mlf2d.SpectralEstimator"}[program]
    monkeypatch.setattr(f"mlalign.programs.{estimator}", refuse)
    assert "memory (Unable to allocate 7 TiB)" in error("-i", "good.mrcs")
