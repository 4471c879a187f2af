"""Signatures and fields, as the source has them."""

import ast
import copy
import functools
import inspect
import sys
import textwrap
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from skep_shared import errors
from skep_shared.errors import base, calls, cells, internal, servers

MOST_COLUMNS: Final = 96
_MANAGERS: Final = {"asynccontextmanager": "AbstractAsyncContextManager", "contextmanager": "AbstractContextManager"}
# Classes that are no names of the package, and what users do with them.
_SHOWN_TYPES: Final = {"Connecting": "AbstractAsyncContextManager[Cluster]"}
_HIDDEN: Final = frozenset(
    {"pack", "unpack", "from_hash", "from_marker", "lowered_to", "check_within"}
)  # for skep itself
_SPECIAL: Final = frozenset({"__aiter__", "__anext__", "__call__"})
_ERROR_MODULES: Final = (base, calls, cells, internal, servers)


@dataclass(frozen=True, slots=True)
class Callable:
    """A function, a method or a property. types: the names in its annotations. parameters: their names."""

    name: str
    signature: str
    docstring: str
    types: tuple[str, ...]
    parameters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a model, or an attribute. comment: its own description, '' if the class has it."""

    name: str
    type: str
    default: str
    comment: str = ""


def function_node(value: Any) -> ast.FunctionDef | ast.AsyncFunctionDef:
    """Return the definition of a function."""
    [node] = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(value)))).body
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    return node


def class_node(value: type) -> ast.ClassDef:
    """Return the definition of a class. `__module__` of an error is the public one, which doesn't define it."""
    for module in (sys.modules[value.__module__], *_ERROR_MODULES):
        if (node := _classes_in(inspect.getfile(module)).get(value.__name__)) is not None:
            return copy.deepcopy(node)  # what describes it changes annotations
    raise LookupError(value)


@functools.cache
def _classes_in(path: str) -> dict[str, ast.ClassDef]:
    return {node.name: node for node in ast.parse(Path(path).read_text()).body if isinstance(node, ast.ClassDef)}


def callable_of(node: ast.FunctionDef | ast.AsyncFunctionDef, constants: dict[str, Any]) -> Callable:
    """Return what is said of a function or a method. constants: the names that defaults may have."""
    decorators = {ast.unparse(each) for each in node.decorator_list}
    for arg in [*node.args.args, *node.args.kwonlyargs]:
        arg.annotation = None if arg.annotation is None else _Plain(constants).visit(arg.annotation)
    node.returns = None if node.returns is None else _Plain(constants).visit(node.returns)
    arguments = node.args
    first = arguments.posonlyargs or arguments.args
    if first and first[0].arg in {"self", "cls"}:
        del first[0]
    returned = ast.unparse(node.returns) if node.returns is not None else "None"
    returned = _SHOWN_TYPES.get(returned, returned)
    prefix = "async def " if isinstance(node, ast.AsyncFunctionDef) and not _yields(node) else "def "
    for decorator, manager in _MANAGERS.items():
        if decorator in decorators:
            returned = f"{manager}[{returned.partition('[')[2]}"
    if "property" in decorators:
        signature = f"{node.name}: {returned}"
    else:
        signature = _signature(prefix + node.name, _arguments(arguments, constants), returned)
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    types = _names_in(
        [*(each.annotation for each in named), getattr(arguments.kwarg, "annotation", None), node.returns]
    )
    if arguments.kwarg is not None:
        named.append(arguments.kwarg)
    return Callable(node.name, signature, ast.get_docstring(node) or "", types, tuple(each.arg for each in named))


def members_of(value: type) -> Iterator[Callable]:
    """Yield the public methods and properties that a class defines, in their order."""
    for each in class_node(value).body:
        if not isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        is_public = not each.name.startswith("_") or each.name in _SPECIAL
        if is_public and each.name not in _HIDDEN and ast.get_docstring(each) is not None:
            yield callable_of(each, vars(sys.modules[value.__module__]))


def fields_of(value: type) -> Iterator[Field]:
    """Yield the annotated public fields that a class defines, and for an enumeration its values."""
    constants = vars(sys.modules[value.__module__])
    for each in class_node(value).body:
        if isinstance(each, ast.Assign) and isinstance(each.value, ast.Constant):
            [target] = each.targets
            yield Field(ast.unparse(target), "", ast.unparse(each.value))
        elif isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name) and each.target.id[0] != "_":
            kind, comment = _described(_Plain(constants).visit(each.annotation))
            yield Field(each.target.id, kind, _default(value, each.target.id, each.value), comment)


def _default(value: type, name: str, node: ast.expr | None) -> str:
    """Return the default of a field as it is written, or its value if that is the name of a constant."""
    if node is None:
        return ""
    fields: dict[str, Any] = getattr(value, "model_fields", {})
    if isinstance(node, ast.Name | ast.Attribute) and name in fields:
        return repr(fields[name].default)
    text = ast.unparse(node)
    return _default_in(node) if text.startswith(("Field(", "field(")) else text


def attributes_of(value: type) -> Iterator[Field]:
    """Yield the public attributes that `__init__` annotates."""
    for each in ast.walk(class_node(value)):
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Attribute) and each.target.attr[0] != "_":
            kind = ast.unparse(each.annotation)
            yield Field(each.target.attr, kind[6:-1] if kind.startswith("Final[") else kind, "")


def arguments_of(value: type) -> tuple[str, ...]:
    """Return the arguments of an error: its own, or those of its base."""
    for kind in value.__mro__:
        if "__init__" in vars(kind) and vars(errors).get(kind.__name__) is kind:
            return tuple(inspect.signature(kind.__init__).parameters)[1:]
    return ()


def _described(annotation: ast.expr) -> tuple[str, str]:
    """Return the type and the description of `Annotated[type, Field(description=…)]`, or of any annotation."""
    if isinstance(annotation, ast.BinOp):  # `Annotated[…] | None`
        (left, comment), right = _described(annotation.left), ast.unparse(annotation.right)
        return f"{left} | {right}", comment
    if not (isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) == "Annotated"):
        return ast.unparse(annotation).replace("StrictStr", "str"), ""
    assert isinstance(annotation.slice, ast.Tuple)
    kind, *extras = annotation.slice.elts
    for extra in extras:
        for keyword in getattr(extra, "keywords", ()):
            if keyword.arg == "description" and isinstance(keyword.value, ast.Constant):
                return ast.unparse(kind), str(keyword.value.value)
    return ast.unparse(kind), ""


def _default_in(call: ast.expr | None) -> str:
    """Return the default in a call of `Field`, '' for a required one."""
    assert isinstance(call, ast.Call)
    values = {each.arg: ast.unparse(each.value) for each in call.keywords}
    empty = {"dict": "{}", "list": "[]"}
    return values.get("default", empty.get(values.get("default_factory", ""), ""))


def _yields(node: ast.AST) -> bool:
    return any(isinstance(each, ast.Yield | ast.YieldFrom) for each in ast.walk(node))


def _signature(head: str, arguments: list[str], returned: str) -> str:
    """Return a signature in one line, or with a line for each argument."""
    line = f"{head}({', '.join(arguments)}) -> {returned}"
    if len(line) <= MOST_COLUMNS:
        return line
    return "\n".join([f"{head}(", *(f"    {each}," for each in arguments), f") -> {returned}"])


def _arguments(node: ast.arguments, constants: dict[str, Any]) -> list[str]:
    """Return the arguments as they are written, with the values of named defaults."""
    plain = [*node.posonlyargs, *node.args]
    defaults = [*[None] * (len(plain) - len(node.defaults)), *node.defaults]
    found = [_argument(arg, default, constants) for arg, default in zip(plain, defaults, strict=True)]
    if node.vararg is not None:
        found.append(f"*{ast.unparse(node.vararg)}")
    elif node.kwonlyargs:
        found.append("*")
    named = zip(node.kwonlyargs, node.kw_defaults, strict=True)
    found += [_argument(arg, default, constants) for arg, default in named]
    return found if node.kwarg is None else [*found, f"**{ast.unparse(node.kwarg)}"]


def _argument(arg: ast.arg, default: ast.expr | None, constants: dict[str, Any]) -> str:
    if default is None:
        return ast.unparse(arg)
    is_named = isinstance(default, ast.Name) and default.id in constants
    value = _value_text(constants[default.id]) if is_named else ast.unparse(default)  # type: ignore[attr-defined]
    return f"{ast.unparse(arg)} = {value}" if arg.annotation is not None else f"{arg.arg}={value}"


def _value_text(value: Any) -> str:
    return "…" if type(value) is object else repr(value)  # a mark for "not given"


class _Plain(ast.NodeTransformer):
    """Writes annotations as users read them: without quotes, and without the names of bounded numbers."""

    def __init__(self, constants: dict[str, Any]) -> None:
        self._constants = constants

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        return node if ast.unparse(node.value) == "Literal" else self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        return node  # `Field(…)` is no type

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return ast.parse(node.value, mode="eval").body if isinstance(node.value, str) else node

    def visit_Name(self, node: ast.Name) -> ast.AST:
        value = self._constants.get(node.id)
        is_bounded = typing.get_origin(value) is typing.Annotated and typing.get_args(value)[0] in {int, float}
        return ast.Name(typing.get_args(value)[0].__name__) if is_bounded else node


def _names_in(annotations: list[ast.expr | None]) -> tuple[str, ...]:
    """Return the names in annotations, in their order, each once."""
    found: dict[str, None] = {}
    for annotation in annotations:
        for node in ast.walk(annotation) if annotation is not None else ():
            if isinstance(node, ast.Name):
                found[node.id] = None
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found[node.value] = None
    return tuple(found)
