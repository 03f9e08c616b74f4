"""How ml_tomo's command line is read: old spellings, values by stage, options that contradict each other."""
import os
import re
import sys

from . import options
from .errors import UserError

STAGED = ("ang", "ang_search", "psi_sampling", "limit_trans", "dim", "maxres", "iter")     # one value, or one per stage
SMALLEST_BOX = 8        # px of --dim
_OF_ITERATION = re.compile(r"(.*)_it(\d{6,})_\w+\.\w+")


class TomoParser(options.Parser):
    """Takes long options with one dash, too, as command lines of old have them: ``-missing``, ``-dim``."""

    def parse_args(self, args=None, namespace=None):
        words = sys.argv[1:] if args is None else [str(word) for word in args]
        return super().parse_args([self._spelled(word) for word in words], namespace)

    def _spelled(self, word):
        long = f"-{word.partition('=')[0]}"
        return f"-{word}" if long.startswith("--") and long in self._option_string_actions else word


def stages(given):
    """Number of stages that the parsed options ask for."""
    return max(len(getattr(given, name)) for name in STAGED)


def by_stage(given, name):
    """The values of a staged option, one per stage."""
    values = getattr(given, name)
    return list(values) if len(values) > 1 else list(values) * stages(given)


def check(given):
    """:class:`UserError` when parsed options (see :mod:`.ml_tomo`) contradict each other."""
    for line in contradictions(given):
        raise UserError(line)


def contradictions(given):
    """What is wrong between options: lines that begin with the ``--option:`` to change; none is good."""
    yield from _about_references(given)
    yield from _about_stages(given)
    yield from _about_search(given)
    yield from _about_model(given)
    yield from _about_going_on(given)


def restart_iteration(given):
    """The iteration that --restart names, or None without it; :class:`UserError` when it is not one of --oroot."""
    if not given.restart:
        return None
    match = _OF_ITERATION.fullmatch(given.restart)
    if not match:
        raise UserError(f"--restart: {given.restart}, expected a file of one iteration, such as "
                        f"{given.oroot}_it000010_img.xmd")
    if os.path.abspath(match[1]) != os.path.abspath(given.oroot):
        raise UserError(f"--restart: {given.restart} belongs to --oroot {match[1]}, expected one of {given.oroot}; "
                        "its _img.xmd may be the -i or --doc of a new run")
    return int(match[2])


def _about_references(given):
    if given.nref is None and not given.ref:
        yield "--nref: neither this nor --ref is given, expected how many references to generate, or a file of them"
    if given.nref is not None and given.ref:
        yield "--nref: references are generated or read from --ref, expected one of the two"


def _about_stages(given):
    lengths = {name: len(getattr(given, name)) for name in STAGED if len(getattr(given, name)) > 1}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{count} of --{name}" for name, count in lengths.items())
        yield f"--{next(iter(lengths))}: {listed}, expected one value or the same number of values, one per stage"
        return
    if given.only_average and lengths:
        yield f"--{next(iter(lengths))}: several values, but --only_average has one iteration, expected one value"
    for stage, (step, psi, reach) in enumerate(zip(
            *(by_stage(given, name) for name in ("ang", "psi_sampling", "ang_search"))), 1):
        where = f" in stage {stage}" if stages(given) > 1 else ""
        if psi == 0:
            yield f"--psi_sampling: 0 degrees{where}, expected more, or -1 for the value of --ang"
        if 0 < reach < step:
            yield (f"--ang_search: {reach:g} degrees{where} is less than the step of --ang, {step:g} degrees: no "
                   "other orientation is that near; expected at least the step")
        elif 0 < reach < psi and not given.dont_limit_psirange:
            yield (f"--ang_search: {reach:g} degrees{where} is less than the step of --psi_sampling, {psi:g} degrees: "
                   "no other in-plane angle is that near; expected at least the step")
    for size in given.dim:
        if 0 <= size < SMALLEST_BOX:
            yield f"--dim: {size}, expected at least {SMALLEST_BOX} voxels, or -1 for the input's box"


def _about_search(given):
    local = any(reach > 0 for reach in given.ang_search)
    if given.tilt0 >= given.tiltF:
        yield f"--tilt0: {given.tilt0:g} degrees, expected less than --tiltF, {given.tiltF:g} degrees"
    if given.dont_limit_psirange and given.sym.lower() != "c1":
        yield f"--dont_limit_psirange: expected no symmetry (c1), as psi has no meaning of its own under {given.sym}"
    if given.anchor and not local:
        yield "--anchor: the search is everywhere, expected a range of --ang_search to stay in"
    if given.mask and not given.dont_align:
        yield "--mask: expected --dont_align with it, as a mask only makes sense where particles do not move"


def _about_model(given):
    if given.regF > given.reg0:
        yield f"--regF: {given.regF:g} is more than --reg0, {given.reg0:g}; expected at most that"
    weighted = "--maxCC" if given.maxCC else "--dont_impute" if given.dont_impute else ""
    if weighted and given.impute_iter > 1:
        yield f"--impute_iter: with {weighted} nothing is imputed, expected one of the two"
    if given.mask and given.maxCC:
        yield "--mask: classes inside a mask are told apart by likelihood, expected no --maxCC with it"
    if given.sigma_shells and given.maxCC:
        yield "--sigma_shells: correlations know no noise, expected no --maxCC with it"
    if given.sigma_shells and given.fix_sigma_noise:
        yield "--sigma_shells: the spectrum of the noise is estimated, expected no --fix_sigma_noise with it"


def _about_going_on(given):
    if given.restart and given.resume:
        yield "--restart: it names the iteration to go on from, expected no --continue with it"
    if given.istart > 1 and (given.restart or given.resume):
        yield "--istart: a run that goes on knows its iteration, expected no --istart with --continue or --restart"
