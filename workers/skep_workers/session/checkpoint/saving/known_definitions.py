"""The definitions of the snapshot before: where they are proved unchanged, they aren't pickled again.

A session with a module of a thousand functions, and a list, would otherwise pickle the functions after every cell.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from gc import get_referents  # bound early: user code may patch gc
from types import FunctionType, ModuleType
from typing import Any

from skep_shared.checkpoints.manifest import Group
from skep_workers.session.checkpoint.reducers.definitions import class_names
from skep_workers.session.checkpoint.reducers.origins import names_of
from skep_workers.session.checkpoint.saving.streams.sharing import can_be_shared, is_known_by_identity
from skep_workers.session.checkpoint.saving.streams.stream import Stream
from skep_workers.session.checkpoint.unchanged.fingerprints import Fingerprint, fingerprint, same


@dataclass(frozen=True, slots=True)
class LearnedDefinitions:
    """What a snapshot has found out about its definitions.

    numbers: their ids by their keys, in order. shared: ids of objects inside them that variables might share. others:
    ids of the other objects inside them, which can't change. The objects of both live as long as the definitions do.
    """

    numbers: Mapping[str, int]
    shared: frozenset[int]
    others: frozenset[int]

    @classmethod
    def of(cls, definitions: Mapping[str, Any], stream: Stream) -> "LearnedDefinitions":
        """Return what the stream of these definitions shows."""
        numbers = {key: id(value) for key, value in definitions.items()}
        shared, others = set(), set()
        for number, value in _held(definitions.values(), stream.met.everything()):
            if can_be_shared(type(value)):
                shared.add(number)
            elif number not in stream.notes.constants:
                others.add(number)
        return cls(numbers, frozenset(shared), frozenset(others))

    def known(self, proofs: Mapping[int, Fingerprint], group: Group, sources: Group) -> "KnownDefinitions | None":
        """Return what the next snapshot can use; None if one of the definitions can't be proved unchanged.

        proofs: fingerprints of the definitions when the snapshot began, by their ids.
        """
        if not all(number in proofs for number in self.numbers.values()):
            return None
        return KnownDefinitions({key: proofs[number] for key, number in self.numbers.items()}, self, group, sources)


@dataclass(frozen=True, slots=True)
class KnownDefinitions:
    """Definitions that are saved in a stream without variables. proofs: their fingerprints, by their keys."""

    proofs: Mapping[str, Fingerprint]
    learned: LearnedDefinitions
    group: Group
    sources: Group

    def are_current(self, definitions: Mapping[str, Any], streams: Iterable[Stream], values: Iterable[Any]) -> bool:
        """Return whether these definitions are the saved ones, unchanged, and share nothing with variables.

        values: of the variables; streams: of the variables that can change.
        """
        if list(self.proofs) != list(definitions):
            return False
        if not all(same(self.proofs[key], fingerprint(value)) for key, value in definitions.items()):
            return False
        if any(id(value) in self.learned.others and is_known_by_identity(value) for value in values):
            return False
        return not any(stream.met.among(self.learned.shared) for stream in streams)


def _held(roots: Iterable[Any], met: Mapping[int, Any]) -> list[tuple[int, Any]]:
    """Return those of the objects met that the roots reach, and that weren't made only for the pickler."""
    found: dict[int, Any] = {}
    waiting = list(roots)
    while waiting:
        for value in _inside(waiting.pop()):
            number = id(value)
            if number in met and number not in found:
                found[number] = value
                waiting.append(value)
    return list(found.items())


def _inside(value: Any) -> Iterable[Any]:
    kind = type(value)
    if kind is FunctionType:
        code, closure, names = value.__code__, value.__closure__, value.__dict__
        return (code, closure, names, value.__defaults__, value.__kwdefaults__, value.__annotations__, value.__doc__)
    if issubclass(kind, ModuleType):
        return names_of(value).values()
    return class_names(value).values() if issubclass(kind, type) else get_referents(value)
