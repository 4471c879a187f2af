"""Checkpoints name functions of ours, and are older than the code that restores them: the names stay."""

import importlib

import pytest

FIRST = {  # of version 0.1.0
    "defining": """definition find_member make_class make_function make_function_of make_member make_module
        make_type_parameter set_cell set_class_state set_function_state set_member_state set_module_state
        the_main_module""",
    "reducers.standard_library": """find_type make_context_variable make_dead_proxy make_dead_reference make_exception make_lru_cache
        make_match make_memory_view make_view make_weak_dict set_context_variable set_exception_state""",
}
SINCE_KINDS_HAVE_MODULES = {
    "reducers.classes": "find_member make_class make_member set_class_state set_member_state",
    "reducers.definitions": "definition",
    "reducers.exceptions": "make_exception set_exception_state",
    "reducers.functions": "make_function make_function_of set_cell set_function_state",
    "reducers.locks": "make_lock make_recursive_lock",
    "reducers.modules": "make_module set_module_state the_main_module",
    "reducers.references": "make_dead_proxy make_dead_reference make_memory_view make_view make_weak_dict",
    "reducers.type_parameters": "make_type_alias make_type_parameter",
}


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (module, name)
        for names in (FIRST, SINCE_KINDS_HAVE_MODULES)
        for module in names
        for name in names[module].split()
    ],
)
def test_what_checkpoints_call_is_found(module, name):
    assert callable(getattr(importlib.import_module(f"skep_workers.session.checkpoint.{module}"), name))
