"""The names by which checkpoints of version 0.1.0 call what makes functions, classes and modules again."""

from skep_workers.session.checkpoint.reducers.classes import (
    find_member,
    make_class,
    make_member,
    set_class_state,
    set_member_state,
)
from skep_workers.session.checkpoint.reducers.definitions import definition
from skep_workers.session.checkpoint.reducers.functions import (
    make_function,
    make_function_of,
    set_cell,
    set_function_state,
)
from skep_workers.session.checkpoint.reducers.modules import make_module, set_module_state, the_main_module
from skep_workers.session.checkpoint.reducers.type_parameters import make_type_parameter

__all__ = [
    "definition",
    "find_member",
    "make_class",
    "make_function",
    "make_function_of",
    "make_member",
    "make_module",
    "make_type_parameter",
    "set_cell",
    "set_class_state",
    "set_function_state",
    "set_member_state",
    "set_module_state",
    "the_main_module",
]
