"""From class averages to the next iteration's references: filtered, masked and centred.

A preparation is a function of one list, as it was for the original program: the mask (n, n), the centring method, the
average (n, n), and the correlation of its halves as [frequencies, correlations, numbers of pixels].  It returns the
reference (n, n) and how far the average's centre was from the image's, (x, y) in px; the average has been moved by
that, back to the centre, and the members' poses will follow.
"""
import importlib
import importlib.util
from pathlib import Path

import numpy as np

from .engine import image_filters as filters
from .errors import UserError

MEAN_SHIFT = -1           # centring on the members' shifts, which is done with the poses


class Preparation:
    """The preparation that ``--function`` names, for one run.

    radius: of the particle in px; targets: (K, n, n), what method 4 centres averages on; room: px by which particles
    can follow, an average whose centre is farther off stays where it is.
    """

    def __init__(self, name, mask, method, radius, targets, room=np.inf):
        self.mask, self.method, self.radius, self.targets, self.room = mask, method, radius, targets, room
        self.name, self._iteration, self._class = name, 0, 0
        built_in = {"ref_ali2d": self._ref_ali2d, "ref_ali2d_c": self._ref_ali2d_c, "ref_ali2d_m": self._ref_ali2d_m,
                    "ref_random": self._ref_random, "none": self._none}
        self._own = built_in.get(name)
        self._user = None if self._own else load_function(name, built_in)

    def __call__(self, iteration, k, average, frc):
        """Reference and centre, see the module, of the average of class ``k`` in an iteration (from 1)."""
        self._iteration, self._class = iteration, k
        if self._own:
            return self._own([self.mask, self.method, average, frc])
        try:
            returned = self._user([self.mask.copy(), self.method, average.copy(), [c.copy() for c in frc]])
        except Exception as error:          # a user's function can fail in any way
            raise UserError(f"--function {self.name}: failed in iteration {iteration}, class {k + 1} "
                            f"({type(error).__name__}: {error})") from error
        return _checked(returned, average.shape, self.name)

    # ---- the built-in ones

    def _ref_ali2d(self, data):
        """A low-pass filter fitted to the correlation of the halves."""
        return self._filtered(data, *filters.fit_tangent(*data[3][:2]))

    def _ref_ali2d_c(self, data):
        """A low-pass filter that opens a little in each iteration."""
        return self._filtered(data, min(0.1 + 0.003 * self._iteration, 0.4), 0.1)

    def _ref_ali2d_m(self, data):
        """A low-pass filter that is always the same."""
        return self._filtered(data, 0.4, 0.2)

    def _ref_random(self, data):
        """No filter, for averages whose halves say nothing."""
        return self._centred(data[2] * 1.0, data)

    def _none(self, data):
        """The average as it is."""
        return data[2], (0.0, 0.0)

    def _filtered(self, data, cutoff, falloff):
        mask, image = data[0], data[2]
        masked = (image - (image * mask).sum() / mask.sum()) * mask
        low = filters.filtered(masked, lambda k: filters.tangent_filter(k, cutoff, falloff))
        return self._centred(low, data)

    def _centred(self, image, data):
        if data[1] <= 0:
            return image, (0.0, 0.0)
        x, y = self.centre(data[1], image, data[0])
        if max(abs(x), abs(y)) > self.room:
            return image, (0.0, 0.0)
        return filters.shifted(image, -x, -y), (x, y)

    def centre(self, method, image, mask):
        """Where the centre of an image is, (x, y) in px, by the method 1 ... 7."""
        clean, distance = filters.without_background(image, mask), filters.distances(len(image))
        if method == 1:
            return filters.phase_centre(clean)
        if method == 2:
            return filters.correlation_centre(clean, np.exp(-(distance**2) / (2 * (self.radius / 2) ** 2)))
        if method == 3:
            return filters.correlation_centre(clean, np.abs(distance - self.radius / 2) < self.radius / 4)
        if method == 4:
            return filters.correlation_centre(clean, filters.without_background(self.targets[self._class], mask))
        if method == 5:
            return filters.own_centre(clean)
        bright = filters.bright_pixels(clean, mask)
        if method == 6:
            return filters.centre_of_mass(clean * bright)
        return filters.correlation_centre(bright.astype(float), distance < np.sqrt(bright.sum() / np.pi))


def load_function(name, built_in=()):
    """The function that ``package.module.function`` or ``[folder,module,function]`` names."""
    advice = (f"expected one of {', '.join(built_in)}, a dotted path such as my_package.my_module.my_function, or "
              "[folder,module,function]")
    if name.startswith("[") and name.endswith("]") and name.count(",") == 2:
        folder, module, function = (part.strip() for part in name[1:-1].split(","))
        path = Path(folder) / f"{module.removesuffix('.py')}.py"
        if not path.is_file():
            raise UserError(f"--function {name}: no file {path}, {advice}")
        spec = importlib.util.spec_from_file_location(path.stem, path)
        loaded = importlib.util.module_from_spec(spec)

        def load():
            spec.loader.exec_module(loaded)
            return loaded
    else:
        module, _, function = name.rpartition(".")
        if not module:
            raise UserError(f"--function {name}: no such function, {advice}")

        def load():
            return importlib.import_module(module)
    try:
        found = getattr(load(), function)
    except Exception as error:              # a user's module can fail in any way
        raise UserError(f"--function {name}: cannot be loaded ({type(error).__name__}: {error}), {advice}") from error
    if not callable(found):
        raise UserError(f"--function {name}: {function} is not a function, {advice}")
    return found


def _checked(returned, shape, name):
    """What a user's function returned, as arrays; :class:`UserError` when it is something else."""
    try:
        reference, (x, y) = returned
        reference, x, y = np.asarray(reference, float), float(x), float(y)
    except (TypeError, ValueError) as error:
        raise UserError(f"--function {name}: returned something else ({error}), expected an image and its centre "
                        "(x, y)") from error
    if reference.shape != shape or not np.isfinite(reference).all():
        raise UserError(f"--function {name}: returned an image of shape {reference.shape}, expected {shape} and "
                        "finite pixels")
    return reference, (x, y)
