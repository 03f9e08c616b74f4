"""The protocol refine2d."""
from enum import Enum

from pwem.objects import SetOfAverages, SetOfClasses2D
from pwem.protocols import ProtClassify2D
from pyworkflow.constants import NEW

from mlalign import __version__
from mlalign.convert import write_images
from mlalign.programs.msa2d_files import Msa2dFiles
from mlalign.programs.msa2d_results import Refine2dRun

from .base import FolderProtocol
from .checks import few_particles, image_errors, lacks_numbers, match_errors, mpi_errors, pixel_size_errors
from .fourier import ctf_errors, flip_errors, flip_warnings, phase_flipped
from .particles import (
    contrast_warnings,
    convert_particles,
    new_classes2d,
    normalisation_lines,
    normalisation_methods,
    normalisation_signature,
    normalisation_warnings,
)
from .refine2d_checks import (
    ENOUGH,
    class_errors,
    class_warnings,
    extra_options,
    module_errors,
    module_warnings,
    option_errors,
    range_errors,
)
from .refine2d_form import CENTRINGS, MODULES, STARTS, WITH_CTF, define_form
from .summary import final_lines, progress_lines, starting_lines

# of a run, in the order of STARTS
BEGINNINGS = ("classes of the particles' rotational harmonics",
              "classes of footprints of the particles that do not change with rotation and shift",
              "a short classification by maximum likelihood at low resolution")


class Refine2DOutputs(Enum):
    outputClasses = SetOfClasses2D
    outputAverages = SetOfAverages


class MlalignProtRefine2D(FolderProtocol, ProtClassify2D):
    """Classifies particles in 2D, without references, by what tells their averages apart.

    It answers which views are in a set of particles, and makes many classes fast. The first classes are made of
    features of the particles that do not depend on how they lie. Then, cycle after cycle: a few class averages that
    differ most serve as alignment references; every particle is aligned to the one that it resembles most; the main
    differences among the averages (eigenimages, by multivariate statistical analysis) become the coordinates in which
    particles are divided into classes; and the particles of each class are aligned to each other and averaged, those
    that fit worst left out. It is what EMAN2's e2refine2d does, and understands the names of its modules.

    *Input.* Roughly centred particles; they are normalised if need be. Boxes of about 64 pixels are enough to tell
    views apart.

    *Output.* _outputClasses_: the classes with their averages; each particle carries its alignment, its correlation
    with its average (_mlalignMaxCC_), and whether it is among those averaged (_mlalignUsed_). Classes carry their
    resolution and the contrast of their averages (_mlalignContrast_), by which good ones can be selected.
    _outputAverages_: the averages by themselves.

    *How to begin.* Choose the number of classes so that each can have some 50 particles, set the radius of the
    particle, and leave the rest as it is. While it runs, the summary and _Analyze results_ show how far it is. A map of
    the particles there shows whether classes are apart, or parts of one cloud.

    *Compared with ML2D* it decides at once which class a particle belongs to, which is fast with many classes of clear
    particles. For very noisy particles and few classes, ML2D is the safer choice.

    *Stopped or killed?* Execute it again with the run mode _Continue_: it goes on from its last cycle. After a change
    of the number of cycles it goes on as well, or back; after a change of anything that matters for the result it
    starts anew.
    """

    _label = "refine2d"
    _devStatus = NEW
    _possibleOutputs = Refine2DOutputs
    _program = "refine2d"
    _prefix = "r2d_01"
    _runClass, _filesClass, _lastOption = Refine2dRun, Msa2dFiles, "--iter"
    RESUMABLE = ("--iter", "--eps", "--thr", "--memory")

    def _defineParams(self, form):
        define_form(form)

    # ---- the command line

    def _inputPointers(self):
        return [self.inputParticles, *([self.inputClassAvg] if self._averagesGiven() else [])]

    def _averagesGiven(self):
        return self.inputClassAvg.get() is not None

    def _options(self):
        return {**self._offered(), **extra_options(self)}

    def _offered(self):
        """The options that the form has parameters for."""
        given = self._averagesGiven()
        return {
            "--input": self._particlesFile(),
            "--path": self._folder(),
            "--sampling_rate": self.inputParticles.get().getSamplingRate(),
            "--ncls": self.numberOfClassAvg.get(),
            "--initial": self._averagesFile() if given else None,
            "--start": None if given else STARTS[self.startingClasses.get()],
            "--phase_flip": self._usesCtf() and not phase_flipped(self),
            "--radius": self.radius.get(),
            "--naliref": self.numberOfAlignRef.get(),
            "--nbasisfp": self.nbasisfp.get(),
            "--normproj": self.doNormProj.get(),
            "--fastseed": self.doFastSeed.get(),
            "--shrink": self.shrink.get() if self.shrink > 1 else None,
            **{f"--{stem.lower()}": module.text(self, stem) for stem, module in MODULES.items()},
            "--classiter": self.classIter.get(),
            "--classkeep": self.classKeep.get(),
            "--classkeepsig": self.classKeepSig.get(),
            "--classrefsf": self.classRefSf.get(),
            "--center": CENTRINGS[self.centerType.get()],
            "--automask": self.doAutomask.get(),
            "--maxshift": self.maxShift.get(),
            "--iter": self.numberOfIterations.get(),
            "--eps": self.eps.get(),
            "--random_seed": self.randomSeed.get(),
            "--thr": self.numberOfThreads.get(),
            "--memory": self.memory.get(),
            # it goes on in the folder, if there is a run in it, and begins one if not
            "--resume": True,
        }

    def _usesCtf(self):
        return self.useCtf == WITH_CTF and self.inputParticles.get().hasCTF()

    def _particlesFile(self):
        return self._getExtraPath("input_particles.xmd")

    def _averagesFile(self):
        return self._getExtraPath("input_averages.xmd")

    def _signature(self):
        return [*super()._signature(), self._usesCtf(), *normalisation_signature(self)]

    # ---- steps

    def convertInputStep(self, signature):
        convert_particles(self, self._particlesFile(), ctf=self._usesCtf())
        if self._averagesGiven():
            write_images(self.inputClassAvg.get(), self._averagesFile(), ctf=False)

    def createOutputStep(self, options, signature):
        self._defineAll({output.name: items for output, items in zip(Refine2DOutputs, new_classes2d(self))})

    # ---- what Scipion asks

    def _validate(self):
        particles = self.inputParticles.get()
        if particles is None or lacks_numbers(self):
            return []               # Scipion itself reports it
        errors = image_errors(particles) or pixel_size_errors(particles)
        if errors:
            return errors           # the other checks need a box and a pixel size
        if self._averagesGiven():
            averages = self.inputClassAvg.get()
            errors += image_errors(averages) or match_errors(particles, averages)
        if self._usesCtf():
            errors += ctf_errors(particles) + flip_errors(self)
        errors += class_errors(self) + range_errors(self) + module_errors(self) + mpi_errors(self)
        return errors or option_errors(self, self._offered())

    def _warnings(self):
        particles = self.inputParticles.get()
        found = [*few_particles(particles.getSize(), self.numberOfClassAvg.get(), ENOUGH), *class_warnings(self),
                 *module_warnings(self), *normalisation_warnings(self)]
        if self._averagesGiven():
            found += contrast_warnings(self, self.inputClassAvg.get())
        return found + (flip_warnings(self) if self._usesCtf() else [])

    def _summary(self):
        run, limit = self.getRun(), self.numberOfIterations.get()
        if not run.results():
            return [*starting_lines(run), *normalisation_lines(self)]
        lines = final_lines(run, limit) if self.isFinished() else progress_lines(run, limit)
        return [*lines, *_used_lines(run), *normalisation_lines(self)]

    def _methods(self):
        particles = self.inputParticles.get()
        if not self.isFinished() or particles is None:
            return []
        start = f"the averages {self.getObjectTag('inputClassAvg')}" if self._averagesGiven() else \
            BEGINNINGS[self.startingClasses.get()]
        share = f"whose correlation was within {self.classKeep} standard deviations of the mean" if self.classKeepSig \
            else f"of the best fitting {100 * self.classKeep.get():g} %"
        flipped = " after flipping their phases" if self._usesCtf() and not phase_flipped(self) else ""
        sentences = [
            f"We classified the {particles.getSize()} particles {self.getObjectTag('inputParticles')}{flipped} into "
            f"{self.numberOfClassAvg} classes with refine2d of mlalign {__version__}, after e2refine2d of EMAN2 "
            "[Tang2007].",
            f"Beginning with {start}, particles were aligned to {self.numberOfAlignRef} of the class averages and "
            f"divided by k-means along {self.nbasisfp} eigenimages of the averages, in "
            f"{self.getRun().iterations()[-1]} cycles.",
            f"Class averages are {share} of their members."]
        return [" ".join([*sentences, *normalisation_methods(self)])]

    def _citations(self):
        return ["Tang2007"]


def _used_lines(run):
    """A line on how many particles the averages of the newest result are made of."""
    classes = run.classes(run.newest())
    used, all_members = (int(classes.numbers(label).sum()) for label in ("used", "classCount"))
    return [f"{used:,} of {all_members:,} classified particles entered the averages."]
