"""Proofs that variables have the values, in the state, that they had at the last snapshot."""

from dataclasses import dataclass
from typing import Any, Final

from skep_workers.session.checkpoint.unchanged.fingerprints import Fingerprint, fingerprint, is_immutable


@dataclass(slots=True)
class Proof:
    """The value that a name had, and for a definition its fingerprint.

    Values without a proof are not held: users may wait for their end, or need their memory.
    """

    value: Any
    fingerprint: Fingerprint | None


_NO_PROOF: Final = Proof(object(), None)


def prove(names: dict[str, Any]) -> dict[str, Proof]:
    """Return the proofs for these variables as they are now."""
    return {name: _proof(value) for name, value in names.items()}


def _proof(value: Any) -> Proof:
    if is_immutable(value):
        return Proof(value, None)
    found = fingerprint(value)
    return _NO_PROOF if found is None else Proof(value, found)
