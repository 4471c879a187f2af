"""The numbers by which checkpoints refer to the functions that make objects again.

A checkpoint outlives the code that wrote it. Pickle would store the module path of each function, and moving one would
make every checkpoint unreadable. With `copyreg.add_extension` a stream has a number instead. A number is never assigned
to another function: a deleted function leaves a gap.
"""

import copyreg
from collections.abc import Callable
from typing import Any, Final

from skep_workers.session.checkpoint.reducers import definitions, library_names, modules
from skep_workers.session.checkpoint.reducers import owned_objects as owned
from skep_workers.session.checkpoint.reducers.language import (
    builtin_objects,
    classes,
    code,
    descriptors,
    exceptions,
    functions,
    instances,
    iterators,
    prefixes,
    references,
    subclassed_values,
    type_parameters,
    weak_references,
)
from skep_workers.session.checkpoint.reducers.libraries import (
    array_kinds,
    arrays,
    arrow_tables,
    pandas_blocks,
    polars_frames,
    polars_plans,
    structs,
    torch_tensors,
)
from skep_workers.session.checkpoint.reducers.stdlib import (
    asyncio_objects,
    c_types,
    context_variables,
    files,
    locks,
    logging_objects,
    paths,
    standard_library,
    thread_objects,
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
    28: standard_library.make_lru_cache,
    29: standard_library.make_match,
    30: context_variables.make_context_variable,
    31: context_variables.set_context_variable,
    32: standard_library.find_type,
    33: standard_library.make_captured_output,
    34: paths.make_path_below_home,
    40: modules.make_own_module,
    41: modules.fill_module,
    42: library_names.find_in_module,
    43: owned.find_names,
    44: owned.find_decimal_context,
    45: prefixes.take_last,
    46: weak_references.make_reference,
    47: weak_references.make_container,
    48: weak_references.fill_container,
    49: weak_references.make_finalizer,
    60: asyncio_objects.the_session_loop,
    61: asyncio_objects.make_done_future,
    62: asyncio_objects.set_future_outcome,
    63: builtin_objects.find_replaced,
    64: context_variables.find_context_variable,
    65: context_variables.make_token,
    66: context_variables.make_context,
    67: context_variables.set_context_values,
    68: iterators.make_iterator,
    69: logging_objects.make_handler,
    70: logging_objects.set_handler_state,
    71: thread_objects.make_thread_local,
    72: thread_objects.set_thread_local,
    73: thread_objects.make_pool,
    74: instances.make_instance,
    75: instances.set_instance_state,
    76: subclassed_values.make_subclassed,
    77: subclassed_values.set_subclassed_state,
    91: structs.make_struct,
    92: c_types.make_c_type,
    93: c_types.set_c_type_state,
    94: c_types.make_function_type,
    95: structs.set_struct_fields,
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
    115: pandas_blocks.join_references,
    120: standard_library.make_shell_lines,
    121: standard_library.make_display_handle,
    122: standard_library.make_timeit_result,
    123: files.make_closed_file,
    124: files.make_closed_in_memory,
}

# Functions that are known to run no code of users.
QUIET: Final[frozenset[Any]] = frozenset(
    {
        definitions.definition,
        functions.make_function,
        functions.make_function_of,
        functions.set_function_state,
        functions.set_cell,
        classes.find_member,
        modules.the_main_module,
        code.make_code,
        locks.make_lock,
        locks.make_recursive_lock,
        paths.make_path_below_home,
        references.make_dead_reference,
        references.make_dead_proxy,
    }
)


def register() -> None:
    """Register the numbers with pickle; may be called again."""
    for number, function in STORED.items():
        copyreg.add_extension(function.__module__, function.__qualname__, FIRST + number)
