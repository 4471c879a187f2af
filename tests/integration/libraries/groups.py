"""All the groups of the suite."""

from typing import Final

from . import (
    arrow_tables,
    attrs_classes,
    concurrency,
    documents,
    figures,
    graphs_and_symbols,
    http_clients,
    msgspec_structs,
    numpy_arrays,
    numpy_state,
    pandas_frames,
    polars_frames,
    pydantic_models,
    sklearn_models,
    sqlalchemy_objects,
    torch_modules,
    torch_tensors,
)
from .case import Case

GROUPS: Final = (
    arrow_tables,
    attrs_classes,
    concurrency,
    documents,
    figures,
    graphs_and_symbols,
    http_clients,
    msgspec_structs,
    numpy_arrays,
    numpy_state,
    pandas_frames,
    polars_frames,
    pydantic_models,
    sklearn_models,
    sqlalchemy_objects,
    torch_modules,
    torch_tensors,
)
CASES: Final[list[Case]] = [case for group in GROUPS for case in group.CASES]
