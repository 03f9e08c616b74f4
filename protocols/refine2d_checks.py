"""What can be found wrong, or doubtful, with the form of refine2d before a run."""
import re
import shlex

from mlalign.programs import refine2d
from mlalign.programs.errors import UserError

from .base import command_line
from .refine2d_form import MODULES

ENOUGH = 20                 # particles per class
NOT_HERE = {                # options of the program, and why they cannot be among *More options*
    "--exclude": "disable the particles instead",
    **dict.fromkeys(("--path", "--input", "--resume", "--continue"), "Scipion sees to it"),
    **dict.fromkeys(("-h", "--help", "--version"), "nothing would be classified"),
}
SMALLEST_BOX = 16           # px


def extra_options(protocol):
    """{option: value or values} of *More options*; UserError when it cannot be read."""
    try:
        words = shlex.split(protocol.extraParams.get() or "")
    except ValueError as error:
        raise UserError(f"{str(error).lower()}") from error
    options = {}
    for word in words:
        if re.match(r"-{1,2}[A-Za-z]", word):
            name, assigned, value = word.partition("=")
            options[name] = [value] if assigned else []
        elif not options:
            raise UserError(f"'{word}' is no option, expected a name that begins with --")
        else:
            options[name].append(word)
    return {name: values or True for name, values in options.items()}


def option_errors(protocol, offered):
    """Errors of what the program would refuse; ``offered``: its options by the form, as _options gives them.

    None while the form itself refuses a value: that is error enough.
    """
    if protocol.getDefinition().validateParams(protocol):
        return []
    refused = _refusal(command_line(offered))
    if refused:
        return [f"The program refuses this: {refused}."]
    try:
        extra = extra_options(protocol)
    except UserError as error:
        return [f"*More options*: {error}."]
    errors = [f"*More options*: {reason}." for name in extra if (reason := _not_here(name, offered))]
    refused = None if errors else _refusal(command_line({**offered, **extra}))
    return [f"*More options*: {refused}."] if refused else errors


def _not_here(name, offered):
    """Why an option cannot be among the others; None when it can."""
    if name in NOT_HERE:
        return f"{name} is not for here: {NOT_HERE[name]}"
    if name in ("-P", "--parallel", *offered):
        return f"{name} is not for here: the form has it"
    return None


def _refusal(arguments):
    """The program's own complaint of a command line, or None."""
    parser = refine2d.parser()

    def refuse(message):
        raise UserError(message)

    parser.error = refuse
    try:
        parser.parse_args(arguments)
    except UserError as error:
        return str(error)
    return None


def module_errors(protocol):
    """Errors of modules' parameters, by the names of the form."""
    return _read_modules(protocol)[0]


def module_warnings(protocol):
    """Warnings of modules' parameters that have no effect."""
    return _read_modules(protocol)[1]


def _read_modules(protocol):
    """(errors, notices) of the modules that the form names, as the program reads them."""
    from mlalign.programs.modules2d import Modules  # here: it brings the numerics along
    particles, errors = protocol.inputParticles.get(), []
    modules = Modules(particles.getXDim(), particles.getSamplingRate(), protocol._usesCtf())
    for stem, module in MODULES.items():
        text = module.text(protocol, stem)
        if text is not None:
            try:
                getattr(modules, module.kind)(f"*{module.label}* ({stem.lower()})", text)
            except UserError as error:
                errors.append(f"{error}.")
    return errors, [f"{notice}." for notice in modules.notices]


def range_errors(protocol):
    """Errors of lengths that do not fit into the box, and of numbers that exclude each other."""
    p, box, errors = protocol, protocol.inputParticles.get().getXDim(), []
    half = box // 2
    if box % 2 or box < SMALLEST_BOX:
        errors.append(f"The particles have {box} px, expected an even number, at least {SMALLEST_BOX}.")
    if p.radius != -1 and not 2 <= p.radius.get() <= half:
        errors.append(f"*Particle radius* is {p.radius} px, expected 2 to {half} (half the box), or -1 for nearly half "
                      "the box.")
    if p.maxShift != -1 and not 0 <= p.maxShift.get() <= half:
        errors.append(f"*Largest shift* is {p.maxShift} px, expected 0 to {half} (half the box), or -1 for a third of "
                      "the box.")
    if not p.classKeepSig and p.classKeep.get() > 1:
        errors.append(f"*Keep* is {p.classKeep}, expected a share of at most 1, or Yes to *Keep by deviations?*.")
    return errors


def class_errors(protocol):
    """An error when there are more classes than particles."""
    classes, particles = protocol.numberOfClassAvg.get(), protocol.inputParticles.get().getSize()
    return [] if classes <= particles else [f"{classes} classes are more than the {particles} particles."]


def class_warnings(protocol):
    """Warnings of numbers that the classes cannot provide."""
    p, warnings = protocol, []
    classes = p.numberOfClassAvg.get()
    for label, wanted, most in (("Number of eigenimages", p.nbasisfp.get(), classes - 1),
                                ("Number of alignment references", p.numberOfAlignRef.get(), classes)):
        if wanted > most:
            warnings.append(f"*{label}* is {wanted}, but {classes} classes have {most} at most: no more will be used.")
    return warnings
