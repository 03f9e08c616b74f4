"""``mlalign compile``: after it no run compiles anything, whatever its data and options."""
import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from mlalign.programs import compilation, compile

# other boxes, numbers of classes, threads and options than the examples
SCENES = (
    ("simulate", "-n 30 --box 36 --views 3 --snr 0.2 --pixel_size 3 --defocus 9000 28000 -o here/"),
    ("simulate_tomo", "-n 5 --box 20 --phantoms 2 --snr 1 --stack -o volumes/"),
)
RUNS = (
    ("ml_align2d", "-i here/particles.star --nref 3 --iter 2 --norm --thr 2 --oroot ml/"),
    ("mlf_align2d", "-i here/particles.star --nref 2 --iter 2 --student --restarts 1 --oroot mlf/"),
    ("ml_tomo", "-i volumes/particles.xmd --missing volumes/missing.xmd --nref 2 --iter 1 --ang 45 --oroot tomo/"),
    ("mref_ali2d", "here/particles.star here/references.mrcs mref --xr 2 --yr 1 --ou 12 --maxit 2 --soft --exhaustive"),
    ("refine2d", "--input here/particles.star --path median --ncls 3 --iter 1 --classaverager median"),
    ("refine2d", "--input here/particles.star --path still --ncls 2 --iter 1 --start ml --simalign translational "
                 "--simcmp optvariance:matchfilt=1 --simralign refine"),
)

DRIVER = """
import json, os, sys
from mlalign.programs import compilation
os.chdir(sys.argv[1])
for program, words in json.load(sys.stdin):
    compilation.example(program, words.split())
used = {f"{name}.{kernel.__name__}": sorted(map(str, kernel.signatures)) for name, module in list(sys.modules.items())
        if name.startswith("mlalign.programs.engine.") for kernel in vars(module).values()
        if getattr(kernel, "signatures", None) and kernel.py_func.__module__ == name}
json.dump(used, open("used.json", "w"))
"""


def kernels_of(commands, folder):
    """The kernels, and for which types of arguments, that a process needs for commands: a dict of lists."""
    done = subprocess.run([sys.executable, "-c", DRIVER, folder], input=json.dumps(commands), capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "used.json").read_text())


def test_no_run_needs_what_it_does_not_compile(tmp_path_factory):
    """Whether or not that is compiled already where this test runs."""
    compiled = kernels_of(compilation.SCENES + compilation.EXAMPLES, tmp_path_factory.mktemp("examples"))
    needed = kernels_of(SCENES + RUNS, tmp_path_factory.mktemp("runs"))
    assert len(needed) > 20
    assert {name: kinds for name, kinds in needed.items() if not set(kinds) <= set(compiled.get(name, ()))} == {}


def test_it_tells_what_it_does(monkeypatch, capsys):
    monkeypatch.setattr(compilation, "SCENES", ())
    monkeypatch.setattr(compilation, "EXAMPLES", (("simulate", "-n 3 --box 16 --views 1 -o some/"),))
    compilation.run(SimpleNamespace(jobs=1))
    first, second, last = capsys.readouterr().out.splitlines()
    assert first == "simulating particles" and second.startswith("simulate: ") and "0 kernels compiled" in second
    assert last.startswith("everything was compiled already, in ")


def test_the_command(capsys):
    with pytest.raises(SystemExit):
        compile.main(["--jobs", "0"])
    assert "--jobs" in capsys.readouterr().err


def test_examples_are_of_all_programs():
    assert {program for program, _ in compilation.EXAMPLES} == {"ml_align2d", "mlf_align2d", "ml_tomo", "mref_ali2d",
                                                                "refine2d"}


def test_an_example_that_fails_says_why(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(compilation.UserError, match=r"the example of mref_ali2d failed: .*nowhere\.star"):
        compilation.example("mref_ali2d", ["nowhere.star", "none.mrcs", "out"])
