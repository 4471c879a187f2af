"""What a cell of the simulation does, and what a session's state is made of."""

import hashlib
from dataclasses import dataclass

import msgpack


@dataclass(frozen=True, slots=True)
class Plan:
    """What a cell does: its code as an object."""

    kind: str
    lines: int
    seconds: float

    def code(self) -> str:
        return f"{self.kind} {self.lines} {self.seconds:.4f}"

    @classmethod
    def of(cls, code: str) -> "Plan":
        kind, lines, seconds = code.split()
        return cls(kind, int(lines), float(seconds))


def chunk_name(data: bytes) -> bytes:
    """Return the name of a chunk: the hash of its content."""
    return hashlib.blake2b(data, digest_size=8).digest()


def chunks_of(state: tuple[int, str], *, returning: bool) -> dict[bytes, bytes]:
    """Return a state's chunks: the oracle's, and one more that may hold what another one held before."""
    n, _ = state
    parts = [msgpack.packb(state), b"a large value that comes and goes: %d" % (n // 2 % 2 if returning else n // 2)]
    return {chunk_name(part): part for part in parts}
