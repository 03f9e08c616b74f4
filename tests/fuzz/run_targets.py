"""Files of finished runs: whoever reads them, or goes on from them, says what is wrong with a damaged one."""
import contextlib
import os
import shutil
import zipfile

import numpy as np

from mlalign.programs import (
    ml2d,
    ml_align2d,
    ml_tomo,
    mlf2d,
    mlf_align2d,
    mref,
    mref_ali2d,
    msa2d,
    refine2d,
    select,
    selection,
    tomo,
)
from mlalign.programs.formats.checkpoint import load_checkpoint, save_checkpoint
from mlalign.programs.formats.mrc import write_stack, write_volume_stack
from mlalign.programs.msa2d_results import Refine2dRun
from mlalign.programs.results import FINAL, Run
from mlalign.programs.tomo_results import TomoRun
from mlalign.tests.fuzz.base import Target
from mlalign.tests.fuzz.mutation import mutated

SEPARATOR = b"\0\0of\0\0"


class DamagedRun(Target):
    """A run of which one file is damaged; a case is the file's name and what it then holds.

    program, work: command line and run; command: its words; result: the file that names it.
    """

    program = work = None
    command = result = ""

    def __init__(self, folder):
        os.chdir(folder)
        noise = np.random.default_rng(0).standard_normal
        write_stack("in.mrcs", noise((8, 16, 16)), 3)
        write_stack("ref.mrcs", noise((2, 16, 16)), 3)
        write_volume_stack("vols.mrc", noise((4, 8, 8, 8)), 3)
        self._run()
        shutil.copytree("out", "whole")
        self.files = sorted(path.relative_to("whole") for path in (folder / "whole").relative_to(folder).rglob("*")
                            if path.is_file() and path.suffix not in (".log", ".txt"))
        super().__init__(folder)

    def good(self):
        return []

    def make(self, rng):
        name = rng.choice(self.files)
        data = (self.folder / "whole" / name).read_bytes()
        text = name.suffix in (".xmd", ".star", ".fsc", ".json")
        return str(name).encode() + SEPARATOR + mutated(rng, [data], text)

    def feed(self, data):
        name, _, content = data.partition(SEPARATOR)
        place = self.folder / "out" / name.decode()
        whole = self.folder / "whole" / name.decode()
        place.write_bytes(content)
        try:
            self.read()
        finally:
            shutil.copyfile(whole, place)

    def read(self):
        arguments = select.parser().parse_args([self.result, "-o", "good.star", "--classes", "1", "--rejected",
                                                 "bad.star"])
        selection.run(arguments)

    def _run(self, *more):
        arguments = self.program.parser().parse_args([*self.command.split(), *more])
        for name, value in (("processes", 0), ("command", "")):
            if not hasattr(arguments, name):
                setattr(arguments, name, value)
        with open(os.devnull, "w") as nothing, contextlib.redirect_stdout(nothing):
            self.work.run(arguments)


class Ml2dRun(DamagedRun):
    name, program, work = "results of ml_align2d", ml_align2d, ml2d
    command = "-i in.mrcs --nref 2 --oroot out/ml2d_ --iter 2 --random_seed 1 --maxres 0.3 --psi_step 45"
    result = "out/ml2d_classes.xmd"

    def read(self):
        run = Run("out/ml2d_")
        run.history()
        for iteration in (FINAL, 1):
            run.classes(iteration)
            for ref in (1, 2):
                run.members(iteration, ref)
                run.frc(iteration, ref)
        super().read()


class Mlf2dRun(DamagedRun):
    name, program, work = "results of mlf_align2d", mlf_align2d, mlf2d
    command = ("-i in.mrcs --nref 2 --oroot out/ml2d_ --iter 2 --random_seed 1 --fix_high 10 --psi_step 45 --no_ctf "
               "--sampling_rate 3")
    result = "out/ml2d_classes.xmd"

    def read(self):
        run = Run("out/ml2d_")
        run.history()
        run.spectra()
        super().read()


class MrefRun(DamagedRun):
    name, program, work = "results of mref_ali2d", mref_ali2d, mref
    command = "in.mrcs ref.mrcs out --ou 5 --maxit 2"
    result = "out/classes.xmd"


class Refine2dResults(DamagedRun):
    name, program, work = "results of refine2d", refine2d, msa2d
    command = "--input in.mrcs --ncls 2 --path out --iter 1 --nbasisfp 1 --naliref 1 --random_seed 1"
    result = "out/classes.xmd"

    def read(self):
        Refine2dRun("out/").coordinates()
        super().read()


class TomoResults(DamagedRun):
    name, program, work = "results of ml_tomo", ml_tomo, tomo
    command = ("-i vols.mrc --nref 2 --oroot out/t --ang 45 --iter 1 --random_seed 1 --no_grow --limit_trans 1 "
               "--maxres 0.3")
    result = "out/t_ref.xmd"

    def read(self):
        run = TomoRun("out/t")
        run.history()
        run.images()
        run.fsc(FINAL, 1)
        super().read()


class Continued(Ml2dRun):
    """Runs that go on from a checkpoint whose bytes are damaged, or one of whose parts somebody has edited."""

    name = "runs continued from damaged checkpoints"
    checkpoint = "out/ml2d_extra/iter002/iter_checkpoint.npz"

    def make(self, rng):
        whole = (self.folder / self.checkpoint.replace("out/", "whole/")).read_bytes()
        return mutated(rng, [whole]) if rng.random() < 0.5 else self._edited(rng)

    def _edited(self, rng):
        """Another array or value, with checksums as they should be."""
        path = self.checkpoint.replace("out/", "whole/")
        arrays, meta = map(dict, load_checkpoint(path))
        parts = rng.choice((arrays, meta))
        name = rng.choice(list(parts))
        if rng.random() < 0.3:
            del parts[name]
        elif parts is meta:
            meta[name] = rng.choice((None, 0, -1, 3, 1e9, "x", [], {}, True, 0.3))
        else:
            arrays[name] = rng.choice((np.zeros(3), np.zeros((2, 2)), np.array("x"), np.zeros(0), arrays[name] + 1))
        save_checkpoint("edited.npz", arrays, meta)
        with zipfile.ZipFile(path) as archive:
            seal = archive.comment
        with zipfile.ZipFile("edited.npz", "a") as archive:
            archive.comment = seal
        return (self.folder / "edited.npz").read_bytes()

    def feed(self, data):
        shutil.rmtree("out")
        shutil.copytree("whole", "out")
        (self.folder / self.checkpoint).write_bytes(data)
        self._run("--continue", "--iter", "3")


TARGETS = Ml2dRun, Mlf2dRun, MrefRun, Refine2dResults, TomoResults, Continued
