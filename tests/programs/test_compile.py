"""``mlalign compile``: after it no run compiles anything, whatever its data and options."""
import json
import subprocess
import sys

import pytest

from mlalign.programs import compilation

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
runs = json.load(sys.stdin)
print(json.dumps([[program, compilation.example(program, words.split())[0]] for program, words in runs]))
"""


@pytest.fixture(scope="module")
def compiled():
    """What ``mlalign compile`` says."""
    command = [sys.executable, "-m", "mlalign.cli", "compile", "--jobs", "2"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_runs_after_it_compile_nothing(compiled, tmp_path):
    done = subprocess.run([sys.executable, "-c", DRIVER, tmp_path], input=json.dumps(SCENES + RUNS),
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [[program, kernels] for program, kernels in json.loads(done.stdout) if kernels] == []


def test_it_tells_what_it_does(compiled):
    lines = compiled.splitlines()
    assert [line.split(":")[0] for line in lines[1:-1]].count("refine2d") == 2
    assert "compiled" in lines[-1]


def test_examples_are_of_all_programs():
    assert {program for program, _ in compilation.EXAMPLES} == {"ml_align2d", "mlf_align2d", "ml_tomo", "mref_ali2d",
                                                                "refine2d"}


def test_an_example_that_fails_says_why(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(compilation.UserError, match=r"the example of mref_ali2d failed: .*nowhere\.star"):
        compilation.example("mref_ali2d", ["nowhere.star", "none.mrcs", "out"])
