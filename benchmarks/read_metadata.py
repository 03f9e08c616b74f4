"""Time and peak memory of reading the metadata of many particles.

    python benchmarks/read_metadata.py [--rows 1000000] [--stacks 1000] [--reader mlalign|emtable]

Writes a RELION 3.1 file (optics table, 19 columns) and its stacks of tiny images to a temporary folder first,
in a process of its own, so that the figures are those of reading alone.
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


READERS = {"mlalign": read_mlalign, "emtable": read_emtable}


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
        start = time.perf_counter()
        kept = READERS[options.reader](path)
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{path.stat().st_size / 1e6:.0f} MB read in {seconds:.1f} s, peak memory {peak:.0f} MB")
        del kept


if __name__ == "__main__":
    main()
