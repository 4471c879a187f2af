"""Code objects, as bytes and back, through the documented `CodeType.replace`.

The fields are those of CPython 3.11 and later; bytecode itself is valid only for the Python version that made it.
"""

from types import CodeType
from typing import Any, Final

from skep_workers.session.checkpoint.reducers.definitions import Reduced

_TEMPLATE: Final = (lambda: None).__code__
_FIELDS: Final = (
    "co_argcount",
    "co_posonlyargcount",
    "co_kwonlyargcount",
    "co_nlocals",
    "co_stacksize",
    "co_flags",
    "co_firstlineno",
    "co_code",
    "co_consts",
    "co_names",
    "co_varnames",
    "co_freevars",
    "co_cellvars",
    "co_filename",
    "co_name",
    "co_qualname",
    "co_linetable",
    "co_exceptiontable",
)


def reduce_code(code: CodeType) -> Reduced:
    """Reduce a code object to all of its fields."""
    return make_code, tuple(getattr(code, name) for name in _FIELDS)


def make_code(*values: Any) -> CodeType:
    """Make a code object from the values of its fields."""
    return _TEMPLATE.replace(**dict(zip(_FIELDS, values, strict=True)))
