"""All the groups of the suite."""

from typing import Final

from . import attrs_classes, msgspec_structs, polars_frames, pydantic_models, sqlalchemy_objects, torch_modules, torch_tensors
from .case import Case

GROUPS: Final = (attrs_classes, msgspec_structs, pydantic_models, sqlalchemy_objects, polars_frames, torch_tensors, torch_modules)
CASES: Final[list[Case]] = [case for group in GROUPS for case in group.CASES]
