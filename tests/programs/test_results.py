"""The reader of a run's files."""
import os

import numpy as np
import pytest

from mlalign.programs.errors import UserError
from mlalign.programs.formats.star import write_star
from mlalign.programs.results import CURVES, FINAL, Run, parse_iterations


def write(run, iteration, counts=(3, 1), members=True, **info):
    """Write a small classes.xmd: ``counts`` particles in the classes."""
    refs = np.repeat(np.arange(1, len(counts) + 1), counts)
    blocks = {"classes": {"ref": np.arange(1, len(counts) + 1), "classCount": counts,
                          "weight": np.array(counts, float)},
              "info": {"iterationNumber": [iteration or 0], "logLikelihood": [-100.0 + (iteration or 0)],
                       **{label: [value] for label, value in info.items()}}}
    if members:
        for ref in range(1, len(counts) + 1):
            rows = np.flatnonzero(refs == ref)
            blocks[f"class{ref:06d}_images"] = {"itemId": rows + 1, "anglePsi": 10.0 * rows}
    write_star(run.classes_file(iteration), blocks)


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path / "out" / "ml2d_")


def test_names_follow_the_prefix(run, tmp_path):
    assert run.classes_file(12) == tmp_path / "out" / "ml2d_extra" / "iter012" / "iter_classes.xmd"
    assert run.classes_file() == tmp_path / "out" / "ml2d_classes.xmd"


@pytest.mark.parametrize("iteration", [FINAL, 0, 7, 123])
def test_a_file_names_its_run_and_iteration(run, iteration):
    found, number = Run.of_file(run.classes_file(iteration))
    assert found.oroot == run.oroot and number == iteration


def test_files_that_are_no_result_of_a_run():
    for path in ("a.star", "out/ml2d_images.xmd", "class000001_images@out/ml2d_classes.xmd"):
        assert Run.of_file(path) is None
    assert Run.of_file("elsewhere/iter_classes.xmd")[0].oroot == "elsewhere/iter_"


def test_a_run_without_a_prefix_of_its_own(tmp_path):
    run = Run(f"{tmp_path}/")
    write(run, 1)
    assert run.iterations() == [1] and Run.of_file(run.classes_file(1))[0].oroot == run.oroot


def test_nothing_yet(run):
    assert run.iterations() == run.results() == []
    with pytest.raises(UserError, match="no such file"):
        run.newest()
    with pytest.raises(UserError, match="no iterations yet"):
        run.history()


def test_iterations_that_count_are_those_with_a_result(run):
    for iteration in (2, 10, 0):
        write(run, iteration)
    (run.classes_file(11).parent).mkdir()
    assert run.iterations() == [0, 2, 10] and run.newest() == 10


def test_the_final_result_is_outdated_by_later_iterations(run):
    write(run, 1)
    write(run, FINAL)
    assert run.results() == [1, FINAL] and run.newest() is FINAL
    write(run, 2)
    os.utime(run.classes_file(2), ns=(0, run.classes_file().stat().st_mtime_ns + 1))
    assert run.results() == [1, 2]


def test_classes_info_and_members(run):
    write(run, 3, samplingRate=2.5)
    np.testing.assert_array_equal(run.classes(3)["classCount"], [3, 1])
    assert run.info(3)["logLikelihood"] == -97 and run.pixel_size(3) == 2.5
    np.testing.assert_array_equal(run.members(3, 1)["itemId"], [1, 2, 3])
    np.testing.assert_array_equal(run.members(3, 2)["anglePsi"], [30])
    with pytest.raises(UserError, match="no block data_class000003_images"):
        run.members(3, 3)


def test_unknown_pixel_size(run):
    write(run, 1, samplingRate=-1)
    write(run, 2)
    assert run.pixel_size(1) is None and run.pixel_size(2) is None


def test_a_file_written_again_is_read_again(run):
    write(run, 1)
    first = run.classes(1)
    assert run.classes(1) is first
    write(run, 1, (1, 3))
    np.testing.assert_array_equal(run.classes(1)["classCount"], [1, 3])


def test_history_has_nan_where_a_file_is_silent(run):
    write(run, 1)
    write(run, 2, (2, 1, 1), sigmaNoise=0.9, samplingRate=3.0)
    history = run.history()
    np.testing.assert_array_equal(history.iterations, [1, 2])
    np.testing.assert_array_equal(history.info["logLikelihood"], [-99, -98])
    np.testing.assert_array_equal(history.info["sigmaNoise"], [np.nan, 0.9])
    np.testing.assert_array_equal(history.classes["weight"], [[3, 1, np.nan], [2, 1, 1]])
    assert np.isnan(history.classes["resolution"]).all() and history.pixel_size == 3
    np.testing.assert_array_equal(run.history([2]).iterations, [2])


def test_frc(run):
    assert run.frc(1, 1) is None
    curves = {f"class00000{ref}": {"resolutionFreqFourier": [0, 0.1], "resolutionFRC": [1, ref / 10]}
              for ref in (1, 2)}
    write_star(run.prefix(1) + "frc.xmd", curves)
    np.testing.assert_array_equal(run.frc(1, 2), [[0, 0.1], [1, 0.2]])


def write_spectra(run, iteration, groups):
    """Write the spectra of groups, each (optics group, images, least, largest defocus); dict of their curves."""
    rng = np.random.default_rng(1)
    optics, count, least, largest = np.array(groups).T
    numbers = range(1, len(groups) + 1)
    curves = {f"ctf{n:06d}": {"resolutionFreqFourier": np.linspace(0.01, 0.5, 5), "resolutionFreqReal": np.full(5, -1),
                              **{label: rng.uniform(0, 1, 5) for label in CURVES.values()}} for n in numbers}
    write_star(run.prefix(iteration) + "noise.xmd", {
        "groups": {"defocusGroup": numbers, "opticsGroup": optics.astype(int), "count": count.astype(int),
                   "defocusMin": least, "defocusMax": largest},
        **{name: {label: curve[label] for label in ("resolutionFreqFourier", "mlfNoise")}
           for name, curve in curves.items()}})
    write_star(run.prefix(iteration) + "ssnr.xmd", curves)
    return curves


def test_spectra(run):
    curves = write_spectra(run, 2, [(1, 300, 9000.0, 12000.0), (1, 310, 12000.0, 15000.0), (2, 250, -4000.0, -2000.0)])
    groups = run.spectra(2)
    assert [(g.number, g.optics_group, g.count, g.defocus) for g in groups] == [
        (1, 1, 300, (9000, 12000)), (2, 1, 310, (12000, 15000)), (3, 2, 250, (-4000, -2000))]
    for group, columns in zip(groups, curves.values()):
        np.testing.assert_array_equal(group.frequency, columns["resolutionFreqFourier"])
        for name, label in CURVES.items():
            np.testing.assert_array_equal(getattr(group, name), columns[label])


def test_spectra_without_ctf(run):
    write_spectra(run, FINAL, [(1, 300, -1.0, -1.0)])
    group, = run.spectra()
    assert group.defocus is None


def test_spectra_are_read_again_when_written_again(run):
    write_spectra(run, 1, [(1, 300, 9000.0, 12000.0)])
    first = run.spectra(1)
    assert run.spectra(1) is first
    write_spectra(run, 1, [(1, 300, 9000.0, 12000.0)] * 2)
    assert len(run.spectra(1)) == 2


def test_runs_without_spectra(run):
    write(run, 1)
    assert not run.has_spectra(1) and run.spectra(1) == []
    write_spectra(run, 1, [(1, 300, 9000.0, 12000.0)])
    assert run.has_spectra(1)
    os.unlink(run.prefix(1) + "ssnr.xmd")
    assert run.spectra(1) == []


def test_spectra_that_lack_a_group_are_refused(run):
    write_spectra(run, 1, [(1, 300, 9000.0, 12000.0)] * 2)
    write_star(run.prefix(1) + "ssnr.xmd", {"ctf000001": {"resolutionFreqFourier": [0.1]}})
    with pytest.raises(UserError, match=r"iter_ssnr\.xmd: no block data_ctf000002"):
        run.spectra(1)


@pytest.mark.parametrize("text, numbers", [("1,3,4", [1, 3, 4]), ("3-5", [3, 4, 5]), ("7", [7]),
                                           (" 2 5, 6 - 8", [2, 5, 6, 7, 8]), ("4,2-4", [2, 3, 4])])
def test_selections_of_iterations(text, numbers):
    assert parse_iterations(text) == numbers


@pytest.mark.parametrize("text", ["", "a", "3-1", "-3", "1-2-3"])
def test_what_is_no_selection(text):
    with pytest.raises(UserError, match="no selection of iterations"):
        parse_iterations(text)
