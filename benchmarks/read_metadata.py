"""Time and peak memory of reading the metadata of many particles, and of writing an iteration's tables of them.

    python benchmarks/read_metadata.py [--rows 1000000] [--stacks 1000] [--reader mlalign|emtable]

Writes a RELION 3.1 file (optics table, 19 columns) and its stacks of tiny images to a temporary folder first,
in a process of its own, so that the figures are those of reading alone.  Then the tables that ml_align2d writes in an
iteration: all particles with their poses, and the members of 100 classes.  Seconds are wall and CPU seconds.
"""
import argparse
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

COLUMNS = {
    **dict.fromkeys(["rlnCoordinateX", "rlnCoordinateY", "rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle",
                     "rlnPhaseShift", "rlnAnglePsi", "rlnOriginXAngst", "rlnOriginYAngst",
                     "rlnCtfMaxResolution", "rlnCtfFigureOfMerit", "rlnAutopickFigureOfMerit",
                     "rlnNormCorrection"], "{:.6f}"),
    "rlnLogLikeliContribution": "{:.6e}",
    "rlnClassNumber": "{:.0f}",
    "rlnNrOfSignificantSamples": "{:.0f}",
    "rlnOpticsGroup": "1",
}
OPTICS = """
data_optics

loop_
_rlnOpticsGroupName #1
_rlnOpticsGroup #2
_rlnVoltage #3
_rlnSphericalAberration #4
_rlnAmplitudeContrast #5
_rlnImagePixelSize #6
opticsGroup1 1 300.0 2.7 0.1 1.06

data_particles

loop_
"""


def write_input(folder, rows, stacks):
    from mlalign.programs.formats.mrc import write_stack
    per_stack = -(-rows // stacks)
    values = np.random.default_rng(0).uniform(0, 100, (per_stack, len(COLUMNS)))
    # numbers repeat from stack to stack: reading does not notice, and writing is quick
    texts = [" ".join(form.format(value) for form, value in zip(COLUMNS.values(), row)) for row in values]
    (folder / "Extract/job012/movies").mkdir(parents=True)
    for stack in range(stacks):
        write_stack(folder / f"Extract/job012/movies/mic_{stack:05d}.mrcs", np.zeros((per_stack, 2, 2)), 1.06)
    with open(folder / "particles.star", "w") as file:
        file.write(OPTICS)
        labels = [*COLUMNS, "rlnImageName", "rlnMicrographName"]
        file.writelines(f"_{label} #{i}\n" for i, label in enumerate(labels, 1))
        for row in range(rows):
            stack, image = divmod(row, per_stack)
            file.write(f"{texts[image]} {image + 1:06d}@Extract/job012/movies/mic_{stack:05d}.mrcs "
                       f"MotionCorr/job002/movies/mic_{stack:05d}.mrc\n")


def read_mlalign(path):
    from mlalign.programs.formats.images import open_images
    source = open_images(path)
    print(f"{source.count} images of {source.size} px, {len(source.metadata.columns)} columns")
    return source


def read_emtable(path):
    from emtable import Table
    table = Table(fileName=str(path), tableName="particles")
    print(f"{len(table)} rows")
    return table


def write_iteration(folder, columns, classes=100):
    """Write the tables of an iteration; their size in MB."""
    from mlalign.programs.formats.star import Rows, write_star
    rng, count = np.random.default_rng(0), len(columns["image"])
    found = {label: rng.random(count).astype(np.float32) for label in
             ("anglePsi", "shiftX", "shiftY", "pMax", "classProbability")}
    ref = rng.integers(1, classes + 1, count)
    rows = Rows.of({**columns, "ref": ref, **found, "flip": ref % 2, "logLikelihood": rng.normal(-2000, 9, count)})
    write_star(folder / "images.xmd", {"particles": rows})
    write_star(folder / "classes.xmd", ((f"class{k:06d}_images", rows.take(np.flatnonzero(ref == k)))
                                        for k in range(1, classes + 1)))
    return sum(path.stat().st_size for path in folder.glob("*.xmd")) / 1e6


READERS = {"mlalign": read_mlalign, "emtable": read_emtable}


def report(what, start):
    wall, cpu = time.perf_counter() - start[0], time.process_time() - start[1]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{what} in {wall:.1f} s ({cpu:.1f} s of CPU), peak memory {peak:.0f} MB", flush=True)


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--stacks", type=int, default=1000)
    options.add_argument("--reader", choices=READERS, default="mlalign")
    options = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        writer = multiprocessing.Process(target=write_input, args=(folder, options.rows, options.stacks))
        writer.start()
        writer.join()
        path = folder / "particles.star"
        start = time.perf_counter(), time.process_time()
        kept = READERS[options.reader](path)
        report(f"{path.stat().st_size / 1e6:.0f} MB read", start)
        if options.reader == "mlalign":
            start = time.perf_counter(), time.process_time()
            report(f"{write_iteration(folder, kept.metadata.columns):.0f} MB written", start)


if __name__ == "__main__":
    main()
