"""Checkpoints refer to our functions by number and outlive the code that wrote them: a number keeps its function."""

import copyreg
import importlib
import io
import pickle
import pkgutil
import types

import pytest

from skep_workers.session.checkpoint import reducers
from skep_workers.session.checkpoint.reducers.definitions import DefinitionKeys
from skep_workers.session.checkpoint.saving.pickling.snapshot_pickler import SnapshotPickler
from skep_workers.session.checkpoint.stored_names import FIRST, STORED

NAMES = {
    0: "definition", 1: "make_function", 2: "make_function_of", 3: "set_function_state", 4: "set_cell",
    5: "make_class", 6: "set_class_state", 7: "find_member", 8: "make_member", 9: "set_member_state",
    10: "the_main_module", 13: "make_type_parameter",
    14: "make_type_alias", 15: "make_code", 16: "make_descriptor", 17: "set_descriptor_state",
    18: "make_exception", 19: "set_exception_state", 20: "make_lock", 21: "make_recursive_lock", 22: "make_view",
    23: "make_view", 24: "make_memory_view", 25: "make_dead_reference", 26: "make_dead_proxy",
    28: "make_lru_cache", 29: "make_match", 30: "make_context_variable", 31: "set_context_variable",
    32: "find_type", 33: "make_captured_output", 34: "make_path_below_home",
    40: "make_own_module", 41: "fill_module", 42: "find_in_module", 43: "find_names",
    44: "find_decimal_context", 45: "take_last", 46: "make_reference", 47: "make_container",
    48: "fill_container", 49: "make_finalizer",
    60: "the_session_loop", 61: "make_done_future", 62: "set_future_outcome", 63: "find_replaced",
    64: "find_context_variable", 65: "make_token", 66: "make_context", 67: "set_context_values", 68: "make_iterator",
    69: "make_handler", 70: "set_handler_state", 71: "make_thread_local", 72: "set_thread_local", 73: "make_pool",
    74: "make_instance", 75: "set_instance_state", 76: "make_subclassed", 77: "set_subclassed_state",
    91: "make_struct", 92: "make_c_type", 93: "set_c_type_state", 94: "make_function_type",
    95: "set_struct_fields", 97: "make_series", 98: "make_frame", 99: "make_plan",
    100: "find_function", 101: "make_tensor", 102: "set_tensor_state", 103: "make_storage", 104: "make_array_on",
    105: "make_part", 106: "make_array_of", 107: "set_array_state", 108: "make_map", 109: "make_map_view",
    110: "make_ufunc", 111: "make_slice", 112: "make_record", 113: "make_instance", 114: "make_codec",
    115: "join_references",
    120: "make_shell_lines", 121: "make_display_handle", 122: "make_timeit_result",
    123: "make_closed_file", 124: "make_closed_in_memory",
}  # fmt: skip


def test_every_number_keeps_its_function():
    assert {number: function.__name__ for number, function in STORED.items()} == NAMES


def makers():
    for found in pkgutil.walk_packages(reducers.__path__, f"{reducers.__name__}."):
        module = importlib.import_module(found.name)
        for name, value in vars(module).items():
            is_own = isinstance(value, types.FunctionType) and value.__module__ == module.__name__
            if is_own and name.startswith(("make_", "set_", "find_", "fill_", "the_")):
                yield value


def test_every_function_that_makes_objects_again_has_a_number():
    assert set(makers()) <= set(STORED.values())


@pytest.mark.parametrize("value", [property(len), classmethod(len), test_every_number_keeps_its_function.__code__])
def test_a_stream_names_no_module_of_ours(value):
    file = io.BytesIO()
    SnapshotPickler(file, keys=DefinitionKeys(), is_trusting=True, buffer_callback=lambda _: True).dump(value)

    assert b"skep_workers" not in file.getvalue()
    assert type(pickle.loads(file.getvalue())) is type(value)  # noqa: S301 - made two lines above


def test_the_numbers_are_registered_with_pickle():
    for number, function in STORED.items():
        copyreg.add_extension(function.__module__, function.__qualname__, FIRST + number)  # refuses another pair
