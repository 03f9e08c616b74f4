"""Words: command lines of all programs, modules of refine2d, names of images; read as far as the work begins."""
import contextlib
import os

import numpy as np

from mlalign.programs import (
    convert,
    ml2d,
    ml_align2d,
    ml_tomo,
    mlf2d,
    mlf_align2d,
    modifiers,
    mref_ali2d,
    mref_input,
    msa2d_input,
    refine2d,
    select,
    simulate,
    simulate_tomo,
    tomo,
    tomo_options,
)
from mlalign.programs.errors import UserError
from mlalign.programs.formats.docfile import read_docfile
from mlalign.programs.formats.images import open_images
from mlalign.programs.formats.mrc import write_stack, write_volume_stack
from mlalign.programs.formats.star import write_star
from mlalign.programs.formats.volumes import open_volumes
from mlalign.programs.modules2d import (
    ALIGNERS,
    AVERAGERS,
    CENTRINGS,
    COMPARATORS,
    NORMALIZATIONS,
    REFINERS,
    Modules,
)
from mlalign.tests.fuzz.base import Target, TextTarget
from mlalign.tests.fuzz.harness import WrongAcceptance
from mlalign.tests.fuzz.mutation import REAL, WHOLE, WORDS

END = "\0"              # parts the words of a case, as they are parted for a program


class CommandLine(Target):
    """A command line is refused, or leads to inputs that fit together; numbers are finite.

    parser: the program's; command: words of one that works; inputs: what reads what the options name.
    """

    program, command = None, ""

    def __init__(self, folder):
        super().__init__(folder)
        noise = np.random.default_rng(0).standard_normal
        write_stack(folder / "in.mrcs", noise((6, 16, 16)), 3)
        write_stack(folder / "ref.mrcs", noise((2, 16, 16)), 3)
        write_volume_stack(folder / "vols.mrc", noise((4, 12, 12, 12)), 3)
        write_volume_stack(folder / "vol.mrc", noise((1, 12, 12, 12)), 3)
        (folder / "frac.txt").write_text("1 3")
        os.chdir(folder)
        self.parser = self.program.parser()
        self.actions = [action for action in self.parser._actions if action.option_strings]

    def good(self):
        return [self.command.replace(" ", END).encode()]

    def make(self, rng):
        words = self.command.split()
        for _ in range(rng.choice((0, 1, 1, 2, 4))):
            self._change(rng, words)
        return END.join(words).encode()

    def _change(self, rng, words):
        what = rng.randrange(6)
        if what == 0 and words:
            words[rng.randrange(len(words))] = self._value(rng)
        elif what == 1 and words:
            del words[rng.randrange(len(words))]
        else:
            action = rng.choice(self.actions)
            many = 0 if action.nargs == 0 else rng.choice((1, 1, 1, 1, 2, 3)) if action.nargs == "+" else 1
            added = [rng.choice(action.option_strings), *(self._value(rng, action) for _ in range(many))]
            if rng.random() < 0.2 and many:
                added = [f"{added[0]}={added[1]}"]
            words.extend(added)

    def _value(self, rng, action=None):
        files = "in.mrcs", "ref.mrcs", "vols.mrc", "vol.mrc", "frac.txt", "nothing.mrcs", ".", "3@in.mrcs", "a b"
        sane = "0", "1", "2", "3", "5", "0.5", "0.1", "10", "45", "90", "-1"
        kinds = [(WORDS, 1), (files, 2), (sane, 5), ([str(n) for n in (*REAL, *WHOLE)], 2)]
        if action is not None and action.choices:
            kinds.append((list(action.choices), 5))
        word = rng.choice(rng.choices(*zip(*kinds))[0])
        return word.replace(END, "")            # no system hands one to a program

    def feed(self, data):
        words = data.decode("utf-8", "surrogateescape").split(END)
        with open(os.devnull, "w") as nothing, contextlib.redirect_stderr(nothing), contextlib.redirect_stdout(nothing):
            options = self.parser.parse_args(words)
        for name, value in vars(options).items():
            if isinstance(value, float) and not np.isfinite(value):
                raise WrongAcceptance(f"{name} is {value}")
        self.inputs(options)

    def inputs(self, options):
        pass


class MlAlign2d(CommandLine):
    name, program = "options of ml_align2d", ml_align2d
    command = "-i in.mrcs --nref 2 --oroot out/ml2d_ --mirror --fast"

    def inputs(self, options):
        ml2d.Classification(options)


class MlfAlign2d(CommandLine):
    name, program = "options of mlf_align2d", mlf_align2d
    command = "-i in.mrcs --nref 2 --oroot out/mlf2d_ --no_ctf --sampling_rate 3"

    def inputs(self, options):
        mlf2d.SpectralClassification(options)


class MlTomo(CommandLine):
    name, program = "options of ml_tomo", ml_tomo
    command = "-i vols.mrc --nref 1 --oroot out/nref1 --ang 30 --iter 1 --dim -1"

    def inputs(self, options):
        tomo_options.check(options)
        tomo_options.restart_iteration(options)
        tomo.TomoClassification(options)


class MrefAli2d(CommandLine):
    name, program = "options of mref_ali2d", mref_ali2d
    command = "in.mrcs ref.mrcs out --ou 5 --xr 1 --maxit 2"

    def inputs(self, options):
        mref_input.read_inputs(options)


class Refine2d(CommandLine):
    name, program = "options of refine2d", refine2d
    command = "--input in.mrcs --ncls 2 --path out --iter 1 --nbasisfp 2 --naliref 1"

    def inputs(self, options):
        refine2d.read_parallel(options)
        msa2d_input.read_inputs(options)
        modules = Modules(16)
        for name in ("simalign", "classalign"):
            modules.aligner(name, getattr(options, name))


class Select(CommandLine):
    name, program, command = "options of select", select, "run/classes.xmd -o good.star --score 0.6"


class Convert(CommandLine):
    name, program, command = "options of convert", convert, "-i in.xmd -o out.star"


class Simulate(CommandLine):
    name, program, command = "options of simulate", simulate, "--views 3 -n 10 --mirror -o planted/"


class SimulateTomo(CommandLine):
    name, program, command = "options of simulate_tomo", simulate_tomo, "--phantoms 2 -n 10 -o planted/"


class ModuleStrings(TextTarget):
    """``name:option=value``: what is accepted says the same again, and makes modules whose numbers are finite."""

    name = "modules of refine2d"
    odd = 1                 # there is no such option
    tables = {"aligner": ALIGNERS, "refiner": REFINERS, "comparator": COMPARATORS, "averager": AVERAGERS,
              "processor": NORMALIZATIONS, "centring": CENTRINGS}

    def good(self):
        return [":".join([name, *(f"{key}={option.default}" for key, option in module.options.items()
                                  if option.default != "")]).encode()
                for table in self.tables.values() for name, module in table.items()] + [b'ccc:x="y:z":c=1']

    def feed(self, data):
        text = data.decode("utf-8", "replace")
        accepted, refusal = False, None
        parsed = modifiers.parse("--simcmp", text)
        if parsed is not None and '"' not in text:
            again = modifiers.parse("--simcmp", str(parsed))
            if str(again) != str(parsed):
                raise WrongAcceptance(f"{again} instead of {parsed}")
        for kind in self.tables:
            try:
                getattr(Modules(16, 3.0), kind)("--simcmp", text)
                accepted = True
            except UserError as error:
                refusal = error
        if not accepted:
            raise refusal


class Locations(Target):
    """One image's name in metadata: it is an image of the stack that it names, or refused."""

    name = "names of images"

    stacks = "a.mrcs", "a b.mrcs", "x@y.mrcs", "é.mrcs", "-n.mrcs", "1@a.mrcs", "it's.mrcs", "$(id).mrcs"
    others = ("pipe.mrcs", "loop.mrcs", "folder.mrcs", "secret.txt", "/dev/zero", "/etc/passwd", "/proc/self/mem",
              "/dev/stdin", "~/a.mrcs", "a.mrcs:mrcs", "a.mrcs:spi", "a.mrcs\n", "a\nb.mrcs", "nothing.mrcs")
    numbers = ("", "1@", "2@", "000003@", "0@", "4@", "-1@", "999999999999@", "9" * 30 + "@", "٣@", "²@", "@", "1@1@",
               "1.0@", " 1@", "1 @", "+1@")

    def __init__(self, folder):
        super().__init__(folder)
        stack = np.zeros((3, 8, 8), np.float32)
        stack[:, 0, 0] = 1, 2, 3
        for name in self.stacks:
            write_stack(folder / name, stack)
        (folder / "in").mkdir()
        (folder / "secret.txt").write_text("root:x:0:0")
        os.mkfifo(folder / "pipe.mrcs")
        (folder / "loop.mrcs").symlink_to("loop.mrcs")
        (folder / "folder.mrcs").mkdir()

    def good(self):
        return []

    def make(self, rng):
        place = rng.choice(("", "", "./", "../", "../in/../", "../../../../../../../", "//", f"{self.folder}/"))
        name = rng.choice(self.numbers) + place + rng.choice((*self.stacks, *self.others))
        if rng.random() < 0.2:
            name = name.replace(rng.choice(name), rng.choice(WORDS), 1)
        return name.encode()

    def feed(self, data):
        name = data.decode("utf-8", "surrogateescape")
        table = self.folder / "in" / "table.xmd"
        try:
            write_star(table, {"particles": {"image": [name]}})
        except ValueError:
            raise UserError("a name that no table can hold") from None
        source = open_images(table)
        number, _, _ = name.partition("@")
        found = source.read([0])[0, 0, 0]
        if number.isdecimal() and found != int(number):
            raise WrongAcceptance(f"{name!r} is image {found}")
        with contextlib.suppress(UserError):
            open_volumes(table)
        with contextlib.suppress(UserError):
            open_images(name)
        with contextlib.suppress(UserError):
            read_docfile(table)


TARGETS = (MlAlign2d, MlfAlign2d, MlTomo, MrefAli2d, Refine2d, Select, Convert, Simulate, SimulateTomo, ModuleStrings,
           Locations)
