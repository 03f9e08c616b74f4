"""The form of ML2D, a function for each tab."""
from pyworkflow.protocol.params import (
    GE,
    BooleanParam,
    EnumParam,
    FileParam,
    FloatParam,
    IntParam,
    PointerParam,
    Positive,
    Range,
)

from .form import FormWriter
from .ml2d_help import MANUAL

AUTOMATIC, ANGSTROM, DIGITAL = range(3)      # choices of limitResolution


def define_form(form):
    writer = FormWriter(form, MANUAL)
    define_input(writer)
    define_search(writer)
    define_model(writer)
    define_iterations(writer)
    form.addParallelSection(threads=2, mpi=0)


def define_input(writer):
    writer.section("Input")
    add = writer.add
    add("inputParticles", PointerParam, "Input particles", important=True, pointerClass="SetOfParticles")
    generate = "doGenerateReferences"
    add(generate, BooleanParam, "Generate classes?", True)
    add("numberOfClasses", IntParam, "Number of classes", 3, condition=generate, validators=[Positive])
    add("restarts", IntParam, "Random starts", 3, condition=generate, validators=[Positive])
    add("inputReferences", PointerParam, "Class image(s)", condition=f"not {generate}", allowsNull=True,
        pointerClass="SetOfAverages,SetOfClasses2D,SetOfParticles")
    add("splitReferences", IntParam, "Classes per class image", 1, advanced=True, condition=f"not {generate}",
        validators=[Positive])


def define_search(writer):
    writer.section("Search")
    add = writer.add
    add("doMirror", BooleanParam, "Also include mirror in the alignment?", True)
    add("doFast", BooleanParam, "Use the fast version?", True)
    add("significance", FloatParam, "Significance", 1e-12, advanced=True, condition="doFast",
        validators=[Range(1e-300, 1, "should be more than 0 and at most 1")])
    add("zeroOffsets", BooleanParam, "Particles are already centred?", False, advanced=True,
        condition="doFast")
    add("radius", IntParam, "Particle radius (px)", -1)
    add("limitResolution", EnumParam, "Resolution used", AUTOMATIC,
        choices=["automatic", "limit in Å", "limit as digital frequency"])
    add("highResLimit", FloatParam, "High-resolution limit (Å)", 20.0,
        condition=f"limitResolution == {ANGSTROM}", validators=[Positive])
    add("maxFrequency", FloatParam, "Highest digital frequency (1/px)", 0.25,
        condition=f"limitResolution == {DIGITAL}",
        validators=[Range(1e-3, 0.5, "should be between 0.001 and 0.5")])
    add("psiStep", FloatParam, "In-plane rotation sampling (degrees)", 5.0, advanced=True,
        validators=[Range(0.01, 90, "should be between 0.01 and 90 degrees")])
    add("maxShift", FloatParam, "Largest shift (px)", -1.0, advanced=True)
    add("narrowShifts", BooleanParam, "Search fewer shifts?", False, advanced=True, condition="maxShift < 0")


def define_model(writer):
    writer.section("Model")
    add = writer.add
    add("doNorm", BooleanParam, "Refine the normalization for each image?", False)
    add("doStudent", BooleanParam, "Robust against outliers?", False)
    add("studentDf", FloatParam, "Degrees of freedom", 6.0, condition="doStudent", validators=[Positive])
    add("sigmaTrick", BooleanParam, "Weight the noise estimate?", True, advanced=True, condition="doStudent")
    not_negative = GE(0, "should not be negative")
    writer.group("Noise", advanced=True)
    add("stdNoise", FloatParam, "Std for pixel noise", 1.0, advanced=True, validators=[Positive])
    add("fixNoise", BooleanParam, "Keep it fixed?", False, advanced=True)
    writer.group("Origin offsets", advanced=True)
    add("stdOffset", FloatParam, "Std for origin offset (px)", 3.0, advanced=True, validators=[not_negative])
    add("fixOffset", BooleanParam, "Keep it fixed?", False, advanced=True)
    writer.group("Class fractions", advanced=True)
    add("fractions", FileParam, "Initial fractions", "", advanced=True)
    add("fixFractions", BooleanParam, "Keep them fixed?", False, advanced=True)


def define_iterations(writer):
    writer.section("Iterations")
    add = writer.add
    add("maxIters", IntParam, "Maximum number of iterations", 100, validators=[Positive])
    add("randomSeed", IntParam, "Random seed", 1, validators=[GE(-1, "should be at least -1")])
    add("eps", FloatParam, "Convergence threshold", 5e-5, advanced=True,
        validators=[GE(0, "should not be negative")])
    add("minClassSize", FloatParam, "Smallest class", -1.0, advanced=True)
    add("iemBlocks", IntParam, "Blocks of incremental EM", 1, advanced=True, validators=[Positive])
    add("writeProbs", BooleanParam, "Write all class probabilities?", False, advanced=True)
    add("memory", FloatParam, "Memory (GiB)", 4.0, advanced=True, validators=[Positive])
