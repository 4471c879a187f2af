"""Parts of the engine made anew in place."""

from typing import Any


def renew(part: object, *arguments: Any) -> None:
    """Make a part as if it had just been made of these arguments, and leave it the object that it is.

    For the twin of a session process: user code holds its streams, its `input` and its loop, or the parts behind them;
    a second set of parts would leave it with those of the parent.
    """
    kind: Any = type(part)
    kind.__init__(part, *arguments)
