"""HDF5: files with damaged bytes, and sound ones laid out as no EMAN would."""
import random
from contextlib import suppress

import h5py
import numpy as np

from mlalign.programs import eman_files
from mlalign.programs.errors import UserError
from mlalign.programs.formats.hdf import HdfStack, hdf_writer
from mlalign.programs.formats.images import open_images
from mlalign.programs.mref_input import header_attributes, read_ctfs
from mlalign.tests.fuzz.base import Target
from mlalign.tests.fuzz.harness import WrongAcceptance
from mlalign.tests.fuzz.mutation import REAL, WHOLE, WIDE

MOST = 1 << 24          # pixels of a stack that are looked at whole
CTF = "E1.5 0 0 100 10 300 2.7 1.2 0 0"
PATHS = "MDF/images", "MDF/images", "MDF/images", "MDF/images", "MDF", "images"
NAMES, ODD_NAMES = ("0", "0", "1", "2"), ("5", "²", "٣", "-1", "1e3", "x", "00", "999999999", "4000000000", "9" * 30,
                                          "9" * 5000)
TYPES = "f4", "f8", "f2", ">f4", "i1", "u1", ">i2", "u4", "i8", "u8", "c8", "S5", "?", "c16"
SHAPES = (4, 4), (4, 4), (4, 4), (1, 4), (4,), (), (0, 4), (0,), (2, 4, 4), (4, 4, 4, 4), (300, 1)
CLAIMS = (10**6, 10**6), (2**31, 2), (10**12, 1), (70000, 70000)
ATTRIBUTES = ("apix_x", "stored_renderbits", "stored_rendermin", "stored_rendermax", "ctf", "ptcl_repr", "eigval",
              "class_ptcl_idxs", "class_ptcl_qual", "xform.align2d", "class_ptcl_src")


def read(path):
    """Read all that there is, as the programs do."""
    stack = HdfStack(path)
    if np.prod(stack.shape, dtype=float) > MOST:
        stack.read([number - 1 for number in stack.numbers[:3]])
        return
    stack.read(slice(None))
    for index in range(stack.shape[0]):
        stack.attributes(index)
    source = open_images(path)
    attributes = header_attributes(source)
    if attributes and "ctf" in attributes[0]:
        size, ctf, factor, _ = read_ctfs(source, attributes)
        if not (np.isfinite([size, *factor]).all() and np.isfinite(ctf(np.array([0.0, 0.1]), np.zeros(2))).all()):
            raise WrongAcceptance("a CTF that is no number")


class Bytes(Target):
    name, suffix = "HDF5, damaged bytes", ".hdf"

    def good(self):
        _eman_stack(self.folder / "a.hdf")
        with h5py.File(self.folder / "b.hdf", "w") as file:
            for number in range(2):
                group, pixels = file.create_group(f"MDF/images/{number}"), np.arange(64, dtype="u1").reshape(8, 8)
                group.create_dataset("image", data=pixels, chunks=(8, 8), compression="gzip")
                for name, value in (("bits", 8), ("min", -1.0), ("max", 2.0)):
                    group.attrs[f"EMAN.stored_render{name}"] = np.array([value], np.float32)
        return [(self.folder / name).read_bytes() for name in ("a.hdf", "b.hdf")]

    def read(self, path):
        read(path)


def _eman_stack(path):
    header = {"ctf": CTF, "ptcl_repr": 3, "class_ptcl_idxs": [1, 2, 3], "xform.align2d": np.eye(3, 4), "flag": True}
    with hdf_writer(path, 1.5) as out:
        for number in range(3):
            out.append(np.full((8, 8), number), header)


class Layout(Target):
    """Loops, links elsewhere, other files' bytes, types, shapes, claims.  A case is the seed of a file."""

    name, suffix = "HDF5, hostile layout", ".hdf"

    def good(self):
        _eman_stack(self.folder / "other.hdf")
        return []

    def make(self, rng):
        return str(rng.getrandbits(64)).encode()

    def feed(self, data):
        rng = random.Random(data)
        with h5py.File(self.path, "w") as file:
            images = file.create_group(rng.choice(PATHS))
            for _ in range(rng.choice((1, 1, 2, 3))):
                name = rng.choice(NAMES if rng.random() < 0.7 else ODD_NAMES)
                if name not in images:
                    _add_image(rng, file, images, name)
        if rng.random() < 0.1:
            self.path.write_bytes(self.path.read_bytes()[:-rng.randrange(1, 500)])
        self.read(str(self.path))

    def read(self, path):
        for reader in (eman_files.read_classmx, eman_files.read_simmx, eman_files.read_basis, eman_files.read_averages,
                       eman_files.read_projections):
            with suppress(UserError):           # they expect different numbers of images
                reader(path)
        read(path)


def _add_image(rng, file, images, name):
    what = rng.randrange(16)
    if what == 0:
        images[name] = h5py.SoftLink(rng.choice(("/MDF/images", f"/MDF/images/{name}", "/nowhere", "/", "..")))
    elif what == 1:
        files = "/dev/zero", "/etc/passwd", "nowhere.hdf", "other.hdf", "case.hdf"
        images[name] = h5py.ExternalLink(rng.choice(files), rng.choice(("/", "/MDF/images/0")))
    elif what == 2:
        images[name] = file["/"]                                    # a loop
    elif what == 3:
        images[name] = np.zeros(3)                                  # no group
    else:
        group = images.create_group(name)
        rng.choice(PIXELS)(rng, group)
        for _ in range(rng.randrange(3)):
            _add_attribute(rng, group)


# ---- what a group may hold by the name of its pixels

def _as_they_should_be(rng, group):
    group["image"] = np.ones((4, 4), rng.choice(("f4", "u1")))


def _of_any_type(rng, group):
    data = np.resize(np.array([rng.choice(REAL) for _ in range(7)]), rng.choice(SHAPES))
    kind = np.dtype(rng.choice(TYPES))
    if kind.kind not in "fcS":
        data = np.nan_to_num(data).clip(0, 100)
    with np.errstate(all="ignore"):
        group["image"] = data.astype(kind)


def _nothing(rng, group):
    pass


def _soft_link(rng, group):
    group["image"] = h5py.SoftLink(rng.choice(("image", "/MDF/images", "/", "/nowhere")))


def _external_link(rng, group):
    group["image"] = h5py.ExternalLink(rng.choice(("/dev/zero", "/etc/passwd", "other.hdf")), "/MDF/images/0/image")


def _group(rng, group):
    group.create_group("image")


def _claim(rng, group):
    """More pixels than there is memory for, without a byte in the file."""
    group.create_dataset("image", rng.choice(CLAIMS), "f4", chunks=rng.choice((None, (1000, 1))))


def _lists(rng, group):
    group.create_dataset("image", (4, 4), h5py.vlen_dtype(np.int32))


def _words(rng, group):
    group.create_dataset("image", data=np.array([["a", "b"]], object), dtype=h5py.string_dtype())


def _records(rng, group):
    group.create_dataset("image", (4, 4), np.dtype([("a", "f4"), ("b", "i4")]))


def _bytes_of_another_file(rng, group):
    group.create_dataset("image", (4, 4), "f4", external=[("/etc/passwd", 0, 64)])


def _pixels_of_another_file(rng, group):
    layout = h5py.VirtualLayout((8, 8), "f4")
    layout[:] = h5py.VirtualSource("other.hdf", "MDF/images/0/image", (8, 8))
    group.create_virtual_dataset("image", layout)


def _emptiness(rng, group):
    group["image"] = h5py.Empty("f4")


PIXELS = (*[_as_they_should_be] * 12, *[_of_any_type] * 5, _nothing, _soft_link, _external_link, _group, _claim, _lists,
          _words, _records, _bytes_of_another_file, _pixels_of_another_file, _emptiness)


def _add_attribute(rng, group):
    number = rng.choice((*REAL, *WHOLE, *WIDE))
    values = (number, np.array([number], "f4" if abs(number) < 3e38 else "f8"), np.zeros((3, 4), "f4"), np.zeros(0),
              CTF, "E" + " ".join(str(rng.choice(REAL)) for _ in range(8)), np.array([b"\xff\xfe"], "S3"),
              h5py.Empty("f4"), np.zeros(2, np.dtype([("a", "f4"), ("b", "S3")])), group.ref)
    group.attrs[f"EMAN.{rng.choice(ATTRIBUTES)}"] = rng.choice(values)


TARGETS = Bytes, Layout
