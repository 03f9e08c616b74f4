"""``mlalign demo``: from simulated particles to class averages, inside a real Scipion project."""
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from mlalign.environment import set_scipion_environment
from mlalign.headless import execute, open_project
from mlalign.programs import options
from mlalign.programs.command import run_program
from mlalign.programs.options import number

DESCRIPTION = """\
See mlalign at work: simulate particles, import them into a Scipion project, classify them with the protocol
ML2D, and draw the class averages beside the truth.  The data and the picture go to FOLDER; the project lives
with Scipion's others, in $SCIPION_USER_DATA (~/ScipionUserData when it is not set).
"""

PIXEL, BOX, SNR = 3.0, 64, 0.05


def main(argv=None):
    parser = options.Parser("mlalign demo", DESCRIPTION)
    parser.add_argument("folder", metavar="FOLDER", nargs="?", default="demo",
                        help="where data and picture go")
    parser.add_argument("--project", metavar="NAME", default="mlalign_demo",
                        help="Scipion project; when it exists the runs are added to it")
    parser.add_argument("-n", dest="count", type=number(int, 20), metavar="N", default=2000,
                        help="number of particles")
    parser.add_argument("--views", type=number(int, 2, 20), metavar="K", default=5,
                        help="number of different views")
    parser.add_argument("--thr", type=number(int, 1), metavar="N", default=min(os.cpu_count() or 1, 8),
                        help="threads")
    parser.add_argument("--no_view", action="store_true", help="do not open the class gallery")
    arguments = parser.parse_args(argv)
    run_program("mlalign demo", lambda: demo(arguments))


def demo(arguments):
    start, folder = Path.cwd(), Path(arguments.folder).resolve()
    print(f"1. Simulating {arguments.count} particles of {arguments.views} views, "
          f"{SNR:g} times as much signal as noise ...", flush=True)
    simulate(folder, arguments)
    print(f"2. Importing them into the Scipion project {arguments.project} ...", flush=True)
    set_scipion_environment()
    project = open_project(arguments.project)
    particles = import_particles(project, folder)
    print("3. Classifying them with the protocol ML2D ...", flush=True)
    protocol = classify(project, particles, arguments)
    classes = project.path + "/" + protocol.getRun().prefix() + "classes.xmd"
    picture = folder / "class_averages.png"
    print("4. Comparing with the truth ...", flush=True)
    print(f"   {compare(folder, Path(classes), picture)}")
    report(arguments.project, project.path, classes, picture, start)
    if not arguments.no_view and (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        subprocess.run([sys.executable, "-m", "mlalign.cli", "view", classes])


def simulate(folder, arguments):
    from mlalign.programs.simulate import parser
    from mlalign.programs.simulation import run
    run(parser().parse_args(["-n", str(arguments.count), "--views", str(arguments.views), "--box", str(BOX),
                             "--pixel_size", str(PIXEL), "--snr", str(SNR), "--mirror", "-o", f"{folder}/"]))


# ---- in Scipion; pyworkflow reads the environment when it is imported, hence not above

def import_particles(project, folder):
    from pwem.protocols import ProtImportParticles
    protocol = project.newProtocol(
        ProtImportParticles, objLabel="simulated particles",
        importFrom=ProtImportParticles.IMPORT_FROM_RELION, starFile=str(folder / "particles.star"),
        samplingRate=PIXEL, voltage=300, sphericalAberration=2.7, amplitudeContrast=0.1)
    return execute(project, protocol)


def classify(project, particles, arguments):
    from mlalign.protocols import MlalignProtML2D
    protocol = project.newProtocol(MlalignProtML2D, numberOfClasses=arguments.views, randomSeed=1)
    protocol.inputParticles.set(particles)
    protocol.inputParticles.setExtended("outputParticles")
    protocol.numberOfThreads.set(arguments.thr)
    return execute(project, protocol)


# ---- what came out

def compare(folder, classes, picture):
    """Draw the averages of the run with this classes.xmd beside the truth; a line on their agreement."""
    from mlalign.programs.formats.metadata import read_metadata
    from mlalign.programs.formats.mrc import open_mrc
    from mlalign.programs.scoring import class_motions, score
    images = read_metadata(str(classes).replace("classes.xmd", "images.xmd"))
    truth = read_metadata(folder / "truth.xmd")
    truth = truth.take(np.searchsorted(truth["itemId"], images["itemId"]))
    particles, references, averages = (open_mrc(file) for file in (
        folder / "particles.mrcs", folder / "references.mrcs", classes.with_suffix(".mrcs")))
    columns = []
    for found, (true, motion) in sorted(class_motions(truth, images).items(), key=lambda item: item[1][0]):
        members = np.flatnonzero(images["ref"] == found)
        columns.append((
            particles.read([truth["itemId"][members[0]] - 1])[0],
            as_reference(averages.read([found - 1])[0], motion),
            references.read([true - 1])[0],
            f"{len(members)} particles"))
    result = score(truth, images)
    line = (f"{100 * result['accuracy']:.1f} % of the particles in the right class, "
            f"half of them aligned within {result['angle']:.1f} degrees and {result['shift']:.2f} px")
    draw(columns, line, picture)
    return line


def as_reference(average, motion):
    """A class average (n, n), turned, shifted and mirrored to stand as its true reference does."""
    from mlalign.programs.geometry import pose_parameters
    from mlalign.programs.phantoms import Placer
    return Placer(average[None])(0, *pose_parameters(motion))


def draw(columns, title, path):
    """A picture with a column for each class: a list of (particle, average, reference, words)."""
    from matplotlib.figure import Figure
    figure = Figure((1.5 * max(len(columns), 4) + 1, 5.2), layout="constrained")
    figure.suptitle(title, fontsize=9)
    axes = figure.subplots(3, len(columns), squeeze=False)
    for row, label in zip(axes, ("a particle", "class average", "truth")):
        row[0].set_ylabel(label, fontsize=9)
    for column, (*images, words) in zip(axes.T, columns):
        column[0].set_title(words, fontsize=9)
        for each, image in zip(column, images):
            each.imshow(image, cmap="gray", interpolation="bicubic")
            each.set(xticks=[], yticks=[])
    figure.savefig(path, dpi=150)


def report(name, path, classes, picture, start):
    command = os.path.relpath(Path(sys.executable).with_name("mlalign"), start)
    print(f"""
Done.
  picture   {picture}
  classes   {classes}
  project   {path}

Type next
  {command} view {classes}
  {command} project {name}
In the project's window, select ML2D and press "Analyze Results".""")


if __name__ == "__main__":
    main()
