"""Work that would make the window wait, done on another thread."""
import threading
import traceback
from contextlib import suppress

from PyQt5.QtCore import QObject, pyqtSignal

from ...programs.errors import UserError


class Background(QObject):
    """Does one piece of work at a time; of several asked for meanwhile, the last.  ``busy`` while there is any.

    Its threads end with the program, whether or not their work is done: a window can be closed at any time.
    """
    _done = pyqtSignal(int, object, str)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._number, self._next, self._arrived, self._working, self.busy = 0, None, None, False, False
        self._done.connect(self._finish)

    def start(self, work, arrived):
        """Call ``arrived(work(), "")`` in the window's thread later, ``arrived(None, problem)`` after an error."""
        self._number += 1
        self._next, self._arrived, self.busy = work, arrived, True
        if not self._working:
            self._begin()

    def forget(self):
        """What still goes on will not arrive."""
        self._number += 1
        self._next, self.busy = None, False

    def _begin(self):
        work, self._next, self._working = self._next, None, True
        threading.Thread(target=self._run, args=(self._number, work), daemon=True).start()

    def _run(self, number, work):
        try:
            result, problem = work(), ""
        except (UserError, OSError) as error:
            result, problem = None, str(error)
        except Exception as error:
            traceback.print_exc()
            result, problem = None, f"{type(error).__name__}: {error}"
        with suppress(RuntimeError, AttributeError):        # the window may have gone meanwhile
            self._done.emit(number, result, problem)

    def _finish(self, number, result, problem):
        self._working = False
        if number == self._number:
            self.busy = False
            self._arrived(result, problem)
        elif self._next is not None:
            self._begin()
