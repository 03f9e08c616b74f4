"""The protocol MLF2D: ML2D with its switch on."""
from .ml2d import MlalignProtML2D
from .ml2d_form import define_form


class MlalignProtMLF2D(MlalignProtML2D):
    """Aligns and classifies particles in 2D by maximum likelihood in Fourier space, with CTF and noise spectra.

    It does what ML2D does with a better model of how an image arises. Each class average is seen through the
    particle's own CTF, astigmatism and phase shift included, so that particles of the same view but
    different defocus meet in one class. The noise has a spectrum, estimated for every group of particles
    taken alike. And the averages come out corrected for the CTF, filtered by the signal-to-noise ratio that
    they have reached.

    *Input.* Roughly centred particles with a CTF, phase-flipped or not; those that are not normalised are, in
    copies. (Without a CTF the noise spectrum alone can be modelled.) Boxes of about 64 pixels are enough to
    tell views apart; a pixel size of 4 to 5 Å keeps everything up to 10 Å.

    *Output.* _outputClasses_: the classes with their averages; each particle carries its alignment, the
    probability of its best pose (_mlalignPMax_) and of its class (_mlalignClassProbability_), its
    log-likelihood and its noise group (_mlalignDefocusGroup_). _outputAverages_: the averages by themselves.

    *How to begin.* Choose the resolution that you need; leave the rest as it is (there are then as many
    classes as suit the number of particles), and let it converge. While it runs, the summary and _Analyze
    results_ show how far it is, and the spectra of noise and signal. Without a known CTF, or for stained
    particles, ML2D serves as well and takes less time.

    *Stopped or killed?* Execute it again with the run mode _Continue_: it goes on from its last iteration.
    After a change of the maximum number of iterations it goes on as well; after a change of anything that
    matters for the result it starts anew.
    """

    _label = "MLF2D"

    def _defineParams(self, form):
        define_form(form, only_mlf=True)
