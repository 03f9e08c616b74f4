"""The form of refine2d, a function for each tab; the program's modules (aligners and their like) are in tables."""
from typing import NamedTuple

from pyworkflow.protocol.params import (
    GE,
    BooleanParam,
    EnumParam,
    FloatParam,
    IntParam,
    Line,
    PointerParam,
    Positive,
    Range,
    StringParam,
)

from .form import FormWriter
from .ml2d_form import NOT_NEGATIVE
from .particles import define_particles, define_phase_flipped
from .refine2d_help import manual

WITH_CTF, WITHOUT_CTF = range(2)                    # choices of useCtf
STARTS = ("harmonics", "footprint", "ml")           # choices of startingClasses, as the program names them
CENTRINGS = ("xform.center", "xform.centerofmass", "xform.centeracf", "nocenter")

USING_CTF = f"useCtf == {WITH_CTF}"
NONE = "None"
ALIGNERS = ("rotate_translate_tree", "rotate_translate_flip", "rotate_translate", "rotate_translate_bispec",
            "rotate_flip", "rotational", "translational", NONE)
REFINERS = (NONE, "refine")
COMPARATORS = ("ccc", "dot", "sqeuclidean", "frc", "phase", "optvariance")
AVERAGERS = ("mean", "median", "ctf.auto", "ctfw.auto", "ctf.weight", "ctf.weight.autofilt")
NORMALISERS = ("normalize.edgemean", "normalize", "normalize.circlemean", "normalize.mask", "normalize.toimage",
               "normalize.ramp.normvar", "normalize.unitlen", NONE)


class Module(NamedTuple):
    """What can be chosen for an option of the program by name, with parameters of its own.

    kind: a method of :class:`mlalign.programs.modules2d.Modules`, which reads it
    """
    label: str
    kind: str
    choices: tuple
    default: str
    condition: str = None

    def text(self, protocol, stem):
        """``name`` or ``name:parameters`` as the program takes it; None for what it does when it is told nothing."""
        name = self.choices[getattr(protocol, f"{stem}Type").get()]
        if name == self.default == NONE or not protocol.evalParamCondition(f"{stem}Type"):
            return None
        more = (getattr(protocol, f"{stem}Params").get() or "").strip().strip(":")
        return f"{name}:{more}" if more and name != NONE else name


# the option's name without its dashes -> what the form offers
SIMILARITY = {
    "simalign": Module("Aligner", "aligner", ALIGNERS, "rotate_translate_tree"),
    "simaligncmp": Module("its comparator", "comparator", COMPARATORS, "ccc"),
    "simralign": Module("Second aligner", "refiner", REFINERS, NONE),
    "simraligncmp": Module("its comparator", "comparator", COMPARATORS, "dot", "simralignType != 0"),
    "simcmp": Module("Similarity", "comparator", COMPARATORS, "ccc"),
}
AVERAGER = {"classAverager": Module("Averager", "averager", AVERAGERS, "ctf.weight.autofilt")}
AVERAGING = {
    "classalign": Module("Aligner", "aligner", ALIGNERS, "rotate_translate_tree"),
    "classaligncmp": Module("its comparator", "comparator", COMPARATORS, "ccc"),
    "classralign": Module("Second aligner", "refiner", REFINERS, NONE),
    "classraligncmp": Module("its comparator", "comparator", COMPARATORS, "ccc", "classralignType != 0"),
    "classcmp": Module("Similarity to the average", "comparator", COMPARATORS, "ccc"),
    "classnormproc": Module("Normalisation", "processor", NORMALISERS, "normalize.edgemean"),
}
MODULES = {**SIMILARITY, **AVERAGER, **AVERAGING}


class ModuleWriter(FormWriter):
    """A form on which a module has a line: its name, and its parameters."""

    def module(self, stem, module, advanced=True):
        about = {"advanced": advanced, "condition": module.condition}
        self.add(stem, Line, module.label, form=self.form, **about)
        outer, self.container = self.container, self.form.getParam(stem)
        self.add(f"{stem}Type", EnumParam, "", module.choices.index(module.default), choices=list(module.choices),
                 **about)
        if NONE in module.choices:
            about["condition"] = f"{stem}Type != {module.choices.index(NONE)}"
        self.add(f"{stem}Params", StringParam, "parameters", "", **about)
        self.container = outer

    def modules(self, table):
        for stem, module in table.items():
            self.module(stem, module)


def define_form(form):
    writer = ModuleWriter(form, manual(MODULES))
    define_input(writer)
    define_classification(writer)
    define_averages(writer)
    define_cycles(writer)
    form.addParallelSection(threads=2, mpi=1)


def define_input(writer):
    writer.section("Input")
    add = writer.add
    define_particles(writer)
    add("numberOfClassAvg", IntParam, "Number of classes", 32, validators=[GE(2, "should be at least 2")])
    add("inputClassAvg", PointerParam, "Starting averages", allowsNull=True,
        pointerClass="SetOfAverages,SetOfClasses2D,SetOfParticles")
    writer.group("CTF")
    add("useCtf", EnumParam, "Use the CTF", WITH_CTF, choices=["when the particles have one", "no"],
        display=EnumParam.DISPLAY_HLIST)
    define_phase_flipped(writer, USING_CTF)


def define_classification(writer):
    writer.section("Classification")
    add = writer.add
    add("radius", IntParam, "Particle radius (px)", -1)
    add("maxShift", IntParam, "Largest shift (px)", -1, advanced=True)
    add("numberOfAlignRef", IntParam, "Number of alignment references", 5, validators=[Positive])
    add("nbasisfp", IntParam, "Number of eigenimages", 12, validators=[Positive])
    add("startingClasses", EnumParam, "Starting classes", 0, advanced=True, condition="inputClassAvg is None",
        choices=["harmonics", "footprint", "maximum likelihood"], display=EnumParam.DISPLAY_HLIST)
    add("doNormProj", BooleanParam, "Normalise the projected vectors?", True, advanced=True)
    add("doFastSeed", BooleanParam, "Seed classes once?", True, advanced=True)
    writer.group("Similarity to the alignment references", advanced=True)
    add("shrink", IntParam, "Shrink images by", 1, advanced=True, validators=[Positive])
    writer.modules(SIMILARITY)


def define_averages(writer):
    writer.section("Class averages")
    add = writer.add
    add("classIter", IntParam, "Rounds of averaging", 5, validators=[NOT_NEGATIVE])
    add("classKeep", FloatParam, "Keep", 0.85, validators=[Positive])
    add("classKeepSig", BooleanParam, "Keep by deviations?", False, advanced=True)
    writer.module("classAverager", AVERAGER["classAverager"], advanced=False)
    add("classRefSf", BooleanParam, "Filter averages by their FRC?", True)
    add("centerType", EnumParam, "Centre the averages", 0, choices=[
        "by shape (xform.center)", "by centre of mass (xform.centerofmass)", "by autocorrelation (xform.centeracf)",
        "not"])
    add("doAutomask", BooleanParam, "Mask averages by their shape?", False)
    writer.group("Alignment to the averages", advanced=True)
    writer.modules(AVERAGING)


def define_cycles(writer):
    writer.section("Cycles")
    add = writer.add
    add("numberOfIterations", IntParam, "Number of cycles", 8, validators=[Positive])
    add("eps", FloatParam, "Stop below this share of changes", 0.0,
        validators=[Range(0, 1, "should be between 0 and 1")])
    add("randomSeed", IntParam, "Random seed", 1, validators=[GE(-1, "should be at least -1")])
    add("memory", FloatParam, "Memory (GiB)", 4.0, advanced=True, validators=[Positive])
    add("extraParams", StringParam, "More options", "", advanced=True)
