"""The form of ML2D and MLF2D, a function for each tab or group."""
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
from .gpu import define_gpu
from .ml2d_help import MANUAL
from .particles import define_particles, define_phase_flipped

AUTOMATIC, ANGSTROM, DIGITAL = range(3)      # choices of limitResolution
SUGGESTED = -1                               # of numberOfClasses: as many as suit so many particles
NOISE_GROUPS = ("auto", "optics", "pooled")  # choices of noiseGroups, as the program names them

WITH_CTF = "doMlf and doCorrectAmplitudes"
LIMITED = "doMlf and not includeAllFreqs"
GROWING = f"{LIMITED} and (fixHigh or 0) <= 0"
NOT_NEGATIVE = GE(0, "should not be negative")


def define_form(form, only_mlf=False):
    """Fill the form of ML2D, or with ``only_mlf`` that of MLF2D, whose switch is on and not to be seen."""
    writer = FormWriter(form, MANUAL)
    define_input(writer, only_mlf)
    define_classes(writer)
    define_ctf(writer)
    define_resolution(writer)
    define_search(writer)
    define_model(writer)
    define_iterations(writer)
    define_gpu(form)
    form.addParallelSection(threads=2, mpi=1)


def define_input(writer, only_mlf):
    writer.section("Input")
    define_particles(writer)
    writer.add("doMlf", BooleanParam, "Use MLF2D instead of ML2D?", only_mlf, important=True,
               condition="False" if only_mlf else None)


def define_classes(writer):
    writer.group("Classes")
    add = writer.add
    generate = "doGenerateReferences"
    add(generate, BooleanParam, "Generate classes?", True)
    add("numberOfClasses", IntParam, "Number of classes", SUGGESTED, condition=generate)
    add("restarts", IntParam, "Random starts", 3, condition=generate, validators=[Positive])
    add("inputReferences", PointerParam, "Class image(s)", condition=f"not {generate}", allowsNull=True,
        pointerClass="SetOfAverages,SetOfClasses2D,SetOfParticles")
    add("splitReferences", IntParam, "Classes per class image", 1, advanced=True, condition=f"not {generate}",
        validators=[Positive])


def define_ctf(writer):
    writer.group("CTF", condition="doMlf")
    add = writer.add
    add("doCorrectAmplitudes", BooleanParam, "Use CTF-amplitude correction?", True, condition="doMlf")
    define_phase_flipped(writer, WITH_CTF)
    add("ctfAffectedRefs", BooleanParam, "Class images are CTF-affected?", False,
        condition=f"{WITH_CTF} and not doGenerateReferences")


def define_resolution(writer):
    writer.group("Resolution")
    add = writer.add
    add("limitResolution", EnumParam, "Resolution used", AUTOMATIC, condition="not doMlf",
        choices=["automatic", "limit in Å", "limit as digital frequency"])
    add("includeAllFreqs", BooleanParam, "Use all frequencies?", False, advanced=True, condition="doMlf")
    add("fixHigh", FloatParam, "Fix the resolution at (Å)", -1.0, advanced=True, condition=LIMITED)
    add("highResLimit", FloatParam, "High-resolution limit (Å)", 20.0, validators=[NOT_NEGATIVE],
        condition=f"({GROWING}) or (not doMlf and limitResolution == {ANGSTROM})")
    add("firstResLimit", FloatParam, "Limit in the first iteration (Å)", 0.0, advanced=True, condition=GROWING,
        validators=[NOT_NEGATIVE])
    add("lowResLimit", FloatParam, "Low-resolution limit (Å)", 999.0, advanced=True, condition=LIMITED,
        validators=[Positive])
    add("maxFrequency", FloatParam, "Highest digital frequency (1/px)", 0.25,
        condition=f"not doMlf and limitResolution == {DIGITAL}",
        validators=[Range(1e-3, 0.5, "should be between 0.001 and 0.5")])


def define_search(writer):
    writer.section("Search")
    add = writer.add
    add("doMirror", BooleanParam, "Also include mirror in the alignment?", True)
    add("doFast", BooleanParam, "Use the fast version?", True)
    add("significance", FloatParam, "Significance", -1.0, advanced=True, condition="doFast")
    add("zeroOffsets", BooleanParam, "Particles are already centred?", False, advanced=True,
        condition="doFast")
    add("radius", IntParam, "Particle radius (px)", -1)
    add("psiStep", FloatParam, "In-plane rotation sampling (degrees)", 5.0, advanced=True,
        validators=[Range(0.1, 90, "should be between 0.1 and 90 degrees")])
    add("maxShift", FloatParam, "Largest shift (px)", -1.0, advanced=True)
    add("narrowShifts", BooleanParam, "Search fewer shifts?", False, advanced=True, condition="(maxShift or 0) < 0")


def define_model(writer):
    writer.section("Model")
    add = writer.add
    add("doNorm", BooleanParam, "Refine the normalisation for each image?", False)
    add("doStudent", BooleanParam, "Robust against outliers?", False)
    add("studentDf", FloatParam, "Degrees of freedom", 6.0, condition="doStudent", validators=[Positive])
    add("sigmaTrick", BooleanParam, "Weight the noise estimate?", True, advanced=True, condition="doStudent")
    add("testResiduals", BooleanParam, "Test the residuals?", False, advanced=True, condition="doMlf")
    writer.group("Noise", advanced=True)
    add("stdNoise", FloatParam, "Std for pixel noise", 1.0, advanced=True, validators=[Positive])
    add("fixNoise", BooleanParam, "Keep the noise fixed?", False, advanced=True)
    add("noiseGroups", EnumParam, "Noise spectra", 0, advanced=True, condition=WITH_CTF,
        choices=["for each optics group and defocus", "for each optics group", "one for all"])
    add("groupSize", IntParam, "Smallest noise group", 250, advanced=True,
        condition=f"{WITH_CTF} and noiseGroups != {NOISE_GROUPS.index('pooled')}", validators=[Positive])
    add("reduceSnr", FloatParam, "Factor for the SNR", 1.0, advanced=True, condition="doMlf",
        validators=[Positive])
    writer.group("Origin offsets", advanced=True)
    add("stdOffset", FloatParam, "Std for origin offset (px)", 3.0, advanced=True, validators=[NOT_NEGATIVE])
    add("fixOffset", BooleanParam, "Keep it fixed?", False, advanced=True)
    writer.group("Class fractions", advanced=True)
    add("fractions", FileParam, "Initial fractions", "", advanced=True)
    add("fixFractions", BooleanParam, "Keep them fixed?", False, advanced=True)


def define_iterations(writer):
    writer.section("Iterations")
    add = writer.add
    add("maxIters", IntParam, "Maximum number of iterations", 100, validators=[Positive])
    add("randomSeed", IntParam, "Random seed", 1, validators=[GE(-1, "should be at least -1")])
    add("eps", FloatParam, "Convergence threshold", -1.0, advanced=True)
    add("minClassSize", FloatParam, "Smallest class", -1.0, advanced=True)
    add("iemBlocks", IntParam, "Blocks of incremental EM", 1, advanced=True, condition="not doMlf",
        validators=[Positive])
    add("writeProbs", BooleanParam, "Write all class probabilities?", False, advanced=True)
    add("memory", FloatParam, "Memory (GiB)", 4.0, advanced=True, validators=[Positive])
