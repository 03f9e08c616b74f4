"""What the gallery of volumes can show: each volume as a strip of three planes.  No Qt here."""
import os
from functools import lru_cache
from pathlib import Path

import numpy as np

from ...programs.errors import UserError
from ...programs.formats.located import split_location, without_suffix
from ...programs.formats.metadata import image_table
from ...programs.formats.mrc import read_volume, write_volume
from ...programs.formats.volumes import VolumeSource, open_volume_file, open_volumes
from ...programs.results import FINAL
from ...programs.tomo_results import TomoRun
from ..gallery import imaging
from ..gallery.classes import RunPictures, open_pictures
from ..gallery.columns import varying_columns
from ..gallery.pictures import Pictures
from . import planes, scipion_sets, sphere

SLICES, PROJECTIONS = range(2)          # what a strip shows
LEAST_SIDE = 8                          # voxels of a volume to look at
IMAGE_STACKS = (".mrcs", ".st")         # names of stacks of images, unless they say that they hold volumes:
SPACE_GROUP_AT, OF_VOLUME_STACKS = 88, range(401, 631)      # byte of an MRC header, and what it says of such
SAMPLE = 12                             # volumes looked at to choose grey levels that suit all
COARSE = 32                             # px that projections are reduced to when volumes are compared
KEPT, KEPT_STRIPS = 4, 2000             # volumes and strips kept in memory


class VolumePictures(Pictures):
    """Volumes as pictures: a base class, mixed with what says which volumes.

    view: :data:`SLICES` through the origin, or :data:`PROJECTIONS`
    """
    aspect, unit, can_centre, most_compared = 3, "volumes", False, 200

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.view = SLICES
        self.volume, self._strip = lru_cache(KEPT)(self._read), lru_cache(KEPT_STRIPS)(self._make_strip)

    def image(self, item):
        """float32 (n, 3 n): the planes xy, xz and yz side by side."""
        return self._strip(item, self.view)

    def levels(self):
        rows = np.unique(np.linspace(0, len(self) - 1, min(len(self), SAMPLE)).astype(int))
        return imaging.contrast([self.image(row) for row in rows])

    def slice_levels(self, item):
        """Grey levels that suit all slices of one volume, from the central ones."""
        return imaging.contrast(planes.central_slices(self.volume(item)))

    def save_volume(self, path, item):
        """Write a volume as MRC, whole or not at all; a file of its own is copied as it is.  Raises UserError."""
        original = self.source.metadata["image"][item]
        if os.path.isfile(original) and os.path.exists(path) and os.path.samefile(original, path):
            raise UserError(f"{path}: that is the volume itself, expected another name")
        write_volume(path, self.volume(item), self.pixel_size)

    def _read(self, item):
        """float32 (n, n, n)"""
        return self.source.read(slice(item, item + 1))[0]

    def _make_strip(self, item, view):
        volume = self.volume(item)
        return planes.strip(planes.projections(volume) if view == PROJECTIONS else planes.central_slices(volume))

    def _computed(self):
        return {key: column for key, column in super()._computed().items() if key != "offCentre"}

    def _alike(self):
        """Correlations (K, K) of the volumes' projections as they lie, of what is coarse in them."""
        strips = [planes.strip([imaging.reduced(plane, COARSE) for plane in planes.projections(self.volume(item))])
                  for item in range(len(self))]
        return np.nan_to_num(np.corrcoef([strip.ravel() for strip in strips]))

    # ---- what only classes have

    def fsc(self, item):
        """(frequencies in 1/px, correlations) or None"""
        return None

    def directions(self, item):
        """Where the particles of the class look: unit vectors (N, 3), or None."""
        return None

    def coverage(self, item):
        """(n, n, n) observed part of Fourier space, see :func:`.plots3d.draw_coverage`; or None."""
        return None

    highest = 0.5               # frequency used, 1/px


class VolumeFiles(VolumePictures, Pictures):
    """The volumes of one or several files, or those that metadata lists."""
    default_sort = "number"

    def __init__(self, paths, source=None):
        several = len(paths) > 1
        if source is None:
            source = VolumeSource(image_table(list(map(str, paths)), "command line")) if several else open_volumes(
                paths[0])
        self.named = several or source.count == 1           # by their files
        keys = [Path(path).stem for path in paths] if self.named else source.rows
        super().__init__(f"{len(paths)} volumes" if several else Path(paths[0]).name, source,
                         varying_columns(source), keys)

    def name(self, item):
        return self.keys[item] if self.named else f"Volume {self.keys[item]}"

    def numbers(self, item):
        volume = self.volume(item)
        statistics = {"Mean": volume.mean(dtype=np.float64), "Deviation": volume.std(dtype=np.float64),
                      "Lowest": volume.min(), "Highest": volume.max()}
        return [*super().numbers(item), *((label, f"{value:.4g}") for label, value in statistics.items())]

    def describe(self, item):
        return f"{self.name(item)}\n{self.source.metadata['image'][item]}"


class ClassVolumes(VolumePictures, RunPictures):
    """The class averages of one result of a :class:`~mlalign.programs.tomo_results.TomoRun`."""
    open_source = VolumeSource

    def __init__(self, run, iteration):
        super().__init__(run, iteration)
        weight = self.columns.get("weight")
        if weight is not None:          # of ml_tomo, a fraction
            self.columns["weight"] = weight._replace(label="Fraction", text=lambda value: f"{100 * value:.1f} %")

    def at(self, iteration):
        other = super().at(iteration)
        other.view = self.view
        return other

    @property
    def highest(self):
        used = self.run.info(self.iteration).get("maxres", 0)
        return min(used, 0.5) if used > 0 else 0.5

    def fsc(self, item):
        curve = self.run.fsc(self.iteration, int(self.refs[item]))
        return curve and (curve[0] * (self.run.pixel_size(self.iteration) or 1), curve[1])

    def directions(self, item):
        if not self.run.images_file(self.iteration).exists():
            return None
        members = self.run.members(self.iteration, int(self.refs[item]))
        if not len(members):
            return None
        return sphere.viewing_directions(*(members.numbers(label) for label in ("angleRot", "angleTilt", "anglePsi")))

    def member_tables(self, items):
        return super().member_tables(items) if self.run.images_file(self.iteration).exists() else []

    def coverage(self, item):
        path = self.run.wedge_path(self.iteration, int(self.refs[item]))
        return read_volume(path)[0] if path.exists() else None

    def of_all(self, what):
        """name of a class -> what ``what(item)`` gives, of those classes of which it is not None."""
        found = {self.name(item): what(item) for item in range(len(self))}
        return {name: value for name, value in found.items() if value is not None}


def holds_volumes(path):
    """Whether a file is a volume, or a stack of volumes, to be looked at as such: cubes, and not a stack of images.

    A stack of images can be as deep as it is wide; it is told by its name, unless its header says volumes.
    """
    name = without_suffix(str(path))
    try:
        shape = open_volume_file(name).shape[1:]
    except UserError:
        return False
    if len(set(shape)) > 1 or shape[0] < LEAST_SIDE:
        return False
    if Path(name).suffix.lower() not in IMAGE_STACKS:
        return True
    space_groups = (int(np.fromfile(name, order, 1, offset=SPACE_GROUP_AT)[0]) for order in ("<i4", ">i4"))
    return any(space_group in OF_VOLUME_STACKS for space_group in space_groups)


def open_any(paths):
    """(pictures, run or None) of what ``mlalign view`` is given: classes of images or of volumes, images or volumes.

    The final ``…_ref.xmd`` of a run that has not ended stands for its newest iteration.  Raises :class:`UserError`.
    """
    path, *others = paths
    if Path(path).suffix == scipion_sets.SUFFIX and not others:
        return scipion_sets.open_set(path), None
    if others or holds_volumes(path):
        return VolumeFiles(paths), None
    found = TomoRun.of_file(path)
    if found is not None:
        run, iteration = found
        return ClassVolumes(run, run.newest() if iteration is FINAL else iteration), run
    try:
        pictures, run = open_pictures(path)
    except UserError as error:
        # metadata of volumes: what is wrong is told of images only when it holds no volumes either
        try:
            return VolumeFiles(paths), None
        except UserError:
            raise error from None
    if run is None and holds_volumes(split_location(pictures.source.metadata["image"][0])[1]):
        return VolumeFiles(paths), None
    return pictures, run
