"""A form whose help texts stand together in a manual, where they can be read and kept consistent."""
from pyworkflow.protocol.constants import LEVEL_ADVANCED, LEVEL_NORMAL
from pyworkflow.protocol.params import Validator

from .shared_help import MANUAL as SHARED


class FormWriter:
    """Adds sections, groups and parameters to a Scipion form.

    manual: text in which every parameter's name begins a line, and its help follows, indented; an empty line
    parts paragraphs.  Parameters that it does not name have the help that several forms share.
    """

    def __init__(self, form, manual):
        self.form = self.container = form
        self.help = {**read_manual(SHARED), **read_manual(manual)}

    def section(self, label):
        self.form.addSection(label=label)
        self.container = self.form

    def group(self, label, advanced=False, condition=None):
        """What is added next goes into this group, until the next group or section."""
        self.container = self.form.addGroup(label, expertLevel=_level(advanced), condition=condition)

    def add(self, name, kind, label, default=None, advanced=False, extra_help="", validators=(), **details):
        """Add a parameter of class ``kind``; ``details``: its other arguments (condition, …).

        extra_help: a paragraph that the manual cannot know, after what it says.
        """
        text = "\n\n".join(filter(None, (self.help[name], extra_help)))
        self.container.addParam(name, kind, label=label, default=default, help=text, expertLevel=_level(advanced),
                                validators=[WhenGiven(validator) for validator in validators], **details)


class WhenGiven(Validator):
    """A validator with nothing against an empty field: those of numbers do not bear one, and its kind objects to it."""

    def __init__(self, validator):
        self.validator = validator

    def __call__(self, value):
        return [] if value is None else self.validator(value)


def read_manual(manual):
    """{name: help} of a manual, see :class:`FormWriter`."""
    texts, name = {}, None
    for line in manual.splitlines():
        if line and not line.startswith(" "):
            name, texts[line] = line, ""
        elif line:
            glue = " " if texts[name] and not texts[name].endswith("\n") else ""
            texts[name] += glue + line.strip()
        else:
            texts[name] += "\n\n"
    return texts


def _level(advanced):
    return LEVEL_ADVANCED if advanced else LEVEL_NORMAL
