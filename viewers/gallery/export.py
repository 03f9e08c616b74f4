"""Saves a gallery: as a picture, and as a table."""
import csv

from PyQt5.QtCore import QRect, Qt
from PyQt5.QtGui import QColor, QImage, QPainter

from ...programs.errors import UserError
from ...programs.formats.whole import whole_file
from . import theme

MARGIN, MOST_PIXELS = 10, 400_000_000


def save_picture(path, view):
    """Write all thumbnails of a :class:`~.grid.ThumbnailView`, in its order, size and columns, as an image.

    The format follows the file's ending (.png, .jpg, .tif, …).  Raises :class:`UserError`.
    """
    model, delegate = view.model(), view.delegate
    columns = min(view.columns(), max(model.rowCount(), 1))
    card = delegate.card_size(view.shown)
    rows = -(-model.rowCount() // columns)
    width, height = columns * card.width() + 2 * MARGIN, rows * card.height() + 2 * MARGIN
    if width * height > MOST_PIXELS or max(width, height) > 32767:
        raise UserError(f"{model.rowCount()} thumbnails of {view.shown} px make a picture of {width} x "
                        f"{height} px, too large; choose smaller thumbnails")
    image = QImage(width, height, QImage.Format_RGB32)
    image.fill(QColor(theme.WINDOW))
    painter = QPainter(image)
    painter.setRenderHints(QPainter.Antialiasing | QPainter.SmoothPixmapTransform)
    painter.setFont(view.font())
    for place, item in enumerate(model.order):
        cell = QRect(MARGIN + place % columns * card.width(), MARGIN + place // columns * card.height(),
                     card.width(), card.height())
        painter.setPen(Qt.NoPen)
        delegate.paint_card(painter, cell, model, int(item), view.shown)
    painter.end()
    save_image(path, image)


def save_image(path, image):
    """Write a QImage or QPixmap, whole or not at all; raises :class:`UserError`."""
    ending = str(path).rpartition(".")[2] if "." in str(path) else ""
    with whole_file(path) as temporary:
        if not image.save(str(temporary), ending):
            temporary.touch()
            raise UserError(f"cannot write {path}: expected a name that ends in .png, .jpg or .tif, in a "
                            "folder that can be written")


def save_table(path, pictures, items):
    """Write the numbers of the given items, in that order, as comma-separated values.  Raises UserError."""
    with whole_file(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(pictures.columns)
        for item in items:
            writer.writerow(column.values[item] for column in pictures.columns.values())
