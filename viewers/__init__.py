"""Windows and plots.  Scipion finds the viewers here; the gallery and the plots need no Scipion to start.

So the viewers are imported on first use only (PEP 562): the gallery's process passes through this module too.
"""
_VIEWERS = {"MlalignViewerML2D": ".viewer_ml2d", "MlalignViewerMLTomo": ".viewer_tomo",
            "MlalignViewerMref": ".viewer_mref", "MlalignViewerRefine2D": ".viewer_refine2d",
            "MlalignViewerSelect": ".viewer_select"}


def __getattr__(name):
    if name in _VIEWERS:
        from importlib import import_module
        return getattr(import_module(_VIEWERS[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *_VIEWERS])
