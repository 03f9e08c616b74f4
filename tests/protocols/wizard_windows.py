"""What a user does in the window of a wizard."""

MOST_WAITED = 200       # rounds of the window's loop


def use(form, name, choose=None, accept=True):
    """Click the wizard beside a parameter, do something in its window, close it; the values that it showed at first.

    choose: called with the window, which shows the outcome before it closes.
    """
    from mlalign.wizards.dialog import LiveDialog
    seen, errors = {}, []

    def found(rounds=0):
        windows = [child for child in form.root.winfo_children() if isinstance(child, LiveDialog)]
        if not windows or not windows[0].grab_status():         # which it takes once it can be seen
            if rounds < MOST_WAITED:
                form.root.after(20, found, rounds + 1)
            return
        act(windows[0])

    def act(dialog):
        try:
            dialog.update()
            seen.update(dialog.values)
            if choose is not None:
                choose(dialog)
                settle(dialog)
        except BaseException as error:      # Tk would only print it
            errors.append(error)
        finally:
            dialog._handleResult(0 if accept else 2)

    form.root.after(20, found)
    form.wizParamName = name
    form.wizards[name]().show(form)
    if errors:
        raise errors[0]
    assert seen, "the window never came"
    return seen


def settle(dialog):
    while dialog._waiting is not None:
        dialog.update()


def press(dialog, label):
    """Press a button of the window by its label."""
    for widget in walk(dialog):
        if widget.winfo_class() == "Button" and widget["text"] == label:
            widget.invoke()
            return
    raise AssertionError(f"no button {label}")


def walk(widget):
    yield widget
    for child in widget.winfo_children():
        yield from walk(child)


def words(dialog):
    settle(dialog)
    return dialog._words["text"]


def move(**values):
    """What moves sliders as a user would."""
    def choose(dialog):
        for name, value in values.items():
            dialog._sliders[name].set(value)
        dialog.update()
    return choose


def click(dialog, axes, x, y):
    """A click at a point of some axes of the figure."""
    from matplotlib.backend_bases import MouseButton, MouseEvent
    place = axes.transData.transform((x, y))
    dialog.canvas.callbacks.process("button_press_event", MouseEvent(
        "button_press_event", dialog.canvas, *place, button=MouseButton.LEFT))
