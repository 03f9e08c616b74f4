"""``mlalign view`` of volumes that are no run's classes, and of what is not quite a volume."""
import shutil

import numpy as np
import pytest
from PyQt5.QtCore import Qt

from mlalign.programs.errors import UserError
from mlalign.programs.formats.mrc import write_stack, write_volume, write_volume_stack
from mlalign.programs.formats.star import write_star
from mlalign.tests.viewers.test_app import refused, view
from mlalign.tests.viewers.test_gallery import press
from mlalign.viewers.gallery.classes import ClassPictures
from mlalign.viewers.gallery.pictures import FilePictures
from mlalign.viewers.tomo.volumes import ClassVolumes, VolumeFiles, holds_volumes, open_any

VOLUMES = np.random.default_rng(0).normal(size=(3, 16, 16, 16)).astype(np.float32)


@pytest.fixture
def files(tmp_path):
    """a.mrc, b.mrc, c.mrc; all.mrcs, a stack of volumes; images.mrcs, as many images as they are wide."""
    for name, volume in zip("abc", VOLUMES):
        write_volume(tmp_path / f"{name}.mrc", volume, 5.0)
    write_volume_stack(tmp_path / "all.mrcs", VOLUMES, 5.0)
    write_stack(tmp_path / "images.mrcs", VOLUMES[0], 5.0)
    write_star(tmp_path / "volumes.xmd", {"particles": {"image": ["a.mrc", "b.mrc", "c.mrc"], "pMax": [0.1, 0.9, 0.5]}})
    write_star(tmp_path / "numbered.star", {"": {"image": [f"{i}@all.mrcs" for i in (1, 2, 3)]}})
    write_star(tmp_path / "images.xmd", {"": {"image": [f"{i}@images.mrcs" for i in (1, 2, 3)]}})
    return tmp_path


@pytest.mark.parametrize("name, volumes", [("a.mrc", True), ("all.mrcs", True), ("images.mrcs", False),
                                           ("volumes.xmd", False), ("none.mrc", False)])
def test_files_that_hold_volumes(files, name, volumes):
    assert holds_volumes(files / name) == volumes


def test_flat_and_oblong_volumes_are_shown_section_by_section(files):
    write_volume(files / "flat.mrc", VOLUMES[0][:4], 5.0)
    write_volume(files / "tiny.mrc", VOLUMES[0][:4, :4, :4], 5.0)
    for name in ("flat.mrc", "tiny.mrc"):
        pictures, run = open_any([str(files / name)])
        assert type(pictures) is FilePictures and len(pictures) == 4 and run is None


@pytest.mark.parametrize("name", ["volumes.xmd", "numbered.star", "all.mrcs", "particles@volumes.xmd"])
def test_metadata_and_stacks_of_volumes(files, name):
    block, at, name = name.rpartition("@")
    pictures, run = open_any([f"{block}{at}{files / name}"])
    assert type(pictures) is VolumeFiles and len(pictures) == 3 and run is None
    for item in range(3):
        np.testing.assert_array_equal(pictures.volume(item), VOLUMES[item])
        assert pictures.name(item) == f"Volume {item + 1}"
    assert pictures.pixel_size == 5 and pictures.subtitle() == "3 volumes, 16 px, 5 Å/px"


def test_metadata_of_images_stays_so(files, made):
    assert type(open_any([str(files / "images.xmd")])[0]) is FilePictures
    assert type(open_any([str(made[0].classes_file())])[0]) is ClassPictures


def test_a_run_is_known_by_its_table(tomo_made):
    run, _ = tomo_made
    pictures, found = open_any([str(run.classes_file(2))])
    assert type(pictures) is ClassVolumes and pictures.iteration == 2 and found.oroot == run.oroot


def test_several_volumes_side_by_side(files, open_window):
    window = open_window(files / "b.mrc", files / "a.mrc")
    assert [window.pictures.name(item) for item in window.model.order] == ["b", "a"]
    assert window.top.title.text() == "2 volumes" and not window.top.pages.isVisible()
    assert not window.iterations.isVisible() and not window.details.fsc.isVisible()
    np.testing.assert_array_equal(window.details.ortho.volume, VOLUMES[1])
    numbers = dict(window.pictures.numbers(0))
    assert float(numbers["Deviation"]) == pytest.approx(VOLUMES[1].std(), rel=1e-3)
    window.view.setFocus()
    press(window, Qt.Key_V)
    assert window.pictures.view == 1


def test_one_volume_has_its_name(files, open_window):
    window = open_window(files / "a.mrc")
    assert window.details.heading.text() == "a" and window.top.subtitle.text() == "1 volume, 16 px, 5 Å/px"


def test_volumes_are_sorted_by_the_columns_of_their_metadata(files, open_window):
    window = open_window(files / "volumes.xmd")
    window.set_sort("pMax", True)
    assert list(window.model.order) == [1, 2, 0]


def test_what_cannot_be_shown_gives_one_line(files):
    write_volume(files / "large.mrc", np.zeros((20, 20, 20)), 5.0)
    assert "expected 16 x 16 x 16 as in" in refused(view(files / "a.mrc", files / "large.mrc"))
    assert "no file" in refused(view(files / "a.mrc", files / "none.mrc"))
    assert "unknown kind of file" in refused(view(files / "a.mrc", files / "volumes.xmd"))
    assert "no such file" in refused(view(files / "none_ref.xmd"))
    assert "the ref.xmd of a run of ml_tomo" in refused(view(files / "a.mrc", "--follow"))
    shutil.copy(files / "volumes.xmd", files / "lost.xmd")
    (files / "lost.xmd").write_text((files / "lost.xmd").read_text().replace("a.mrc", "lost.mrc"))
    assert "no file lost.mrc" in refused(view(files / "lost.xmd"))


def test_a_damaged_volume_is_told_by_name(files):
    path = files / "a.mrc"
    path.write_bytes(path.read_bytes()[:-10])
    assert "truncated MRC file" in refused(view(path))


def test_a_volume_does_not_replace_itself(files):
    pictures, _ = open_any([str(files / "a.mrc")])
    with pytest.raises(UserError, match="expected another name"):
        pictures.save_volume(files / "a.mrc", 0)
    stacked, _ = open_any([str(files / "all.mrcs")])
    stacked.save_volume(files / "second.mrc", 1)
    np.testing.assert_array_equal(open_any([str(files / "second.mrc")])[0].volume(0), VOLUMES[1])
