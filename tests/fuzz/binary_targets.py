"""Binary files: MRC, SPIDER, checkpoints; what is accepted holds what its bytes say."""
import io
import json
import struct
import zipfile

import numpy as np

from mlalign.programs import eman_files
from mlalign.programs.formats import checkpoint
from mlalign.programs.formats.checkpoint import load_checkpoint, save_checkpoint
from mlalign.programs.formats.mrc import open_mrc, open_mrc_volumes, write_stack, write_volume_stack
from mlalign.programs.formats.spider import open_spider_volumes
from mlalign.programs.formats.volumes import open_volume_file
from mlalign.tests.fuzz.base import Target
from mlalign.tests.fuzz.harness import WrongAcceptance

MOST = 1 << 24          # pixels of a stack that are looked at whole
PICKLE = b"cos\nsystem\n(S'false'\ntR."
HEADS = ('{"format": 2, "meta": {}}', '{"format": 2, "meta": {}}', '{"format": 2}', "[]", "{}", '"x"', "1e999", "{", "",
         "null", '{"format": 2, "meta": []}', '{"format": "2", "meta": {}}', '{"format": 2, "meta": 3}', "[" * 100_000,
         '{"format": 2, "meta": {"a": 1' + "0" * 5000 + "}}")
TYPES = "'<f8'", "'<f8'", "'|O'", "'<U9'", "'<m8'", "[('a', '<f8')]", "'V8'", "'x'", "3", "None"
SHAPES = ("(4,)", "(4,)", "(2, 2)", "()", "(10000000000000,)", "(-1,)", "(2**99,)", "4", "(4.0,)", f"({'1,' * 100})",
          "__import__('os')", "(99999999999999999999999,)")


def written(folder, name, write, *arguments):
    """The bytes of a file that ``write(path, ...)`` makes."""
    write(folder / name, *arguments)
    return (folder / name).read_bytes()


def same_pixels(got, expected, what):
    if got.shape != expected.shape or not np.array_equal(got, expected.astype(np.float32), equal_nan=True):
        raise WrongAcceptance(f"{what}: {got.shape} instead of {expected.shape}, or other pixels")


class Mrc(Target):
    """MRC: what is read is what lies behind the header, counted by hand."""

    name, suffix = "MRC", ".mrcs"
    types = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}

    def good(self):
        images = np.random.default_rng(0).normal(scale=20, size=(4, 6, 6)).round()
        whole = written(self.folder, "a.mrcs", write_stack, images, 1.5)
        volumes = written(self.folder, "v.mrc", write_volume_stack, images.reshape(1, 4, 6, 6), 1.5)
        return [whole, volumes, *(self._other(whole, images, mode, order) for mode in self.types for order in "<>")]

    def _other(self, whole, images, mode, order):
        """The same of another mode and byte order."""
        words = struct.unpack("<56i", whole[:224])
        header = bytearray(struct.pack(order + "56i", *words) + whole[224:1024])
        header[12:16] = struct.pack(order + "i", mode)
        header[208:212] = b"MAP "
        header[212:216] = bytes((0x44, 0x44, 0, 0) if order == "<" else (0x11, 0x11, 0, 0))
        return bytes(header) + np.abs(images).astype(order + self.types[mode]).tobytes()

    def read(self, path):
        stack = open_mrc(path)
        if np.prod(stack.shape, dtype=float) > MOST:
            raise WrongAcceptance(f"{stack.shape} in a small file")
        same_pixels(stack.read(slice(None)), self._by_hand(path), "MRC")
        volumes = open_mrc_volumes(path)
        same_pixels(volumes.read(slice(None)).ravel(), stack.read(slice(None)).ravel(), "MRC volumes")
        for size in (stack.pixel_size, volumes.pixel_size):
            if size is not None and not 0 < size < np.inf:
                raise WrongAcceptance(f"pixels of {size} Å")

    def _by_hand(self, path):
        with open(path, "rb") as file:
            raw = file.read()
        order = ">" if raw[212] == 0x11 else "<"
        nx, ny, nz, mode = struct.unpack(order + "4i", raw[:16])
        extended, = struct.unpack(order + "i", raw[92:96])
        pixels = np.frombuffer(raw, order + self.types[mode], nx * ny * nz, 1024 + extended)
        return pixels.reshape(nz, ny, nx)


class Spider(Target):
    name, suffix = "SPIDER", ".spi"

    def good(self):
        pixels = np.random.default_rng(0).normal(size=(3, 6, 6))
        return [spider(pixels, order, kind) for order in "<>" for kind in ("image", "volume", "stack", "volumes")]

    def read(self, path):
        stack = open_spider_volumes(path)
        if np.prod(stack.shape, dtype=float) > MOST:
            raise WrongAcceptance(f"{stack.shape} in a small file")
        stack.read(slice(None))
        if open_volume_file(path).shape != stack.shape:
            raise WrongAcceptance("another shape when the kind is not said")


def spider(pixels, order, kind):
    """A SPIDER file of pixels (3, 6, 6): its first image, one volume, a stack of images or of one volume."""
    nx, record = pixels.shape[-1], 4 * pixels.shape[-1]
    records = -(-1024 // record)

    def header(most, stacked, depth):
        words = np.zeros(records * nx, order + "f4")
        words[[0, 1, 4, 11, 12, 21, 22, 23, 25]] = (depth, nx, 3 if depth > 1 else 1, nx, records, records * record,
                                                    record, stacked, most)
        return words.tobytes()

    raw = [image.astype(order + "f4").tobytes() for image in pixels]
    if kind == "image":
        return header(0, 0, 1) + raw[0]
    if kind == "volume":
        return header(0, 0, 3) + b"".join(raw)
    if kind == "stack":
        return header(3, 2, 1) + b"".join(header(0, 0, 1) + image for image in raw)
    return header(1, 2, 3) + header(0, 0, 3) + b"".join(raw)


class Checkpoint(Target):
    """Archives whose bytes are damaged, or whose members are not what they should be."""

    name, suffix = "checkpoints", ".npz"

    def good(self):
        arrays = {"model.polar": np.ones((2, 3), complex), "particles.ref": np.arange(4), "words": np.array(["a", "b"])}
        write = written(self.folder, "a.npz", save_checkpoint, arrays, {"program": "x", "iteration": 3})
        return [write]

    def make(self, rng):
        return super().make(rng) if rng.random() < 0.5 else self._archive(rng)

    def _archive(self, rng):
        """A sound archive, checksums and all, with other members."""
        raw = io.BytesIO()
        with zipfile.ZipFile(raw, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
            if rng.random() < 0.9:
                archive.writestr("meta.json", rng.choice(HEADS))
            if rng.random() < 0.8:
                archive.writestr(rng.choice(("a.npy", "../a.npy", "/a.npy", "a", "meta.json")), _array(rng))
            if rng.random() < 0.8:
                archive.comment = checkpoint._seal(archive)
        return raw.getvalue()

    def read(self, path):
        arrays, meta = load_checkpoint(path)
        if not isinstance(meta, dict):
            raise WrongAcceptance(f"{meta!r} for what a run had to say")
        for array in arrays.values():
            if array.dtype.hasobject:
                raise WrongAcceptance("an array of objects")


def _array(rng):
    """An array as NumPy writes it, or nearly so."""
    header = f"{{'descr': {rng.choice(TYPES)}, 'fortran_order': {rng.choice(('True', 'False', '7'))}, " \
             f"'shape': {rng.choice(SHAPES)}, }}\n".encode()
    if rng.random() < 0.1:
        header = header.replace(b"shape", rng.choice((b"shap", b"\xff", b"shape': (), 'x")))
    version = rng.choice((b"\x01\x00", b"\x02\x00", b"\x09\x00"))
    length = struct.pack("<H" if version[0] == 1 else "<I", rng.choice((len(header), 0, 65535)))
    return b"\x93NUMPY" + version + length + header + rng.choice((bytes(32), b"", PICKLE, bytes(99)))


class Parameters(Target):
    name, suffix, text = "parameters (JSON)", ".json", True
    odd = 1                 # goes too deep

    def good(self):
        return [json.dumps({"input": "a", "iter": 3, "x": [1, 2, {"y": None}]}, indent=1).encode(), b"[" * 50_000]

    def read(self, path):
        if not isinstance(eman_files.read_parameters(path), dict):
            raise WrongAcceptance("no options by their names")


TARGETS = Mrc, Spider, Checkpoint, Parameters
