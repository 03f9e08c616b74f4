"""What the gallery saves: pictures and tables."""
import csv
import re
import time
from xml.etree import ElementTree

import numpy as np
import pytest
from PyQt5.QtGui import QImage

from mlalign.programs.errors import UserError
from mlalign.programs.formats.images import open_images
from mlalign.programs.formats.star import read_star
from mlalign.tests.viewers.conftest import settle
from mlalign.tests.viewers.fabricate import make_run
from mlalign.tests.viewers.test_gallery import shown
from mlalign.viewers import plots, style
from mlalign.viewers.gallery import export
from mlalign.viewers.gallery.classes import open_pictures
from mlalign.viewers.gallery.pages import PlotPage

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def window(made, open_window):
    return open_window(made[0].classes_file())


def texts(path):
    return [element.text for element in ElementTree.parse(path).iter(f"{SVG}text")]


# ---- pictures

def test_svg_of_the_gallery_has_every_image_and_its_caption_as_text(window, tmp_path):
    window.set_filter("2-5")
    path = tmp_path / "gallery.svg"
    export.save_picture(path, window.view, window.pictures.pixel_size)
    root = ElementTree.parse(path).getroot()
    assert len(list(root.iter(f"{SVG}image"))) == 4
    found = texts(path)
    assert [text for text in found if text in ("1", "2", "3", "4", "5", "6")] == list(map(str, shown(window)))
    assert re.fullmatch(r"[125]0* (Å|nm)", found[-1])
    columns, card = min(window.view.columns(), 4), window.view.delegate.card_size(window.view.shown)
    assert root.get("viewBox") == f"0 0 {columns * card.width() + 20} {-(-4 // columns) * card.height() + 20 + 34}"


def test_the_scale_bar_of_a_picture_is_as_long_as_it_says(window, tmp_path):
    export.save_picture(tmp_path / "gallery.png", window.view, window.pictures.pixel_size)
    image = QImage(str(tmp_path / "gallery.png"))
    length, width = window.gridbar.scale.length()
    rows = [[image.pixelColor(x, image.height() - y).value() > 200 for x in range(image.width())] for y in range(5, 30)]
    longest = max(max(map(len, re.findall("1+", "".join(str(int(bright)) for bright in row))), default=0)
                  for row in rows)
    assert longest == pytest.approx(width, abs=2)     # its ends are blurred
    assert width == pytest.approx(length / window.pictures.pixel_size * window.view.shown / 48)


def test_pictures_of_the_details(window, tmp_path):
    for name in ("details.png", "details.svg"):
        export.save_widget(tmp_path / name, window.details)
    assert QImage(str(tmp_path / "details.png")).size() == window.details.size()
    assert {window.details.heading.text(), "Particles", "Resolution"} <= set(texts(tmp_path / "details.svg"))


def test_a_picture_of_the_details_waits_for_the_members_in_view(window, tmp_path, monkeypatch):
    pane, read = window.details.members, []
    monkeypatch.setattr(pane.members, "image", lambda item: time.sleep(0.02) or read.append(item) or np.eye(8))
    monkeypatch.setattr("PyQt5.QtWidgets.QFileDialog.getSaveFileName",
                        lambda *arguments: (str(tmp_path / "details.png"), export.PICTURES))
    pane.model.set_levels((0, 1))
    pane.view.viewport().repaint()
    assert pane.model.reading()
    window.saving.details()
    assert not pane.model.reading() and pane.model.pixmap(0, pane.view.shown) is not None
    assert len(read) >= pane.view.columns() and (tmp_path / "details.png").exists()


def test_plots_are_lines_in_svg(made, application, tmp_path):
    page = PlotPage(lambda figure, run, iteration, only: plots.draw(figure, run.history(), ["changed"], style.DARK))
    page.resize(500, 400)
    page.show_result(made[0], 1)
    page.save(tmp_path / "plots.svg")
    content = (tmp_path / "plots.svg").read_text()
    assert content.count('id="axes_') == 1 and content.count("<path") > 3 and "<image" not in content
    page.save(tmp_path / "plots.png")
    assert QImage(str(tmp_path / "plots.png")).size() == page.size()


def test_a_page_that_cannot_be_drawn_is_saved_as_its_line(tmp_path, references, open_window):
    run, _ = make_run(tmp_path / "run", references, 20, iterations=0)
    window = open_window(run.classes_file())
    window.set_page(1)
    window.convergence.save(tmp_path / "plots.svg")
    assert any("no iterations yet" in (text or "") for text in texts(tmp_path / "plots.svg"))


def test_what_cannot_be_written_is_told(window, tmp_path):
    (tmp_path / "file").write_text("a file, not a folder")
    window.set_page(1)
    for name, save in (("plots.svg", window.convergence.save),
                       ("gallery.svg", lambda path: export.save_picture(path, window.view)),
                       ("table.csv", lambda path: export.save_table(path, window.pictures, window.model.order)),
                       ("table.star", lambda path: export.save_table(path, window.pictures, window.model.order))):
        with pytest.raises(UserError, match=f"cannot write .*{name}"):
            save(tmp_path / "file" / name)


# ---- tables

def test_a_star_table_can_be_opened_again_wherever_it_is(made, window, tmp_path, monkeypatch):
    window.set_sort("offCentre", True)
    settle(window)
    window.set_filter("1-4")
    path = tmp_path / "elsewhere" / "table.star"
    export.save_table(path, window.pictures, window.model.order)
    table = read_star(path)["classes"]
    order = np.array(shown(window))
    assert table["ref"].tolist() == order.tolist()
    run = made[0]
    for label in ("classCount", "resolution", "signalChange"):
        np.testing.assert_array_equal(table[label], run.classes()[label][order - 1])
    assert table["offCentre"] == pytest.approx(window.pictures.columns["offCentre"].values[order - 1])
    monkeypatch.chdir(tmp_path)
    np.testing.assert_array_equal(open_images("elsewhere/table.star").read(slice(None)),
                                  open_images(f"{run.oroot}classes.mrcs").read(order - 1))
    assert len(open_pictures(str(path))[0]) == 4


def test_a_table_of_particles(made, open_window, tmp_path):
    window = open_window(f"{made[0].oroot}classes.mrcs")
    for name in ("images.csv", "images.xmd"):
        export.save_table(tmp_path / name, window.pictures, window.model.order)
    with open(tmp_path / "images.csv", newline="") as file:
        assert [row["number"] for row in csv.DictReader(file)] == list("123456")
    assert len(read_star(tmp_path / "images.xmd")["images"]) == 6


def test_a_table_of_another_kind_is_refused(window, tmp_path):
    with pytest.raises(UserError, match=r"expected a name that ends in \.csv, \.star or \.xmd"):
        export.save_table(tmp_path / "table.xlsx", window.pictures, window.model.order)


# ---- the menu

def test_the_menu_saves_all_of_it_with_the_kind_chosen_as_ending(window, tmp_path, monkeypatch):
    monkeypatch.setattr("PyQt5.QtWidgets.QFileDialog.getSaveFileName", lambda parent, title, name, kinds: (
        str(tmp_path / name.partition(".")[0]), kinds.split(";;")[-1]))
    for action in window.top.save.menu().actions():
        action.trigger()
    heading = window.details.heading.text().lower().replace(" ", "")
    assert {path.name for path in tmp_path.iterdir()} == {"gallery.png", f"{heading}.png", "classes.star",
                                                          "convergence.png"}


def test_trouble_is_told_in_a_window(window, tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(window, "tell", told.append)
    monkeypatch.setattr("PyQt5.QtWidgets.QFileDialog.getSaveFileName",
                        lambda *arguments: (str(tmp_path / "gallery.xyz"), "Pictures (*.png)"))
    window.saving.picture()
    assert len(told) == 1 and "cannot write" in told[0] and not list(tmp_path.iterdir())
