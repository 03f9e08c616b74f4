"""The command line of ml_tomo: what it accepts, old command lines among it, and what it finds contradictory."""
import pytest

from mlalign.programs import ml_tomo, tomo_options
from mlalign.programs.errors import UserError

# as the manual of the program that it replaces has them
OF_THE_MANUAL = """\
-i images.sel --oroot run1_align/nref1_15deg --nref 1 --doc images.doc --missing wedges.doc --iter 15 --ang 15 --dim 32
    --perturb
-i images.sel --oroot run1_align/nref1_10deg --nref 1 --doc run1_align/nref1_15deg_it000015.doc --keep_angles
    --missing wedges.doc --iter 5 --ang 10 --ang_search 50 --maxres 0.35 --perturb
-i images.sel --oroot run1_align/nref1_5deg --nref 1 --doc run1_align/nref1_10deg_it000005.doc --keep_angles
    -missing wedges.doc --iter 5 --ang 5 --ang_search 25 --maxres 0.35 -perturb
-i images.sel --oroot run2_3classes/nref3_10deg  --nref 3 --doc run1_align/nref1_5deg_it000005.doc --keep_angles
    --missing wedges.doc --iter 20 --ang 10 --ang_search 50 --maxres 0.35 --perturb --reg0 5 --regF 0 --reg_steps 5
-i images.sel --oroot run2_3classes/nref3_5deg --nref 3 --doc run2_3classes/nref3_10deg_it000020.doc --keep_angles
    --missing wedges.doc --iter 5 --ang 5 --ang_search 25 --maxres 0.35 --perturb
-i images.sel --oroot run2_3classes/nref3_noalign  --nref 3 --doc run1_align/nref1_5deg_it000005.doc --keep_angles
    --missing wedges.doc --iter 20 --dont_align --maxres 0.35 --reg0 5 --regF 0 --reg_steps 5 --mask interesting.msk
-i images.sel --oroot run3_3classes/nref3_15deg --nref 3 --doc images.doc --missing wedges.doc --iter 25 --ang 15
    --dim 32 --perturb --reg0 5 --regF 0 --reg_steps 5
-i images.sel --oroot run4_extref/15deg --ref myreference.vol --doc images.doc --missing wedges.doc --iter 1 --ang 15
-i images.sel --oroot run4_extref/7deg --ref myreference.vol --doc run4_extref/15deg_it000001.doc --missing wedges.doc
    --iter 1 --ang 7 --ang_search 20
-i images.sel --oroot run4_extref/3deg --ref myreference.vol --doc run4_extref/7deg_it000001.doc --missing wedges.doc
    --iter 1 --ang 3 --ang_search 10
"""

# the defaults of the original, under today's names of the attributes; lists: one value per stage
ORIGINAL = {
    "oroot": "mltomo", "sym": "c1", "missing": "", "ang": [10], "ang_search": [-1], "dont_limit_psirange": False,
    "limit_trans": [-1], "tilt0": 0, "tiltF": 180, "psi_sampling": [-1], "reg0": 0, "regF": 0, "reg_steps": 5,
    "dont_rotate": False, "dont_align": False, "only_average": False, "perturb": False, "dim": [-1], "maxres": [0.5],
    "thr": 1, "impute_iter": 1, "iter": [25], "istart": 1, "noise": 1, "offset": 3, "frac": "", "restart": "",
    "fix_sigma_noise": False, "fix_sigma_offset": False, "fix_fractions": False, "eps": 5e-5, "mask": "",
    "maxCC": False, "dont_impute": False, "noimp_threshold": 1, "trymindiff_factor": 0.9, "no_SMALLANGLE": False,
    "keep_angles": False, "filter": False, "ini_filter": False, "doc": "", "ref": "",
}


def parsed(line="", given="-i in.xmd --nref 2"):
    return ml_tomo.parser().parse_args(f"{given} {line}".split())


def contradiction(*lines, **others):
    return list(tomo_options.contradictions(parsed(*lines, **others)))


@pytest.mark.parametrize("line", OF_THE_MANUAL.replace("\n    ", " ").splitlines())
def test_command_lines_of_the_manual(line):
    given = parsed(line, given="")
    tomo_options.check(given)
    words = line.split()
    assert given.input == "images.sel" and given.missing == "wedges.doc"
    assert given.oroot == words[3] and given.doc == words[words.index("--doc") + 1]
    assert given.ang == [float(words[words.index("--ang") + 1])] if "--ang" in words else [10]
    assert given.perturb == ("--perturb" in words or "-perturb" in words)
    assert given.keep_angles == ("--keep_angles" in words)


def test_defaults_are_the_original_s():
    given = vars(parsed())
    assert {name: given[name] for name in ORIGINAL} == ORIGINAL


def test_long_options_with_one_dash():
    double = ("--oroot out/a --missing w.xmd --dim 32 --iter 3 --ang 20 --perturb --maxres=0.3 --ang_search -1 "
              "--random_seed 4 --continue")
    given = parsed(f"-i in.xmd --nref 2 {double}", given="")
    assert parsed(f"-i in.xmd -nref 2 {double.replace('--', '-')}", given="") == given
    assert (given.iter, given.maxres, given.oroot, given.resume) == ([3], [0.3], "out/a", True)
    assert parsed("-o out/b").oroot == "out/b"


def test_a_flag_that_may_have_a_number():
    for line in ("--no_SMALLANGLE", "--no_SMALLANGLE 0", "--no_SMALLANGLE 2.75", "--no_SMALLANGLE --perturb"):
        assert parsed(line).no_SMALLANGLE is True
    assert parsed("--no_SMALLANGLE --perturb").perturb


def test_values_by_stage():
    given = parsed("--ang 15 10 5 --ang_search -1 50 25 --iter 15 5 5 --maxres 0.35")
    tomo_options.check(given)
    assert tomo_options.stages(given) == 3
    assert tomo_options.by_stage(given, "ang_search") == [-1, 50, 25]
    assert tomo_options.by_stage(given, "maxres") == [0.35] * 3
    assert tomo_options.stages(parsed()) == 1 and tomo_options.by_stage(parsed(), "dim") == [-1]


@pytest.mark.parametrize("line, message", [
    ("--ang 46", "0.1 to 45"), ("--ang 0", "0.1 to 45"), ("--ang nan", "0.1 to 45"), ("--ang ten", "not a number"),
    ("--maxres 0.6", "more than 0 to 0.5"), ("--maxres 0.3 0", "more than 0 to 0.5"), ("--dim 3.5", "not an integer"),
    ("--nref 0", "at least 1"), ("--iter -1", "at least 0"), ("--ang_search 181", "-1 to 180"),
    ("--tiltF 181", "0 to 180"), ("--noise 0", "more than 0"), ("--pixel_size 0", "more than 0"),
    ("--impute_iter 0", "at least 1"), ("--random_seed -2", "-1 to"),
    ("--frobnicate", "unrecognized"), ("--pert", "unrecognized"), ("--no_SMALLANGLE now", "not a number")])
def test_values_out_of_range(line, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        parsed(line)
    error = capsys.readouterr().err
    assert error.startswith("ml_tomo: error: ") and message in error and error.count("\n") == 1


@pytest.mark.parametrize("line, beginning, rest", [
    ("--ref refs.xmd", "--nref: ", "one of the two"),
    ("--ang 15 10 5 --iter 5 5", "--ang: ", "3 of --ang, 2 of --iter"),
    ("--only_average --iter 1 2", "--iter: ", "--only_average"),
    ("--ang 15 --ang_search 10", "--ang_search: ", "10 degrees is less than the step of --ang, 15"),
    ("--ang 15 5 --ang_search -1 3", "--ang_search: ", "in stage 2"),
    ("--ang 5 --psi_sampling 20 --ang_search 15", "--ang_search: ", "--psi_sampling, 20"),
    ("--psi_sampling 0", "--psi_sampling: ", "more, or -1"),
    ("--dim 4", "--dim: ", "at least 8"),
    ("--tilt0 90 --tiltF 90", "--tilt0: ", "less than --tiltF"),
    ("--dont_limit_psirange --sym c4 --ang_search 40", "--dont_limit_psirange: ", "c4"),
    ("--anchor", "--anchor: ", "--ang_search"),
    ("--mask mask.mrc", "--mask: ", "--dont_align"),
    ("--reg0 1 --regF 2", "--regF: ", "at most that"),
    ("--impute_iter 3 --dont_impute", "--impute_iter: ", "--dont_impute"),
    ("--impute_iter 3 --maxCC", "--impute_iter: ", "--maxCC"),
    ("--sigma_shells --maxCC", "--sigma_shells: ", "--maxCC"),
    ("--sigma_shells --fix_sigma_noise", "--sigma_shells: ", "--fix_sigma_noise"),
    ("--restart mltomo_it000003_img.xmd --continue", "--restart: ", "--continue"),
    ("--istart 5 --continue", "--istart: ", "--continue")])
def test_contradictions(line, beginning, rest):
    found = contradiction(line)
    assert len(found) == 1 and found[0].startswith(beginning) and rest in found[0]
    with pytest.raises(UserError, match=beginning):
        tomo_options.check(parsed(line))


def test_neither_references_nor_their_number():
    assert contradiction(given="-i in.xmd")[0].startswith("--nref: neither")


@pytest.mark.parametrize("line", [
    "", "--ang 10 --ang_search 10", "--ang 5 --psi_sampling 20 --ang_search 15 --dont_limit_psirange",
    "--mask m.mrc --dont_align", "--reg0 5 --regF 5", "--anchor --ang_search -1 40 --ang 10 10", "--dim -1 32"])
def test_no_contradiction(line):
    assert not contradiction(line)


def test_contradictions_end_the_program_with_one_line(capsys):
    with pytest.raises(SystemExit, match="2"):
        ml_tomo.main("-i in.xmd --nref 2 --mask m.mrc".split())
    assert capsys.readouterr().err.startswith("ml_tomo: error: --mask: expected --dont_align")


@pytest.mark.parametrize("name", ["img.xmd", "log.xmd", "ref.xmd", "checkpoint.npz"])
def test_restart_names_an_iteration(name):
    assert tomo_options.restart_iteration(parsed(f"--oroot out/a --restart out/a_it000012_{name}")) == 12
    assert tomo_options.restart_iteration(parsed(f"--oroot out/a --restart ./out/a_it000012_{name}")) == 12


def test_restart_of_another_run():
    assert tomo_options.restart_iteration(parsed()) is None
    for file, message in (("out/b_it000012_img.xmd", "belongs to --oroot out/b"), ("out/a_img.xmd", "one iteration")):
        with pytest.raises(UserError, match=message):
            tomo_options.restart_iteration(parsed(f"--oroot out/a --restart {file}"))
