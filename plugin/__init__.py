"""mlalign: maximum-likelihood alignment and classification for Scipion.

Kept light on purpose: every program imports this module first, and must start without Scipion.
"""
__version__ = "0.1.0"
_logo = "logo.png"
_references = ["Scheres2005a", "Scheres2005b", "Scheres2007", "Scheres2009c"]


def __getattr__(name):
    """Import the Scipion plugin only when somebody asks for it (PEP 562)."""
    if name == "Plugin":
        from .scipion_plugin import Plugin
        return Plugin
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
