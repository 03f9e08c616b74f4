"""Which protocols have particles in 2-D."""
from mlalign.protocols import MlalignProtML2D, MlalignProtMLF2D, MlalignProtMref, MlalignProtRefine2D

IN_2D = (MlalignProtML2D, MlalignProtMLF2D, MlalignProtMref, MlalignProtRefine2D)
ML_2D = (MlalignProtML2D, MlalignProtMLF2D)
