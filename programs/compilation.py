"""What ``mlalign compile`` does: it runs examples of all programs, with options that between them need all kernels."""
import importlib
import io
import multiprocessing
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import redirect_stderr, redirect_stdout

from .errors import UserError

# program, its options.  Noisy images have many poses, others few, which is not done by the same kernels.
SCENES = (
    ("simulate", "-n 40 --box 28 --views 2 --snr 1 --mirror --defocus 9000 28000 --pixel_size 4 -o clear/"),
    ("simulate", "-n 40 --box 28 --views 2 --snr 0.001 --mirror --defocus 9000 28000 --pixel_size 4 -o noisy/"),
    ("simulate_tomo", "-n 6 --box 16 --phantoms 1 --snr 1 -o tomo/"),
)
CLEAR, NOISY = (f"-i {name}/particles.star --ref {name}/references.mrcs" for name in ("clear", "noisy"))
REFINE2D = "--input clear/particles.star --ncls 2 --iter 1 --random_seed 1"
EXAMPLES = (
    ("refine2d", f"{REFINE2D} --path first --classaverager ctf.auto --simcmp phase --simralign refine"),
    ("mlf_align2d", f"{CLEAR} --iter 2 --fast --mirror --search_shift 3 --fix_high 8 --oroot fast/"),
    ("mref_ali2d", "clear/particles.star clear/references.mrcs mref --xr 1 --yr 1 --ou 9 --maxit 1 --CTF"),
    ("ml_tomo", "-i tomo/particles.xmd --missing tomo/missing.xmd --nref 1 --iter 2 --ang 30 --oroot run/"),
    ("ml_align2d", f"{NOISY} --iter 1 --oroot dense/"),
    ("mlf_align2d", f"{NOISY} --iter 2 --search_shift 3 --oroot near/"),
    ("ml_align2d", f"{CLEAR} --iter 1 --mirror --fast --maxres 0.5 --oroot two/"),
    ("ml_align2d", "-i clear/particles.star --nref 2 --iter 1 --random_seed 1 --oroot chance/"),
    ("refine2d", f"{REFINE2D} --path second --simcmp frc --simralign refine"),
)


def run(options):
    """Compile with parsed ``options`` (see :mod:`.compile`).  Raises :class:`.errors.UserError`."""
    started, jobs = time.time(), options.jobs or len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="mlalign_") as folder, _processes(jobs, folder) as pool:
        print("simulating particles", flush=True)
        list(_all_of(pool, SCENES))
        kernels = set()
        for program, some, seconds in _all_of(pool, EXAMPLES):
            print(f"{program}: {seconds:.0f} s, {len(some)} kernels compiled", flush=True)
            kernels.update(some)
    from .engine import climbing, compiled
    if not compiled.folders:
        raise UserError("neither the package's folder nor the user's may be written, so compiled code cannot be kept; "
                        "expected another one in the environment variable NUMBA_CACHE_DIR")
    new = f"{len(kernels)} kernels compiled" if kernels else "everything was compiled already"
    print(f"{new}, in {climbing.climb.stats.cache_path} ({time.time() - started:.0f} s)")


def _processes(jobs, folder):
    """Processes that know of no kernels yet, working in ``folder``."""
    return ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), os.chdir, (folder,))


def _all_of(pool, commands):
    """Run commands side by side: yields program, names of the kernels it compiled, seconds, as they end."""
    runs = {pool.submit(example, program, options.split()): program for program, options in commands}
    try:
        for done in as_completed(runs):
            yield runs[done], *done.result()
    except BrokenProcessPool as error:
        raise UserError("a process that compiled was killed, perhaps for want of memory: try fewer --jobs") from error


def example(program, options):
    """Run a program here: names of the kernels it compiled, and seconds."""
    from .engine import compiled
    before, started, said = len(compiled.fresh), time.time(), io.StringIO()
    try:
        with redirect_stdout(said), redirect_stderr(said):
            importlib.import_module(f"{__package__}.{program}").main(options)
    except SystemExit as end:
        if end.code:
            raise UserError(f"the example of {program} failed: {said.getvalue().strip()}") from end
    return compiled.fresh[before:], time.time() - started
