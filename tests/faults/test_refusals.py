"""Disks that are full or fail, and files that change under a run: one clear line, and the run goes on afterwards."""
import errno
import os
import shutil
import subprocess
import time
from itertools import count, cycle

import pytest

from mlalign.tests.faults import trials
from mlalign.tests.faults.scenes import PROGRAMS

MIB = 2**20
MANY_READS = 20         # that a run meets, at least


@pytest.fixture
def small_disk(tmp_path):
    """``small_disk(folder, bytes)``: a folder on a disk of that size; ``(folder, bytes, remount=True)`` changes it."""
    mounted = []

    def mount(folder, size, *more, remount=False):
        options = ",".join([f"size={size}", *more, *(["remount"] if remount else [])])
        folder.mkdir(parents=True, exist_ok=True)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", folder], capture_output=True).returncode:
            pytest.skip("may not mount")
        mounted.append(folder)

    yield mount
    for folder in set(mounted):
        subprocess.run(["umount", "-l", folder], check=True)


def refused(killer, folder, prepare=None, words=()):
    """The one line that a run ends with."""
    ended = trials.run(killer.scene.main, [*killer.words, *words], folder, prepare)
    assert ended.status == 2, ended
    line, = ended.lines
    assert line.startswith(f"{killer.scene.program}: error: ")
    assert not trials.files(folder, hidden=True) and not (folder / killer.scene.lock).exists()
    trials.assert_whole(folder, killer.reference, killer.scene.lock)
    return line


def size(folder):
    """Bytes on a disk of pages."""
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in trials.files(folder).values())


@pytest.mark.parametrize("name, share", list(zip(PROGRAMS, cycle((0.5, 0.9, 0.1)))))
def test_full_disk(name, share, killers, small_disk):
    """A real one, which fills up early or late; when it has been given more room, the run goes on."""
    killer = killers(name)
    folder = killer.fresh()
    small_disk(folder, int(share * size(killer.reference)))
    line = refused(killer, folder)
    assert ": cannot write " in line and line.endswith("No space left on device")
    small_disk(folder, 64 * MIB, remount=True)
    killer.goes_on(folder)


def test_read_only_disk(killers, small_disk):
    killer = killers("mref_ali2d")
    folder = killer.fresh()
    small_disk(folder, MIB, "ro")
    assert "Read-only file system" in refused(killer, folder)


@pytest.mark.parametrize("name, number", list(zip(PROGRAMS, cycle((errno.EDQUOT, errno.EIO, errno.EROFS)))))
def test_writing_fails_once(name, number, killers):
    """A quota is met, or a network's disk fails, when data are to be on it for sure."""
    killer = killers(name)
    folder = killer.fresh()
    line = refused(killer, folder, lambda: failing_sync(killer.changes // 6, number))
    assert ": cannot write " in line and line.endswith(os.strerror(number))
    killer.goes_on(folder)


def failing_sync(count, number):
    """From the ``count``-th time on."""
    sync, left = os.fsync, iter(range(count))

    def fsync(descriptor):
        if next(left, None) is None:
            raise OSError(number, os.strerror(number))
        sync(descriptor)

    os.fsync = fsync


def test_the_log_and_what_is_said_go_to_a_full_disk(killers):
    killer = killers("mref_ali2d")

    def prepare():
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, 1)

    assert refused(killer, killer.fresh(), prepare).endswith("cannot write standard output: No space left on device")

    def both():
        prepare()
        os.dup2(1, 2)

    ended = trials.run(killer.scene.main, killer.words, killer.fresh(), both)
    assert (ended.status, ended.errors) == (2, "")


@pytest.mark.parametrize("name", ["ml_align2d", "refine2d"])
def test_the_folder_is_removed(name, killers):
    killer = killers(name)
    folder = killer.fresh()
    ended = trials.run(killer.scene.main, killer.words, folder,
                       trials.AtChange(killer.changes // 2, lambda: shutil.rmtree("out")))
    assert ended.status == 2, ended
    line, = ended.lines
    assert line.startswith(f"{name}: error: ") and "out/" in line
    killer.goes_on(folder)


# ---- the input

@pytest.fixture
def on_copies(killers, tmp_path):
    """``on_copies(name)``: a run with images of its own that do not fit into memory: killer, words, path of images."""
    def make(name):
        killer = killers(name)
        inputs = tmp_path / "input"
        shutil.copytree(killer.inputs, inputs)
        words = [*killer.scene.words(inputs), "--memory", "1e-6"]
        return killer, words, inputs / "particles.mrcs"
    return make


@pytest.mark.parametrize("name", ["ml_align2d", "mref_ali2d"])
def test_images_that_are_cut_off(name, on_copies):
    killer, words, stack = on_copies(name)
    folder, whole, main = killer.fresh(), stack.read_bytes(), killer.scene.main
    ended = trials.run(main, words, folder, trials.AtChange(killer.changes // 2,
                                                            lambda: os.truncate(stack, len(whole) // 2)))
    assert ended.status == 2
    assert ended.lines == [f"{name}: error: {stack}: has become shorter while it was in use: {len(whole) // 2} bytes, "
                           f"expected {len(whole)}"]
    again = trials.run(main, [*words, killer.scene.resume], folder)
    assert again.status == 2 and "truncated MRC file" in again.errors and len(again.lines) == 1
    stack.write_bytes(whole)
    assert trials.run(main, [*words, killer.scene.resume], folder).status == 0
    undisturbed = killer.fresh()
    trials.run(main, words, undisturbed)
    trials.assert_same_files(folder, undisturbed)


def test_images_that_are_removed_are_there_until_the_end(on_copies):
    killer, words, stack = on_copies("mref_ali2d")
    folder, main = killer.fresh(), killer.scene.main
    assert trials.run(main, words, folder, trials.AtChange(killer.changes // 2, lambda: os.unlink(stack))).status == 0
    again = trials.run(main, [*words, "--continue"], folder)
    assert again.status == 2 and "no file particles.mrcs" in again.errors and len(again.lines) == 1


@pytest.mark.parametrize("name", ["ml_align2d", "ml_tomo", "mref_ali2d"])
def test_slow_reads_change_nothing(name, killers):
    """A disk that answers late and in pieces, one read later than the next: the same bytes, also with threads."""
    killer = killers(name)
    words, main = [*killer.words, "--memory", "1e-6"], killer.scene.main
    disturbed, undisturbed = killer.fresh(), killer.fresh()

    def prepare():
        read, reads = os.preadv, count()

        def preadv(file, buffers, at):
            number = next(reads)
            if number == MANY_READS:
                open(f"{disturbed}.slow", "x").close()
            if number % 7 == 0:
                time.sleep(0.02 if number % 17 == 0 else 1e-3)
            return read(file, [buffers[0][:9999]], at)

        os.preadv = preadv

    assert trials.run(main, [*words, "--thr", 2], disturbed, prepare).status == 0
    assert os.path.exists(f"{disturbed}.slow")
    assert trials.run(main, words, undisturbed).status == 0
    trials.assert_same_files(disturbed, undisturbed)
