"""Colours, style sheet and icons of the gallery: a neutral dark surround, so that images stand out."""
from PyQt5.QtCore import QPointF, QRectF, QSize, Qt
from PyQt5.QtGui import QColor, QFont, QIcon, QPainter, QPalette, QPen, QPixmap, QPolygonF
from PyQt5.QtWidgets import QComboBox

WINDOW, PANEL, CARD, CARD_HOVER, LINE = "#1b1d21", "#202327", "#272a30", "#2f333a", "#363a42"
INK, MUTED, FAINT, ACCENT, LIVE = "#e8eaed", "#9aa1ab", "#6b727c", "#4f9cf0", "#4cb782"
PROBLEM = "#ffb4a8"

STYLE = f"""
* {{ color: {INK}; selection-background-color: {ACCENT}; selection-color: white; }}
QMainWindow, QDialog, QMessageBox, QSplitter, QStackedWidget {{ background: {WINDOW}; }}
QLabel {{ background: transparent; }}
QWidget#bar {{ background: {PANEL}; }}
QWidget#details {{ background: {WINDOW}; }}
QLabel#title {{ font-size: 15px; font-weight: 600; }}
QLabel#heading {{ font-size: 17px; font-weight: 600; }}
QLabel#section {{ font-size: 13px; font-weight: 600; }}
QLabel#muted {{ color: {MUTED}; }}
QLabel#empty {{ color: {MUTED}; font-size: 14px; }}
QLabel#problem {{ color: {PROBLEM}; }}
QListView {{ background: {WINDOW}; border: none; outline: none; }}
QSplitter::handle:horizontal {{ background: {LINE}; }}
QSplitter::handle:vertical {{ background: transparent; }}
QSplitter::handle:vertical:hover {{ background: {CARD}; }}
QToolButton, QPushButton, QComboBox {{
    background: {CARD}; border: 1px solid {LINE}; border-radius: 6px; padding: 4px 10px; min-height: 20px; }}
QToolButton:hover, QPushButton:hover, QComboBox:hover {{ background: {CARD_HOVER}; }}
QToolButton:focus, QPushButton:focus, QComboBox:focus {{ border-color: {ACCENT}; }}
QToolButton:checked {{ background: {ACCENT}; border-color: {ACCENT}; color: white; }}
QLineEdit {{
    background: {CARD}; border: 1px solid {LINE}; border-radius: 6px; padding: 4px 8px; min-height: 20px; }}
QLineEdit:focus {{ border-color: {ACCENT}; }}
QLineEdit[wrong="true"] {{ border-color: {PROBLEM}; }}
QToolButton#live:checked {{ background: {LIVE}; border-color: {LIVE}; }}
QToolButton:disabled, QPushButton:disabled {{ color: {FAINT}; }}
QToolButton#icon {{ padding: 4px; min-width: 20px; }}
QToolButton#first {{ border-top-right-radius: 0; border-bottom-right-radius: 0; }}
QToolButton#middle {{ border-radius: 0; border-left: none; }}
QToolButton#last {{ border-top-left-radius: 0; border-bottom-left-radius: 0; border-left: none; }}
QToolButton::menu-indicator {{ image: none; }}
QComboBox::drop-down {{ border: none; width: 22px; }}
QComboBox::down-arrow {{ image: none; }}
QComboBox QAbstractItemView, QMenu {{
    background: {CARD}; border: 1px solid {LINE}; outline: none; padding: 4px; }}
QComboBox QAbstractItemView::item {{ min-height: 24px; padding: 0 6px; }}
QMenu::item {{ padding: 6px 24px 6px 12px; border-radius: 4px; }}
QMenu::item:selected {{ background: {ACCENT}; color: white; }}
QSlider::groove:horizontal {{ height: 4px; background: {LINE}; border-radius: 2px; }}
QSlider::sub-page:horizontal {{ background: {ACCENT}; border-radius: 2px; }}
QSlider::handle:horizontal {{
    width: 14px; height: 14px; margin: -5px 0; border-radius: 7px; background: {INK}; }}
QSlider::handle:horizontal:hover {{ background: white; }}
QSlider::sub-page:horizontal:disabled, QSlider::handle:horizontal:disabled {{ background: {FAINT}; }}
QScrollBar:vertical {{ background: transparent; width: 12px; margin: 2px; }}
QScrollBar::handle:vertical {{ background: {LINE}; border-radius: 4px; min-height: 32px; }}
QScrollBar::handle:vertical:hover {{ background: {FAINT}; }}
QScrollBar::handle:vertical:disabled {{ background: transparent; }}
QScrollBar::add-line, QScrollBar::sub-line {{ height: 0; width: 0; }}
QScrollBar::add-page, QScrollBar::sub-page {{ background: transparent; }}
QToolTip {{ background: {CARD}; color: {INK}; border: 1px solid {LINE}; padding: 4px; }}
"""


def apply(application):
    """Give a QApplication the gallery's look."""
    application.setStyle("Fusion")
    palette = QPalette()
    palette.setColor(QPalette.PlaceholderText, QColor(FAINT))
    for role, color in ((QPalette.Window, WINDOW), (QPalette.Base, WINDOW), (QPalette.AlternateBase, CARD),
                        (QPalette.Button, CARD), (QPalette.WindowText, INK), (QPalette.Text, INK),
                        (QPalette.ButtonText, INK), (QPalette.ToolTipBase, CARD), (QPalette.ToolTipText, INK),
                        (QPalette.Highlight, ACCENT), (QPalette.HighlightedText, "#ffffff")):
        palette.setColor(role, QColor(color))
    application.setPalette(palette)
    font = QFont(application.font())
    font.setPixelSize(13)
    application.setFont(font)
    application.setStyleSheet(STYLE)


class ComboBox(QComboBox):
    """A combo box whose arrow is drawn here: a style sheet can only take it from a file."""

    def paintEvent(self, event):
        super().paintEvent(event)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.Antialiasing)
        painter.setPen(QPen(QColor(MUTED), 1.6, Qt.SolidLine, Qt.RoundCap, Qt.RoundJoin))
        tip = QPointF(self.width() - 15, self.height() / 2 + 2)
        painter.drawPolyline(QPolygonF([tip - QPointF(4, 4), tip, tip + QPointF(4, -4)]))


def icon(name):
    """A small drawn icon: play, pause, plus, minus, cross, up or down (fonts rarely have all of them)."""
    size = 32
    pixmap = QPixmap(QSize(size, size))
    pixmap.fill(Qt.transparent)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.Antialiasing)
    painter.setPen(QPen(QColor(INK), 3, Qt.SolidLine, Qt.RoundCap, Qt.RoundJoin))
    painter.setBrush(QColor(INK))
    _DRAW[name](painter)
    painter.end()
    return QIcon(pixmap)


def _polygon(*points):
    return lambda painter: painter.drawPolygon(QPolygonF([QPointF(*point) for point in points]))


def _lines(*lines):
    return lambda painter: [painter.drawLine(QPointF(*start), QPointF(*end)) for start, end in lines]


_DRAW = {
    "play": _polygon((10, 6), (26, 16), (10, 26)),
    "pause": lambda painter: painter.drawRects([QRectF(8, 7, 5, 18), QRectF(19, 7, 5, 18)]),
    "plus": _lines(((7, 16), (25, 16)), ((16, 7), (16, 25))),
    "cross": _lines(((9, 9), (23, 23)), ((9, 23), (23, 9))),
    "minus": _lines(((7, 16), (25, 16))),
    "down": _lines(((16, 6), (16, 26)), ((9, 19), (16, 26)), ((16, 26), (23, 19))),
    "up": _lines(((16, 6), (16, 26)), ((9, 13), (16, 6)), ((16, 6), (23, 13))),
}
