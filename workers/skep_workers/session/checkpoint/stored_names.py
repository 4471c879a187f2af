"""The numbers by which checkpoints name the functions that make objects again.

A checkpoint outlives the code that wrote it. Pickle would store the module path of each function, so that moving one
would make every checkpoint unreadable. With `copyreg.add_extension` a stream holds a number instead. A number is never
given to another function, and never reused: what is deleted leaves a gap.
"""

import copyreg
from collections.abc import Callable
from typing import Any, Final

from skep_workers.session.checkpoint.reducers import (
    array_kinds,
    arrays,
    arrow_tables,
    c_types,
    classes,
    code,
    definitions,
    descriptors,
    exceptions,
    functions,
    instances,
    locks,
    modules,
    polars_frames,
    polars_plans,
    references,
    standard_library,
    structs,
    torch_tensors,
    type_parameters,
)

FIRST: Final = 0x5B00  # two bytes in a stream; copyreg's registry leaves everything above 255 unassigned

STORED: Final[dict[int, Callable[..., Any]]] = {
    0: definitions.definition,
    1: functions.make_function,
    2: functions.make_function_of,
    3: functions.set_function_state,
    4: functions.set_cell,
    5: classes.make_class,
    6: classes.set_class_state,
    7: classes.find_member,
    8: classes.make_member,
    9: classes.set_member_state,
    10: modules.the_main_module,
    11: modules.make_module,
    12: modules.set_module_state,
    13: type_parameters.make_type_parameter,
    14: type_parameters.make_type_alias,
    15: code.make_code,
    16: descriptors.make_descriptor,
    17: descriptors.set_descriptor_state,
    18: exceptions.make_exception,
    19: exceptions.set_exception_state,
    20: locks.make_lock,
    21: locks.make_recursive_lock,
    22: arrays.make_view,
    23: references.make_view,
    24: references.make_memory_view,
    25: references.make_dead_reference,
    26: references.make_dead_proxy,
    27: references.make_weak_dict,
    28: standard_library.make_lru_cache,
    29: standard_library.make_match,
    30: standard_library.make_context_variable,
    31: standard_library.set_context_variable,
    32: standard_library.find_type,
    33: standard_library.make_captured_output,
    90: instances.set_instance_state,
    91: structs.make_struct,
    92: c_types.make_c_type,
    93: c_types.set_c_type_state,
    94: c_types.make_function_type,
    95: structs.set_struct_fields,
    96: standard_library.make_thread_local,
    97: polars_frames.make_series,
    98: polars_frames.make_frame,
    99: polars_plans.make_plan,
    100: polars_plans.find_function,
    101: torch_tensors.make_tensor,
    102: torch_tensors.set_tensor_state,
    103: torch_tensors.make_storage,
    104: torch_tensors.make_array_on,
    105: c_types.make_part,
    106: array_kinds.make_array_of,
    107: array_kinds.set_array_state,
    108: array_kinds.make_map,
    109: array_kinds.make_map_view,
    110: array_kinds.make_ufunc,
    111: arrow_tables.make_slice,
    112: arrays.make_record,
    113: structs.make_instance,
    114: structs.make_codec,
}


def register() -> None:
    """Have pickle write and read the numbers; safe to call again."""
    for number, function in STORED.items():
        copyreg.add_extension(function.__module__, function.__qualname__, FIRST + number)
