"""The libraries whose objects have reducers of their own here; none of them is imported for that."""

from types import ModuleType
from typing import Final

from skep_workers.session.checkpoint.reducers.definitions import Reducer, module_of
from skep_workers.session.checkpoint.reducers.libraries import (
    arrow_tables,
    numpy_generators,
    pandas_blocks,
    polars_frames,
    structs,
    torch_tensors,
)

_MODULES: Final[dict[str, ModuleType]] = {
    "msgspec": structs,
    "numpy": numpy_generators,
    "pandas": pandas_blocks,
    "polars": polars_frames,
    "pyarrow": arrow_tables,
    "torch": torch_tensors,
}


def reducer_of(kind: type) -> Reducer | None:
    """Return the reducer for instances of a library's class, or of a class derived from one; None if pickle does."""
    for base in type.__dict__["__mro__"].__get__(kind):
        module = _MODULES.get(module_of(base).partition(".")[0])
        if module is not None:
            found: Reducer | None = module.reducer_of(kind)
            return found
    return None
