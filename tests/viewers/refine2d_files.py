"""Makes the files that a run of refine2d leaves, from references and classes that are known."""
from pathlib import Path

import numpy as np

from mlalign.programs.formats.hdf import hdf_writer
from mlalign.programs.formats.star import read_star, write_star
from mlalign.programs.msa2d_results import Refine2dRun
from mlalign.programs.results import FINAL
from mlalign.tests.viewers.fabricate import PIXEL, particles, write_result

SHARE = (0.5, 0.3, 0.1)         # of the averages' variance along each eigenimage
LEFT_OUT = 5                    # images of the input that no class has, the last ones


def make_refine2d(folder, references, count=120, cycles=3, final=True):
    """A run under ``folder``: (Refine2dRun, columns of the classified particles)."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rows = particles(folder / "particles.mrcs", references, count)
    rows.update(maxCC=np.linspace(0.1, 0.9, count), used=np.arange(count) % 5 > 0)
    rows["used"] = rows["used"].astype(int)
    run = Refine2dRun(f"{folder}/")
    (folder / "0_refine2d_parms.json").write_text("{}")
    for cycle in range(1, cycles + 1):
        _write_tables(run, cycle, references, rows, cycles)
        _write_hdf(run, cycle, references, rows["ref"])
    if final:
        _write_tables(run, FINAL, references, rows, cycles)
    return run, rows


def coordinates(cycle, refs, count=LEFT_OUT):
    """(N, B) coordinates of the particles and of those left out: of class k around a point of its own."""
    rng = np.random.default_rng(cycle)
    corners = np.random.default_rng(7).normal(0, 1, (refs.max() + 1, len(SHARE)))
    near = corners[np.append(refs, np.zeros(count, int))]
    return (near + rng.normal(0, 0.05, near.shape)).astype(np.float32)


def _write_tables(run, result, references, rows, cycles):
    write_result(run, result, references, rows, last=cycles)
    path = run.classes_file(result)
    blocks = {name: dict(table.columns) for name, table in read_star(path).items()}
    of_class = [rows["ref"] == ref for ref in blocks["classes"]["ref"]]
    blocks["classes"].update(maxCC=[rows["maxCC"][some].mean() for some in of_class],
                             used=[rows["used"][some].sum() for some in of_class],
                             contrast=np.linspace(2, 1, len(of_class)))
    blocks["info"]["meanCC"] = [0.2 + 0.05 * blocks["info"]["iterationNumber"][0]]
    for label in ("logLikelihood", "pMax", "sigmaNoise", "sigmaOffset"):
        del blocks["info"][label]
    write_star(path, blocks)


def _write_hdf(run, cycle, references, refs):
    values = coordinates(cycle, refs)
    poses = np.zeros((len(values), 4), np.float32)
    classes = np.append(refs - 1, np.full(LEFT_OUT, -1))

    def write(name, images, attributes=()):
        with hdf_writer(f"{run.oroot}{name.replace('YY', f'{cycle:02d}')}", PIXEL) as out:
            for number, image in enumerate(images):
                out.append(image, attributes[number] if attributes else None)

    write("input_YY_proj.hdf", [np.hstack([poses, values])])
    write("classmx_YY.hdf", [column[:, None] for column in (classes, np.ones(len(classes)), *poses.T)])
    write("basis_YY.hdf", references[:len(SHARE) + 1],
          [{"eigval": 0.0}, *({"eigval": 10 * share, "explvarfrac": share} for share in SHARE)])
    for name in ("aliref_YY.hdf", "allrefs_YY.hdf", "classes_YY.hdf"):
        write(name, references)
