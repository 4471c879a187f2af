"""Changes an input as a value: replaces, removes, repeats and moves parts of it, and bytes within it.

A msgpack map within bytes (a manifest within a frame, the body of a cell) is changed as a value as well, so that what
is packed twice is reached.
"""

import random
from collections.abc import Callable
from typing import Any, Final

import msgpack

from .target import MAX_INPUT_BYTES, pack_input, unpack_input

MutateBytes = Callable[[bytes, int], bytes]

NUMBERS: Final = (0, 1, 2, 3, -1, 127, 255, 2**31, 2**32, 2**53, 2**63 - 1, 2**63, 2**64 - 1, -(2**63), 10**12)
FLOATS: Final = (0.0, -1.0, 1e-9, 1e15, 1e308, float("inf"), float("-inf"), float("nan"))
TEXTS: Final = (
    "", "0", "1", "-1", "nan", "inf", "-inf", "1e400", "18446744073709551616", "9" * 400, "1_0", "\u0661", " 1", "s", "c1",
    "x" * 300, "\ud800", "\0", "../../x", "a/b", "a/b/c", "interrupt", "cancel", "close", "17-1", "0-0", "%s", "1:2:3", "p:1:",
)  # fmt: skip
EMPTY: Final = (None, True, False, b"", [], {}, b"\xc1\x01", b"\xff\xff", b"\x80", b"\x00" * 16)
DEEP: Final = 600


def mutate(data: bytes, rng: random.Random, mutate_bytes: MutateBytes, max_bytes: int = MAX_INPUT_BYTES) -> bytes:
    """Return a changed input of at most `max_bytes`."""
    operations = unpack_input(data)
    if operations is None or rng.random() < 0.05:
        return mutate_bytes(data, max_bytes)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        operations = _mutated(operations, rng, mutate_bytes)
    try:
        packed = pack_input(operations)
    except (ValueError, OverflowError, TypeError):
        return data
    return packed if len(packed) <= max_bytes else data


def _mutated(value: Any, rng: random.Random, mutate_bytes: MutateBytes) -> Any:
    """Return the value with one part of it changed."""
    if isinstance(value, list) and value:
        if rng.random() < 0.75:
            place = rng.randrange(len(value))
            return [*value[:place], _mutated(value[place], rng, mutate_bytes), *value[place + 1 :]]
        return _list_changed(value, rng)
    if isinstance(value, dict) and value:
        key = rng.choice(list(value))
        if rng.random() < 0.75:
            return value | {key: _mutated(value[key], rng, mutate_bytes)}
        return _map_changed(value, key, rng)
    return _leaf_changed(value, rng, mutate_bytes)


def _list_changed(value: list[Any], rng: random.Random) -> list[Any]:
    place = rng.randrange(len(value))
    match rng.randrange(5):
        case 0:
            return value[:place] + value[place + 1 :]
        case 1:
            return value[:place] + [value[place]] * rng.choice((2, 2, 3, 8)) + value[place + 1 :]
        case 2:
            other = rng.randrange(len(value))
            changed = list(value)
            changed[place], changed[other] = changed[other], changed[place]
            return changed
        case 3:
            return [*value[:place], _any_value(rng), *value[place:]]
        case _:
            return value[:place]


def _map_changed(value: dict[Any, Any], key: Any, rng: random.Random) -> dict[Any, Any]:
    match rng.randrange(3):
        case 0:
            return {name: each for name, each in value.items() if name != key}
        case 1:
            return value | {key: value[rng.choice(list(value))]}
        case _:
            name = rng.choice((*TEXTS[:8], 1, b"k", None, -1))
            return value | {name: value[key]}


def _leaf_changed(value: Any, rng: random.Random, mutate_bytes: MutateBytes) -> Any:
    if rng.random() < 0.3:
        return _any_value(rng)
    if isinstance(value, bool) or value is None:
        return _any_value(rng)
    if isinstance(value, int):
        return rng.choice((value + 1, value - 1, -value, value ^ (1 << rng.randrange(63)), rng.choice(NUMBERS)))
    if isinstance(value, float):
        return rng.choice((value * 2, -value, *FLOATS))
    if isinstance(value, str):
        if rng.random() < 0.5:
            return rng.choice(TEXTS)
        raw = value.encode("utf-8", "surrogatepass")
        return mutate_bytes(raw, len(raw) + 32).decode("utf-8", "replace")
    if isinstance(value, bytes):
        return _bytes_changed(value, rng, mutate_bytes)
    return _any_value(rng)


def _bytes_changed(value: bytes, rng: random.Random, mutate_bytes: MutateBytes) -> bytes:
    if rng.random() < 0.6 and value[:1] and (value[0] & 0xF0 in {0x80, 0x90} or value[0] in {0xDC, 0xDE}):
        try:
            inner = msgpack.unpackb(value, unicode_errors="surrogatepass", strict_map_key=False)
            changed: bytes = msgpack.packb(_mutated(inner, rng, mutate_bytes), unicode_errors="surrogatepass")
        except Exception:  # noqa: BLE001 - not msgpack, or not any more
            return mutate_bytes(value, len(value) + 64)
        return changed
    return mutate_bytes(value, len(value) + 64)


def _any_value(rng: random.Random) -> Any:
    kind = rng.random()
    if kind < 0.3:
        return rng.choice(NUMBERS)
    if kind < 0.4:
        return rng.choice(FLOATS)
    if kind < 0.7:
        return rng.choice(TEXTS)
    if kind < 0.72:
        return _nested(rng.choice((3, 120, DEEP)))
    return rng.choice(EMPTY)


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value
