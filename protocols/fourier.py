"""What ML2D's form means beyond ML2D when its switch says MLF2D: options, checks, words."""
from .checks import resolution_errors
from .ml2d_form import NOISE_GROUPS
from .particles import AS_SET, YES

NO_LIMITS = [0.0, 0.0, 999.0]       # first iteration, later ones, low: the program's own default


def fourier_options(protocol):
    """The options of mlf_align2d that ml_align2d has not, as :meth:`.base.ProgramProtocol._options` gives them."""
    p, ctf = protocol, protocol.doCorrectAmplitudes.get()
    grouped = ctf and NOISE_GROUPS[p.noiseGroups.get()] != "pooled"
    all_frequencies = p.includeAllFreqs.get()
    fixed = not all_frequencies and p.fixHigh > 0
    limits = resolution_limits(p)
    return {
        "--no_ctf": not ctf,
        "--not_phase_flipped": ctf and not phase_flipped(p),
        "--ctf_affected_refs": ctf and not p.doGenerateReferences and p.ctfAffectedRefs.get(),
        "--include_allfreqs": all_frequencies,
        "--fix_high": p.fixHigh.get() if fixed else None,
        "--limit_resolution": limits if limits != NO_LIMITS else None,
        "--noise_groups": NOISE_GROUPS[p.noiseGroups.get()] if ctf else None,
        "--group_size": p.groupSize.get() if grouped else None,
        "--reduce_snr": p.reduceSnr.get(),
        "--kstest": p.testResiduals.get(),
    }


def resolution_limits(protocol):
    """[first iteration's, later ones', lowest] in Å of the limits in use; 0 is no limit."""
    p = protocol
    if p.includeAllFreqs:
        return NO_LIMITS
    growing = p.fixHigh <= 0
    return [p.firstResLimit.get() if growing else 0.0, p.highResLimit.get() if growing else 0.0,
            p.lowResLimit.get()]


def phase_flipped(protocol):
    """Whether the particles are phase-flipped, as the user or else the set says."""
    choice = protocol.areImagesPhaseFlipped.get()
    return _set_is_flipped(protocol) if choice == AS_SET else choice == YES


def _set_is_flipped(protocol):
    return bool(protocol.inputParticles.get().isPhaseFlipped())


# ---- checks

def fourier_errors(protocol):
    errors = _limit_errors(protocol)
    if protocol.doCorrectAmplitudes:
        errors += ctf_errors(protocol.inputParticles.get()) + flip_errors(protocol)
    return errors


def flip_errors(protocol):
    """An error when the user says that flipped particles are not."""
    if not _set_is_flipped(protocol) or phase_flipped(protocol):
        return []
    return ["*Are the images CTF phase flipped?* says No, but the particles are marked as phase-flipped where they "
            "were made.  Choose Yes, or what the set says."]


def ctf_errors(particles):
    """Errors of the particles' CTFs: there are none, or their microscope is none."""
    if not particles.hasCTF():
        return ["The particles have no CTF, expected one to correct for.  Estimate or import it, or say No to "
                "*Use CTF-amplitude correction?*."]
    microscope = particles.getAcquisition()
    values = (("voltage", "kV, more than 0", microscope.getVoltage(), lambda v: v > 0),
              ("spherical aberration", "mm, at least 0", microscope.getSphericalAberration(), lambda v: v >= 0),
              ("amplitude contrast", "0 to 1", microscope.getAmplitudeContrast(), lambda v: abs(v) <= 1))
    return [f"The {name} in the particles' acquisition is {value}, expected {expected}: the CTF depends on it."
            for name, expected, value, good in values if value is None or not good(value)]


def _limit_errors(protocol):
    particles = protocol.inputParticles.get()
    first, high, low = resolution_limits(protocol)
    fixed = 0.0 if protocol.includeAllFreqs else protocol.fixHigh.get()
    errors = []
    for label, limit, otherwise in (("High-resolution limit", high, ", or 0 for none"),
                                    ("Limit in the first iteration", first, ", or 0 for none"),
                                    ("Fix the resolution at", fixed, ", or -1 not to")):
        if limit > 0:
            errors += resolution_errors(label, limit, particles, otherwise)
    highest = max(high, fixed, 2 * particles.getSamplingRate())
    if low <= highest:
        errors.append(f"*Low-resolution limit* is {low:g} Å, expected more than the highest resolution, {highest:g} Å.")
    return errors


def fourier_warnings(protocol):
    return flip_warnings(protocol) if protocol.doCorrectAmplitudes else []


def flip_warnings(protocol):
    """A warning when the user says that particles are flipped which nobody marked."""
    if _set_is_flipped(protocol) or not phase_flipped(protocol):
        return []
    return ["*Are the images CTF phase flipped?* says Yes, but the particles are not marked as phase-flipped.  Go on "
            "only if you know that they were flipped before they came into the project."]


# ---- words

def fourier_summary(protocol):
    """A line on what was done about the CTF."""
    if not protocol.doCorrectAmplitudes:
        return "MLF2D without CTF: the averages are not corrected for it."
    flipped = f" ({flip_words(protocol)} particles)" if protocol.inputParticles.get() else ""
    return f"MLF2D: the averages are corrected for the CTF{flipped}."


def flip_words(protocol):
    return "phase-flipped" if phase_flipped(protocol) else "not phase-flipped"


def fourier_methods(protocol):
    """Sentences on the model, for the methods of a paper."""
    p = protocol
    groups = "all particles" if not p.doCorrectAmplitudes else (
        "each group of particles of the same optics and similar defocus", "each optics group",
        "all particles")[p.noiseGroups.get()]
    sentences = [f"A noise spectrum was estimated for {groups}."]
    if p.doCorrectAmplitudes:
        sentences.append(f"The CTF of every ({flip_words(p)}) particle was modelled, and the class averages were "
                         "corrected for it by a Wiener filter.")
    if p.highResLimit > 0 and p.fixHigh <= 0 and not p.includeAllFreqs:
        sentences.append(f"Frequencies beyond {p.highResLimit.get():g} Å were not used.")
    return sentences
