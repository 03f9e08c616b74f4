"""The form of multi-ref ali2d, a function for each tab."""
from pyworkflow.protocol.params import (
    GE,
    BooleanParam,
    EnumParam,
    FloatParam,
    IntParam,
    PointerParam,
    Positive,
    Range,
    StringParam,
)

from .form import FormWriter
from .ml2d_form import NOT_NEGATIVE
from .mref_help import MANUAL
from .particles import define_particles, define_phase_flipped

WITH_CTF, WITHOUT_CTF = range(2)                    # choices of useCtf
SCORINGS = ("normalized", "original")               # choices of scoring, as the program names them
CENTRINGS = (0, 1, 2, 3, 4, 5, 6, 7, -1)            # of centring
OWN = "own"
FUNCTIONS = ("ref_ali2d", "ref_ali2d_c", "ref_ali2d_m", "ref_random", "none", OWN)      # of function
MOST_ITERATIONS = 100                               # that the program does when it is to stop by itself

USING_CTF = f"useCtf == {WITH_CTF}"


def define_form(form):
    writer = FormWriter(form, MANUAL)
    define_input(writer)
    define_alignment(writer)
    define_references(writer)
    define_iterations(writer)
    form.addParallelSection(threads=2, mpi=1)


def define_input(writer):
    writer.section("Input")
    add = writer.add
    define_particles(writer)
    add("useAlignment", BooleanParam, "Start from their alignment?", False)
    add("inputReferences", PointerParam, "References", important=True,
        pointerClass="SetOfAverages,SetOfClasses2D,SetOfParticles")
    writer.group("CTF")
    add("useCtf", EnumParam, "Use the CTF", WITH_CTF, choices=["when the particles have one", "no"],
        display=EnumParam.DISPLAY_HLIST)
    define_phase_flipped(writer, USING_CTF)
    add("snr", FloatParam, "Signal-to-noise ratio", 1.0, condition=USING_CTF, validators=[Positive])


def define_alignment(writer):
    writer.section("Alignment")
    add = writer.add
    add("radius", IntParam, "Particle radius (px)", -1)
    add("shiftX", FloatParam, "Shifts along x (px)", 3.0, validators=[NOT_NEGATIVE])
    add("shiftY", FloatParam, "Shifts along y (px)", 3.0, validators=[NOT_NEGATIVE])
    add("shiftStep", FloatParam, "Step of the shifts (px)", 1.0, advanced=True, validators=[Positive])
    add("firstRing", FloatParam, "First ring (px)", 1.0, advanced=True, validators=[NOT_NEGATIVE])
    add("ringStep", FloatParam, "Step between rings (px)", 1.0, advanced=True,
        validators=[GE(1, "should be at least 1")])
    add("maskImage", PointerParam, "Mask", advanced=True, allowsNull=True, pointerClass="Mask")
    writer.group("Assignment", advanced=True)
    add("scoring", EnumParam, "Scores", 0, advanced=True,
        choices=["correlation coefficients", "as the original: strong references attract"])
    add("soft", BooleanParam, "Assign softly?", False, advanced=True)
    add("exhaustive", BooleanParam, "Search exhaustively?", False, advanced=True)


def define_references(writer):
    writer.section("References")
    add = writer.add
    add("centring", EnumParam, "Centre the averages", CENTRINGS.index(1), choices=[
        "not", "by the phases of their lowest frequencies", "where a Gaussian fits best", "where a ring fits best",
        "where the given reference fits best", "where their rotational average fits best",
        "on the mass of what is bright", "where a disc fits best on what is bright",
        "by the mean shift of the members"])
    add("function", EnumParam, "Make the next references", 0, choices=[
        "filtered to where halves agree (ref_ali2d)", "filtered, less in each iteration (ref_ali2d_c)",
        "filtered to 0.4/px (ref_ali2d_m)", "centred only (ref_random)", "as the averages are (none)",
        "by a function of your own"])
    add("ownFunction", StringParam, "Your function", "", condition=f"function == {FUNCTIONS.index(OWN)}")
    add("minClassSize", IntParam, "Smallest class", 4, advanced=True, validators=[NOT_NEGATIVE])
    add("randomSeed", IntParam, "Random seed", 1000, advanced=True, validators=[NOT_NEGATIVE])


def define_iterations(writer):
    writer.section("Iterations")
    add = writer.add
    add("maxIters", IntParam, "Number of iterations", 0, validators=[NOT_NEGATIVE])
    add("eps", FloatParam, "Share of particles that may still change", 0.005, advanced=True, condition="maxIters == 0",
        validators=[Range(0, 1, "should be between 0 and 1")])
    add("writeHeaders", BooleanParam, "Write an aligned HDF stack?", False, advanced=True)
    add("memory", FloatParam, "Memory (GiB)", 4.0, advanced=True, validators=[Positive])
