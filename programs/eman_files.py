"""The files of EMAN's refine2d: classes and poses of particles as images, class averages, bases, lists, parameters.

**Poses.**  EMAN's (alpha in degrees, dx, dy, flip) turns, then moves, then mirrors x: a particle's point (x, y), seen
from pixel n // 2, goes to

    u = cos(alpha) x + sin(alpha) y + dx,    v = -sin(alpha) x + cos(alpha) y + dy,    and with flip to (-u, v).

That of :mod:`.geometry` moves after the mirror, so the two differ in the sign of x of mirrored particles' shifts.
Here poses are given and had in the latter, as any object with psi, shift_x, shift_y and flip, arrays of one shape.
"""
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .errors import UserError
from .formats.hdf import HdfStack, hdf_writer, is_number
from .formats.located import split_location, without_suffix
from .formats.whole import whole_file
from .formats.whole_numbers import not_whole

EXCLUDED = -1             # class of particles that took no part
CLASSMX, SIMMX = 6, 6     # images in the file
POSE_COLUMNS = 4
SPARE = 4                 # characters that lines of a list are longer than they need be, as EMAN has them


@dataclass
class Poses:
    """Poses in the convention of :mod:`.geometry`, arrays of one shape."""

    psi: np.ndarray
    shift_x: np.ndarray
    shift_y: np.ndarray
    flip: np.ndarray


@dataclass
class Classification(Poses):
    """What a classmx or resultmx says of N particles: ref (N,), class from 0 or -1; weight (N,); their poses (N,)."""

    ref: np.ndarray
    weight: np.ndarray


@dataclass
class Similarity(Poses):
    """What a simmx says of N particles and R references: score (N, R), smaller is better; poses (N, R)."""

    score: np.ndarray


def to_eman(poses):
    """(dx, dy, alpha, flip), an array (4, ...), of poses."""
    columns = np.broadcast_arrays(poses.shift_x, poses.shift_y, poses.psi, poses.flip)
    dx, dy, alpha, flip = np.array(columns, float)
    return np.stack([np.where(flip > 0, -dx, dx) + 0.0, dy, alpha, flip])           # 0.0 for -0.0


def from_eman(dx, dy, alpha, flip):
    """:class:`Poses` of EMAN's columns, of one shape."""
    flip = (np.asarray(flip) > 0.5).astype(int)
    dx, dy, alpha = (np.asarray(column, float) for column in (dx, dy, alpha))
    return Poses(alpha % 360, np.where(flip == 1, -dx, dx) + 0.0, dy, flip)


# ---- tables as images: float32, one particle per row

def write_classmx(path, ref, weight, poses):
    """Classes (N,) from 0, -1 for excluded particles; weights (N,); poses (N,)."""
    with hdf_writer(path) as out:
        for column in (ref, weight, *to_eman(poses)):
            out.append(np.asarray(column)[:, None])


def read_classmx(path):
    """:class:`Classification`."""
    columns = _images(path, CLASSMX, "class, weight, dx, dy, dalpha, flip")
    if columns.shape[2] != 1:
        raise UserError(f"{path}: {columns.shape[2]} classes for each particle, expected 1")
    ref, weight, *pose = columns[..., 0].astype(float)
    if not (np.isfinite(ref) & (ref >= EXCLUDED) & (ref == np.rint(ref))).all():
        raise UserError(f"{path}: classes that are no numbers from 0, expected those, and -1 for excluded particles")
    return Classification(**vars(from_eman(*pose)), ref=ref.astype(int), weight=weight)


def write_simmx(path, score, poses):
    """Scores (N, R) of particles and references, as EMAN has them: smaller is better; poses (N, R)."""
    with hdf_writer(path) as out:
        for column in (score, *to_eman(poses), np.ones_like(score)):           # the last is the scale
            out.append(column)


def read_simmx(path):
    """:class:`Similarity`."""
    score, *pose, _ = _images(path, SIMMX, "score, dx, dy, dalpha, flip, scale").astype(float)
    return Similarity(**vars(from_eman(*pose)), score=score)


def write_projections(path, coefficients, poses=None):
    """One image with a row for each particle: its pose, when there are any (N,), and its coefficients (N, basis)."""
    columns = [] if poses is None else list(to_eman(poses)[..., None])
    with hdf_writer(path) as out:
        out.append(np.concatenate([*columns, coefficients], 1))


def read_projections(path, posed=True):
    """Coefficients (N, basis), and :class:`Poses` (N,) when the rows begin with them (``posed``), else None."""
    (rows,) = _images(path, 1, "one, with a row for each particle").astype(float)
    if not posed:
        return rows, None
    if rows.shape[1] <= POSE_COLUMNS:
        raise UserError(f"{path}: rows of {rows.shape[1]}, expected more than {POSE_COLUMNS}: dx, dy, dalpha, flip and "
                        "coefficients")
    return rows[:, POSE_COLUMNS:], from_eman(*rows[:, :POSE_COLUMNS].T)


# ---- images with attributes

def write_images(path, images, headers=(), pixel_size=None):
    """Images (B, h, w), each with the attributes (dict) that ``headers`` has for it, if it has any."""
    headers = [*headers, *[{}] * (len(images) - len(headers))]
    with hdf_writer(path, pixel_size) as out:
        for image, header in zip(images, headers):
            out.append(image, header)


def write_basis(path, mean, vectors, values, explained, pixel_size=None):
    """The mean (h, w) of what was analysed and the basis (V, h, w), with singular values and explained shares (V,)."""
    headers = [{"eigval": 0.0, "explvarfrac": 0.0}]
    headers += [{"eigval": float(value), "explvarfrac": float(share)} for value, share in zip(values, explained)]
    write_images(path, [mean, *vectors], headers, pixel_size)


def read_basis(path):
    """mean (h, w), basis (V, h, w), singular values (V,), explained shares (V,)."""
    images, headers = read_images(path)
    values, shares = (_numbers(path, headers[1:], name) for name in ("eigval", "explvarfrac"))
    return images[0], images[1:], values, shares


def read_images(path):
    """All images float32 (B, h, w) of a stack, and the attributes of each: a list of dict."""
    stack = HdfStack(path)
    return stack.read(slice(None)), [stack.attributes(i) for i in range(stack.shape[0])]


@dataclass
class Averages:
    """Class averages and what is known of each.

    images: (K, n, n).  members, excluded: K arrays of particles' numbers from 0, of those in the average and of those
    of the class that are not.  quality, spread: (K,) mean and standard deviation of the members' scores, as EMAN has
    them: smaller is better.  source: the particles' file.
    """

    images: np.ndarray
    members: list
    excluded: list
    quality: np.ndarray
    spread: np.ndarray
    source: str

    def headers(self):
        """EMAN's attributes of each average.  Where there is no particle to list there is no list."""
        for members, excluded, quality, spread in zip(self.members, self.excluded, self.quality, self.spread):
            header = {"ptcl_repr": len(members), "class_ptcl_qual": float(quality),
                      "class_ptcl_qual_sigma": float(spread), "class_ptcl_src": str(self.source)}
            lists = {"class_ptcl_idxs": members, "exc_class_ptcl_idxs": excluded}
            yield {**header, **{name: [int(one) for one in some] for name, some in lists.items() if len(some)}}


def write_averages(path, averages, pixel_size=None, more=()):
    """:class:`Averages`, of all classes, empty ones too.  more: further attributes (dict) of each, which go first."""
    more = [*more, *[{}] * (len(averages.images) - len(more))]
    write_images(path, averages.images, [{**extra, **header} for extra, header in zip(more, averages.headers())],
                 pixel_size)


def read_averages(path):
    """:class:`Averages`.  EMAN gives out a list of one number as that number; here it is an array all the same."""
    images, headers = read_images(path)
    members, excluded = ([_listed(path, name, header.get(name, [])) for header in headers]
                         for name in ("class_ptcl_idxs", "exc_class_ptcl_idxs"))
    quality, spread = (_numbers(path, headers, name) for name in ("class_ptcl_qual", "class_ptcl_qual_sigma"))
    source = str(next((header["class_ptcl_src"] for header in headers if "class_ptcl_src" in header), ""))
    return Averages(images, members, excluded, quality, spread, source)


# ---- text

def write_list(path, images):
    """EMAN's list (``#LSX``) of images given by their locations, such as ``000012@stack.hdf``.

    All lines have one length, which is that of the longest in bytes, and some more.
    """
    lines = []
    for image in images:
        number, name = split_location(image)
        lines.append(f"{(number or 1) - 1}\t{without_suffix(name)}".encode(errors="surrogateescape"))
    length = max(len(line) for line in lines) + SPARE + 1
    with whole_file(path) as temporary:
        Path(temporary).write_bytes(b"#LSX\n# Images of a set; every line below the next is as long as it says\n"
                                    + f"# {length}\n".encode() + b"".join(line.ljust(length - 1) + b"\n"
                                                                          for line in lines))


def write_parameters(path, options, command):
    """The options (dict) of a run, its command line (text) and the time, as JSON.  Other types become text."""
    content = {**options, "commandline": command, "timestamp": time.ctime()}
    with whole_file(path) as temporary:
        Path(temporary).write_text(json.dumps(content, indent=1, sort_keys=True, default=_plain) + "\n")


def read_parameters(path):
    """The dict that :func:`write_parameters` or EMAN wrote."""
    try:
        content = json.loads(Path(path).read_text(errors="surrogateescape"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON ({error}), expected the parameters of a run") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: found a {type(content).__name__}, expected the parameters of a run by their names")
    return content


def _images(path, count, expected):
    stack = HdfStack(path)
    if stack.shape[0] != count:
        raise UserError(f"{path}: {stack.shape[0]} images, expected {count}: {expected}")
    return stack.read(slice(None))


def _numbers(path, headers, name):
    """(B,) of an attribute, 0 where an image has none."""
    values = [header.get(name, 0) for header in headers]
    for i, value in enumerate(values, 1):
        if not is_number(value):
            raise UserError(f"{path}: attribute {name} of image {i} is {value!r:.60}, expected a number")
    return np.array(values, float)


def _listed(path, name, value):
    """The numbers, from 0, of a list of particles."""
    values = np.atleast_1d(value)
    if values.dtype.kind not in "iuf" or values.ndim > 1 or len(not_whole(values)):
        raise UserError(f"{path}: attribute {name} is {value!r:.60}, expected whole numbers")
    return values.astype(int)


def _plain(value):
    return value.item() if isinstance(value, np.generic) else str(value)
