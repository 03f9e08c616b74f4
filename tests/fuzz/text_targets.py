"""Texts: metadata of all kinds, lists, docfiles, missing regions, tables; and what their rows point to."""
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from mlalign.programs import conversion
from mlalign.programs.convert import KINDS
from mlalign.programs.errors import UserError
from mlalign.programs.formats.docfile import (
    merged,
    read_docfile,
    read_orientations,
    read_selfile,
    text_kind,
    write_docfile,
)
from mlalign.programs.formats.images import open_images
from mlalign.programs.formats.mrc import write_stack, write_volume_stack
from mlalign.programs.formats.star import read_star, write_star
from mlalign.programs.formats.volumes import open_volumes
from mlalign.programs.missing_regions import read_regions, write_regions
from mlalign.programs.ml2d_input import given_fractions
from mlalign.programs.msa2d_input import _used as excluded
from mlalign.programs.noise_groups import noise_groups, optics_groups
from mlalign.programs.particle_ctf import read_ctf
from mlalign.programs.results import parse_iterations
from mlalign.tests.fuzz.base import TextTarget
from mlalign.tests.fuzz.harness import WrongAcceptance

XMIPP = """# XMIPP_STAR_1 *
data_particles
loop_
 _itemId
 _image
 _enabled
 _ref
 _anglePsi
 _shiftX
 _shiftY
 _flip
 _samplingRate
 _ctfVoltage
 _ctfDefocusU
 _ctfDefocusV
 _ctfDefocusAngle
 _ctfSphericalAberration
 _ctfQ0
{}
data_info
_iterationNumber 7
_logLikelihood -1234.5
_comment "two words"   # said
"""
XMIPP_ROWS = "\n".join(f"{i} {image} 1 {i} {i}.5 -0.25 1.5 {i % 2} 2.5 300 12000 11900.5 45 2.7 0.1" for i, image in
                       enumerate(("000001@a.mrcs", "4@a.mrcs", "'2@c d.mrcs'", "one.mrc", "000002@b.mrc:mrcs"), 1))
RELION = """
# version 30001

data_optics

loop_
_rlnOpticsGroupName #1
_rlnOpticsGroup #2
_rlnVoltage #3
_rlnSphericalAberration #4
_rlnAmplitudeContrast #5
_rlnImagePixelSize #6
opticsGroup1 1 300.0 2.7 0.1 1.06
opticsGroup2 2 300.0 2.7 0.1 1.06

data_particles

loop_
_rlnImageName #1
_rlnDefocusU #2
_rlnDefocusV #3
_rlnDefocusAngle #4
_rlnAnglePsi #5
_rlnOriginXAngst #6
_rlnOriginYAngst #7
_rlnOpticsGroup #8
_rlnMicrographName #9
000001@a.mrcs 10000 9900 30 -45.0 1.5 0.25 1 "mic 1.mrc"
000002@a.mrcs 12000 11900 30 10.0 -1.5 0.25 2 mic_2.mrc
000003@b.mrc:mrcs 14000 13900 -30 0 0 0 2 mic_2.mrc
"""
OLD_RELION = """data_

loop_
_rlnImageName
_rlnMagnification
_rlnDetectorPixelSize
_rlnOriginX
_rlnAnglePsi
1@a.mrcs 10000 1.06 2 33
2@a.mrcs 10000 1.06 -2 33
"""
TOMO = """data_particles
loop_
_image
_missingRegionNumber
_angleRot
_angleTilt
_anglePsi
_shiftX
_shiftY
_shiftZ
_ref
_weight
1@v.mrc 1 10 20 30 1 2 3 1 0.5
2@v.mrc 2 -10 120 30 0 0 0 2 1
v1.mrc 1 0 0 0 0.5 0 0 1 1
"""
DOCFILE = """ ; Headerinfo columns: rot (1), tilt (2), psi (3), Xoff (4), Yoff (5), Zoff (6), Ref (7), Wedge (8)
 ; 1@v.mrc
    1 8 10 20 30 1 2 3 1 1
 ; 2@v.mrc
    2 8 -10 120 30 0 0 0 2 2
 ; v1.mrc
    3 8 0 0 0 0.5 0 0 1 1
"""
SELFILE = "1@v.mrc 1\n2@v.mrc -1\nv1.mrc 1\n"
REGIONS = """data_noname
loop_
_missingRegionNumber
_missingRegionType
_missingRegionThetaY0
_missingRegionThetaYF
_missingRegionThetaX0
_missingRegionThetaXF
_missingRegionWeight
1 wedge_y -60 60 0 0 none
2 wedge_x 0 0 -50.5 45 none
3 pyramid -60 60 -40 40 none
4 cone 40 0 0 0 none
5 weight 0 0 0 0 w.mrc
"""
REGION_DOC = """ ; Wedgeinfo
 ; wedge_y
    1 2 -60 60
 ; pyramid
    3 4 -60 60 -40 40
    4 1 40 ; cone
"""
TABLE = "image,phi,psi,theta,x,y,z,class\n1@v.mrc,10,20,30,1,2,3,1\n2@v.mrc,-10,0,90,0,0.5,0,2\n"


def encoded(*texts):
    return [text.encode() for text in texts]


class Star(TextTarget):
    """Any table is read as it is written: what was read and written again is the same."""

    name, suffix = "STAR", ".star"

    def good(self):
        return encoded(XMIPP.format(XMIPP_ROWS), RELION, OLD_RELION, TOMO, REGIONS,
                       "data_a\nloop_\n_x\n_y\n1 2\n3 4.5\n5 'it''s'\ndata_b\n_k \"v v\"\n_n -3\ndata_c\nloop_\n_z\n")

    def read(self, path):
        tables = read_star(path)
        for table in tables.values():
            if len({len(column) for column in table.columns.values()}) > 1:
                raise WrongAcceptance("columns of different lengths")
        again = self.folder / "again.star"
        write_star(again, tables)       # which may refuse words that have both kinds of quotes
        same(tables, read_star(again))


def same(tables, others):
    """:class:`WrongAcceptance` unless two dictionaries of tables hold the same."""
    if list(tables) != list(others):
        raise WrongAcceptance(f"blocks {list(others)} instead of {list(tables)}")
    for name, table in tables.items():
        if list(table.columns) != list(others[name].columns):
            raise WrongAcceptance(f"columns {list(others[name].columns)} instead of {list(table.columns)}")
        for label, column in table.columns.items():
            other = others[name][label]
            # what is empty, or whole, has no type of its own in a text
            equal = np.array_equal(column.astype(other.dtype), other, equal_nan=other.dtype.kind == "f")
            if len(column) and not (equal and (column.dtype.kind == "O") == (other.dtype.kind == "O")):
                raise WrongAcceptance(f"{label}: {other!r} instead of {column!r}")


class Particles(TextTarget):
    """Metadata of 2-D images: every row is the image that it names."""

    name, suffix = "particles (Xmipp, RELION)", ".star"
    odd = 1                 # has no CTFs
    stacks = {"a.mrcs": 4, "b.mrc": 3, "c d.mrcs": 2, "one.mrc": 1}

    def __init__(self, folder):
        super().__init__(folder)
        for number, (name, count) in enumerate(self.stacks.items()):
            images = np.zeros((count, 8, 8), np.float32)
            images[:, 0, 0] = 100 * number + np.arange(1, count + 1)
            write_stack(folder / name, images, 2.5)

    def good(self):
        return encoded(XMIPP.format(XMIPP_ROWS), RELION, OLD_RELION)

    def read(self, path):
        source = open_images(path)
        images = source.read(slice(None))
        for image, location in zip(images, source.metadata["image"]):
            number, _, name = location.rpartition("@")
            stack = list(self.stacks).index(re.sub(r":\w+$", "", Path(name).name))
            if image[0, 0] != 100 * stack + int(number or 1):
                raise WrongAcceptance(f"{location} is read as {image[0, 0]}")
        if source.pixel_size is not None and not 0 < source.pixel_size < np.inf:
            raise WrongAcceptance(f"pixels of {source.pixel_size} Å")
        for label in ("itemId", "ref", "anglePsi", "shiftX", "shiftY"):
            if label in source.metadata:
                source.metadata.numbers(label)
        ctf = read_ctf(source)
        groups = noise_groups(ctf, optics_groups(source), "auto", 2)
        if groups.count.sum() != source.count or not np.isfinite(ctf(np.array([0.0, 0.1]), np.zeros(2))).all():
            raise WrongAcceptance("images without a group, or a CTF that is no number")


class Subtomograms(TextTarget):
    """Metadata of volumes of any kind, by themselves and as poses of others."""

    name, suffix = "subtomograms (STAR, Xmipp 2, docfiles)", ".doc"

    def __init__(self, folder):
        super().__init__(folder)
        volumes = np.random.default_rng(0).standard_normal((2, 4, 4, 4))
        write_volume_stack(folder / "v.mrc", volumes, 10)
        write_volume_stack(folder / "v1.mrc", volumes[:1], 10)
        (folder / "good.xmd").write_text(TOMO)
        self.good_source = open_volumes(folder / "good.xmd")

    def good(self):
        relion = RELION.replace("a.mrcs", "v.mrc").replace("000003@b.mrc:mrcs", "v1.mrc")
        return encoded(TOMO, DOCFILE, SELFILE, relion.replace("_rlnAnglePsi", "_rlnAngleTilt"))

    def read(self, path):
        source = open_volumes(path)
        if source.read(slice(None)).shape != (source.count, 4, 4, 4):
            raise WrongAcceptance("volumes of another shape")
        if text_kind(path) != "selfile":
            merged(self.good_source.metadata, read_orientations(path))


class Docfile(TextTarget):
    """Docfiles and selections by themselves; written again they are the same."""

    name, suffix = "docfiles, selections", ".doc"

    def good(self):
        return encoded(DOCFILE, SELFILE)

    def read(self, path):
        if text_kind(path) == "selfile":
            read_selfile(path)
            return
        table = read_docfile(path)
        again = str(self.folder / "again.doc")
        write_docfile(again, table["image"], table.columns)
        other = read_docfile(again)
        for label, column in table.columns.items():
            if label not in ("weight", "flip") and not (column == other[label]).all() and column.dtype.kind in "iO":
                raise WrongAcceptance(f"{label}: {other[label]} instead of {column}")


class List(Particles):
    name, suffix = "EMAN lists", ".lst"

    def good(self):
        return encoded("#LSX\n# comment\n# 20\n0\ta.mrcs\n3\ta.mrcs\n1\tc d.mrcs\n0\tone.mrc\n",
                       "0 a.mrcs\n2 b.mrc c\n")

    def read(self, path):
        try:
            super().read(path)
        except UserError as error:
            if "the CTF is incomplete" not in str(error):
                raise


class Regions(TextTarget):
    """Missing regions: what they observe lies between 0 and 1, and they come back as they were written."""

    name, suffix = "missing regions", ".xmd"

    def __init__(self, folder):
        super().__init__(folder)
        write_volume_stack(folder / "w.mrc", np.random.default_rng(0).uniform(size=(1, 4, 4, 4)), 1)
        self.frequencies = np.random.default_rng(1).uniform(-3, 3, (3, 50))

    def good(self):
        return encoded(REGIONS, REGION_DOC)

    def read(self, path):
        regions = read_regions(path)
        for region in regions.values():
            seen = region.observed(*self.frequencies)
            if not (np.isfinite(seen).all() and seen.min() >= 0 and seen.max() <= 1 and 0 <= region.coverage <= 1.001):
                raise WrongAcceptance(f"{region} observes {seen.min()} to {seen.max()}, {region.coverage}")
        write_regions(self.folder / "again.xmd", regions)
        again = read_regions(self.folder / "again.xmd")
        if [(one.number, one.kind) for one in again.values()] != [(one.number, one.kind) for one in regions.values()]:
            raise WrongAcceptance(f"{again} instead of {regions}")


class Conversion(TextTarget):
    """What ``mlalign convert`` writes of whatever it accepts can be read."""

    name, suffix = "convert", ".csv"
    outputs = tuple((kind, f"out{suffix}") for kind, suffix in KINDS.items())

    def __init__(self, folder):
        super().__init__(folder)
        write_volume_stack(folder / "v.mrc", np.ones((2, 4, 4, 4)), 10)
        write_volume_stack(folder / "v1.mrc", np.ones((1, 4, 4, 4)), 10)

    def good(self):
        return encoded(TABLE, TABLE, TOMO, DOCFILE, SELFILE)

    def read(self, path):
        kind, name = self.outputs[Path(path).stat().st_size % len(self.outputs)]
        output = str(self.folder / name)
        options = SimpleNamespace(input=path, output=output, to=kind, reference_onto_particle=False, voxel_size=None)
        conversion.run(options)
        reading = SimpleNamespace(**{**vars(options), "input": output, "output": str(self.folder / "back.xmd"),
                                     "to": "xmipp"})
        conversion.run(reading)


class Words(TextTarget):
    """Small texts: class fractions, excluded particles, lists of numbers."""

    name, suffix = "fractions, exclusions, lists of numbers", ".txt"
    odd = 4                 # each is for one of the readers

    def good(self):
        return encoded("0.5 0.25\n0.25", "data_x\nloop_\n_ref\n_weight\n1 3\n2 1\n3 0\n", "0, 3 5\n7\n", "1,4,7-9",
                       "2 - 5")

    def read(self, path):
        if not np.isclose(accepted(given_fractions, path, 3, default=[1]).__array__().sum(), 1):
            raise WrongAcceptance("fractions whose sum is not 1")
        used = accepted(excluded, path, 9, "x", default=np.arange(9))
        if not set(used) <= set(range(9)):
            raise WrongAcceptance(f"particles {used}")
        parse_iterations(Path(path).read_text(errors="surrogateescape"))


def accepted(read, *arguments, default):
    try:
        return read(*arguments)
    except UserError:
        return np.asarray(default)


TARGETS = Star, Particles, Subtomograms, Docfile, List, Regions, Conversion, Words
