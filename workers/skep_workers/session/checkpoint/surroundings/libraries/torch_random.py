"""The global generator of torch."""

import sys
from importlib import import_module
from typing import Any, Final

from skep_workers.session.checkpoint.surroundings.part import Part, Reading

_BYTE: Final = "uint8"


class TorchRandom(Part):
    """The state of the generator on the CPU.

    If a cell has loaded torch, its seed isn't known, and the state is always saved.
    """

    name = "torch_random"
    library = "torch"

    def __init__(self) -> None:
        self._first = b""

    def begin(self) -> None:
        """Record the state that the process was started with."""
        if self.library in sys.modules:
            self._first = _state(sys.modules[self.library])

    def begin_as_twin(self) -> None:
        """Set a new seed, different from the forked process's, unless cells have drawn numbers."""
        if self._first and _state(sys.modules[self.library]) == self._first:
            sys.modules[self.library].seed()
            self.begin()

    def read(self) -> Reading | None:
        """Return the state, if it has changed since the start."""
        now = _state(sys.modules[self.library])
        return None if now == self._first else (now, {})

    def restore(self, state: Any) -> None:
        """Set the state."""
        torch: Any = import_module(self.library)
        torch.set_rng_state(torch.frombuffer(bytearray(state), dtype=getattr(torch, _BYTE)))


def _state(torch: Any) -> bytes:
    state = torch.get_rng_state()
    try:
        found: bytes = state.numpy().tobytes()
    except RuntimeError:  # torch without NumPy
        found = bytes(state.tolist())
    return found
