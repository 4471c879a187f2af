"""The configuration of the module `logging`: levels, handlers, filters, the classes of loggers and records."""

import logging
import sys
from collections.abc import Iterable
from operator import attrgetter
from typing import Any, Final

from skep_workers.session.checkpoint.reducers.origins import origins
from skep_workers.session.checkpoint.surroundings.part import Part, Reading, is_plain

_ROOT: Final = "root"
_PLAIN: Final[tuple[Any, ...]] = (logging.NOTSET, True, False, [], [])
_PLAIN_ROOT: Final[tuple[Any, ...]] = (logging.WARNING, True, False, [], [])
_configuration: Final = attrgetter("level", "propagate", "disabled", "handlers", "filters")
_KIND: Final = logging.Logger
_FACTORY: Final = logging.LogRecord
_logger_class, _record_factory, _level_names = (
    logging.getLoggerClass,
    logging.getLogRecordFactory,
    logging.getLevelNamesMapping,
)
_LOGGER_CLASS: Final = "logging.getLoggerClass()"
_RECORD_FACTORY: Final = "logging.getLogRecordFactory()"


class LoggingConfiguration(Part):
    """The loggers that differ from new ones.

    Handlers and filters are objects, each saved by itself: one that can't be saved affects no other, and one that a
    variable also refers to is the same object after a restore.
    """

    name = "logging"

    def __init__(self) -> None:
        self._manager = logging.root.manager
        self._found: list[Any] = []
        self._loggers: list[logging.Logger] = []
        self._untouched: list[Any] = []
        self._given: dict[int, Any] = {}  # handlers that libraries made before any cell ran, by their ids
        self._first = self._globals()

    def begin(self) -> None:
        """Record the configuration that the process was started with."""
        self._first = self._globals()
        loggers = list(self._manager.loggerDict.values())
        self._given = {id(each): each for logger in loggers for each in getattr(logger, "handlers", ())}

    def begin_as_twin(self) -> None:
        """Do nothing: a fork has the same handlers."""

    def _is_added_by_library(self, logger: logging.Logger, handler: Any) -> bool:
        return id(handler) in self._given or _is_added_by_library(logger, handler)

    def _globals(self) -> tuple[Any, ...]:
        return self._manager.disable, logging.raiseExceptions, _level_names()

    def read(self) -> Reading | None:
        """Return the configuration of each configured logger, and that of the module."""
        found = list(self._manager.loggerDict.values())
        if found != self._found:  # loggers replace placeholders among them
            loggers = [each for each in found if isinstance(each, logging.Logger)]
            known = dict(zip(map(id, self._loggers), self._untouched, strict=True))
            self._found, self._loggers = found, [logging.root, *loggers]
            self._untouched = [_PLAIN_ROOT, *(known.get(id(each)) or _untouched(each) for each in loggers)]
        configured = list(map(_configuration, self._loggers))
        own = self._globals()
        kind, factory = _logger_class(), _record_factory()
        if configured == self._untouched and own == self._first and kind is _KIND and factory is _FACTORY:
            return None
        objects = {} if kind is _KIND else {_LOGGER_CLASS: kind}
        return self._changed(configured, own, objects if factory is _FACTORY else objects | {_RECORD_FACTORY: factory})

    def _changed(self, configured: Iterable[Any], own: Any, objects: dict[str, Any]) -> Reading | None:
        loggers: dict[str, Any] = {}
        for logger, now, plain in zip(self._loggers, configured, self._untouched, strict=True):
            level, propagate, is_disabled, handlers, filters = now
            handlers = [each for each in handlers if not self._is_added_by_library(logger, each)]
            if (level, propagate, is_disabled, handlers, filters) == (*plain[:3], [], plain[4]):
                continue
            name = _ROOT if logger is logging.root else logger.name
            flags = (level, propagate, is_disabled)
            loggers[name] = (*(flags if is_plain(flags) else plain[:3]), len(handlers), len(filters))
            objects |= {_named(name, "handlers", index): each for index, each in enumerate(handlers)}
            objects |= {_named(name, "filters", index): each for index, each in enumerate(filters)}
        changed = None if own == self._first or not is_plain(own) else own
        return ((loggers, changed), objects) if loggers or changed or objects else None

    def restore_objects(self, state: Any, objects: dict[str, Any]) -> None:
        """Configure the same loggers, and the module."""
        loggers, changed = state
        if changed is not None:
            disabled, logging.raiseExceptions, levels = changed
            logging.disable(disabled)
            for name, level in levels.items():
                logging.addLevelName(level, name)
        if _LOGGER_CLASS in objects:
            logging.setLoggerClass(objects[_LOGGER_CLASS])
        if _RECORD_FACTORY in objects:
            logging.setLogRecordFactory(objects[_RECORD_FACTORY])
        for name, (level, propagate, is_disabled, handlers, filters) in loggers.items():
            logger = logging.root if name == _ROOT else logging.getLogger(name)
            logger.setLevel(level)
            logger.propagate, logger.disabled = propagate, is_disabled
            theirs = [each for each in logger.handlers if self._is_added_by_library(logger, each)]
            logger.handlers[:] = [*theirs, *_found(objects, name, "handlers", handlers)]
            logger.filters[:] = _found(objects, name, "filters", filters)


def _named(logger: str, what: str, index: int) -> str:
    return f"logging.getLogger({logger!r}).{what}[{index}]"


def _found(objects: dict[str, Any], name: str, what: str, count: int) -> list[Any]:
    names = [_named(name, what, index) for index in range(count)]
    return [objects[each] for each in names if each in objects]


def _untouched(logger: logging.Logger) -> tuple[Any, ...]:
    """Return the configuration of a new logger that doesn't count as a cell's.

    A library configures its own logger when it is imported. A level that the importing cell itself sets can't be
    distinguished from that.
    """
    if not _has_library(logger):
        return _PLAIN
    level, propagate, is_disabled, _, filters = _configuration(logger)
    return level, propagate, is_disabled, [], list(filters)


def _has_library(logger: logging.Logger) -> bool:
    """Return whether a logger is named after a library that is imported."""
    module = sys.modules.get(logger.name.partition(".")[0])
    return module is not None and not origins.is_own(module)


def _is_added_by_library(logger: logging.Logger, handler: Any) -> bool:
    """Return whether a library has added this handler: a null handler, or one of its own classes."""
    if not _has_library(logger):
        return False
    kinds = (type(handler), type(getattr(handler, "formatter", None)))
    library = logger.name.partition(".")[0]
    return kinds[0] is logging.NullHandler or any(kind.__module__.partition(".")[0] == library for kind in kinds)
