"""Making parts of the engine again, in place."""

from typing import Any


def renew(part: object, *arguments: Any) -> None:
    """Call the initializer of a part again, with these arguments, and keep the object's identity.

    A twin of a session process needs this: user code holds references to the streams, `input` and the loop, or to parts
    that those use. With new objects, user code would continue to use the parts of the parent.
    """
    kind: Any = type(part)
    kind.__init__(part, *arguments)
