"""Making and filling the objects of a pickle stream; an object that can't be made is replaced by a stand-in."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final

from skep_workers.session.checkpoint.lost_names import describe
from skep_workers.session.checkpoint.reducers.definitions import MissingDefinition, is_among, is_made_by_c
from skep_workers.session.checkpoint.reducers.language.prefixes import take_last
from skep_workers.session.checkpoint.reducers.modules import fill_module
from skep_workers.session.checkpoint.restoring import loading_steps as steps
from skep_workers.session.checkpoint.restoring.guard import CallTimeout, Guard
from skep_workers.session.checkpoint.restoring.losses import Lost
from skep_workers.session.checkpoint.restoring.pickle_machine import PickleMachine
from skep_workers.session.checkpoint.stored_names import FIRST, STORED

_PLAIN_KEYS: Final = frozenset({str, bytes, int, float, complex, bool, type(None)})


class ObjectBuilder(PickleMachine):
    """Carries out the opcodes that make and fill objects.

    partial: names that are lost in modules, as "module.name", with reasons.
    """

    def __init__(self, data: bytes | bytearray, buffers: Iterable[Any], guard: Guard) -> None:
        super().__init__(data, buffers)
        self.partial: Final[dict[str, str]] = {}
        self._guard = guard
        self._start = 0  # of the opcode that is carried out
        self._late: dict[int, list[tuple[int, Any, Any, Any]]] = {}  # container -> (offset, it, key, value)
        self._has_raised = False  # whether the last call was made, and raised

    def _call(self, callee: Any, parts: Sequence[Any], call: Callable[[], Any], *, is_quiet: bool) -> Any:
        """Return the result of a call with these parts, or a stand-in. is_quiet: it certainly runs no code of users."""
        self._has_raised = False
        reason = self.losses.first_reason((callee, *parts))
        if reason is None:
            reason = "" if is_quiet else self._guard.enter(self._start, steps.name_of(callee))
        if not reason:
            try:
                try:
                    self._guard.is_calling = not is_quiet
                    return call()
                finally:
                    self._guard.is_calling = False
            except CallTimeout as exc:
                reason = str(exc)
            except MissingDefinition as exc:
                reason = str(exc)
            except BaseException as exc:  # noqa: BLE001 - user code
                reason, self._has_raised = f"restoring it raises {describe(exc)}", True
            finally:
                if not is_quiet:
                    self._guard.leave()
        return self.losses.make(reason)

    def _push(self, made: Any, parts: Iterable[Any]) -> None:
        self.stack.append(made)
        self.losses.keep_alive(made)
        if type(made) is not Lost:
            self.losses.note_contents(made, parts)

    def find(self, module: str, name: str) -> None:
        """Push the object under a name in a module."""
        find = partial(steps.find_global, module, name)
        self.stack.append(self._call(find, (module, name), find, is_quiet=False))

    def find_stored(self, number: int) -> None:
        """Push one of our own functions."""
        found: Any = STORED.get(number - FIRST)
        if found is None:
            found = self.losses.make(f"restoring it needs extension {number} of copyreg, which is registered by none")
        self.stack.append(found)

    def reduce(self) -> None:
        """Push the result of a function."""
        arguments = self.stack.pop()
        function = self.stack.pop()
        if function is fill_module and self.losses.first_reason(arguments[:2]) is None:
            self._fill_module(*arguments)
            return
        if function is take_last:  # an argument before the last one may be lost without a consequence
            self.stack.append(arguments[-1])
            return
        is_quiet = steps.calls_quietly(function)
        made = self._call(function, (arguments,), partial(steps.apply, function, arguments), is_quiet=is_quiet)
        self._push(made, (function, arguments))
        if type(arguments) is tuple and len(arguments) == 2:
            self._reduced = self._pairs[id(made)] = made, function, arguments

    def _fill_module(self, module: Any, known_as: Any, names: dict[str, Any], home: str) -> None:
        """Fill a module with the values that are not lost: a lost one costs its own name, and not the module."""
        lost = {name: reason for name, value in names.items() if (reason := self.losses.reason(value)) is not None}
        kept = {name: value for name, value in names.items() if name not in lost}
        fill = partial(fill_module, module, known_as, kept, home)
        made = self._call(fill_module, (module,), fill, is_quiet=False)
        if type(made) is not Lost:
            self.partial.update({f"{module.__name__}.{name}": reason for name, reason in lost.items()})
        self.stack.append(made)

    def new_object(self, keywords: Any) -> None:
        """Push an instance that has no state yet."""
        arguments = self.stack.pop()
        kind = self.stack.pop()
        make = partial(steps.make_new, kind, arguments, keywords)
        made = self._call(kind, (arguments, keywords), make, is_quiet=steps.makes_quietly(kind))
        self._push(made, (kind, arguments, keywords))

    def build(self) -> None:
        """Set an object's state."""
        state = self.stack.pop()
        value = self.stack[-1]
        self.losses.note_contents(value, (state,))
        if self.losses.reason(value) is not None:
            return
        is_quiet = steps.builds_quietly(type(value), state)
        done = self._call(type(value), (), partial(steps.set_state, value, state), is_quiet=is_quiet)
        if type(done) is Lost:
            self.losses.lose(value, self.losses.reason(done) or "")

    def make_tuple(self, items: list[Any]) -> None:
        """Push a tuple, also one of lost objects: it may be the arguments of a call that sets a state."""
        self._push(tuple(items), items)

    def make_frozenset(self, items: list[Any]) -> None:
        """Push a frozenset."""
        self._push(self._call(frozenset, items, partial(frozenset, items), is_quiet=False), items)

    # --- filling containers -------------------------------------------------------------------------------------------

    def append(self, items: list[Any]) -> None:
        """Append to the container on top of the stack."""
        container = self.stack[-1]
        self.losses.note_contents(container, items)
        if type(container) is list:
            container += items
        elif self.losses.reason(container) is None:
            reason = self._change(container, partial(steps.extend, container, items))
            if reason:
                self.losses.lose(container, reason)

    def set_items(self, items: list[Any]) -> None:
        """Add alternating keys and values to the container on top of the stack."""
        container, keys, values = self.stack[-1], items[::2], items[1::2]
        self.losses.note_contents(container, items)
        if type(container) is dict and all(type(key) is str for key in keys):
            container.update(zip(keys, values, strict=True))
            return
        for key, value in zip(keys, values, strict=True):
            self._add(container, key, value)

    def add_items(self, items: list[Any]) -> None:
        """Add to the set on top of the stack."""
        container = self.stack[-1]
        self.losses.note_contents(container, items)
        for item in items:
            self._add(container, item, steps.NO_VALUE)

    def _add(self, container: Any, key: Any, value: Any) -> None:
        """Add an item to a dict or a set.

        If its key can't be hashed yet, it is added at the end, with all items that follow it.
        """
        late = (self._start, container, key, value)
        if id(container) in self._late or self._is_unfinished(key):
            self._late.setdefault(id(container), []).append(late)
        elif self.losses.first_reason((container, key)) is None:
            reason = self._change(container, partial(steps.add_item, container, key, value), key)
            if reason and self._has_raised:
                self._late[id(container)] = [late]
            elif reason:
                self.losses.lose(container, reason)

    def _add_late(self) -> None:
        for late in self._late.values():
            for self._start, container, key, value in late:
                if self.losses.first_reason((container, key)) is None:
                    reason = self._change(container, partial(steps.add_item, container, key, value), key)
                    if reason:
                        self.losses.lose(container, reason)

    def _change(self, container: Any, change: Callable[[], None], key: Any = steps.NO_VALUE) -> str:
        """Change a container; return why that failed, or ''."""
        kind = type(container)
        done = self._call(kind, (), change, is_quiet=is_among(type(key), _PLAIN_KEYS) and is_made_by_c(kind))
        return self.losses.reason(done) or "" if type(done) is Lost else ""

    def _is_unfinished(self, key: Any) -> bool:
        """Return whether a key has no state yet: then it is on the stack, below the parts of its state."""
        kind = type(key)
        if is_among(kind, _PLAIN_KEYS):
            return False
        if kind is tuple or kind is frozenset:
            return any(self._is_unfinished(part) for part in key)
        if is_made_by_c(kind):
            return False
        return any(item is key for stack in (*self._below, self.stack) for item in stack)
