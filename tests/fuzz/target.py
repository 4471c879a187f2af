"""What the fuzzer and the replay need of a target, and the form of its inputs.

Most targets take a list of operations, packed with msgpack: the mutator changes the list as a value, so that most
inputs reach the code that uses the decoded values. Bytes that are no such list are an input too, if the target takes bytes.
"""

from collections.abc import Iterable
from typing import Any, ClassVar, Protocol

import msgpack

MAX_INPUT_BYTES = 64 * 1024


class Finding(AssertionError):
    """An input broke a rule of its target, without an exception of the code under test."""


class Target(Protocol):
    """One receiving side of skep, and what must hold for all that it may receive."""

    name: ClassVar[str]

    def seeds(self) -> Iterable[object]:
        """Return valid inputs to begin with, as operations or as bytes."""

    def execute(self, data: bytes) -> None:
        """Receive one input. Raises whatever the receiving side must not raise, and Finding."""

    def close(self) -> None:
        """Release what the target has opened."""


def pack_input(operations: object) -> bytes:
    """Return an input's bytes; bytes are an input as they are."""
    if isinstance(operations, bytes):
        return operations
    packed: bytes = msgpack.packb(operations, unicode_errors="surrogatepass")
    return packed


def unpack_input(data: bytes) -> list[Any] | None:
    """Return an input's operations, None if these bytes are none."""
    try:
        operations = msgpack.unpackb(data, unicode_errors="surrogatepass", strict_map_key=False)
    except Exception:  # noqa: BLE001 - any bytes may be an input, and msgpack raises many kinds
        return None
    return operations if isinstance(operations, list) else None


def text_of(value: object) -> str:
    """Return a string that can be sent, for any value."""
    return as_bytes(value).decode("utf-8", "replace")


def as_bytes(value: object) -> bytes:
    """Return what Redis stores for a value that is sent to it."""
    if isinstance(value, bytes):
        return value
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else str(value).encode()


def number_of(value: object, least: int, most: int) -> int:
    """Return an integer within the bounds for any value: for choices, where every input is to mean something."""
    if isinstance(value, int):
        return least + value % (most - least + 1)
    return least


def items_of(value: object, count: int) -> list[Any]:
    """Return a list of so many items for any value; missing ones are None."""
    items = value if isinstance(value, list) else [value]
    return [*items, *[None] * count][:count]
