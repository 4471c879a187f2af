"""Loggers, handlers, formatters and filters of the module `logging`, as bytes and back.

Checkpoints refer to the functions here that make them. A logger is saved by its name; its configuration is ambient
state. A handler is registered with `logging`, which flushes it at exit; a restored handler is registered again.
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
_NOT_STATE: Final = ("lock", "_closed")
# Connections that handlers open when they send the next record.
_CONNECTIONS: Final = {"SocketHandler": "sock", "SysLogHandler": "socket"}
_LIBRARY: Final = "logging.handlers"


def reduce_logger(logger: logging.Logger) -> Reduced:
    """Reduce a logger to its name. Raises PicklingError for one that `getLogger` doesn't return."""
    name = "" if logger is logging.root else logger.name
    if logging.getLogger(name) is not logger:
        raise PicklingError("a logger that isn't known by its name can't be saved")
    return logging.getLogger, (name,)


def reduce_plain(value: Any) -> Reduced:
    """Reduce an object whose whole state is its attributes."""
    return copyreg.__newobj__, (type(value),), dict(vars(value)) or None  # type: ignore[attr-defined]


def reduce_handler(handler: logging.Handler) -> Reduced:
    """Reduce a handler: an open file to its path; a connection is left out, and made again when it is needed."""
    kind = type(handler)
    state = {name: value for name, value in vars(handler).items() if name not in _NOT_STATE}
    if issubclass(kind, logging.FileHandler):
        state |= {"stream": None, "mode": "a"}  # the mode "w" would truncate the file
    library = sys.modules.get(_LIBRARY)
    for name, attribute in _CONNECTIONS.items():
        if library is not None and issubclass(kind, getattr(library, name)) and attribute in state:
            state[attribute] = None
    return make_handler, (kind,), state, None, None, set_handler_state


def make_handler(kind: Any) -> logging.Handler:
    """Make a handler and register it with `logging`, without calling the `__init__` of its class."""
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
