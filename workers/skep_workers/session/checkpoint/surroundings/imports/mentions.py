"""What a cell may change in libraries, according to its source: attributes, items of containers, registrations.

Read from the tree once for each source. `library_changes` and `item_changes` follow the paths to modules and classes.
"""

import ast
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from opcode import opmap
from types import CodeType, EllipsisType
from typing import Any, Final

Path = tuple[str, ...]  # `a.b.c` is ("a", "b", "c")

ANY_KEY: Final = ...
_STORING: Final = bytes(opmap[name] for name in ("STORE_ATTR", "DELETE_ATTR", "STORE_SUBSCR", "DELETE_SUBSCR"))
_BINARY: Final = opmap["BINARY_OP"]
_FIRST_IN_PLACE: Final = 13  # the argument of BINARY_OP for `+=`; those of the other in-place operators follow
# Methods of dicts, lists, sets and deques that change them.
_CHANGING: Final = frozenset(
    {"__delitem__", "__setitem__", "add", "append", "appendleft", "clear", "difference_update", "discard", "extend"}
    | {"insert", "intersection_update", "move_to_end", "pop", "popitem", "remove", "reverse", "setdefault", "sort"}
    | {"symmetric_difference_update", "update"}
)
_WITH_KEY: Final = frozenset({"__delitem__", "__setitem__", "pop", "setdefault"})  # their first argument is a key
_CALLS: Final = frozenset({"setattr", "delattr", "patch", "object", "__setattr__", "__delattr__"})
_REGISTER: Final = "register"


@dataclass(slots=True)
class Mentions:
    """Paths in one source.

    stores: attributes that it may change. deferred: those of them that change only when a function in it is called.
    items: containers whose items it may change, with the keys; ANY_KEY is one that isn't a constant. stores_items:
    those of them that it changes by a subscript. registers: objects with which it registers something. aliases: full
    names of the names that it imports.
    """

    stores: list[Path] = field(default_factory=list)
    deferred: set[Path] = field(default_factory=set)
    items: dict[Path, set[Any]] = field(default_factory=dict)
    stores_items: set[Path] = field(default_factory=set)
    registers: list[Path] = field(default_factory=list)
    aliases: dict[str, str] = field(default_factory=dict)


def mentions_in(tree: ast.AST, code: Iterable[CodeType]) -> Mentions:
    """Return what a source mentions. code: the compiled source, which shows quickly if that is nothing."""
    found = Mentions()
    if not any(_may_change_libraries(each) for each in code):
        return found
    _note(ast.walk(tree), found)
    inner = Mentions()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            _note(ast.walk(node), inner)
    counts = Counter(inner.stores)
    found.deferred = {path for path, count in Counter(found.stores).items() if count <= counts[path]}
    return found


def _note(nodes: Iterable[ast.AST], found: Mentions) -> None:
    for node in nodes:
        if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
            found.stores += _paths(node)
        elif isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
            for path in _paths(node.value):
                found.items.setdefault(path, set()).add(_constant(node.slice))
                found.stores_items.add(path)
        elif isinstance(node, ast.AugAssign):
            for path in _paths(node.target):
                found.items.setdefault(path, set()).add(ANY_KEY)
        elif isinstance(node, ast.Call):
            _note_call(node, found)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.registers += [path for each in node.decorator_list for path in _registering(each)]
        elif isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                found.aliases[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                found.aliases[alias.asname or alias.name] = f"{node.module}.{alias.name}"


def texts_in(code: CodeType) -> Iterator[str]:
    """Yield the string constants in code and in its functions."""
    for constant in code.co_consts:
        if isinstance(constant, str):
            yield constant
        elif isinstance(constant, CodeType):
            yield from texts_in(constant)


def _may_change_libraries(code: CodeType) -> bool:
    operations = code.co_code[::2]
    if any(operation in operations for operation in _STORING):
        return True
    if _BINARY in operations and _changes_in_place(operations, code.co_code[1::2]):
        return True
    names = code.co_names
    if any(name in _CALLS or name in _CHANGING or name.startswith(_REGISTER) for name in names):
        return True
    return any(_may_change_libraries(each) for each in code.co_consts if isinstance(each, CodeType))


def _changes_in_place(operations: bytes, arguments: bytes) -> bool:
    pairs = zip(operations, arguments, strict=True)
    return any(operation == _BINARY and argument >= _FIRST_IN_PLACE for operation, argument in pairs)


def _note_call(node: ast.Call, found: Mentions) -> None:
    found.registers += _registering(node)
    called = _last_name(node.func)
    if called in _CHANGING and isinstance(node.func, ast.Attribute):
        for path in _paths(node.func.value):
            found.items.setdefault(path, set()).update(_keys(called, node))
    if called not in _CALLS or not node.args:
        return
    first, *others = node.args
    if isinstance(first, ast.Constant) and isinstance(first.value, str):  # mock.patch("json.dumps", ...)
        path = tuple(first.value.split("."))
        found.aliases.setdefault(path[0], path[0])
        found.stores += [path] if len(path) > 1 else []
    elif others and isinstance(others[0], ast.Constant) and isinstance(others[0].value, str):
        found.stores += [(*path, others[0].value) for path in _paths(first)]


def _keys(method: str, node: ast.Call) -> list[Any]:
    """Return the keys that a call of such a method changes, ANY_KEY for those that are not constants."""
    first = node.args[0] if node.args else None
    if method in _WITH_KEY:
        return [ANY_KEY if first is None else _constant(first)]
    if method == "update" and (first is None or isinstance(first, ast.Dict)):
        keys = first.keys if first is not None else []
        found = [ANY_KEY if key is None else _constant(key) for key in keys]
        return [*found, *(ANY_KEY if each.arg is None else each.arg for each in node.keywords)]
    return [ANY_KEY]


def _constant(node: ast.expr) -> Any:
    return ANY_KEY if not isinstance(node, ast.Constant) or type(node.value) is EllipsisType else node.value


def _registering(node: ast.expr) -> list[Path]:
    """Return the path of the function by which a call, or a decorator, registers something."""
    if isinstance(node, ast.Call):
        return _registering(node.func)
    if isinstance(node, ast.Attribute) and node.attr.startswith(_REGISTER):
        return _paths(node)
    return [(node.id,)] if isinstance(node, ast.Name) and node.id.startswith(_REGISTER) else []


def _last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _paths(node: ast.expr) -> list[Path]:
    """Return the path of an attribute as the only item, nothing if it doesn't start at a name."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return [(node.id, *reversed(parts))] if isinstance(node, ast.Name) else []
