"""The class gallery, a PyQt5 window: ``python -m mlalign.viewers.gallery FILE`` or ``mlalign view FILE``."""
from .app import main

__all__ = ["main"]
