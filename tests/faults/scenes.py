"""The five programs on tiny data, each with a command line that uses much of what it can do."""
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from unittest import mock

from mlalign.programs import simulate, simulate_tomo, simulation, simulation_tomo

IMAGES = "--views 2 -n 36 --box 20 --mirror --offset 1 --snr 0.5 --defocus 9000 16000 --seed 3 --phase_flip"
VOLUMES = "--phantoms 2 -n 10 --box 12 --snr 1 --offset 0.7 --wedge -60 60 --seed 1"


@dataclass(frozen=True)
class Scene:
    """A program, and the options of its run; it writes into the folder ``out`` of where it is started.

    given: files of the input's folder, by the option (or place) that takes them.  lock: its lock file.
    passes: constants of :mod:`mlalign.programs.passes` that have other values in the run.
    """

    name: str
    given: tuple
    options: str
    lock: str = "out/x_run.lock"
    resume: str = "--continue"
    passes: dict = field(default_factory=dict)

    @property
    def program(self):
        return self.name.partition(",")[0]

    def main(self, words):
        """The program's main."""
        from mlalign.programs import passes
        with mock.patch.multiple(passes, **self.passes) if self.passes else nullcontext():
            import_module(f"mlalign.programs.{self.program}").main(words)

    def words(self, inputs):
        """The command line of a run on the data in a folder."""
        return [word.replace("@", f"{inputs}/") for word in self.given] + self.options.split()


SCENES = {scene.name: scene for scene in (
    Scene("ml_align2d", ("-i", "@particles.star"),
          "--oroot out/x_ --nref 2 --mirror --fast --iem 2 --norm --write_probs --iter 3 --eps 0 "
          "--random_seed 1 --psi_step 15"),
    Scene("mlf_align2d", ("-i", "@particles.star"),
          "--oroot out/x_ --nref 2 --mirror --group_size 12 --student --kstest --iter_histogram 2 --write_probs "
          "--iter 3 --eps 0 --random_seed 1 --psi_step 15"),
    Scene("ml_tomo", ("-i", "@tomo/particles.xmd", "--missing", "@tomo/missing.xmd"),
          "--oroot out/x --nref 2 --ang 40 30 --ang_search -1 30 --iter 2 1 --maxres 0.3 --limit_trans 1 --no_grow "
          "--random_seed 1 --perturb --eps 0"),
    Scene("mref_ali2d", ("@particles.star", "@references.mrcs", "out"),
          "--ou 7 --xr 2 --yr 2 --maxit 3 --min_class 18 --write_headers copy.hdf", lock="out/run.lock"),
    Scene("refine2d", ("--input", "@particles.star", "--path", "out"),
          "--ncls 3 --naliref 2 --nbasisfp 2 --iter 2 --classiter 1 --resultmx --radius 7 --random_seed 1",
          lock="out/run.lock", resume="--resume"),
    Scene("ml_align2d, passes kept in parts", ("-i", "@particles.star"),
          "--oroot out/x_ --nref 2 --mirror --fast --iem 3 --iter 3 --eps 0 --random_seed 1 --psi_step 15",
          passes={"MANY": 30, "PART": 10, "KEPT_EVERY": 0, "ENOUGH_BLOCKS": 3, "STAGE_BLOCKS": 1}))}
PROGRAMS = [name for name in SCENES if "," not in name]


@cache
def simulated(folder):
    """Make the data of all scenes in a folder (a Path); its path."""
    for run, command, words, part in ((simulation, simulate, IMAGES, ""), (simulation_tomo, simulate_tomo, VOLUMES,
                                                                           "tomo/")):
        run.run(command.parser().parse_args([*words.split(), "-o", f"{folder}/{part}"]))
    return Path(folder)
