"""What the browser says of a widget, without a browser."""

from datetime import UTC, datetime, timedelta

MIDNIGHT = datetime(2026, 1, 1, tzinfo=UTC)


def say(widget, data, *, second, page="a page"):
    """Give a widget a message that a page sent at a second, as the kernel does."""
    header = {"session": page, "date": MIDNIGHT + timedelta(seconds=second)}
    widget.comm.handle_msg({"header": header, "content": {"data": data}, "buffers": []})


def press(button, shown, *, second=0, page="a page"):
    """Press a button while its controls show these states."""
    say(button, {"method": "custom", "content": {"shown": shown}}, second=second, page=page)


def move(control, state, *, second, page="a page"):
    """Move a control to a state."""
    say(control, {"method": "update", "state": state}, second=second, page=page)
