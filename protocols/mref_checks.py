"""What can be found wrong, or doubtful, with the form of multi-ref ali2d before a run."""
import math

from mlalign.convert import location
from mlalign.programs.errors import UserError
from mlalign.programs.formats.images import open_images
from mlalign.programs.mref_references import load_function

from .mref_form import FUNCTIONS, OWN


def search_radius(protocol):
    """The radius in pixels: the form's, or the largest that leaves room for the shifts, but not below half of that.

    A circle and its shifts must stay a pixel inside the box.
    """
    if protocol.radius != -1:
        return float(protocol.radius.get())
    half = protocol.inputParticles.get().getXDim() // 2
    return float(max(half // 2, min(half - 2, half - 1 - math.ceil(_longest_shift(protocol)))))


def room_warnings(protocol):
    """A warning when the circle leaves no room in the box for the shifts."""
    half, wanted = protocol.inputParticles.get().getXDim() // 2, _longest_shift(protocol)
    radius = search_radius(protocol)
    room = math.floor(half - 1 - radius)
    if wanted <= room:
        return []
    return [f"In a box of {2 * half} px a radius of {radius:g} px leaves room for shifts of {room} px, not for the "
            f"{wanted:g} px asked for: no more than {room} px will be searched.  A smaller *Particle radius* leaves "
            "more, or a larger box."]


def range_errors(protocol):
    """Errors of a radius that does not fit into the box, rings that do not fit into the radius, and of a function."""
    p, half, errors = protocol, protocol.inputParticles.get().getXDim() // 2, []
    if p.radius != -1 and not 2 <= p.radius.get() <= half - 2:
        errors.append(f"*Particle radius* is {p.radius} px, expected 2 to {half - 2} (half the box less 2), or -1 for "
                      "what the box and the shifts allow.")
    elif p.firstRing.get() > search_radius(p):
        errors.append(f"*First ring* is at {p.firstRing} px, expected it within the particle's radius of "
                      f"{search_radius(p):g} px.")
    return errors + _function_errors(p)


def _function_errors(protocol):
    if FUNCTIONS[protocol.function.get()] != OWN:
        return []
    name = (protocol.ownFunction.get() or "").strip()
    if not name:
        return ["*Your function*: name one, such as package.module.function."]
    try:
        load_function(name, FUNCTIONS)
    except UserError as error:
        return [f"*Your function*: {error}."]
    return []


def mask_errors(protocol):
    """Errors of a mask that cannot be read or has not the particles' box."""
    mask = protocol.maskImage.get()
    if mask is None:
        return []
    try:
        size = open_images(location(mask)).size
    except UserError as error:
        return [f"*Mask*: {error}."]
    box = protocol.inputParticles.get().getXDim()
    return [] if size == box else [f"*Mask* has {size} px and the particles {box} px, expected the same box."]


def _longest_shift(protocol):
    return max(protocol.shiftX.get(), protocol.shiftY.get())
