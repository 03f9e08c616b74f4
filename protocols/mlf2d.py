"""The protocol MLF2D."""
from .ml2d import MlalignProtML2D


class MlalignProtMLF2D(MlalignProtML2D):
    """Aligns and classifies particles in 2D by maximum likelihood in Fourier space, with the CTF.

    It does what ML2D does with a better model of how an image arises: each class average is seen through the
    particle's own CTF, astigmatism and phase shift included, and the noise has a spectrum, estimated for
    every group of particles taken alike. The averages come out corrected for the CTF.
    """

    _label = "MLF2D"
    _program = "mlf_align2d"
    _prefix = "mlf2d"
