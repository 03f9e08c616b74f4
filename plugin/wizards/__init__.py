"""Wizards: windows beside parameters that show what their values mean, and suggest some."""
from .classes import MlalignClassesWizard
from .radius import MlalignRadiusWizard
from .resolution import MlalignResolutionWizard
from .steps import MlalignStepWizard
from .tilts import MlalignTiltWizard

__all__ = ["MlalignClassesWizard", "MlalignRadiusWizard", "MlalignResolutionWizard", "MlalignStepWizard",
           "MlalignTiltWizard"]
