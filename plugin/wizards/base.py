"""What all wizards share: they find the particles, open their window, and put what was chosen into the form."""
from pyworkflow.gui import dialog
from pyworkflow.wizard import Wizard

from mlalign.programs.errors import UserError

from .dialog import LiveDialog


class LiveWizard(Wizard):
    """A wizard whose window is a :class:`.dialog.Picture`; a sub-class defines ``picture`` and ``answers``."""

    def show(self, form, *params):
        protocol, name = form.protocol, getattr(form, "wizParamName", None)
        if name not in self._names(protocol):
            name, *_ = self._names(protocol)
        if particles_of(protocol) is None:
            dialog.showWarning("No particles yet", "Choose the input particles first.", form.root)
            return
        try:
            picture = under_a_message(form.root, "Looking at the particles …", lambda: self.picture(protocol, name))
        except UserError as error:
            dialog.showError("Particles", f"{error}.", form.root)
            return
        window = LiveDialog(form.root, picture)
        if window.resultYes():
            for parameter, value in self.answers(protocol, name, window.values).items():
                form.setVar(parameter, value)

    def picture(self, protocol, name):
        """The :class:`.dialog.Picture` for the parameter ``name``."""
        raise NotImplementedError

    def answers(self, protocol, name, values):
        """{parameter: value} for the form, of the values ({control: value}) chosen for the parameter ``name``."""
        raise NotImplementedError

    def _names(self, protocol):
        return next(names for kind, names in self._targets if isinstance(protocol, kind))


def under_a_message(window, message, work):
    """What ``work()`` returns or raises; the message stands over the window meanwhile."""
    outcome = []

    def attempt():
        try:
            outcome.extend((work(), None))
        except BaseException as error:      # it would be lost in Tk's loop, and the message would stay for ever
            outcome.extend((None, error))

    dialog.FlashMessage(window, message, func=attempt)
    result, error = outcome
    if error is not None:
        raise error
    return result


def particles_of(protocol):
    """The set of particles or subtomograms of a protocol; None when none is chosen."""
    pointer = getattr(protocol, "inputVolumes", None) or protocol.inputParticles
    return pointer.get()


def number(protocol, name, otherwise):
    """A number of the form; ``otherwise`` where it is empty or negative, which stands for automatic."""
    value = getattr(protocol, name).get()
    return otherwise if value is None or value < 0 else value


def last_number(protocol, name, otherwise):
    """The last number of a field that has one for each stage; ``otherwise`` where it is none, or negative."""
    try:
        value = float(_words(protocol, name)[-1])
    except (ValueError, IndexError):
        return otherwise
    return otherwise if value < 0 else value


def with_last(protocol, name, text):
    """The content of such a field with its last number replaced."""
    return " ".join([*_words(protocol, name)[:-1], text])


def _words(protocol, name):
    return (getattr(protocol, name).get() or "").replace(",", " ").replace(";", " ").split()
