"""The protocols that Scipion offers."""
from .ml2d import MlalignProtML2D

__all__ = ["MlalignProtML2D"]
