"""dill and cloudpickle: the whole namespace pickled after a cell and stored under one key, then loaded again."""

import gc
import importlib
import time
import types
from typing import Any

from redis import Redis
from serving import serve
from states import states

PIECE_BYTES = 8 * 1024 * 1024
DATABASE = 5


def measure(method: str, name: str, part: int, socket: str) -> dict[str, float]:
    """Return milliseconds to pickle, until stored, and to load again; and the bytes stored. What is stored stays."""
    import __main__

    library = importlib.import_module(method)
    state = next(state for state in states(part) if state.name == name)
    namespace = __main__.__dict__  # where classes of cells live, pickled by value
    before = set(namespace)
    exec(compile(state.make, "<cell>", "exec"), namespace)  # noqa: S102 - a cell, as users write them
    exec(compile(state.change, "<cell>", "exec"), namespace)  # noqa: S102
    own = {key: value for key, value in namespace.items() if key not in before and not key.startswith("__")}
    client = Redis(unix_socket_path=socket, db=DATABASE)
    started = time.perf_counter()
    pickled: bytes = library.dumps({key: value for key, value in own.items() if not _is_module(value)})
    pickled_at = time.perf_counter()
    keys = []
    for first in range(0, len(pickled), PIECE_BYTES):
        keys.append(f"{name}:{first}")
        client.set(keys[-1], pickled[first : first + PIECE_BYTES])
    stored_at = time.perf_counter()
    gc.collect()
    loading = time.perf_counter()
    library.loads(b"".join(client.mget(keys)))
    loaded_at = time.perf_counter()
    client.set(f"{name}:pieces", len(keys))
    return {
        "added": (pickled_at - started) * 1000,
        "durable": (stored_at - started) * 1000,
        "restored": (loaded_at - loading) * 1000,
        "bytes": len(pickled),
    }


def load(method: str, name: str, socket: str) -> None:
    """Load what was stored, and remove it."""
    library = importlib.import_module(method)
    client = Redis(unix_socket_path=socket, db=DATABASE)
    keys = [f"{name}:{number * PIECE_BYTES}" for number in range(int(client.get(f"{name}:pieces")))]
    library.loads(b"".join(client.mget(keys)))
    client.delete(f"{name}:pieces", *keys)


def _is_module(value: Any) -> bool:
    return isinstance(value, types.ModuleType)


if __name__ == "__main__":
    serve({"measure": measure, "load": load})
