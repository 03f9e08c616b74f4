"""The protocol ML tomo."""
from pyworkflow.constants import NEW
from pyworkflow.object import Pointer

from mlalign.convert import append_averages, location
from mlalign.convert_tomo import coordinates, fill_aligned, fill_classes3d, write_references, write_subtomograms
from mlalign.programs.missing_regions import write_regions
from mlalign.programs.tomo_results import TomoRun

from .base import ProgramProtocol
from .tomo_base import ALIGNED, AVERAGES, BASE, CLASSES, are_subtomograms, output_classes
from .tomo_checks import errors, tilts_of, warnings
from .tomo_command import stage_iterations, tomo_options
from .tomo_form import CLASSES as CLASSES_ALONE
from .tomo_form import NOTHING, REGIONS, define_form
from .tomo_words import methods, summary


class MlalignProtMLTomo(ProgramProtocol, BASE):
    """Aligns and classifies subtomograms by maximum likelihood, despite their missing wedges.

    It answers which structures are in a set of subtomograms (or other volumes of which a part of Fourier space was not
    observed, such as random conical tilt reconstructions), without being told what to look for. Every particle is
    compared with every class average at all orientations and shifts, over what was observed of it, and contributes to
    each average with the probability that it belongs there in that pose. What was not observed counts neither for nor
    against, and the averages are filled from particles that observed it.

    *Input.* Cubic, normalised (mean 0, standard deviation 1), roughly centred subtomograms. Their range of tilts is
    taken from their acquisition, that of their set or tomogram, or else from the form.

    *Output.* _outputClasses_: the classes with their averages. _outputAverages_: the averages by themselves.
    _outputSubtomograms_: the particles with their alignment, class, the probability of their best pose
    (_mlalignPMax_) and of their class (_mlalignClassProbability_), and their log-likelihood.

    *How to begin.* Leave the form as it is but for the number of references, and a _Box to work in_ of 32 if yours is
    larger. Good classes have features that the missing wedge cannot explain, and are found again with another random
    seed. Then refine a class: its subtomograms, _Start from their alignment?_, 1 reference, a sampling of _10 5_ with a
    search range of _50 25_; or do all in one run with stages: sampling _15 10 5_, search range _-1 50 25_, box
    _32 -1 -1_, iterations _15 5 5_.

    *To tell apart what differs in one place only*, align all particles with 1 reference, then classify them with
    _What to search_ on _classes_ and a mask around that place.

    *Stopped or killed?* Execute it again with the run mode _Continue_: it goes on from its last iteration. After a
    change of the maximum number of iterations it goes on as well; after a change of anything that matters for the
    result it starts anew.
    """

    _label = "ML tomo"
    _devStatus = NEW
    _program = "ml_tomo"
    _prefix = "mltomo"
    RESUMABLE = ("--iter", "--eps", "--thr", "--gpu", "--memory")

    @property
    def _possibleOutputs(self):
        return output_classes(self.inputVolumes.get() if self.hasAttribute("inputVolumes") else None)

    def _defineParams(self, form):
        define_form(form)

    # ---- the command line

    def _inputPointers(self):
        pointers = [self.inputVolumes]
        if not self.generateReferences:
            pointers.append(self.inputReferences)
        if self.searchMode == CLASSES_ALONE and self.maskFile.get() is not None:
            pointers.append(self.maskFile)
        if REGIONS[self.missingDataType.get()] == "weight":
            pointers.append(self.missingWeight)
        return pointers

    def _options(self):
        return tomo_options(self)

    def _whatIsComputed(self, options):
        # How long a stage lasts, and when it ends, decides where the next one begins.
        earlier = stage_iterations(self)[:-1]
        return {**super()._whatIsComputed(options), "--iter": earlier, **({"--eps": options["--eps"]} if earlier else {})}

    def _signature(self):
        return [*super()._signature(), self._conversion()]

    def _conversion(self):
        """What the converted input depends on, besides the input sets."""
        kind = REGIONS[self.missingDataType.get()]
        limits = self._weightLocation() if kind == "weight" else self.missingAng.get()
        return [kind, limits, self.tiltFromAcquisition.get(), self.negateTilts.get(), self.copyAlignment.get(),
                self.searchMode == NOTHING]

    def _goingOn(self, options, last):
        wanted = sum(stage_iterations(self))
        return {"--restart": str(self.getRun().images_file(wanted))} if wanted < last else {"--continue": True}

    def _root(self):
        return self._getExtraPath(self._prefix)

    def getRun(self):
        return TomoRun(self._root())

    def _particlesFile(self):
        return self._getExtraPath("input_particles.xmd")

    def _referencesFile(self):
        return self._getExtraPath("input_references.xmd")

    def _regionsFile(self):
        return self._getExtraPath("missing_regions.xmd")

    def _maskFile(self):
        mask = self.maskFile.get()
        return None if mask is None else location(mask)

    def _weightLocation(self):
        weight = self.missingWeight.get()
        return "" if weight is None else location(weight)

    # ---- steps

    def convertInputStep(self, signature):
        tilts = tilts_of(self)
        write_subtomograms(self.inputVolumes.get(), self._particlesFile(), tilts, self.copyAlignment.get(),
                           self.searchMode == NOTHING)
        if tilts.regions:
            write_regions(self._regionsFile(), tilts.regions)
        if not self.generateReferences:
            write_references(self.inputReferences.get(), self._referencesFile())

    def createOutputStep(self, options, signature):
        volumes, run = self.inputVolumes.get(), self.getRun()
        classes, averages, aligned = self._outputSets(volumes)
        fill_classes3d(classes, run)
        append_averages(averages, classes)
        fill_aligned(aligned, volumes, run)
        self._defineAll({CLASSES: classes, AVERAGES: averages, ALIGNED: aligned})

    def _outputSets(self, volumes):
        """New sets of classes, averages and aligned particles, of the kinds that suit the input."""
        if not are_subtomograms(volumes):
            classes = self._createSetOfClassesVol()
            classes.setImages(self.inputVolumes)
            return classes, self._createSetOfVolumes("_averages"), self._createSetOfVolumes("_aligned")
        classes = self._createSetOfClassesSubTomograms(self.inputVolumes)
        if coordinates(volumes) is not None:
            where = Pointer()
            where.copy(coordinates(volumes))
            classes.setCoordinates3D(where)
        return classes, self._createSetOfAverageSubTomograms(), self._createSetOfSubTomograms()

    # ---- what Scipion asks

    def _validate(self):
        return errors(self)

    def _warnings(self):
        return warnings(self)

    def _summary(self):
        return summary(self)

    def _methods(self):
        return methods(self)

    def _citations(self):
        return ["Scheres2009c"]
