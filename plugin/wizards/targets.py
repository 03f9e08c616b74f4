"""Which protocols have particles in 2-D."""
from mlalign.protocols import MlalignProtML2D, MlalignProtMLF2D, MlalignProtMref

IN_2D = (MlalignProtML2D, MlalignProtMLF2D, MlalignProtMref)
ML_2D = (MlalignProtML2D, MlalignProtMLF2D)
