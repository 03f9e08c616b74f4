"""What ML tomo is made of with scipion-em-tomo, and without it: the one place that asks whether it is there.

BASE          : the protocol's base class
SUBTOMOGRAMS  : the class of sets of subtomograms, None without scipion-em-tomo
WITHOUT_TOMO  : why there are no subtomograms: the error of the import; empty with scipion-em-tomo
INPUT, REFERENCES : names of the classes that may be chosen
"""
from pwem.objects import SetOfClassesVol, SetOfVolumes

CLASSES, AVERAGES, ALIGNED = "outputClasses", "outputAverages", "outputSubtomograms"
OF_VOLUMES = {CLASSES: SetOfClassesVol, AVERAGES: SetOfVolumes, ALIGNED: SetOfVolumes}

try:
    from tomo.objects import SetOfAverageSubTomograms, SetOfClassesSubTomograms
    from tomo.objects import SetOfSubTomograms as SUBTOMOGRAMS
    from tomo.protocols.protocol_base import ProtTomoSubtomogramAveraging as BASE
except ImportError as error:
    from pwem.protocols import ProtClassify3D as BASE
    SUBTOMOGRAMS, WITHOUT_TOMO = None, str(error)
    OF_SUBTOMOGRAMS = OF_VOLUMES
    INPUT, REFERENCES = "SetOfVolumes", "Volume,SetOfVolumes,SetOfClasses3D"
else:
    WITHOUT_TOMO = ""
    OF_SUBTOMOGRAMS = {CLASSES: SetOfClassesSubTomograms, AVERAGES: SetOfAverageSubTomograms, ALIGNED: SUBTOMOGRAMS}
    INPUT = "SetOfSubTomograms,SetOfVolumes"
    REFERENCES = "Volume,SetOfVolumes,SetOfClasses3D,SetOfClassesSubTomograms"      # and what derives from them

NOTE = ("scipion-em-tomo is not installed here ({}), so that only sets of volumes can be classified; install it for "
        "subtomograms.")


def note():
    """A line for the user when there are no subtomograms here; else empty."""
    return NOTE.format(WITHOUT_TOMO) if WITHOUT_TOMO else ""


def are_subtomograms(volumes):
    """Whether a set, or None, is one of subtomograms."""
    return SUBTOMOGRAMS is not None and isinstance(volumes, SUBTOMOGRAMS)


def output_classes(volumes):
    """{output: class} for input ``volumes``; None: not chosen yet."""
    return OF_VOLUMES if volumes is not None and not are_subtomograms(volumes) else OF_SUBTOMOGRAMS
