"""Errors that users of refine2d can cause: one line that says what is wrong and what is expected."""
import numpy as np
import pytest

from mlalign.programs import refine2d
from mlalign.programs.errors import UserError
from mlalign.programs.formats.mrc import write_stack
from mlalign.programs.formats.star import read_star
from mlalign.tests.programs.conftest import PIXEL, Planted, pixels
from mlalign.tests.programs.refine2d_scene import QUICK, SIMULATED, hdf_of, run_refine2d


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    return Planted(tmp_path_factory.mktemp("planted"), SIMULATED)


@pytest.fixture
def fails(tmp_path, planted):
    """``fails(message, options, source)``: the run raises a UserError of one line that matches, and leaves nothing."""
    def run(message, options="", source=planted.star):
        with pytest.raises(UserError, match=message) as error:
            run_refine2d(source, tmp_path / "out", f"{QUICK} {options}")
        assert "\n" not in str(error.value) and not (tmp_path / "out").exists()
    return run


def noise(count, size):
    return np.random.default_rng(0).normal(size=(count, size, size)).astype(np.float32)


def test_boxes(fails, tmp_path):
    write_stack(tmp_path / "odd.mrcs", noise(9, 33))
    fails(r"odd.mrcs: images of 33 px, expected an even number, at least 16", source=tmp_path / "odd.mrcs")
    write_stack(tmp_path / "small.mrcs", noise(9, 14))
    fails(r"small.mrcs: images of 14 px, expected an even number, at least 16", source=tmp_path / "small.mrcs")
    fails(r"nothere.hdf: no such file", source=tmp_path / "nothere.hdf")


def test_too_few_particles(fails, tmp_path):
    fails(r"particles.star: 240 particles for 241 classes, expected at least 241", "--ncls 241")
    (tmp_path / "many.txt").write_text(" ".join(map(str, range(236))))
    fails(r"particles.star: 4 particles for 6 classes, expected at least 6", f"--exclude {tmp_path / 'many.txt'}")
    write_stack(tmp_path / "one.mrcs", noise(1, 32))
    fails(r"one.mrcs: 1 particles for 1 classes, expected at least 2", "--ncls 1", tmp_path / "one.mrcs")


@pytest.mark.parametrize("word", ["-1", "240", "1.0", "particle", "²", "1-5"])
def test_what_is_no_number_of_a_particle(fails, tmp_path, word):
    (tmp_path / "list.txt").write_text(f"0, 3\n{word} 7\n")
    fails(rf"--exclude .*list.txt: found '{word}', expected numbers of particles from 0 to 239, for .* has 240",
          f"--exclude {tmp_path / 'list.txt'}")


def test_a_list_that_cannot_be_read(fails, tmp_path):
    fails(r"cannot read .*nothere.txt: No such file", f"--exclude {tmp_path / 'nothere.txt'}")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    fails(r"bytes: cannot be read, it holds no text", f"--exclude {tmp_path / 'bytes'}")


@pytest.mark.parametrize(("options", "message"), [
    ("--simalign foo", r"--simalign foo: there is no aligner 'foo', expected rotate_translate_tree .* or None"),
    ("--classalign frc", r"--classalign frc: there is no aligner 'frc'"),
    ("--simcmp foo", r"--simcmp foo: there is no comparator 'foo', expected ccc .*; frc "),
    ("--simaligncmp None", r"--simaligncmp None: no comparator is given, expected ccc"),
    ("--simralign foo", r"--simralign foo: there is no refining aligner 'foo', expected refine .* or None"),
    ("--classralign ccc", r"--classralign ccc: there is no refining aligner"),
    ("--classaverager foo", r"--classaverager foo: there is no averager 'foo', expected mean .*median; ctf.auto"),
    ("--classnormproc foo", r"--classnormproc foo: there is no processor 'foo', expected normalize; "),
    ("--simcmp frc:minres", r"--simcmp frc:minres: 'minres' is not a pair of option and value, expected"),
    ("--simcmp frc:=3", r"'=3' is not a pair"), ("--simcmp :a=3", r"'' is not a module's name"),
    ("--simcmp frc:pmax=3:pmax=4", r"'pmax' is given twice, expected every option once"),
    ("--simcmp frc:foo=3", r"frc has no option 'foo', expected sweight, "),
    ("--simcmp frc:pmax=much", r"pmax=much does not fit, expected a number"),
    ("--simcmp frc:snrweight=1", r"--simcmp .* snrweight needs the particles' CTFs"),
    ("--simcmp ccc:negative=0", r"negative=False is not to be had, it would make the least similar the best"),
    ("--classralign refine:maxiter=0", r"maxiter=0 does not fit, expected at least 1"),
    ("--simalign rotate_translate_tree:maxres=1000", r"--simalign .*maxres=1000: leaves frequencies up to 0.096 "),
    ("--classalign rotate_translate_tree:maxres=90", r"--classalign .* boxes of 32 px, expected at least 2"),
    ("--shrink 9", r"--shrink 9: leaves frequencies up to 1.78 Fourier pixels of boxes of 32 px, expected at least 2"),
    ("--classnormproc mask.sharp:outer_radius=-99", r"--classnormproc .*=-99: leaves nothing of the particles"),
    ("--classkeep 1.5", r"--classkeep: 1.5 is more than all particles of a class, expected a fraction, or"),
    ("--radius 17", r"--radius: 17 px, expected 2 to 16 for images of 32 px"),
    ("--radius 1", r"--radius: 1 px, expected 2"), ("--radius=-0.5", r"--radius: -0.5 px, expected 2"),
    ("--phase_flip", r"--phase_flip: .*particles.star has no CTFs, expected columns such as _rlnDefocusU"),
    ("--parallel thread", r"--parallel thread: expected thread:N or mpi:N with a number"),
    ("--parallel thread:0", r"--parallel thread:0: expected"), ("--parallel gpu:2", r"--parallel gpu:2: expected"),
])
def test_options(fails, options, message):
    fails(message, options)


def test_resolutions_without_a_pixel_size(fails, planted, tmp_path):
    write_stack(tmp_path / "bare.mrcs", pixels(planted.stack))
    for options in ("--simalign rotate_translate_tree:maxres=12", "--simcmp frc:maxres=12"):
        fails(rf"{options}: maxres needs the pixel size, expected --sampling_rate", options, tmp_path / "bare.mrcs")


def test_initial_averages(fails, planted, tmp_path):
    write_stack(tmp_path / "large.mrcs", noise(3, 36))
    fails(r"large.mrcs: averages of 36 px, expected 32 px like the images of .*particles.star",
          f"--initial {tmp_path / 'large.mrcs'}")
    write_stack(tmp_path / "empty.mrcs", np.zeros((3, 32, 32)))
    fails(r"empty.mrcs: all 3 averages are constant, expected some with signal", f"--initial {tmp_path / 'empty.mrcs'}")
    bad = pixels(planted.references)
    bad[2, 3, 3] = np.inf
    write_stack(tmp_path / "bad.mrcs", bad)
    fails(r"row 3 .*bad.mrcs\): the image holds NaN or Inf", f"--initial {tmp_path / 'bad.mrcs'}")
    fails(r"nothere.hdf: no such file", f"--initial {tmp_path / 'nothere.hdf'}")


def test_pixels(fails, planted, tmp_path):
    bad = pixels(planted.stack)
    bad[7, 3, 3] = np.nan
    write_stack(tmp_path / "bad.mrcs", bad)
    fails(r"row 8 \(000008@.*bad.mrcs\): the image holds NaN or Inf", source=tmp_path / "bad.mrcs")
    bad[7] = 4
    write_stack(tmp_path / "constant.mrcs", bad)
    fails(r"row 8 .*constant.mrcs\): the image is constant", source=tmp_path / "constant.mrcs")


def test_a_bad_image_that_is_left_out_is_no_matter(planted, tmp_path):
    bad = pixels(planted.stack)
    bad[7] = np.nan
    write_stack(tmp_path / "bad.mrcs", bad, PIXEL)
    (tmp_path / "list.txt").write_text("7")
    run = run_refine2d(tmp_path / "bad.mrcs", tmp_path / "out", f"{QUICK} --exclude {tmp_path / 'list.txt'}")
    assert run.images["ref"][7] == 0 and np.isfinite(run.averages).all()


def test_a_folder_with_a_run(planted, tmp_path):
    run = run_refine2d(planted.star, tmp_path / "out")
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match=r"out: has a run of refine2d already, expected another --path, or --resume"):
        run_refine2d(planted.star, run.path)
    for name in ("images.xmd", "classes.mrcs", "extra/iter001/iter_classes.mrcs", "classes_01.hdf"):
        with pytest.raises(UserError, match=rf"{name}: a run in .*out would overwrite it, expected another --path"):
            run_refine2d(run.path / name, run.path, f"{QUICK} --resume")
    with pytest.raises(UserError, match=r"classes_01.hdf: a run in .*out would overwrite it"):
        run_refine2d(planted.star, run.path, f"{QUICK} --resume --initial {run.path / 'classes_01.hdf'}")
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before


def test_images_that_a_run_would_overwrite(planted, tmp_path):
    """The metadata are elsewhere, the images where averages would go."""
    (tmp_path / "out").mkdir()
    write_stack(tmp_path / "out/classes.mrcs", pixels(planted.stack), PIXEL)
    lines = [f"{i + 1:06d}@{tmp_path / 'out/classes.mrcs'}" for i in range(240)]
    (tmp_path / "p.xmd").write_text("\n".join(["data_", "loop_", "_image", *lines]) + "\n")
    before = (tmp_path / "out/classes.mrcs").read_bytes()
    with pytest.raises(UserError, match=r"out/classes.mrcs: a run in .*out would overwrite it"):
        run_refine2d(tmp_path / "p.xmd", tmp_path / "out")
    assert (tmp_path / "out/classes.mrcs").read_bytes() == before


def test_headers_without_all_ctfs(fails, planted, tmp_path):
    images = pixels(planted.stack)
    text = "E1.5 0 0 0 10 300 2.7 3 0 0 0"
    some = hdf_of(images, tmp_path / "some.hdf", [{"ctf": text}] * 239 + [{}])
    fails(r"--phase_flip: .*some.hdf has no CTFs", "--phase_flip", some)
    short = hdf_of(images, tmp_path / "short.hdf", [{"ctf": "E1.5 0 0"}] * 240)
    fails(r"row 1 .*: ctf is 'E1.5 0 0', expected E and eight numbers", source=short)


def test_a_file_where_the_folder_would_be(planted, tmp_path):
    (tmp_path / "file").write_text("mine")
    for options in ("", "--resume"):
        with pytest.raises(UserError, match=r"--path .*file: is a file, expected a folder, or a new name"):
            run_refine2d(planted.star, tmp_path / "file", f"{QUICK} {options}")
    assert (tmp_path / "file").read_text() == "mine"


def test_errors_end_the_program_with_status_2(planted, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        refine2d.main(["--input", planted.star, "--path", str(tmp_path / "out"), "--simcmp", "foo"])
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and error.startswith("refine2d: error: --simcmp foo: there is no comparator")
    assert error.count("\n") == 1
    assert read_star(planted.star)


@pytest.mark.parametrize(("option", "message"), [
    ("--iter=0", "0 is out of range, expected at least 1"), ("--ncls=x", "'x' is not an integer"),
    ("--classkeep=0", "0 is out of range, expected more than 0"), ("--classiter=-1", "-1 is out of range"),
    ("--eps=2", "2 is out of range, expected 0 to 1"), ("--start=random", "invalid choice"),
    ("--center=middle", "invalid choice"), ("--verbose=10", "10 is out of range, expected 0 to 9"),
    ("--maxshift=-2", "-2 is out of range"), ("--minchange=-2", "-2 is out of range"), ("--nbasisfp=0", "0 is out of"),
    ("--naliref=0", "0 is out of range"), ("--sampling_rate=0", "0 is out of range"), ("--shrink=-1", "-1 is out of"),
    ("--memory=0", "0 is out of range"), ("--thr=0", "0 is out of range"), ("--unknown", "unrecognized arguments"),
])
def test_values_out_of_range(capsys, option, message):
    with pytest.raises(SystemExit) as stopped:
        refine2d.parser().parse_args(["--input", "a.hdf", option])
    assert stopped.value.code == 2 and message in capsys.readouterr().err


def test_an_input_is_required(capsys):
    with pytest.raises(SystemExit) as stopped:
        refine2d.parser().parse_args([])
    assert stopped.value.code == 2 and "--input" in capsys.readouterr().err
