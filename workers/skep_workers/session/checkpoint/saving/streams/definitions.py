"""The stream of the definitions: classes, functions and modules of the session's own.

It also holds the variables that share something with them.
"""

from collections.abc import Iterable
from functools import partial
from types import ModuleType
from typing import Any

from skep_workers.session.checkpoint.reducers.modules import ModuleContent
from skep_workers.session.checkpoint.reducers.origins import names_of
from skep_workers.session.checkpoint.saving.pickling.snapshot_pickler import Untrusted
from skep_workers.session.checkpoint.saving.streams.in_place import TooLarge
from skep_workers.session.checkpoint.saving.streams.module_contents import failing_names
from skep_workers.session.checkpoint.saving.streams.stream import Stream
from skep_workers.session.checkpoint.saving.streams.stream_pickler import StreamPickler


class DefinitionPickler:
    """Pickles the definitions of one snapshot."""

    def __init__(self, streams: StreamPickler) -> None:
        self._streams = streams
        self._kept: set[str] = set()  # keys and names that were pickled by themselves without a failure
        self._left_out: dict[int, frozenset[str]] = {}  # names in modules that can't be saved, by module

    def pickle(self, definitions: dict[str, Any], values: dict[str, Any]) -> Stream:
        """Return the stream of definitions and of variables that share something with them; failures are in `lost`.

        Raises ImportAgain, see module_contents.
        """
        streams = self._streams
        keys = {key: value for key, value in definitions.items() if key not in streams.lost}
        names = {name: value for name, value in values.items() if name not in streams.lost}
        streams.report("")
        try:
            return self._pickle_whole(keys, names, is_trusting=True)
        except Untrusted:
            if streams.in_place:
                raise
        except TooLarge:
            raise
        except BaseException as exc:  # noqa: BLE001 - the code below finds out whose it is
            streams.raise_interrupt(exc)
            streams.report("")
        # Each by itself first: that shows which of them fails, or never ends.
        self._find_failing_names(keys)
        keys = {key: value for key, value in keys.items() if self._is_kept(key, self._alone(key, value))}
        names = {name: value for name, value in names.items() if self._is_kept(name, {"names": {name: value}})}
        return self._pickle_whole(keys, names, is_trusting=streams.in_place)

    def leave_out(self, definitions: dict[str, Any], lost: Iterable[str]) -> None:
        """Leave these names of modules ("module.name") out from now on."""
        for module in _modules_in(definitions):
            prefix = f"{module.__name__}."
            names = {name.removeprefix(prefix) for name in lost if name.startswith(prefix)}
            self._left_out[id(module)] = self._left_out.get(id(module), frozenset()) | names

    def _pickle_whole(self, definitions: dict[str, Any], values: dict[str, Any], *, is_trusting: bool) -> Stream:
        streams = self._streams
        while True:
            value = {"definitions": definitions, "names": values, "modules": self._contents(definitions)}
            stream = streams.pickle(list(values), value, keys=None, is_trusting=is_trusting)
            new = {streams.keys.key(module): module for module in stream.notes.modules} | definitions
            if len(new) == len(definitions):
                return stream
            definitions = new  # modules that only definitions mention are filled, too

    def _contents(self, definitions: dict[str, Any]) -> list[ModuleContent]:
        modules = _modules_in(definitions)
        return [ModuleContent(module, self._left_out.get(id(module), frozenset())) for module in modules]

    def _alone(self, key: str, value: Any) -> dict[str, Any]:
        return {"definitions": {key: value}, "modules": self._contents({key: value})}

    def _find_failing_names(self, definitions: dict[str, Any]) -> None:
        """Find the names in modules that can't be saved: only they are left out. Raises ImportAgain."""
        streams = self._streams

        def reason(module: ModuleType, name: str, value: Any) -> str:
            streams.report(streams.owners.get(streams.keys.key(module), names_of(module)["__name__"]))
            return streams.reason_against(name, {name: value}) or ""

        for module in _modules_in(definitions):
            failed = failing_names(module, partial(reason, module))
            self._left_out[id(module)] = frozenset(failed)
            streams.lost.update({f"{module.__name__}.{name}": why for name, why in failed.items()})

    def _is_kept(self, name: str, value: Any) -> bool:
        """Pickle a definition, or a variable of the stream, by itself; return whether that works."""
        if name in self._kept:
            return True
        streams = self._streams
        streams.report(streams.owners.get(name, name))
        if (reason := streams.reason_against(name, value)) is not None:
            streams.lost[name] = reason
            return False
        self._kept.add(name)
        return True


def _modules_in(definitions: dict[str, Any]) -> list[ModuleType]:
    return [value for value in definitions.values() if issubclass(type(value), ModuleType)]
