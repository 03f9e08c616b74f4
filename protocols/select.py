"""The protocol select classes."""
import os

import numpy as np
from pwem.objects import SetOfAverages, SetOfClasses2D, SetOfParticles
from pwem.protocols import EMProtocol
from pyworkflow.constants import NEW
from pyworkflow.utils import cleanPath

from mlalign import __version__
from mlalign.programs.errors import UserError
from mlalign.programs.results import FINAL
from mlalign.programs.selection import choose

from .base import content
from .select_checks import errors
from .select_form import ALL, FINAL_RESULT, LISTED, SCORED, define_form
from .select_scores import MOVED, read_scores, write_averages, write_scores
from .select_sets import (
    Centred,
    averages_type,
    classify_at,
    copy_averages,
    copy_classes,
    copy_members,
    is_2d,
    ranking_of,
    run_of,
)

CLASSES, PARTICLES, SUBTOMOGRAMS = "outputClasses", "outputParticles", "outputSubtomograms"
AVERAGES, REJECTED = "outputAverages", "outputRejected"
LISTED_SCORES = 12          # beyond these classes the summary leaves out their scores


class MlalignProtSelect(EMProtocol):
    """Keeps some classes of a classification: by a score, from a list, or by their size.

    It answers which classes are worth going on with, and makes of them what the next protocol needs: classes, particles
    and averages, with their alignment, and the rejected particles if wanted.

    *Input.* 2-D classes of any protocol, or classes of subtomograms. Those of ML2D, MLF2D, multi-ref ali2d, refine2d
    and ML tomo are scored by all that the run has written.

    *The score.* From 0 to 1, the weighted mean of four parts: signal (how much more of its particles an average
    explains than noise would let it), resolution, stability over the last iterations, and size. Averages of noise,
    edges or ice score low even where their halves agree, which noise aligned to itself does very well.

    *Output.* _outputClasses_, _outputParticles_ (_outputSubtomograms_), _outputAverages_ and, if wanted,
    _outputRejected_. Classes carry their score (_mlalignScore_) and, when re-centred, how far the average was moved.

    *How to begin.* Execute it with the score as it is, look at the plot of the scores in _Analyze results_, move the
    threshold into the gap, and execute it again with _Continue_. Or select classes in the class gallery, which makes a
    run of this protocol.
    """

    _label = "select classes"
    _devStatus = NEW

    @property
    def _possibleOutputs(self):
        classes = self.inputClasses.get() if self.hasAttribute("inputClasses") else None
        if classes is None or is_2d(classes):
            return {CLASSES: SetOfClasses2D, PARTICLES: SetOfParticles, AVERAGES: SetOfAverages,
                    REJECTED: SetOfParticles}
        images = type(classes.getImages())
        return {CLASSES: type(classes), SUBTOMOGRAMS: images, AVERAGES: averages_type(classes), REJECTED: images}

    def _defineParams(self, form):
        define_form(form)

    # ---- steps

    def _insertAllSteps(self):
        # What a step depends on is among its arguments: Continue repeats it when they change.
        signature = self._signature()
        self._insertFunctionStep(self.rankStep, self.iteration.get(), signature, needsGPU=False)
        self._insertFunctionStep(self.createOutputStep, self._choice(), signature, needsGPU=False)

    def _signature(self):
        """Changes when the input is another set, or the same one with other content."""
        path = self.inputClasses.get().getFileName()
        return [path, content(path)]

    def _choice(self):
        return {"choose": self.choose.get(), "score": self.minScore.get(), "list": self.classList.get(""),
                "size": self.minSize.get(), "iteration": self.iteration.get(), "recenter": self.recenter.get(),
                "outputs": [self.makeClasses.get(), self.makeParticles.get(), self.makeAverages.get(),
                            self.makeRejected.get()]}

    def rankStep(self, iteration, signature):
        run = run_of(self.inputClasses)
        if iteration != FINAL_RESULT:
            self._classifyAt(run, iteration)
        ranking = ranking_of(self._classes(), run, FINAL if iteration == FINAL_RESULT else iteration)
        for note in ranking.notes:
            self.info(note)
        write_scores(self._scoresFile(), ranking)

    def createOutputStep(self, choice, signature):
        (ranking, _), classes = read_scores(self._scoresFile()), self._classes()
        try:
            chosen = self._chosen(ranking).tolist()
        except UserError as error:
            raise RuntimeError(f"Nothing is selected: {error}") from error
        others = np.setdiff1d(ranking.refs, chosen).tolist()
        centred = Centred(classes, chosen, self._getExtraPath("averages.mrcs")) if self.recenter else None
        kept = type(classes).create(self._getPath())
        copy_classes(kept, classes, chosen, dict(zip(ranking.refs.tolist(), ranking.score.tolist())), centred)
        write_scores(self._scoresFile(), ranking, chosen, centred and centred.shifts)
        for path, some, refs in ((self._keptFile(), kept, chosen), (self._rejectedFile(), classes, others)):
            write_averages(path, some, refs, ranking)
        self._makeOutputs(classes, kept, chosen, others)

    def _makeOutputs(self, classes, kept, chosen, others):
        made = {CLASSES: (self.makeClasses, lambda: kept),
                members_name(classes): (self.makeParticles, lambda: self._members(kept, chosen, "selected")),
                AVERAGES: (self.makeAverages, lambda: self._averages(kept)),
                REJECTED: (self.makeRejected, lambda: self._members(classes, others, "rejected"))}
        # An output that an earlier choice made cannot be taken away (the window keeps it): it is renewed.
        outputs = {name: make() for name, (wanted, make) in made.items() if wanted or self.hasAttribute(name)}
        for name, items in outputs.items():
            self._defineOutputs(**{name: items})
            if name not in (CLASSES, AVERAGES):
                self._defineTransformRelation(self._images(classes), items)
            self._defineSourceRelation(self.inputClasses, items)
        if CLASSES not in outputs:
            kept.close()
            cleanPath(kept.getFileName())

    def _members(self, classes, refs, suffix):
        new = type(classes.getImages()).create(self._getPath(), suffix=suffix)
        copy_members(new, classes, refs)
        return new

    def _averages(self, kept):
        new = averages_type(kept).create(self._getPath(), suffix="averages")
        copy_averages(new, kept)
        return new

    def _images(self, classes):
        """The pointer to the classified images, or themselves where it leads to no protocol."""
        pointer = classes.getImagesPointer()
        return pointer if pointer.hasExtended() else classes.getImages()

    # ---- the classes to choose from

    def _classes(self):
        """The input, or the classes that :meth:`_classifyAt` made."""
        given, iteration = self.inputClasses.get(), self.iteration.get()
        return given if iteration == FINAL_RESULT else self._opened(self._iterationFile(iteration))

    def _classifyAt(self, run, iteration):
        """Classify the images of the input anew, as an iteration of its run has them."""
        cleanPath(self._iterationFile(iteration))
        classes = self._opened(self._iterationFile(iteration))
        classify_at(classes, run, iteration)
        classes.write()
        classes.close()

    def _opened(self, path):
        given = self.inputClasses.get()
        classes = type(given)(filename=path)
        classes.copyInfo(given)
        return classes

    def _iterationFile(self, iteration):
        return self._getExtraPath(f"classes_iteration{iteration}.sqlite")

    def _scoresFile(self):
        return self._getExtraPath("scores.xmd")

    def _chosen(self, ranking):
        if self.choose == LISTED:
            return choose(ranking, self.classList.get(), min_size=self.minSize.get())
        return choose(ranking, score=self.minScore.get() if self.choose == SCORED else 0.0, min_size=self.minSize.get())

    def _keptFile(self):
        return self._getExtraPath("kept.xmd")

    def _rejectedFile(self):
        return self._getExtraPath("rejected.xmd")

    # ---- for the viewer and the summary

    def getKeptFile(self):
        """Metadata of the chosen averages with their scores; None when there is none."""
        return _if_there(self._keptFile())

    def getRejectedFile(self):
        """The same of the rejected ones."""
        return _if_there(self._rejectedFile())

    def getScores(self):
        """(ranking, table) of the file of scores; None when it is not there yet."""
        path = _if_there(self._scoresFile())
        return read_scores(path) if path else None

    # ---- what Scipion asks

    def _validate(self):
        return errors(self)

    def _summary(self):
        scores = self.getScores()
        if scores is None or not self.isFinished():
            return ["Not finished yet."]
        ranking, table = scores
        kept = table["selected"] == 1
        lines = [f"*{kept.sum()}* of {len(kept)} classes kept, with {ranking.sizes[kept].sum()} of "
                 f"{ranking.sizes.sum()} particles.", f"Chosen {self._rule()}."]
        if len(kept) <= LISTED_SCORES:
            lines.append("Scores: " + ", ".join(
                f"{ranking.refs[k]}: {ranking.score[k]:.2f}{'' if kept[k] else ' (rejected)'}"
                for k in np.argsort(-ranking.score, kind="stable")))
        if "movedX" in table:
            moved = np.sqrt(sum(table.numbers(label) ** 2 for label in MOVED if label in table))[kept]
            lines.append(f"Averages were moved to the middle by {moved.min():.1f} to {moved.max():.1f} px.")
        return lines + [f"Not part of the score: {note}." for note in ranking.notes]

    def _rule(self):
        rule = {SCORED: f"by a score of at least {self.minScore.get():g}",
                LISTED: f"from the list {self.classList.get()}",
                ALL: "whatever their score"}[self.choose.get()]
        return rule if self.minSize <= 1 else f"{rule} and with at least {self.minSize} particles"

    def _methods(self):
        scores = self.getScores()
        if scores is None or not self.isFinished() or self.inputClasses.get() is None:
            return []
        kept = scores[1]["selected"] == 1
        centred = " Their averages and members were re-centred on the centres of mass." if self.recenter else ""
        return [f"We selected {kept.sum()} of {len(kept)} classes of {self.getObjectTag('inputClasses')} "
                f"{self._rule()} with mlalign {__version__}.{centred}"]


def _if_there(path):
    return path if os.path.exists(path) else None


def members_name(classes):
    """The name of the output of members."""
    return PARTICLES if is_2d(classes) else SUBTOMOGRAMS
