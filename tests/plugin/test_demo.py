"""The demo: its comparison with the truth, and all of it on few particles."""
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from mlalign.demo import as_reference, compare
from mlalign.programs.formats.metadata import read_metadata
from mlalign.programs.formats.mrc import open_mrc, write_stack
from mlalign.programs.formats.star import MetaData, write_star
from mlalign.programs.geometry import pose_matrix, pose_parameters
from mlalign.programs.phantoms import Placer
from mlalign.programs.simulate import main as simulate

POSE = "anglePsi", "shiftX", "shiftY", "flip"
FRAMES = {1: (40.0, 2.0, -1.0, 1), 2: (200.0, 0.0, 3.0, 0), 3: (5.0, -2.0, 0.0, 1)}       # of the averages


@pytest.fixture
def perfect(tmp_path):
    """Simulated particles in ``tmp_path``, and a run that found every class, each in a frame of its own."""
    simulate(["--views", "3", "-n", "60", "--box", "32", "--mirror", "-o", f"{tmp_path}/"])
    references = open_mrc(tmp_path / "references.mrcs").read(slice(None))
    frames = {ref: pose_matrix(*frame) for ref, frame in FRAMES.items()}
    place = Placer(references)
    write_stack(tmp_path / "ml2d_classes.mrcs", np.stack(
        [place(ref - 1, *pose_parameters(np.linalg.inv(frame))) for ref, frame in frames.items()]))
    truth = read_metadata(tmp_path / "truth.xmd")
    moved = np.stack([frames[ref] for ref in truth["ref"]]) @ pose_matrix(*(truth[label] for label in POSE))
    columns = {**truth.columns, **dict(zip(POSE, pose_parameters(moved)))}
    shuffled = MetaData(columns).take(np.random.default_rng(0).permutation(60))
    write_star(tmp_path / "ml2d_images.xmd", {"particles": shuffled})
    return tmp_path


def test_an_average_is_shown_as_its_reference_stands(perfect):
    references = open_mrc(perfect / "references.mrcs").read(slice(None))
    averages = open_mrc(perfect / "ml2d_classes.mrcs").read(slice(None))
    for ref, frame in FRAMES.items():
        turned = as_reference(averages[ref - 1], pose_matrix(*frame))
        assert np.corrcoef(turned.ravel(), references[ref - 1].ravel())[0, 1] > 0.99
        assert np.corrcoef(averages[ref - 1].ravel(), references[ref - 1].ravel())[0, 1] < 0.9


def test_a_perfect_run_agrees_with_the_truth(perfect):
    picture = perfect / "picture.png"
    line = compare(perfect, perfect / "ml2d_classes.xmd", picture)
    assert line.startswith("100.0 % of the particles in the right class")
    assert line.endswith("0.0 degrees and 0.00 px")
    image = imread(picture)[:, :, :3].mean(2)
    rows = np.split(image[len(image) % 3:], 3)
    assert np.ptp(image) == 1 and all(row.std() > 0.1 for row in rows)


def test_the_demo_from_end_to_end(tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SCIPION_")}
    environment.update(SCIPION_HOME=str(tmp_path / "scipion"), SCIPION_USER_DATA=str(tmp_path / "data"))
    command = "demo shown -n 40 --views 2 --thr 1 --project tiny --no_view"
    done = subprocess.run([sys.executable, "-m", "mlalign.cli", *command.split()], cwd=tmp_path,
                          env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "shown" / "class_averages.png").exists()
    line = next(line for line in done.stdout.splitlines() if line.startswith("  classes "))
    classes = Path(line.split(None, 1)[1])
    assert classes.is_relative_to(tmp_path / "data" / "projects" / "tiny") and classes.exists()
    assert list((classes.parents[1]).glob("classes2D.sqlite"))
