"""The form of ML tomo, a function for each tab.  Its values are checked by the program itself, see tomo_command."""
from pyworkflow.protocol.params import (
    BooleanParam,
    EnumParam,
    FileParam,
    FloatParam,
    IntParam,
    PointerParam,
    StringParam,
)

from .form import FormWriter
from .gpu import define_gpu
from .tomo_base import INPUT, REFERENCES, note
from .tomo_help import MANUAL

EVERYTHING, SHIFTS, CLASSES, NOTHING = range(4)         # choices of searchMode
REGIONS = ("wedge_y", "wedge_x", "pyramid", "cone", "weight", "everything")     # choices of missingDataType

WEDGE = "missingDataType in (0, 1)"
TURNING = f"searchMode == {EVERYTHING}"
MOVING = f"searchMode in ({EVERYTHING}, {SHIFTS})"
CLASSIFYING = f"searchMode != {NOTHING}"
LOCAL = f"{TURNING} and str(angSearch).strip() not in ('-1', '0')"
LIKELIHOOD = f"{CLASSIFYING} and not maxCC"
FROM_CHANCE = f"{TURNING} and generateReferences and not copyAlignment"
FROM_COARSE = f"{TURNING} and not (generateReferences and copyAlignment)"
GENERATED = f"{CLASSIFYING} and generateReferences"


def define_form(form):
    writer = FormWriter(form, MANUAL)
    define_input(writer)
    define_search(writer)
    define_model(writer)
    define_iterations(writer)
    define_gpu(form)
    form.addParallelSection(threads=2, mpi=1)


def define_input(writer):
    writer.section("Input")
    add = writer.add
    add("inputVolumes", PointerParam, "Input subtomograms", important=True, pointerClass=INPUT, extra_help=note())
    add("copyAlignment", BooleanParam, "Start from their alignment?", False)
    add("searchMode", EnumParam, "What to search", EVERYTHING,
        choices=["orientations, shifts and classes", "shifts and classes", "classes", "nothing, only average"])
    add("maskFile", PointerParam, "Mask", condition=f"searchMode == {CLASSES}", allowsNull=True,
        pointerClass="VolumeMask")
    writer.group("References")
    generate = "generateReferences"
    add(generate, BooleanParam, "Generate references?", True)
    add("numberOfReferences", IntParam, "Number of references", 3, condition=generate)
    add("restarts", IntParam, "Random starts", 3, condition=FROM_CHANCE)
    add("inputReferences", PointerParam, "Reference volume(s)", condition=f"not {generate}", allowsNull=True,
        pointerClass=REFERENCES)
    add("symmetry", StringParam, "Symmetry", "c1")
    writer.group("Missing data")
    add("missingDataType", EnumParam, "What is missing", 0,
        choices=["wedge, tilt axis Y", "wedge, tilt axis X", "pyramid", "cone", "as a weight volume says", "nothing"])
    add("tiltFromAcquisition", BooleanParam, "Tilt range of the acquisition?", True, condition=WEDGE)
    add("missingAng", StringParam, "Tilt range (degrees)", "-60 60", condition="missingDataType in (0, 1, 2, 3)")
    add("negateTilts", BooleanParam, "Tilts are counted the other way?", False, advanced=True,
        condition="missingDataType in (0, 1, 2)")
    add("missingWeight", PointerParam, "Weight volume", condition="missingDataType == 4", allowsNull=True,
        pointerClass="Volume")


def define_search(writer):
    writer.section("Search")
    add = writer.add
    writer.group("Orientations and shifts", condition=MOVING)
    add("angSampling", StringParam, "Angular sampling (degrees)", "15", condition=TURNING)
    add("angSearch", StringParam, "Search range (degrees)", "-1", condition=TURNING)
    add("anchor", BooleanParam, "Stay around the given orientations?", False, advanced=True, condition=LOCAL)
    add("globalPsi", BooleanParam, "Search all in-plane angles?", False, advanced=True, condition=LOCAL)
    add("psiSampling", StringParam, "In-plane sampling (degrees)", "-1", advanced=True, condition=TURNING)
    add("tiltMin", FloatParam, "Smallest tilt (degrees)", 0.0, advanced=True, condition=TURNING)
    add("tiltMax", FloatParam, "Largest tilt (degrees)", 180.0, advanced=True, condition=TURNING)
    add("doPerturb", BooleanParam, "Turn the grid in every iteration?", True, condition=TURNING)
    add("noSmallAngle", BooleanParam, "Keep in-plane angles on the axes?", False, advanced=True, condition=TURNING)
    add("limitTrans", StringParam, "Largest shift (voxels)", "-1", condition=MOVING)
    add("doRefine", BooleanParam, "Refine the final poses?", True, advanced=True, condition=MOVING)
    writer.group("Resolution and size")
    add("dim", StringParam, "Box to work in (voxels)", "-1")
    add("maxRes", StringParam, "Highest digital frequency", "0.5")
    add("growResolution", BooleanParam, "Begin at low resolution?", True, advanced=True, condition=FROM_COARSE)
    add("radius", IntParam, "Particle radius (voxels)", -1)


def define_model(writer):
    writer.section("Model")
    add = writer.add
    add("maxCC", BooleanParam, "Correlate instead of likelihoods?", False, condition=CLASSIFYING)
    add("halfSets", BooleanParam, "Keep two half-sets apart?", False, condition=CLASSIFYING)
    writer.group("Missing data in the averages")
    add("dontImpute", BooleanParam, "Use weighted averaging instead of imputation?", False, condition=LIKELIHOOD)
    add("noImpThresh", FloatParam, "Fewest observations", 1.0, advanced=True)
    add("numberOfImpIterations", IntParam, "Imputations per iteration", 1, advanced=True,
        condition=f"{LIKELIHOOD} and not dontImpute")
    writer.group("Similarity of the references", condition=CLASSIFYING)
    add("regIni", FloatParam, "Initial regularisation", 0.0, condition=CLASSIFYING)
    regularised = f"{CLASSIFYING} and (regIni or 0) > 0"
    add("regFinal", FloatParam, "Final regularisation", 0.0, condition=regularised)
    add("regSteps", IntParam, "Regularisation steps", 5, condition=regularised)
    add("doFilter", BooleanParam, "Filter the references?", False, advanced=True, condition=CLASSIFYING)
    add("iniFilter", BooleanParam, "Filter the first references?", False, advanced=True, condition=GENERATED)
    writer.group("Noise", advanced=True, condition=LIKELIHOOD)
    add("stdNoise", FloatParam, "Std for voxel noise", 1.0, advanced=True, condition=LIKELIHOOD)
    add("fixSigmaNoise", BooleanParam, "Keep the noise fixed?", False, advanced=True, condition=LIKELIHOOD)
    add("sigmaShells", BooleanParam, "Noise by frequency?", False, advanced=True,
        condition=f"{LIKELIHOOD} and not fixSigmaNoise")
    writer.group("Origin offsets", advanced=True, condition=MOVING)
    add("stdOrig", FloatParam, "Std for origin offset (voxels)", 3.0, advanced=True, condition=MOVING)
    add("fixSigmaOffset", BooleanParam, "Keep it fixed?", False, advanced=True, condition=f"{MOVING} and not maxCC")
    writer.group("Class fractions", advanced=True, condition=CLASSIFYING)
    add("fractions", FileParam, "Initial fractions", "", advanced=True, condition=CLASSIFYING)
    add("fixFrac", BooleanParam, "Keep them fixed?", False, advanced=True, condition=CLASSIFYING)


def define_iterations(writer):
    writer.section("Iterations")
    add = writer.add
    add("numberOfIterations", StringParam, "Maximum number of iterations", "25", condition=CLASSIFYING)
    add("randomSeed", IntParam, "Random seed", 1)
    add("eps", FloatParam, "Convergence threshold", 5e-5, advanced=True, condition=CLASSIFYING)
    add("memory", FloatParam, "Memory (GiB)", 4.0, advanced=True)
