"""The form of select classes, and what it says about each parameter."""
from pyworkflow.protocol.params import (
    GE,
    BooleanParam,
    EnumParam,
    FloatParam,
    IntParam,
    PointerParam,
    Range,
    StringParam,
)

from mlalign.programs.select import THRESHOLD

from .form import FormWriter

SCORED, LISTED, ALL = range(3)          # choices of choose
FINAL_RESULT = -1                       # of iteration
INPUT = "SetOfClasses2D,SetOfClassesSubTomograms,SetOfClassesVol"

MANUAL = """\
inputClasses
    The classes to choose from: 2-D classes of any protocol, or classes of subtomograms or volumes.

    Classes of this plugin's protocols are scored by all that the run has written.  Of other classes the average,
    the particles and the size are known; the parts of the score that need more are left out.
choose
    *by their score*: every class gets a score from 0 to 1, and those that reach the score below are kept.

    The score is the weighted mean of four parts.  *Signal* (45 %): how much more of its particles the average explains
    than noise would let it; what junk has, it has at the rim as well as in the middle.  *Resolution* (25 %): how far
    in frequency the average can be trusted; at most twice the signal.  *Stability* (15 %): how little the average and
    its members changed in the last iterations.  *Size* (15 %).  Signal and resolution are relative to the better
    classes of the same run.

    *from a list*: the classes named below.

    *all*: every class that is large enough.
minScore
    Classes with this score or a higher one are kept.  0.45 is a good first guess: junk without a compact particle in it
    rarely reaches 0.4.  Execute it once and look at the plot of the scores in _Analyze results_, where the gap is seen;
    then change this number and execute it again with _Continue_.

    Small, bright contaminants look like particles to the score: have a look at what was chosen.
classList
    Numbers of the classes to keep, such as 1,4,7-9.  The class gallery shows them, and makes such a selection by
    itself.
minSize
    Of the classes so chosen, only those with at least this many particles are kept.
iteration
    -1: the final result.  A number: classes, averages and alignment of that iteration of a run of this plugin, whose
    input particles are then classified anew as its files say.
recenter
    Move every chosen average so that the centre of mass of its particle is in the middle of the box, and change the
    alignment of its members accordingly.  The shift is kept with each class (_mlalignMovedX_, _mlalignMovedY_).  Helps
    what comes next, such as extracting particles anew or multi-ref ali2d, when averages are off centre.
makeClasses
    Output _outputClasses_: the chosen classes with their averages, members and scores.
makeParticles
    Output _outputParticles_ (or _outputSubtomograms_): the members of the chosen classes, with their alignment.
makeAverages
    Output _outputAverages_: the chosen averages, to start another run from.
makeRejected
    Output _outputRejected_: the members of all other classes, to look at or to classify again.
"""


def define_form(form):
    writer = FormWriter(form, MANUAL)
    add = writer.add
    writer.section("Input")
    add("inputClasses", PointerParam, "Input classes", important=True,
        pointerClass=INPUT)
    add("choose", EnumParam, "Choose classes", SCORED, choices=["by their score", "from a list", "all"],
        display=EnumParam.DISPLAY_HLIST)
    add("minScore", FloatParam, "Score at least", THRESHOLD, condition=f"choose == {SCORED}",
        validators=[Range(0, 1, "should be between 0 and 1")])
    add("classList", StringParam, "Classes", "", condition=f"choose == {LISTED}")
    add("minSize", IntParam, "Particles at least", 1, validators=[GE(1, "should be at least 1")])
    add("iteration", IntParam, "Iteration", FINAL_RESULT, advanced=True)
    add("recenter", BooleanParam, "Re-centre averages and members?", False)
    writer.group("Outputs")
    add("makeClasses", BooleanParam, "Classes?", True)
    add("makeParticles", BooleanParam, "Particles?", True)
    add("makeAverages", BooleanParam, "Averages?", True)
    add("makeRejected", BooleanParam, "Rejected particles?", False)
