"""Context variables, their tokens and whole contexts, as bytes and back; checkpoints refer to functions defined here.

A variable that a module holds is saved by its name there, and its value is ambient state. Any other variable is made
again, with the value that it has in the context of cells.
"""

import sys
from contextvars import Context, ContextVar, Token
from decimal import Context as DecimalContext
from decimal import setcontext
from types import ModuleType
from typing import Any, Final

from skep_workers.session.checkpoint.reducers.definitions import Reduced, registry
from skep_workers.session.checkpoint.reducers.origins import MAIN, origins

_DECIMAL: Final = "decimal_context"  # the variable is made by C code, and found by this name only
# Packages whose variables are left out of a saved context: their values are valid only in this process.
_LEFT_OUT: Final = frozenset({"numpy", "skep_workers"})
_USED: Final = "<Token used"
_places: dict[ContextVar[Any], tuple[int, tuple[str, str] | None]] = {}
_tokens: dict[ContextVar[Any], Token[Any]] = {}  # of variables that had no value before they were restored


def place_of(variable: ContextVar[Any]) -> tuple[str, str] | None:
    """Return the module that holds a context variable, and its name there; None if it is only held by cells."""
    count, place = _places.get(variable, (0, None))
    if place is None and count != len(sys.modules):
        place = _find(variable)
        _places[variable] = len(sys.modules), place
    return place


def _find(variable: ContextVar[Any]) -> tuple[str, str] | None:
    for name, module in list(sys.modules.items()):
        if name == MAIN or not isinstance(module, ModuleType):
            continue
        for attribute, value in list(vars(module).items()):
            if value is variable and type(attribute) is str and not origins.is_own(module):
                return name, attribute
    return None


def reduce_context_variable(variable: ContextVar[Any]) -> Reduced:
    """Reduce a context variable to its place in a module, or with its default and the value that cells see."""
    place = place_of(variable)
    if place is not None:
        return find_context_variable, place
    missing = object()
    try:
        default: tuple[Any, ...] = (Context().run(variable.get),)
    except LookupError:
        default = ()
    value = registry.context.get(variable, missing) if registry.context is not None else missing
    state = None if value is missing else (value,)
    return make_context_variable, (variable.name, default), state, None, None, set_context_variable


def find_context_variable(module: str, name: str) -> Any:
    """Return the context variable under a name in a module."""
    __import__(module)
    return getattr(sys.modules[module], name)


def make_context_variable(name: str, default: tuple[Any, ...]) -> ContextVar[Any]:
    """Make a context variable."""
    return ContextVar(name, default=default[0]) if default else ContextVar(name)


def set_context_variable(variable: ContextVar[Any], state: tuple[Any]) -> None:
    """Set a context variable in the context that cells run in."""
    context = registry.context
    if context is not None:
        had_none = variable not in context
        token = registry.in_cells(lambda: variable.set(state[0]))
        if had_none:
            _tokens[variable] = token


def reduce_token(token: Token[Any]) -> Reduced:
    """Reduce a token to the value that it restores, and whether it was used."""
    old = () if token.old_value is Token.MISSING else (token.old_value,)
    return make_token, (token.var, old, repr(token).startswith(_USED))


def make_token(variable: ContextVar[Any], old: tuple[Any, ...], is_used: bool) -> Token[Any]:
    """Make a token of the context that cells run in. Raises LookupError if the variable's state doesn't allow it."""

    def make() -> Token[Any]:
        if is_used:
            token = variable.set(None)
            variable.reset(token)
            return token
        if old:
            value = variable.get()
            variable.set(old[0])
            return variable.set(value)
        if variable in _tokens:
            return _tokens.pop(variable)
        if registry.context is not None and variable in registry.context:
            raise LookupError(f"the context variable {variable.name!r} has a value, which it didn't have before")
        return variable.set(None)  # the variable is a library's, and its value is restored later

    return registry.in_cells(make)


def reduce_context(context: Context) -> Reduced:
    """Reduce a context with the values that it has."""
    items: dict[Any, Any] = {}
    decimals = None
    for variable, value in context.items():
        place = place_of(variable)
        if place is None and variable.name == _DECIMAL and isinstance(value, DecimalContext):
            decimals = value
        elif place is None or place[0].partition(".")[0] not in _LEFT_OUT:
            items[variable] = value
    return make_context, (), (items, decimals), None, None, set_context_values


def make_context() -> Context:
    """Make an empty context."""
    return Context()


def set_context_values(context: Context, state: tuple[dict[Any, Any], Any]) -> None:
    """Set variables in a context."""
    items, decimals = state
    for variable, value in items.items():
        context.run(variable.set, value)
    if decimals is not None:
        context.run(setcontext, decimals)
