"""What protocols of 2-D particles share: the first lines of their forms, and particles normalised on the way in."""
import os

import numpy as np
from pwem.objects import SetOfClasses
from pyworkflow.protocol.params import EnumParam, PointerParam
from pyworkflow.utils import cleanPath

from mlalign.convert import background, fill_averages, fill_classes2d, image_pixels, write_images
from mlalign.programs.normalisation import write_normalised
from mlalign.programs.suggest import SIGNIFICANT, radial_profile, standardised

from .checks import is_normalised, not_normalised

NEVER, ALWAYS, WHEN_NEEDED = range(3)       # choices of normaliseParticles
LOOKED_AT = 200                             # images whose mean tells the contrast
OPPOSITE = -0.5                             # correlation of mean profiles: one is the negative of the other
NO, YES, AS_SET = range(3)                  # choices of areImagesPhaseFlipped; False and True mean the same


# ---- the form

def define_particles(writer):
    """The particles, and whether to normalise them."""
    writer.add("inputParticles", PointerParam, "Input particles", important=True, pointerClass="SetOfParticles")
    writer.add("normaliseParticles", EnumParam, "Normalise the particles first?", WHEN_NEEDED,
               choices=["No", "Yes", "When they need it"], display=EnumParam.DISPLAY_HLIST)


def define_phase_flipped(writer, condition):
    writer.add("areImagesPhaseFlipped", EnumParam, "Are the images CTF phase flipped?", AS_SET, condition=condition,
               choices=["No", "Yes", "As the set says"], display=EnumParam.DISPLAY_HLIST)


# ---- steps

def normalisation_signature(protocol):
    """What normalisation depends on, besides the particles; for a protocol's signature of its input."""
    choice = protocol.normaliseParticles.get()
    return [choice, _radius(protocol) if choice != NEVER else None]


def convert_particles(protocol, metadata, poses=False, ctf=True):
    """Write the protocol's particles as ``metadata``, which names normalised copies where the form wants them."""
    particles, copies = protocol.inputParticles.get(), _copies(protocol)
    write_images(particles, metadata, poses, ctf)
    cleanPath(copies)
    choice = protocol.normaliseParticles.get()
    if choice == ALWAYS or (choice == WHEN_NEEDED and not is_normalised(*background(particles))):
        write_normalised(metadata, copies, _radius(protocol))


def _copies(protocol):
    return protocol._getExtraPath("normalised_particles.mrcs")


def _radius(protocol):
    """Radius in px of what is no background; None for half the box."""
    radius = protocol.radius.get()
    return radius if radius > 0 else None


def new_classes2d(protocol):
    """(SetOfClasses2D, SetOfAverages) of what the program has found, to be defined as outputs."""
    classes = protocol._createSetOfClasses2D(protocol.inputParticles)
    fill_classes2d(classes, protocol._root())
    averages = protocol._createSetOfAverages()
    fill_averages(averages, classes)
    return classes, averages


# ---- words

def normalisation_warnings(protocol):
    """A warning when particles that seem to need it are not to be normalised."""
    if protocol.normaliseParticles != NEVER:
        return []
    return not_normalised(protocol.inputParticles.get())


def normalisation_lines(protocol):
    """A line of the summary when the run works with normalised copies."""
    if not os.path.exists(_copies(protocol)):
        return []
    return ["The particles were normalised for this run: what surrounds them has mean 0 and standard deviation 1."]


def normalisation_methods(protocol):
    """A sentence for the methods of a paper."""
    return ["The particles were normalised by their surroundings."] if os.path.exists(_copies(protocol)) else []


def grey_scale_warnings(protocol, references):
    """A warning when references are far from the grey values that the particles have when the program sees them."""
    mean, deviation = background(protocol.inputParticles.get())
    choice = protocol.normaliseParticles.get()
    if choice == ALWAYS or (choice == WHEN_NEEDED and not is_normalised(mean, deviation)):
        mean, deviation = 0.0, 1.0
    theirs, _ = background(_Representatives(references) if isinstance(references, SetOfClasses) else references)
    if abs(theirs - mean) <= deviation:
        return []
    return [f"Around what they show, the class images have a mean of {theirs:.2g} and the particles one of {mean:.2g}: "
            "they seem not to be averages of these particles, or of particles normalised alike.  They should have the "
            "same grey values."]


def contrast_warnings(protocol, references):
    """A warning when the references are the negatives of what the particles show on average."""
    particles, theirs = (_mean_profile(images) for images in (protocol.inputParticles.get(), references))
    if particles is None or theirs is None or particles @ theirs > OPPOSITE * np.sqrt(
            (particles @ particles) * (theirs @ theirs)):
        return []
    return ["The class images look like the negative of the particles: what is bright in one is dark in the other.  "
            "Invert the contrast of one of them."]


def _mean_profile(images):
    """What images show on average at each distance from the centre, weighted by pixels; None when that is nothing."""
    if isinstance(images, SetOfClasses):
        images = _Representatives(images)
    ids = sorted(images.getIdSet())
    some = np.array([image_pixels(images[one]) for one in ids[::-(-len(ids) // LOOKED_AT)]])
    profile = radial_profile(standardised(some))
    if np.abs(profile.mean[2:] / np.maximum(profile.mean_error[2:], 1e-9)).max() < SIGNIFICANT:
        return None
    return profile.mean * np.sqrt(profile.pixels)


class _Representatives:
    """The representatives of a set of classes, as far as ``background`` looks at a set."""

    def __init__(self, classes):
        self.classes = classes

    def getIdSet(self):
        return self.classes.getIdSet()

    def __getitem__(self, item_id):
        return self.classes[item_id].getRepresentative()
