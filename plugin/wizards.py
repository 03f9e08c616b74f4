"""Wizards: a window beside a parameter that shows what its value means."""
from pwem.constants import UNIT_PIXEL
from pwem.wizards.wizard import ParticleMaskRadiusWizard

from mlalign.protocols import MlalignProtML2D, MlalignProtMLF2D


class MlalignParticleRadiusWizard(ParticleMaskRadiusWizard):
    """Draws the circle of a given radius on the input particles."""

    _targets = [(MlalignProtML2D, ["radius"]), (MlalignProtMLF2D, ["radius"])]

    def _getProvider(self, protocol):
        return self._getListProvider(protocol.inputParticles)

    def show(self, form, *params):
        protocol = form.protocol
        label, radius = self._getInputProtocol(self._targets, protocol)
        if radius < 0 and protocol.inputParticles.hasValue():
            radius = protocol.inputParticles.get().getXDim() // 2
        super().show(form, radius, label, units=UNIT_PIXEL)
