"""What can be found wrong, or doubtful, with the form of ML2D and MLF2D before a run."""
import os
from itertools import islice

import numpy as np

from mlalign.programs.engine.ctf import Ctf

from .ml2d_form import SUGGESTED

LARGE, ENOUGH = 160, 64     # px: boxes of which there is a warning, and what they are compared with
LOOKED_AT = 50              # particles whose defocus is looked at
FREQUENCIES = np.linspace(0.001, 0.5, 2000)     # 1/Å, where the first zero is looked for


def range_errors(protocol):
    """Errors of numbers that have to fit the box, or have a value that stands for automatic; of a missing file."""
    p, half_box, errors = protocol, protocol.inputParticles.get().getXDim() // 2, []
    if p.doGenerateReferences and p.numberOfClasses.get() < 1 and p.numberOfClasses != SUGGESTED:
        errors.append(f"*Number of classes* is {p.numberOfClasses}, expected at least 1, or -1 for as many as suit the "
                      "number of particles.")
    if p.radius != -1 and not 2 <= p.radius.get() <= half_box:
        errors.append(f"*Particle radius* is {p.radius} px, expected 2 to {half_box} (half the box), or -1 for half "
                      "the box.")
    if p.doFast and p.significance != -1 and not 0 < p.significance.get() <= 1:
        errors.append(f"*Significance* is {p.significance}, expected more than 0 and at most 1, or -1 for the "
                      "program's own.")
    if p.fractions.get() and not os.path.exists(p.fractions.get()):
        errors.append(f"*Initial fractions*: there is no file {p.fractions}.")
    return errors


def large_box(particles):
    """A warning when the box is much larger than what views can be told apart in."""
    box = particles.getXDim()
    if box <= LARGE:
        return []
    pixel = particles.getSamplingRate() * box / ENOUGH
    return [f"The particles' boxes have {box} px.  Views are told apart as well in boxes of about {ENOUGH} px (here of "
            f"{pixel:.3g} Å), in a small part of the time: downsample the particles first, unless you need averages at "
            "high resolution."]


def cancelled_details(protocol, limit):
    """A warning when particles of different defocus, not phase-flipped, are compared beyond the first zero of the CTF.

    limit: highest frequency in 1/px; None when it is to grow.
    """
    particles = protocol.inputParticles.get()
    if not particles.hasCTF() or particles.isPhaseFlipped():
        return []
    zero = _first_zero(particles)
    if zero is None or particles.getSamplingRate() / (limit or 0.5) >= zero:
        return []
    return [f"The particles have a CTF and are not marked as phase-flipped.  ML2D does not look at the CTF: of details "
            f"finer than about {zero:.3g} Å, its first zero, some particles show the negative.  Say Yes to *Use MLF2D "
            "instead of ML2D?*, flip the phases first, or set a limit to the *Resolution used*."]


def _first_zero(particles):
    """Å of the first zero of the CTF at the mean defocus of some particles; None when that is not known."""
    microscope = particles.getAcquisition()
    ctfs = [item.getCTF() for item in islice(particles.iterItems(), LOOKED_AT) if item.getCTF() is not None]
    defocus = [(ctf.getDefocusU() + ctf.getDefocusV()) / 2 for ctf in ctfs if ctf.getDefocusU() and ctf.getDefocusV()]
    if not defocus or not microscope.getVoltage():
        return None
    parameters = (np.mean(defocus), np.mean(defocus), 0, microscope.getVoltage(),
                  microscope.getSphericalAberration() or 0, microscope.getAmplitudeContrast() or 0, 0)
    ctf = Ctf(*(np.array([value], float) for value in parameters))
    beyond = ctf.phase(FREQUENCIES, 0)[0] >= np.pi
    return float(1 / FREQUENCIES[beyond.argmax()]) if beyond.any() else None
