"""ML tomo's form as ml_tomo's command line, and the program's objections in the form's words."""
import re

from mlalign.programs import ml_tomo
from mlalign.programs.errors import UserError
from mlalign.programs.tomo_options import contradictions

from .base import command_line
from .gpu import gpu_option
from .tomo_form import CLASSES, EVERYTHING, NOTHING, REGIONS, SHIFTS

# the parameter of the form that an option of the program is
PARAMETER_OF = {
    "--nref": "numberOfReferences", "--restarts": "restarts", "--ref": "inputReferences", "--sym": "symmetry",
    "--mask": "maskFile", "--dont_rotate": "searchMode", "--dont_align": "searchMode", "--only_average": "searchMode",
    "--ang": "angSampling", "--ang_search": "angSearch", "--anchor": "anchor", "--dont_limit_psirange": "globalPsi",
    "--psi_sampling": "psiSampling", "--tilt0": "tiltMin", "--tiltF": "tiltMax", "--perturb": "doPerturb",
    "--no_SMALLANGLE": "noSmallAngle", "--limit_trans": "limitTrans",
    "--no_refine": "doRefine", "--dim": "dim", "--maxres": "maxRes", "--no_grow": "growResolution",
    "--radius": "radius", "--maxCC": "maxCC", "--half_sets": "halfSets", "--dont_impute": "dontImpute",
    "--noimp_threshold": "noImpThresh", "--impute_iter": "numberOfImpIterations", "--reg0": "regIni",
    "--regF": "regFinal", "--reg_steps": "regSteps", "--filter": "doFilter", "--ini_filter": "iniFilter",
    "--noise": "stdNoise", "--fix_sigma_noise": "fixSigmaNoise", "--sigma_shells": "sigmaShells",
    "--offset": "stdOrig", "--fix_sigma_offset": "fixSigmaOffset", "--frac": "fractions",
    "--fix_fractions": "fixFrac", "--iter": "numberOfIterations", "--eps": "eps", "--memory": "memory",
    "--random_seed": "randomSeed", "--thr": "numberOfThreads", "--gpu": "gpuList",
    "--keep_angles": "copyAlignment",
}
_OPTION = re.compile(r"(?<![\w-])--?[a-zA-Z]\w*")


def tomo_options(protocol):
    """The options of ml_tomo, as :meth:`.base.ProgramProtocol._options` gives them.

    What depends on the stage is a list of words, as they stand in the form.
    """
    p, mode = protocol, protocol.searchMode.get()
    turning, moving, classifying = mode == EVERYTHING, mode in (EVERYTHING, SHIFTS), mode != NOTHING
    generate, correlate = p.generateReferences.get(), classifying and p.maxCC.get()
    likelihood = classifying and not correlate
    from_chance = turning and generate and not p.copyAlignment
    weighted = likelihood and p.dontImpute.get()
    regularised = classifying and (p.regIni.get() or 0) > 0
    local = turning and p.angSearch.get(default="").strip() not in ("-1", "0")
    from_coarse = turning and not (generate and p.copyAlignment)
    return {
        "-i": p._particlesFile(),
        "--missing": None if REGIONS[p.missingDataType.get()] == "everything" else p._regionsFile(),
        "--nref": p.numberOfReferences.get() if generate else None,
        "--restarts": p.restarts.get() if from_chance else None,
        "--ref": None if generate else p._referencesFile(),
        "--keep_angles": generate and p.copyAlignment.get() and mode == EVERYTHING,
        "--oroot": p._root(),
        "--pixel_size": p.inputVolumes.get().getSamplingRate(),
        "--sym": p.symmetry.get(),
        "--dont_rotate": mode == SHIFTS,
        "--dont_align": mode == CLASSES,
        "--only_average": mode == NOTHING,
        "--mask": p._maskFile() if mode == CLASSES else None,
        "--ang": words(p.angSampling) if turning else None,
        "--ang_search": words(p.angSearch) if turning else None,
        "--anchor": local and p.anchor.get(),
        "--dont_limit_psirange": local and p.globalPsi.get(),
        "--psi_sampling": words(p.psiSampling) if turning else None,
        "--tilt0": p.tiltMin.get() if turning else None,
        "--tiltF": p.tiltMax.get() if turning else None,
        "--perturb": turning and p.doPerturb.get(),
        "--no_SMALLANGLE": turning and p.noSmallAngle.get(),
        "--limit_trans": words(p.limitTrans) if moving else None,
        "--no_refine": moving and not p.doRefine,
        "--dim": words(p.dim),
        "--maxres": words(p.maxRes),
        "--no_grow": from_coarse and not p.growResolution,
        "--radius": p.radius.get() if p.radius >= 0 else None,
        "--maxCC": correlate,
        "--half_sets": classifying and p.halfSets.get(),
        "--dont_impute": weighted,
        "--noimp_threshold": p.noImpThresh.get(),
        "--impute_iter": p.numberOfImpIterations.get() if likelihood and not weighted else None,
        "--reg0": p.regIni.get() if classifying else None,
        "--regF": p.regFinal.get() if regularised else None,
        "--reg_steps": p.regSteps.get() if regularised else None,
        "--filter": classifying and p.doFilter.get(),
        "--ini_filter": classifying and generate and p.iniFilter.get(),
        "--noise": p.stdNoise.get() if likelihood else None,
        "--fix_sigma_noise": likelihood and p.fixSigmaNoise.get(),
        "--sigma_shells": likelihood and not p.fixSigmaNoise and p.sigmaShells.get(),
        "--offset": p.stdOrig.get() if moving else None,
        "--fix_sigma_offset": moving and not correlate and p.fixSigmaOffset.get(),
        "--frac": (p.fractions.get() or None) if classifying else None,
        "--fix_fractions": classifying and p.fixFrac.get(),
        "--iter": words(p.numberOfIterations) if classifying else ["1"],
        "--eps": p.eps.get() if classifying else None,
        "--random_seed": p.randomSeed.get(),
        "--thr": p.numberOfThreads.get(),
        "--gpu": gpu_option(p),
        "--memory": p.memory.get(),
    }


def words(field):
    """The values in a text field of the form: ``"15, 10 5"`` -> ``["15", "10", "5"]``."""
    return re.findall(r"[^\s,;]+", field.get() or "")


def stage_iterations(protocol):
    """The iterations allowed in each stage, as the form has it; words that are no numbers are passed over."""
    p = protocol
    if p.searchMode == NOTHING:
        return [1]
    counts = [int(word) for word in words(p.numberOfIterations) if word.isdecimal()]
    fields = (p.angSampling, p.angSearch, p.psiSampling, p.limitTrans, p.dim, p.maxRes)
    return counts * max(len(words(field)) for field in fields) if len(counts) == 1 else counts


def parsed(options):
    """The namespace that ml_tomo makes of options; :class:`UserError` with its message for what it refuses."""
    parser = ml_tomo.parser()
    parser.error = _refuse
    return parser.parse_args(command_line(options))


def option_errors(protocol, options):
    """What the program would say against the options, in the form's words."""
    try:
        return [in_words(protocol, line) for line in contradictions(parsed(options))]
    except UserError as error:
        return [in_words(protocol, str(error).removeprefix("argument "))]


def in_words(protocol, line):
    """A message of the program about options as one about the form's parameters, by their labels."""

    def label(match):
        name = PARAMETER_OF.get(match[0])
        return match[0] if name is None else f"*{protocol.getParam(name).getLabel()}*"

    return _OPTION.sub(label, line) + "."


def _refuse(message):
    raise UserError(message)
