"""``mlalign view``: opens the gallery of a file.  Qt is loaded only once the command line makes sense."""
import ctypes
import os
import signal
import sys
from pathlib import Path

from ...programs.errors import UserError
from ...programs.options import Parser
from ...programs.results import parse_iterations

DESCRIPTION = """\
Look at images or volumes in a window.

For FILE = the classes.xmd of a run (or of one of its iterations) it shows the class averages with their sizes
and resolutions, each class's members aligned with it, its FRC curve, all iterations, plots of the convergence
and, for mlf_align2d, the spectra of noise and signal; a run that is still going on can be followed.  Any other
metadata (.xmd, .star) or stack (.mrcs, .spi, .hdf) is shown image by image.

For FILE = the ref.xmd of a run of ml_tomo (or of one of its iterations) it shows the class volumes as slices or
projections in three directions, one of them large to scroll through, with its FSC curve, the directions its
particles look along and what they observed of its Fourier space.  Volumes (.mrc, .map, .vol, .hdf; several may be
given), or metadata that lists volumes, are shown likewise.

A Scipion set of classes, averages, particles or volumes (.sqlite) is shown in the same way.
"""

EXAMPLES = """\
keys:
  arrows, shift, ctrl   choose classes          < >      previous, next iteration
  ctrl+a, ctrl+i        all, the others         p        play the iterations
  escape                choose none             ctrl+s   save a picture
  + -                   thumbnail size          ctrl+f   filter, such as: size > 50 and resolution < 12
  c                     centre the images       v        slices or projections of volumes

examples:
  mlalign view out/ml2d_classes.xmd
  mlalign view out/ml2d_classes.xmd --follow
  mlalign view particles.star
  mlalign view out/mltomo_ref.xmd --follow
  mlalign view out/mltomo_ref000001.mrc out/mltomo_ref000002.mrc
  mlalign view Runs/000123_ProtClassify/classes2D.sqlite
"""


def parser():
    p = Parser("mlalign view", DESCRIPTION, EXAMPLES)
    p.add_argument("files", metavar="FILE", nargs="+",
                   help="a run's classes.xmd or ref.xmd, any metadata, a stack of images, or volumes")
    p.add_argument("--plots", action="store_true", help="open on the plots of the convergence")
    p.add_argument("--iterations", metavar="LIST", default="",
                   help="offer only these iterations, such as 1,3-5, and begin with the last of them")
    p.add_argument("--follow", action="store_true", help="show each new iteration as soon as it is there")
    p.add_argument("--project", metavar="PATH", default="",
                   help="the Scipion project in which subsets of the classes can be made (needs --protocol)")
    p.add_argument("--protocol", metavar="ID", type=int, default=None,
                   help="the number of the protocol in that project whose classes FILE shows")
    p.add_argument("--title", metavar="TEXT", default="",
                   help="title of the window (default: from FILE's name)")
    p.add_argument("--dialog", action="store_true",
                   help="tell errors in a window as well, for when nobody sees the terminal")
    return p


def main(argv=None):
    arguments = parser().parse_args(argv)
    try:
        _view(arguments)
    except UserError as error:
        print(f"mlalign view: error: {error}", file=sys.stderr)
        sys.exit(2)


def choose(arguments):
    """(pictures, run or None, iterations to choose from or None) that parsed arguments ask for; no Qt yet.

    Raises :class:`UserError` when it cannot be shown.
    """
    if bool(arguments.project) != (arguments.protocol is not None):
        raise UserError("--project and --protocol belong together, expected both or neither")
    from ..tomo.volumes import open_any
    pictures, run = open_any(arguments.files)
    if run is None and (arguments.plots or arguments.iterations or arguments.follow):
        raise UserError(f"{arguments.files[0]}: --plots, --iterations and --follow need the classes.xmd of a run, "
                        "or the ref.xmd of a run of ml_tomo")
    if not arguments.iterations:
        return pictures, run, None
    only = parse_iterations(arguments.iterations)
    there = [iteration for iteration in only if iteration in run.iterations()]
    if not there:
        raise UserError(f"{run.oroot}: none of the iterations {arguments.iterations} is there")
    return pictures.at(there[-1]), run, only


def open_window(arguments):
    """The :class:`~.window.GalleryWindow` for parsed arguments; raises what :func:`choose` raises."""
    pictures, run, only = choose(arguments)
    application = make_application()
    from .window import CONVERGENCE
    window = _window_for(pictures)(pictures, run, only, arguments.follow, arguments.title)
    window.application = application        # lives as long as its window
    if arguments.project:
        window.offer_subsets(arguments.project, arguments.protocol)
    if arguments.plots:
        window.set_page(CONVERGENCE)
    return window


def _window_for(pictures):
    """The window's class for pictures of that kind."""
    from ..tomo.volumes import VolumePictures
    if isinstance(pictures, VolumePictures):
        from ..tomo.window import VolumeWindow
        return VolumeWindow
    from .window import GalleryWindow
    return GalleryWindow


def _view(arguments):
    _check_display()
    try:
        window = open_window(arguments)
    except UserError as error:
        if arguments.dialog:
            from PyQt5.QtWidgets import QMessageBox
            application = make_application()
            QMessageBox.warning(None, application.applicationName(), str(error))
        raise
    sys.excepthook = _tell(window)
    signal.signal(signal.SIGINT, signal.SIG_DFL)       # ctrl+c in the terminal closes the window
    window.show()
    window.application.exec_()


def _tell(window):
    """An excepthook that tells what a user can mend, such as a file that has gone, in a window.

    Without one Qt would abort the program.
    """

    def hook(kind, error, trace):
        if issubclass(kind, (UserError, OSError)):
            window.tell(str(error))
        else:
            sys.__excepthook__(kind, error, trace)

    return hook


def make_application():
    """The one QApplication, in the gallery's look."""
    from PyQt5.QtCore import Qt
    from PyQt5.QtGui import QIcon
    from PyQt5.QtWidgets import QApplication

    import mlalign

    from . import theme
    if QApplication.instance():
        return QApplication.instance()
    QApplication.setAttribute(Qt.AA_EnableHighDpiScaling)
    QApplication.setAttribute(Qt.AA_UseHighDpiPixmaps)
    application = QApplication(["mlalign view"])
    application.setApplicationName("mlalign view")
    application.setWindowIcon(QIcon(str(Path(mlalign.__file__).with_name(mlalign._logo))))
    theme.apply(application)
    return application


def _check_display():
    """Say what is missing where Qt, finding no screen or lacking a library, would abort with a core dump."""
    if sys.platform != "linux" or os.environ.get("QT_QPA_PLATFORM"):
        return
    if not os.environ.get("DISPLAY") and not os.environ.get("WAYLAND_DISPLAY"):
        raise UserError("no display to open a window on: $DISPLAY is not set")
    import PyQt5
    try:
        ctypes.CDLL(str(Path(PyQt5.__file__).parent / "Qt5" / "plugins" / "platforms" / "libqxcb.so"))
    except OSError as error:
        raise UserError(f"Qt cannot open windows: {error}; on Debian and Ubuntu: apt-get install "
                        "libxcb-icccm4 libxcb-keysyms1 libxcb-xinerama0 libxkbcommon-x11-0") from error
    if not os.environ.get("WAYLAND_DISPLAY") and not _x_answers():
        raise UserError(f"cannot connect to the display {os.environ['DISPLAY']} ($DISPLAY)")


def _x_answers():
    xcb = ctypes.CDLL("libxcb.so.1")
    xcb.xcb_connect.restype = ctypes.c_void_p
    connection = ctypes.c_void_p(xcb.xcb_connect(None, None))
    failed = xcb.xcb_connection_has_error(connection)
    xcb.xcb_disconnect(connection)
    return not failed
