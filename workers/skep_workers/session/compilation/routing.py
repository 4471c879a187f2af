"""Decides how a cell runs, by resolving its calls in the session's namespace and applying the session's policy."""

import builtins
from collections import Counter
from collections.abc import Mapping
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, Final, NamedTuple

from skep_workers.session.compilation.analysis import Analysis, Body, Chain
from skep_workers.session.compilation.blocking_calls import DetectionPolicy, ExecutionMode

MAX_DEPTH: Final = 8  # calls through functions of earlier cells, and names through assignments
_RENAMED: Final = {
    "posix": "os", "_io": "io", "_socket": "socket", "_thread": "threading", "_queue": "queue",
    "pathlib._local": "pathlib",  # Python 3.13
}  # fmt: skip


class Route(NamedTuple):
    """How a cell is run; `blocks`: the session's loop should run in another thread meanwhile."""

    mode: ExecutionMode
    blocks: bool = False


class Router:
    """Chooses the route of each cell of one session, and counts the calls and imports that it recognises."""

    def __init__(self, policy: DetectionPolicy, names: Mapping[str, Any]) -> None:
        self.policy = policy
        self._names = names
        self._functions: dict[str, Body] = {}
        self.counters: Counter[str] = Counter()

    def route(self, analysis: Analysis) -> Route:
        """Return how to run the next cell."""
        self._functions.update(analysis.functions)
        body = analysis.body
        for name in body.imports.values():
            if name in self.policy.blocking_modules or name.rpartition(".")[0] in self.policy.blocking_modules:
                self.counters["blocking_import"] += 1
        if analysis.mode is ExecutionMode.TOP_LEVEL_AWAIT:
            return Route(analysis.mode)
        if self.policy.always is not None:
            return Route(self.policy.always, self.policy.always is ExecutionMode.BLOCKING_SYNC)
        found = self._found_in((body,), set(), 0)
        if "runs_loop" in found:
            return Route(ExecutionMode.BLOCKING_SYNC, blocks=True)
        blocks = "blocking" in found
        if "loop" in found:
            return Route(analysis.mode, blocks)
        if blocks:
            self.counters["blocking_call"] += 1
            return Route(ExecutionMode.BLOCKING_SYNC, blocks=True)
        return Route(analysis.mode)

    def _found_in(self, scopes: tuple[Body, ...], seen: set[str], depth: int) -> set[str]:
        """Return what the calls of the first body do; names that it doesn't bind are looked up in the next body."""
        found: set[str] = set()
        for chain in scopes[0].calls:
            found |= self._meaning(chain, scopes, seen, depth)
        return found

    def _meaning(self, chain: Chain, scopes: tuple[Body, ...], seen: set[str], depth: int) -> set[str]:
        """Return what a call does: "blocking", "loop" (it needs a running one), "runs_loop", or several of them."""
        policy = self.policy
        if chain[-1] in policy.loop_running_methods:
            return {"runs_loop"}
        own = ".".join(chain)
        cell = scopes[-1]
        if own in self._functions and not any(chain[0] in scope.imports for scope in scopes):
            return self._inside(own, cell, seen, depth)
        name = self._dotted(chain, scopes, 0)
        if name is None:
            if len(chain) > 1:
                self.counters["missed_chain"] += 1
            return set()
        if name in policy.loop_running_calls:
            return {"runs_loop"}
        if name in policy.loop_calls:
            return {"loop"}
        if policy.is_blocking(name):
            return {"blocking"}
        # A method of an instance, or a constructor, of a class that a cell defined.
        for inside in (name.replace("()", "").removeprefix("__main__."), f"{own}.__init__"):
            if inside in self._functions:
                return self._inside(inside, cell, seen, depth)
        return set()

    def _inside(self, function: str, cell: Body, seen: set[str], depth: int) -> set[str]:
        if function in seen or depth >= MAX_DEPTH:
            return set()
        seen.add(function)
        return self._found_in((self._functions[function], cell), seen, depth + 1)

    def _dotted(self, chain: Chain, scopes: tuple[Body, ...], depth: int) -> str | None:
        root, rest = chain[0].removesuffix("()"), chain[1:]
        called = "()" if chain[0].endswith("()") else ""
        body = next((scope for scope in scopes if root in scope.assigned or root in scope.imports), scopes[0])
        if root in body.assigned and depth < MAX_DEPTH and body.assigned[root] != chain[:1]:
            base = self._dotted(body.assigned[root], scopes, depth + 1)
        elif root in body.imports:
            base = body.imports[root]
        elif root in self._names:
            base = _name_of(self._names[root])
        elif f"{root}.__init__" in self._functions:  # a class of this very cell
            base = f"__main__.{root}"
        elif hasattr(builtins, root):
            base = f"builtins.{root}"
        else:
            base = None
        return ".".join((base + called, *rest)) if base else None


def _name_of(value: object) -> str | None:
    """Return the dotted name of an object, ending in `()` for an instance. No user code runs."""
    if type(value) is ModuleType:
        return str(value.__name__)
    if isinstance(value, type):
        return _qualified(value.__module__, value.__qualname__)
    if type(value) is FunctionType or type(value) is BuiltinFunctionType:
        return _qualified(getattr(value, "__module__", None) or "builtins", getattr(value, "__qualname__", ""))
    if type(value) is MethodType:
        return None
    for kind in type(value).__mro__:
        if kind.__name__ == "Path" and _qualified(kind.__module__, "Path") == "pathlib.Path":
            return "pathlib.Path()"
    return _qualified(type(value).__module__, type(value).__qualname__) + "()"


def _qualified(module: object, name: str) -> str:
    text = module if isinstance(module, str) else "builtins"
    if text == "io" and name == "open":
        return "builtins.open"
    return f"{_RENAMED.get(text, text)}.{name}"
