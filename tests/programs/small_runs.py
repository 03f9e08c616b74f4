"""The shortest runs of the programs on particles of their own: command lines, and what makes the particles."""
from pathlib import Path

from mlalign.programs import simulate, simulate_tomo, simulation, simulation_tomo

PARTICLES = 40
SIMULATED = f"-n {PARTICLES} --box 16 --snr 2 --offset 1 --seed 1 -o particles/"
IN_2D = f"{SIMULATED} --views 2 --pixel_size 4 --defocus 9000 20000 --phase_flip"
IN_3D = f"{SIMULATED} --phantoms 2 --stack"
INPUT = "-i particles/particles.{kind} --ref particles/references.mrcs --random_seed 1"
COMMANDS = {       # of each program; {out} is a folder
    "ml_align2d": f"{INPUT} --iter {{iterations}} --oroot {{out}}/ml2d_ --maxres 0.25",
    "mlf_align2d": f"{INPUT} --iter {{iterations}} --oroot {{out}}/ml2d_ --fix_high 16",
    "mref_ali2d": "particles/particles.star particles/references.mrcs {out} --ou 6 --xr 1 --yr 1 --maxit {iterations}",
    "refine2d": "--input particles/particles.star --path {out} --ncls 2 --iter {iterations} --random_seed 1",
    "ml_tomo": f"{INPUT} --iter {{iterations}} --oroot {{out}}/ml_ --missing particles/missing.xmd --ang 45 "
               "--limit_trans 1 --maxres 0.2 --no_refine",
}


def make_particles(program):
    """Particles for a program in the folder ``particles`` of the working folder."""
    if program == "ml_tomo":
        simulation_tomo.run(simulate_tomo.parser().parse_args(IN_3D.split()))
    else:
        simulation.run(simulate.parser().parse_args(IN_2D.split()))


def command_line(program, out, iterations):
    """Words of a program's command line; makes the folder ``out`` if the program wants it."""
    words = COMMANDS[program]
    if "{out}/" in words:
        Path(out).mkdir()
    return words.format(kind="xmd" if program == "ml_tomo" else "star", out=out, iterations=iterations).split()
