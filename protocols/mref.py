"""The protocol multi-ref ali2d."""
from enum import Enum

from pwem.objects import SetOfAverages, SetOfClasses2D, SetOfParticles
from pwem.protocols import ProtClassify2D
from pyworkflow.constants import NEW

from mlalign import __version__
from mlalign.convert import fill_aligned2d, location, write_images
from mlalign.programs.mref_files import MrefFiles
from mlalign.programs.mref_results import MrefRun

from .base import FolderProtocol
from .checks import few_particles, image_errors, lacks_numbers, match_errors, mpi_errors, pixel_size_errors
from .fourier import ctf_errors, flip_errors, flip_warnings, phase_flipped
from .mref_checks import mask_errors, range_errors, room_warnings, search_radius
from .mref_form import CENTRINGS, FUNCTIONS, MOST_ITERATIONS, OWN, SCORINGS, WITH_CTF, define_form
from .particles import (
    contrast_warnings,
    convert_particles,
    new_classes2d,
    normalisation_lines,
    normalisation_methods,
    normalisation_signature,
    normalisation_warnings,
)
from .summary import final_lines, progress_lines, starting_lines


class MrefOutputs(Enum):
    outputClasses = SetOfClasses2D
    outputAverages = SetOfAverages
    outputParticles = SetOfParticles


class MlalignProtMref(FolderProtocol, ProtClassify2D):
    """Aligns every particle to a set of 2-D references, each to the one that it resembles most.

    It answers which of the given views a particle shows, and where and how turned it lies. Every particle is
    correlated with every reference, mirrored or not, at all rotations and at shifts around where it was last; the
    best wins. The particles of each reference are averaged, the averages become the next references, and so on until
    nothing changes any more.

    *Input.* Particles (those that are not normalised are, in copies), and references: averages, classes, or some
    particles. References come from an earlier classification, or from projections of a map. They decide what is found:
    without any to trust, begin with ML2D, whose classes serve well here.

    *Output.* _outputClasses_: the classes with their averages; each particle carries its alignment, its correlation
    with its reference (_mlalignMaxCC_) and the probability of its class (_mlalignClassProbability_).
    _outputAverages_: the averages by themselves. _outputParticles_: all particles with their alignment.

    *How to begin.* Set the radius of the particle and how far off centre particles may be; leave the rest as it is.
    The circle and the shifts must both fit into the box. While it runs, the summary and _Analyze results_ show how far
    it is.

    *To go on from a result*, take its particles and averages as input and say Yes to _Start from their alignment?_.

    *Stopped or killed?* Execute it again with the run mode _Continue_: it goes on from its last iteration. After a
    change of the number of iterations it goes on as well, or back; after a change of anything that matters for the
    result it starts anew.
    """

    _label = "multi-ref ali2d"
    _devStatus = NEW
    _possibleOutputs = MrefOutputs
    _program = "mref_ali2d"
    _prefix = "mref"
    _runClass, _filesClass, _lastOption = MrefRun, MrefFiles, "--maxit"
    _seedOption = "--rand_seed"
    RESUMABLE = ("--maxit", "--eps", "--thr", "--memory", "--write_headers")

    def _defineParams(self, form):
        define_form(form)

    # ---- the command line

    def _inputPointers(self):
        pointers = [self.inputParticles, self.inputReferences]
        return pointers if self.maskImage.get() is None else [*pointers, self.maskImage]

    def _options(self):
        ctf, until_converged = self._usesCtf(), self.maxIters == 0
        return {
            "--sampling_rate": self.inputParticles.get().getSamplingRate(),
            "--write_headers": self._getExtraPath("particles_aligned.hdf") if self.writeHeaders else None,
            "--ir": self.firstRing.get(),
            "--ou": search_radius(self),
            "--rs": self.ringStep.get(),
            "--xr": self.shiftX.get(),
            "--yr": self.shiftY.get(),
            "--ts": self.shiftStep.get(),
            "--scoring": SCORINGS[self.scoring.get()],
            "--exhaustive": self.exhaustive.get(),
            "--soft": self.soft.get(),
            "--center": CENTRINGS[self.centring.get()],
            "--CTF": ctf,
            "--phase_flipped": ctf and phase_flipped(self),
            "--snr": self.snr.get() if ctf else None,
            "--function": self._function(),
            "--min_class": self.minClassSize.get(),
            "--rand_seed": self.randomSeed.get(),
            "--maxit": self.maxIters.get(),
            "--eps": self.eps.get() if until_converged else None,
            "--thr": self.numberOfThreads.get(),
            "--memory": self.memory.get(),
            # it goes on in the folder, if there is a run in it, and begins one if not
            "--continue": True,
            "--": [self._particlesFile(), self._referencesFile(), self._folder(), *self._mask()],
        }

    def _usesCtf(self):
        return self.useCtf == WITH_CTF and self.inputParticles.get().hasCTF()

    def _function(self):
        chosen = FUNCTIONS[self.function.get()]
        return self.ownFunction.get() if chosen == OWN else chosen

    def _mask(self):
        mask = self.maskImage.get()
        return [] if mask is None else [location(mask)]

    def _particlesFile(self):
        return self._getExtraPath("input_particles.xmd")

    def _referencesFile(self):
        return self._getExtraPath("input_references.xmd")

    def _signature(self):
        return [*super()._signature(), self.useAlignment.get(), *normalisation_signature(self)]

    # ---- steps

    def convertInputStep(self, signature):
        convert_particles(self, self._particlesFile(), poses=self.useAlignment.get())
        write_images(self.inputReferences.get(), self._referencesFile())

    def createOutputStep(self, options, signature):
        classes, averages = new_classes2d(self)
        aligned = self._createSetOfParticles()
        fill_aligned2d(aligned, self.inputParticles.get(), self._root())
        self._defineAll({output.name: items for output, items in zip(MrefOutputs, (classes, averages, aligned))})

    # ---- what Scipion asks

    def _validate(self):
        particles, references = self.inputParticles.get(), self.inputReferences.get()
        if particles is None or references is None or lacks_numbers(self):
            return []               # Scipion itself reports it
        errors = image_errors(particles) or pixel_size_errors(particles)
        if errors:
            return errors           # the other checks need a box and a pixel size
        errors += image_errors(references) or match_errors(particles, references)
        if references.getSize() > particles.getSize():
            errors.append(f"{references.getSize()} references are more than the {particles.getSize()} particles.")
        if self.useAlignment and not particles.hasAlignment2D():
            errors.append("*Start from their alignment?* is Yes, but the particles have no 2-D alignment.")
        if self._usesCtf():
            errors += ctf_errors(particles) + flip_errors(self)
        return errors + mask_errors(self) + range_errors(self) + mpi_errors(self)

    def _warnings(self):
        particles = self.inputParticles.get()
        return [*room_warnings(self), *few_particles(particles.getSize(), self.inputReferences.get().getSize()),
                *normalisation_warnings(self),
                *(flip_warnings(self) if self._usesCtf() else contrast_warnings(self, self.inputReferences.get()))]

    def _summary(self):
        run, limit = self.getRun(), self.maxIters.get() or MOST_ITERATIONS
        if not run.results():
            return [*starting_lines(run), *normalisation_lines(self)]
        lines = final_lines(run, limit) if self.isFinished() else progress_lines(run, limit)
        return [*lines, *normalisation_lines(self)]

    def _methods(self):
        particles, references = self.inputParticles.get(), self.inputReferences.get()
        if not self.isFinished() or particles is None or references is None:
            return []
        weighted = ", weighted by their CTFs" if self._usesCtf() else ""
        sentences = [
            f"We aligned the {particles.getSize()} particles {self.getObjectTag('inputParticles')} to the "
            f"{references.getSize()} references {self.getObjectTag('inputReferences')} with mlalign {__version__}: "
            "each to the one that it correlated with best, mirrored or not, over all rotations and shifts of up to "
            f"{self.shiftX.get():g} x {self.shiftY.get():g} pixels per iteration [Joyeux2002].",
            f"The averages of the particles{weighted} were the references of the next of "
            f"{self.getRun().iterations()[-1]} iterations.", *normalisation_methods(self)]
        return [" ".join(sentences)]

    def _citations(self):
        return ["Joyeux2002"]
