"""Loggers, handlers, formatters and filters of the module `logging`, as bytes and back.

Checkpoints name the functions here that make them. A logger goes by its name: how it is configured is ambient state. A
handler is known to `logging` itself, which flushes it at exit; it is made so that it is again.
"""

import copyreg
import logging
import sys
from pickle import PicklingError  # bound early: user code may patch pickle
from typing import Any, Final

from skep_workers.session.checkpoint.reducers.definitions import Reduced, Reducer

_PLAIN: Final = (
    logging.Formatter,
    logging.BufferingFormatter,
    logging.Filter,
    logging.PercentStyle,
    logging.StrFormatStyle,
    logging.StringTemplateStyle,
)
_HANDLERS: Final = (logging.Handler, logging.StreamHandler, logging.FileHandler, logging.NullHandler)
PARTS: Final = frozenset({*_PLAIN, *_HANDLERS})
LOGGERS: Final = (logging.Logger, logging.RootLogger)
_MADE_ANEW: Final = ("lock", "_closed")
# What handlers connect to when they have something to send.
_CONNECTIONS: Final = {"SocketHandler": "sock", "SysLogHandler": "socket"}
_LIBRARY: Final = "logging.handlers"


def reduce_logger(logger: logging.Logger) -> Reduced:
    """Save a logger by its name. Raise PicklingError for one that has none."""
    name = "" if logger is logging.root else logger.name
    if logging.getLogger(name) is not logger:
        raise PicklingError("a logger that isn't known by its name can't be saved")
    return logging.getLogger, (name,)


def reduce_plain(value: Any) -> Reduced:
    """Save an object of a class that has only attributes."""
    return copyreg.__newobj__, (type(value),), dict(vars(value)) or None  # type: ignore[attr-defined]


def reduce_handler(handler: logging.Handler) -> Reduced:
    """Save a handler: an open file by its path, a connection as one that is made when it is needed."""
    kind = type(handler)
    state = {name: value for name, value in vars(handler).items() if name not in _MADE_ANEW}
    if issubclass(kind, logging.FileHandler):
        state |= {"stream": None, "mode": "a"}  # opened to write, it would lose what was written
    library = sys.modules.get(_LIBRARY)
    for name, attribute in _CONNECTIONS.items():
        if library is not None and issubclass(kind, getattr(library, name)) and attribute in state:
            state[attribute] = None
    return make_handler, (kind,), state, None, None, set_handler_state


def make_handler(kind: Any) -> logging.Handler:
    """Make a handler that `logging` knows, without a call of the `__init__` that its class has."""
    made: logging.Handler = kind.__new__(kind)
    logging.Handler.__init__(made)
    return made


def set_handler_state(handler: logging.Handler, state: dict[str, Any]) -> None:
    """Set the attributes of a handler."""
    vars(handler).update(state)
    name = handler.get_name()
    if name is not None:
        handler.set_name(name)


REDUCERS: Final[dict[type, Reducer]] = {
    **dict.fromkeys(LOGGERS, reduce_logger),
    **dict.fromkeys(_PLAIN, reduce_plain),
    **dict.fromkeys(_HANDLERS, reduce_handler),
    type(logging.lastResort): reduce_handler,
}
