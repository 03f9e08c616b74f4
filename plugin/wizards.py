"""Wizards: a window beside a parameter that shows what its value means."""
from pwem.constants import UNIT_PIXEL
from pwem.wizards.wizard import ParticleMaskRadiusWizard

from mlalign.protocols import MlalignProtML2D, MlalignProtMLF2D, MlalignProtMLTomo, MlalignProtMref


class MlalignParticleRadiusWizard(ParticleMaskRadiusWizard):
    """Draws the circle of a given radius on the input particles, or on the central slices of subtomograms."""

    _targets = [(protocol, ["radius"])
                for protocol in (MlalignProtML2D, MlalignProtMLF2D, MlalignProtMref, MlalignProtMLTomo)]

    def _getProvider(self, protocol):
        return self._getListProvider(_input(protocol))

    def show(self, form, *params):
        protocol = form.protocol
        label, radius = self._getInputProtocol(self._targets, protocol)
        if radius < 0 and _input(protocol).hasValue():
            radius = _input(protocol).get().getXDim() // 2
        super().show(form, radius, label, units=UNIT_PIXEL)


def _input(protocol):
    """The pointer to the particles."""
    return protocol.inputVolumes if isinstance(protocol, MlalignProtMLTomo) else protocol.inputParticles
