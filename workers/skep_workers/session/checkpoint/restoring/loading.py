"""Reading one stream: at full speed where that works, otherwise object by object."""

import contextlib
import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from skep_workers.session.checkpoint.reducers.definitions import registry
from skep_workers.session.checkpoint.restoring.guard import Guard
from skep_workers.session.checkpoint.restoring.tolerant_unpickler import TolerantUnpickler

WHOLE: Final = -1  # the offset of the call that reads all of a stream at once
_BYTES_A_SECOND: Final = 20_000_000  # a slow machine reads more


@dataclass(frozen=True, slots=True)
class StoredStream:
    """A pickle stream and its buffers.

    is_tolerant: read it object by object from the start. It runs code of cells, which would run twice if the fast way
    failed, or it has sets and dicts whose keys may hash by a state that is set later. names: the variables in it.
    """

    data: bytes | bytearray
    buffers: Sequence[Any] = ()
    is_tolerant: bool = False
    names: Sequence[str] = ()


@dataclass(slots=True)
class Loaded:
    """Names (or keys of definitions) with their values, and the lost ones with reasons.

    partial: lost names in modules, as "module.name".
    """

    values: dict[str, Any]
    lost: dict[str, str] = field(default_factory=dict)
    partial: dict[str, str] = field(default_factory=dict)


def load_group(stream: StoredStream, guard: Guard) -> Loaded:
    """Return the variables of a stream."""
    names, reader = _load(stream, guard)
    return _sorted_out(names, reader)


def load_definitions(stream: StoredStream, guard: Guard) -> tuple[Loaded, Loaded]:
    """Return the definitions of a stream by key, and the variables that share something with them.

    They are registered, with the reasons of the lost ones, for the streams that refer to them.
    """
    parts, reader = _load(stream, guard)
    definitions = _sorted_out(parts["definitions"], reader)
    registry.definitions, registry.lost_definitions = definitions.values, definitions.lost
    return definitions, _sorted_out(parts["names"], reader)


def _sorted_out(names: dict[str, Any], reader: TolerantUnpickler | None) -> Loaded:
    if reader is None:
        return Loaded(names)
    reasons = {name: reader.losses.reason(value) for name, value in names.items()}
    lost = {name: reason for name, reason in reasons.items() if reason is not None}
    return Loaded({name: value for name, value in names.items() if name not in lost}, lost, reader.partial)


def _load(stream: StoredStream, guard: Guard) -> tuple[Any, TolerantUnpickler | None]:
    size = len(stream.data) + sum(memoryview(buffer).nbytes for buffer in stream.buffers)
    if not stream.is_tolerant and not guard.enter(WHOLE, "", size / _BYTES_A_SECOND):
        try:
            try:
                guard.is_calling = True
                return pickle.loads(stream.data, buffers=stream.buffers), None
            finally:
                guard.is_calling = False
        except BaseException:  # noqa: BLE001, S110 - the tolerant reader finds out which object fails
            pass
        finally:
            guard.leave()
    reader = TolerantUnpickler(stream.data, stream.buffers, guard)
    with _bound_while_loading(stream.names, reader):
        return reader.load(), reader


@contextlib.contextmanager
def _bound_while_loading(variables: Sequence[str], reader: TolerantUnpickler) -> Iterator[None]:
    """Bind each variable of a stream as soon as it is made, so that code of cells that loading runs finds it.

    For example, a class that interns its instances in a global dictionary looks there before it makes one. In a trial
    process the variables have values already, which will not exist in a restore: these are unbound meanwhile.
    """
    names, wanted = registry.names, frozenset(variables)
    before = {name: names.pop(name) for name in variables if name in names}
    reader.bind = lambda name, value: names.__setitem__(name, value) if name in wanted else None
    try:
        yield
    finally:
        for name in variables:
            names.pop(name, None)
        names.update(before)
