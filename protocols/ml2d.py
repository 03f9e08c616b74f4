"""The protocol ML2D, which runs MLF2D as well."""
from enum import Enum

from pwem.objects import SetOfAverages, SetOfClasses2D
from pwem.protocols import ProtClassify2D
from pyworkflow.constants import NEW

from mlalign import __version__
from mlalign.convert import write_images
from mlalign.programs.suggest import suggested_classes

from .base import ProgramProtocol
from .checks import (
    few_particles,
    image_errors,
    lacks_numbers,
    match_errors,
    mpi_errors,
    pixel_size_errors,
    resolution_errors,
)
from .fourier import fourier_errors, fourier_methods, fourier_options, fourier_summary, fourier_warnings
from .gpu import gpu_errors, gpu_option, gpu_warnings
from .ml2d_checks import cancelled_details, large_box, range_errors
from .ml2d_form import ANGSTROM, AUTOMATIC, SUGGESTED, define_form
from .particles import (
    contrast_warnings,
    convert_particles,
    grey_scale_warnings,
    new_classes2d,
    normalisation_lines,
    normalisation_methods,
    normalisation_signature,
    normalisation_warnings,
)
from .summary import final_lines, progress_lines, starting_lines


class ML2DOutputs(Enum):
    outputClasses = SetOfClasses2D
    outputAverages = SetOfAverages


class MlalignProtML2D(ProgramProtocol, ProtClassify2D):
    """Aligns and classifies particles in 2D by maximum likelihood.

    It answers which views are in a set of particles, without being told what to look for. Every particle
    is compared with every class average at all in-plane rotations, shifts and, if wanted, mirrored, and
    contributes to each average with the probability that it belongs there in that pose. Nothing is
    decided too early, which is what noisy images need. The noise, the spread of the origins and the
    sizes of the classes are estimated as well.

    *Input.* Roughly centred particles; those that are not normalised are, in copies. Boxes of about 64 pixels
    are enough to tell views apart.

    *Output.* _outputClasses_: the classes with their averages; each particle carries its alignment, the
    probability of its best pose (_mlalignPMax_) and of its class (_mlalignClassProbability_), and its
    log-likelihood. _outputAverages_: the averages by themselves.

    *How to begin.* Leave everything as it is (there are then as many classes as suit the number of
    particles), and let it converge. While it runs, the summary and _Analyze results_ show how far it is.
    Good classes have clear features and are found again with another random seed.

    *With the CTF.* The switch _Use MLF2D instead of ML2D?_ models the CTF of every particle and the spectrum of
    the noise as well; it is what the protocol MLF2D does.

    *Stopped or killed?* Execute it again with the run mode _Continue_: it goes on from its last
    iteration. After a change of the maximum number of iterations it goes on as well; after a change of
    anything that matters for the result it starts anew.
    """

    _label = "ML2D"
    _devStatus = NEW
    _possibleOutputs = ML2DOutputs

    def _defineParams(self, form):
        define_form(form)

    @property
    def _program(self):
        return "mlf_align2d" if self.doMlf else "ml_align2d"

    @property
    def _prefix(self):
        return "mlf2d" if self.doMlf else "ml2d"

    # ---- the command line

    def _inputPointers(self):
        pointers = [self.inputParticles]
        if not self.doGenerateReferences:
            pointers.append(self.inputReferences)
        return pointers

    def _options(self):
        own = fourier_options(self) if self.doMlf else {"--maxres": self._digitalLimit(),
                                                        "--iem": self.iemBlocks.get()}
        return {**self._sharedOptions(), **own}

    def _sharedOptions(self):
        """What both programs take."""
        generate, fast, student = (p.get() for p in (self.doGenerateReferences, self.doFast, self.doStudent))
        return {
            "-i": self._particlesFile(),
            "--nref": self._numberOfClasses() if generate else self.splitReferences.get(),
            "--ref": None if generate else self._referencesFile(),
            "--restarts": self.restarts.get() if generate else None,
            "--oroot": self._root(),
            "--sampling_rate": self.inputParticles.get().getSamplingRate(),
            "--write_probs": self.writeProbs.get(),
            "--mirror": self.doMirror.get(),
            "--fast": fast,
            "-C": _unless_negative(self.significance.get()) if fast else None,
            "--zero_offsets": fast and self.zeroOffsets.get(),
            "--psi_step": self.psiStep.get(),
            "--max_shift": _unless_negative(self.maxShift.get()),
            "--save_memB": self.maxShift.get() < 0 and self.narrowShifts.get(),
            "--radius": _unless_negative(self.radius.get()),
            "--noise": self.stdNoise.get(),
            "--fix_sigma_noise": self.fixNoise.get(),
            "--offset": self.stdOffset.get(),
            "--fix_sigma_offset": self.fixOffset.get(),
            "--frac": self.fractions.get() or None,
            "--fix_fractions": self.fixFractions.get(),
            "--student": self.studentDf.get() if student else None,
            "--no_sigma_trick": student and not self.sigmaTrick.get(),
            "--norm": self.doNorm.get(),
            "--iter": self.maxIters.get(),
            "--eps": _unless_negative(self.eps.get()),
            "--min_class": _unless_negative(self.minClassSize.get()),
            "--random_seed": self.randomSeed.get(),
            "--thr": self.numberOfThreads.get(),
            "--gpu": gpu_option(self),
            "--memory": self.memory.get(),
        }

    def _digitalLimit(self):
        """The highest frequency to use in 1/px, or None when it is to grow by itself."""
        if self.limitResolution == AUTOMATIC:
            return None
        if self.limitResolution == ANGSTROM:
            return self.inputParticles.get().getSamplingRate() / self.highResLimit.get()
        return self.maxFrequency.get()

    def _signature(self):
        return [*super()._signature(), *normalisation_signature(self)]

    def _particlesFile(self):
        return self._getExtraPath("input_particles.xmd")

    def _referencesFile(self):
        return self._getExtraPath("input_references.xmd")

    # ---- steps

    def convertInputStep(self, signature):
        convert_particles(self, self._particlesFile())
        if not self.doGenerateReferences:
            write_images(self.inputReferences.get(), self._referencesFile())

    def createOutputStep(self, options, signature):
        self._defineAll({output.name: items for output, items in zip(ML2DOutputs, new_classes2d(self))})

    # ---- what Scipion asks

    def _validate(self):
        particles = self.inputParticles.get()
        if particles is None or lacks_numbers(self):
            return []               # Scipion itself reports it
        errors = image_errors(particles) or pixel_size_errors(particles)
        if errors:
            return errors           # the other checks need a box and a pixel size
        if not self.doGenerateReferences:
            references = self.inputReferences.get()
            if references is None:
                return ["*Class image(s)*: choose images to start from, or generate the classes."]
            errors += image_errors(references) or match_errors(particles, references)
        classes = self._numberOfClasses()
        if classes > particles.getSize():
            errors.append(f"{classes} classes are more than the {particles.getSize()} particles.")
        errors += range_errors(self) + gpu_errors(self) + mpi_errors(self)
        return errors + (fourier_errors(self) if self.doMlf else self._limitErrors(particles))

    def _limitErrors(self, particles):
        if self.limitResolution != ANGSTROM:
            return []
        return resolution_errors("High-resolution limit", self.highResLimit.get(), particles)

    def _numberOfClasses(self):
        if self.doGenerateReferences:
            asked = self.numberOfClasses.get()
            return suggested_classes(self.inputParticles.get().getSize())[0] if asked == SUGGESTED else asked
        return self.inputReferences.get().getSize() * self.splitReferences.get()

    def _warnings(self):
        particles = self.inputParticles.get()
        found = [*few_particles(particles.getSize(), self._numberOfClasses()), *normalisation_warnings(self),
                 *large_box(particles), *gpu_warnings(self)]
        if not self.doGenerateReferences:
            references = self.inputReferences.get()
            found += grey_scale_warnings(self, references)
            found += [] if self.doMlf else contrast_warnings(self, references)
        return found + (fourier_warnings(self) if self.doMlf else cancelled_details(self, self._digitalLimit()))

    def _summary(self):
        run, limit = self.getRun(), self.maxIters.get()
        if not run.results():
            return [*starting_lines(run), *self._classesLines(), *normalisation_lines(self)]
        lines = final_lines(run, limit) if self.isFinished() else progress_lines(run, limit)
        return [*lines, *self._classesLines(), *normalisation_lines(self),
                *([fourier_summary(self)] if self.doMlf else [])]

    def _classesLines(self):
        """How many classes there are, when nobody said."""
        particles = self.inputParticles.get()
        if particles is None or not self.doGenerateReferences or self.numberOfClasses != SUGGESTED:
            return []
        return [f"{self._numberOfClasses()} classes, as suits {particles.getSize()} particles."]

    def _methods(self):
        particles = self.inputParticles.get()
        if not self.isFinished() or particles is None:
            return []
        generated = ("those of a coarse classification with white noise [Scheres2005a]" if self.doMlf else
                     "random subsets of the particles") + f" (the most likely of {self.restarts} starts)"
        start = generated if self.doGenerateReferences else \
            f"the class images {self.getObjectTag('inputReferences')}"
        model = "in Fourier space [Scheres2007]" if self.doMlf else "[Scheres2005a]"
        mirrored = ", mirrored views included" if self.doMirror else ""
        sentences = [
            f"We aligned and classified the {particles.getSize()} particles "
            f"{self.getObjectTag('inputParticles')} into {self._numberOfClasses()} classes by maximum "
            f"likelihood {model} with mlalign {__version__}, which computes in-plane rotations with "
            "non-uniform Fourier transforms [Barnett2019].",
            f"The first references were {start}; rotations were sampled every {self.psiStep} "
            f"degrees{mirrored}."]
        sentences += normalisation_methods(self)
        if self.doMlf:
            sentences += fourier_methods(self)
        if self.doFast:
            sentences.append("The search was restricted to significant poses [Scheres2005b].")
        if self.doStudent:
            sentences.append("The noise was modelled by a Student-t distribution of "
                             f"{self.studentDf} degrees of freedom [Scheres2009a].")
        if self.doNorm:
            refined = "The contrast of every image was" if self.doMlf else \
                "Contrast and background of every image were"
            sentences.append(f"{refined} refined [Scheres2009b].")
        return [" ".join(sentences)]

    def _citations(self):
        used = {"Scheres2005a": not self.doMlf or self.doGenerateReferences.get(), "Scheres2007": self.doMlf.get(),
                "Scheres2005b": self.doFast.get(), "Scheres2009a": self.doStudent.get(),
                "Scheres2009b": self.doNorm.get(), "Barnett2019": True}
        return [key for key, cited in used.items() if cited]


def _unless_negative(value):
    """None for the -1 that stands for automatic."""
    return value if value >= 0 else None
