"""A window that shows at once what values mean: a figure, a slider for each value, and a few words."""
import tkinter as tk
from dataclasses import dataclass
from typing import Callable

from matplotlib.backends.backend_tkagg import FigureCanvasTkAgg
from matplotlib.figure import Figure
from pyworkflow.gui.dialog import RESULT_CANCEL, RESULT_YES, Dialog

DPI = 90
PAUSE = 15          # ms without a move of the slider before the figure follows


@dataclass
class Control:
    """A value that the user chooses with a slider.

    low, high, step : what the slider can reach; value : where it begins; text : how to say a value
    """

    name: str
    label: str
    low: float
    high: float
    step: float
    value: float
    text: Callable = "{:g}".format

    def nearest(self, value):
        """The value that the slider can show, next to ``value``."""
        return min(max(round(round(value / self.step) * self.step, 10), self.low), self.high)


class Picture:
    """What a :class:`LiveDialog` shows; it knows nothing of windows.

    A sub-class defines ``title``, ``intro``, ``controls`` and ``size`` (inches), perhaps ``suggestion`` ({name: value},
    empty when the particles tell nothing) and ``buttons`` ({label: function}), and the methods below.
    """

    title = intro = ""
    controls, suggestion, buttons = (), {}, {}
    size = (10, 4)

    def draw(self, figure):
        """Make the axes and all in them that depends on no value."""
        raise NotImplementedError

    def update(self, values):
        """Let the artists follow the values ({name: value})."""
        raise NotImplementedError

    def words(self, values):
        """What to say about the values."""
        raise NotImplementedError

    def pointed(self, axes, x, y):
        """{name: value} that a click at (x, y) in some axes of the figure asks for; empty for none."""
        return {}

    def values(self):
        """{name: value} to begin with."""
        return {control.name: control.nearest(control.value) for control in self.controls}


class LiveDialog(Dialog):
    """Lets the user choose the values of a picture's controls; then ``resultYes()`` tells, and ``values``."""

    def __init__(self, parent, picture):
        self.picture, self.values = picture, picture.values()
        self._waiting = None
        # the constructor returns when the window is closed
        super().__init__(parent, picture.title, default="Select",
                         buttons=[("Select", RESULT_YES), ("Cancel", RESULT_CANCEL)])

    def body(self, frame):
        width = int(self.picture.size[0] * DPI)
        intro = tk.Label(frame, text=self.picture.intro, justify=tk.LEFT, wraplength=width, anchor="w")
        intro.grid(row=0, column=0, sticky="ew", padx=5, pady=5)
        self.figure = Figure(figsize=self.picture.size, dpi=DPI)
        self.canvas = FigureCanvasTkAgg(self.figure, master=frame)
        self.canvas.get_tk_widget().grid(row=1, column=0)
        self.canvas.mpl_connect("button_press_event", self._pointed)
        self.canvas.mpl_connect("motion_notify_event", self._pointed)
        sliders = tk.Frame(frame)
        sliders.grid(row=2, column=0, sticky="ew", padx=5, pady=(5, 0))
        sliders.columnconfigure(1, weight=1)
        self._sliders, self._texts = {}, {}
        for row, control in enumerate(self.picture.controls):
            self._add_slider(sliders, row, control)
        self._add_buttons(frame, 3)
        self._words = tk.Label(frame, justify=tk.LEFT, wraplength=width, anchor="nw", height=3)
        self._words.grid(row=4, column=0, sticky="ew", padx=5)
        self.picture.draw(self.figure)
        self._show()

    def _add_slider(self, frame, row, control):
        tk.Label(frame, text=control.label, anchor="w").grid(row=row, column=0, sticky="w")
        slider = tk.Scale(frame, from_=control.low, to=control.high, resolution=control.step, orient=tk.HORIZONTAL,
                          showvalue=False, takefocus=True)
        slider.set(self.values[control.name])
        # only now: to place it is no choice of the user's
        slider.config(command=lambda value: self._moved(control, float(value)))
        slider.grid(row=row, column=1, sticky="ew", padx=8)
        text = tk.Label(frame, width=22, anchor="w")
        text.grid(row=row, column=2, sticky="w")
        for event, step in (("<Button-4>", control.step), ("<Button-5>", -control.step)):
            slider.bind(event, lambda _, step=step: slider.set(slider.get() + step))
        self._sliders[control.name], self._texts[control.name] = slider, text

    def _add_buttons(self, frame, row):
        line = tk.Frame(frame)
        line.grid(row=row, column=0, sticky="w", padx=5, pady=5)
        actions = {"Suggest": lambda: self.choose(self.picture.suggestion)} if self.picture.suggestion else {}
        for column, (label, action) in enumerate({**actions, **self.picture.buttons}.items()):
            button = tk.Button(line, text=label, command=lambda action=action: self._do(action))
            button.grid(row=0, column=column, padx=3)

    def choose(self, values):
        """Set some of the values, as if the user had."""
        for control in self.picture.controls:
            if control.name in values:
                self.values[control.name] = control.nearest(values[control.name])
                self._sliders[control.name].set(self.values[control.name])
        self._show_soon()

    def _do(self, action):
        action()
        self._show_soon()

    def _moved(self, control, value):
        self.values[control.name] = control.nearest(value)
        self._show_soon()

    def _pointed(self, event):
        if event.inaxes is not None and event.button == 1:
            self.choose(self.picture.pointed(event.inaxes, event.xdata, event.ydata))

    def _show_soon(self):
        """One drawing for many moves."""
        if self._waiting is not None:
            self.after_cancel(self._waiting)
        self._waiting = self.after(PAUSE, self._show)

    def _show(self):
        self._waiting = None
        for control in self.picture.controls:
            self._texts[control.name].config(text=control.text(self.values[control.name]))
        self._words.config(text=self.picture.words(self.values))
        self.picture.update(self.values)
        self.canvas.draw_idle()

    def destroy(self):
        if self._waiting is not None:
            self.after_cancel(self._waiting)
        super().destroy()
