"""The protocols that Scipion offers."""
from .ml2d import MlalignProtML2D
from .mlf2d import MlalignProtMLF2D
from .mref import MlalignProtMref
from .refine2d import MlalignProtRefine2D
from .select import MlalignProtSelect
from .tomo import MlalignProtMLTomo

__all__ = ["MlalignProtML2D", "MlalignProtMLF2D", "MlalignProtMLTomo", "MlalignProtMref", "MlalignProtRefine2D",
           "MlalignProtSelect"]
