"""Saves what the gallery shows: as a picture (PNG and its like, SVG), and as a table (CSV, STAR)."""
import csv
import os
from pathlib import Path

import numpy as np
from PyQt5.QtCore import QBuffer, QRect, QRectF, QSize, Qt
from PyQt5.QtGui import QColor, QImage, QPainter

from ...programs.errors import UserError
from ...programs.formats.located import split_location
from ...programs.formats.star import write_star
from ...programs.formats.whole import whole_file
from . import theme
from .gridbar import ScaleBar, paint_scale

MARGIN, MOST_PIXELS = 10, 400_000_000
FOOTER = 34                     # px below the thumbnails, for the scale bar
PICTURES = "Pictures (*.png *.svg *.jpg *.tif)"
TABLES = "Comma-separated values (*.csv);;STAR (*.star *.xmd)"


def save_picture(path, view, pixel_size=None):
    """Write all thumbnails of a :class:`~.grid.ThumbnailView`, in its order, size and columns, as a picture.

    pixel_size : Å/px of the images; when it is known the picture has a scale bar.
    The format follows the file's ending (.png, .svg, .jpg, .tif, …).  Raises :class:`UserError`.
    """
    model, delegate = view.model(), view.delegate
    columns = min(view.columns(), max(model.rowCount(), 1))
    card = delegate.card_size(view.shown)
    rows = -(-model.rowCount() // columns)
    width = columns * card.width() + 2 * MARGIN
    height = rows * card.height() + 2 * MARGIN + (FOOTER if pixel_size else 0)
    if width * height > MOST_PIXELS or max(width, height) > 32767:
        raise UserError(f"{model.rowCount()} thumbnails of {view.shown} px make a picture of {width} x "
                        f"{height} px, too large; choose smaller thumbnails")

    def paint(painter):
        painter.fillRect(0, 0, width, height, QColor(theme.WINDOW))
        painter.setFont(view.font())
        for place, item in enumerate(model.order):
            cell = QRect(MARGIN + place % columns * card.width(), MARGIN + place // columns * card.height(),
                         card.width(), card.height())
            painter.setPen(Qt.NoPen)
            delegate.paint_card(painter, cell, model, int(item), view.shown)
        if pixel_size:
            bar = ScaleBar()
            bar.show_scale(pixel_size, model.pictures.source.size, view.shown)
            room = QRectF(MARGIN, height - MARGIN - FOOTER + 4, card.width(), FOOTER - 4)
            paint_scale(painter, room, *bar.length())

    save_painted(path, QSize(width, height), paint)


def save_painted(path, size, paint):
    """Write what ``paint(painter)`` draws in a QSize, as SVG or any kind of image; raises :class:`UserError`."""
    if Path(path).suffix.lower() == ".svg":
        from PyQt5.QtSvg import QSvgGenerator
        buffer = QBuffer()
        generator = QSvgGenerator()
        generator.setOutputDevice(buffer)
        generator.setSize(size)
        generator.setViewBox(QRect(0, 0, size.width(), size.height()))
        generator.setResolution(96)         # of the screen: fonts in px are as large as they are there
        _painted(generator, paint)
        with whole_file(path) as temporary:
            temporary.write_bytes(bytes(buffer.data()))
        return
    image = QImage(size, QImage.Format_RGB32)
    _painted(image, paint)
    save_image(path, image)


def save_widget(path, widget):
    """Write a widget as it is seen; raises :class:`UserError`."""
    if Path(path).suffix.lower() == ".svg":
        return save_painted(path, widget.size(), widget.render)
    save_image(path, widget.grab())


def save_figure(path, figure, canvas):
    """Write a matplotlib figure: its lines as such in SVG, else as it is seen; raises :class:`UserError`."""
    if Path(path).suffix.lower() == ".svg":
        with whole_file(path) as temporary:
            figure.savefig(temporary, format="svg")
        return
    save_image(path, canvas.grab())


def save_image(path, image):
    """Write a QImage or QPixmap, whole or not at all; raises :class:`UserError`."""
    ending = str(path).rpartition(".")[2] if "." in str(path) else ""
    with whole_file(path) as temporary:
        if not image.save(str(temporary), ending):
            temporary.touch()
            raise UserError(f"cannot write {path}: expected a name that ends in .png, .svg, .jpg or .tif, in a "
                            "folder that can be written")


def save_table(path, pictures, items):
    """Write the numbers of the given items, in that order, as CSV or STAR by the file's ending.  Raises UserError.

    A STAR file has the items' rows as they were read, with the other numbers known of them, and can be opened again.
    """
    ending = Path(path).suffix.lower()
    if ending not in (".csv", ".star", ".xmd"):
        raise UserError(f"cannot write {path}: expected a name that ends in .csv, .star or .xmd")
    if ending == ".csv":
        return _save_csv(path, pictures, items)
    columns = dict(pictures.source.metadata.take(np.asarray(items, int)).columns)
    folder = os.path.dirname(os.path.abspath(path))
    columns["image"] = np.array([_relative(image, folder) for image in columns["image"]], object)
    for key, column in pictures.columns.items():
        if key not in columns and key != "number":
            columns[key] = np.asarray(column.values, float)[items]
    write_star(path, {pictures.contents: columns})


def _save_csv(path, pictures, items):
    with whole_file(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(pictures.columns)
        for item in items:
            writer.writerow(column.values[item] for column in pictures.columns.values())


def _relative(image, folder):
    """An image's location as it holds from a folder."""
    number, path = split_location(image)
    path = os.path.relpath(path, folder)
    return path if number is None else f"{number:06d}@{path}"


def _painted(device, paint):
    painter = QPainter(device)
    painter.setRenderHints(QPainter.Antialiasing | QPainter.SmoothPixmapTransform)
    paint(painter)
    painter.end()
