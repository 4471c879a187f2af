"""NumPy's global generator, with any bit generator."""

import sys
from array import array
from importlib import import_module
from typing import Any, Final

from skep_workers.session.checkpoint.surroundings.object_memory import memory_at
from skep_workers.session.checkpoint.surroundings.part import Part, Reading

_OBJECT: Final = "numpy.random.get_bit_generator()"
_MERSENNE: Final = "MT19937"
_MERSENNE_BYTES: Final = 625 * 4  # 624 words and a position
_HEADER_BYTES: Final = object.__basicsize__


class NumpyRandom(Part):
    """The state of the functions of `numpy.random`.

    A process starts with a seed of its own, which need not be saved before numbers are drawn. If a cell loads NumPy,
    its seed isn't known, and the state is always saved.
    """

    name = "numpy_random"
    library = "numpy.random"

    def __init__(self) -> None:
        self._first: Any = None
        self._latest: tuple[Any, Any] = (None, None)

    def begin(self) -> None:
        """Record the state that the process was started with."""
        if self.library in sys.modules:
            self._first = _fingerprint(sys.modules[self.library])

    def begin_as_twin(self) -> None:
        """Set a new seed, different from the forked process's, unless cells have drawn numbers."""
        if self._first is not None and _fingerprint(sys.modules[self.library]) == self._first:
            sys.modules[self.library].seed()
            self.begin()

    def read(self) -> Reading | None:
        """Return the state. Making its 624 numbers after every cell would be slow, so the memory is compared first."""
        module = sys.modules[self.library]
        now = _fingerprint(module)
        if now == self._first:
            return None
        if now != self._latest[0]:
            self._latest = (now, _state(module))
        found: Reading = self._latest[1]
        return found

    def restore(self, state: Any) -> None:
        """Set the state, and the kind of bit generator. Raises AttributeError if NumPy has no such kind."""
        module: Any = import_module(self.library)
        if state is None:
            return
        if isinstance(state, tuple):
            kind, keys, *rest = state
            _use(module, kind)
            module.set_state((kind, array("I", keys), *rest))
            return
        _use(module, state["bit_generator"])
        module.set_state(_unpacked(state))

    def restore_objects(self, state: Any, objects: dict[str, Any]) -> None:
        """Set a bit generator that isn't one of NumPy's."""
        if _OBJECT in objects:
            import_module(self.library).set_bit_generator(objects[_OBJECT])


def _fingerprint(module: Any) -> Any:
    """Return a value that is equal only while the state is: its memory if the layout is known, otherwise the state."""
    generator, source = getattr(module.get_state, "__self__", None), module.get_bit_generator()
    if type(source) is not module.MT19937 or type(generator) is not module.RandomState:
        return type(source), _packed(module.get_state(legacy=False))
    own = memory_at(id(generator) + _HEADER_BYTES, type(generator).__basicsize__ - _HEADER_BYTES)
    return own, memory_at(source.ctypes.state_address, _MERSENNE_BYTES)


def _state(module: Any) -> Reading:
    source = module.get_bit_generator()
    kind = type(source)
    if getattr(module, kind.__name__, None) is not kind:
        return None, {_OBJECT: source}
    if kind is not module.MT19937:
        return _packed(module.get_state(legacy=False)), {}
    name, keys, *rest = module.get_state()
    return (name, keys.tobytes(), *rest), {}


def _use(module: Any, kind: str) -> None:
    if type(module.get_bit_generator()).__name__ != kind:
        module.set_bit_generator(getattr(module, kind)())


def _packed(value: Any) -> Any:
    """Return a state as plain data: arrays as type and bytes, NumPy's numbers as Python's."""
    if isinstance(value, dict):
        return {name: _packed(part) for name, part in value.items()}
    if hasattr(value, "tobytes") and value.ndim:
        return ["array", value.dtype.str, value.tobytes()]
    return value.item() if hasattr(value, "item") else value


def _unpacked(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _unpacked(part) for name, part in value.items()}
    if isinstance(value, list) and value[:1] == ["array"]:
        numpy: Any = import_module("numpy")
        return numpy.frombuffer(value[2], dtype=value[1]).copy()
    return value
