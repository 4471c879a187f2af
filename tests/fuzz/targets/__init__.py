"""The targets, one module for each receiving side. They import no fuzzer, so that `make test` can replay the corpus."""

from collections.abc import Callable
from importlib import import_module
from typing import Final

from ..target import Target

# name -> module and class; imported on demand, since each one imports another part of skep
_PLACES: Final = {
    "frames": ("frames", "FramesToWorker"),
    "session_frames": ("session_frames", "FramesToSession"),
    "entries": ("entries", "Entries"),
    "signed_entries": ("entries", "SignedEntries"),
    "manifests": ("manifests", "Manifests"),
    "events": ("events", "Events"),
    "scripts": ("scripts", "Scripts"),
    "worker": ("worker", "Worker"),
    "signed_worker": ("worker", "SignedWorker"),
}
TARGETS: Final = tuple(_PLACES)


def make_target(name: str) -> Target:
    """Return the target of this name, ready to execute. Raises KeyError."""
    module, class_name = _PLACES[name]
    make: Callable[[], Target] = getattr(import_module(f"{__name__}.{module}"), class_name)
    return make()
