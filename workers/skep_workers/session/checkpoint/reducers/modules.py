"""Modules, by name, or by value where a cell made them by hand; checkpoints name the functions here that make them."""

import builtins
import importlib
import sys
from types import ModuleType
from typing import Any

from skep_workers.session.checkpoint.reducers.definitions import MAIN, Reduced, is_handmade, registry


def reduce_module(module: ModuleType) -> Reduced:
    """Save a module by its name, or by value if it was made by hand."""
    if module is sys.modules.get(MAIN):
        return the_main_module, ()
    name = module.__name__
    if not is_handmade(module):
        return importlib.import_module, (name,)
    is_known = sys.modules.get(name) is module
    state = {key: value for key, value in vars(module).items() if key != "__builtins__"}
    return make_module, (name, is_known), state, None, None, set_module_state


def the_main_module() -> ModuleType:
    """Give the session's `__main__`."""
    return sys.modules[MAIN]


def make_module(name: str, is_known: bool) -> ModuleType:
    """Make an empty module, known to imports if it was."""
    module = ModuleType(name)
    if is_known:
        sys.modules[name] = module
    return module


def set_module_state(module: ModuleType, names: dict[str, Any]) -> None:
    """Fill a module."""
    vars(module).update(names)
    vars(module)["__builtins__"] = vars(builtins)


def modules_by_dict() -> dict[int, ModuleType]:
    """Give the modules that functions may belong to, by the id of their dict."""
    known = [value for value in list(registry.names.values()) if type(value) is ModuleType]
    known += [module for module in list(sys.modules.values()) if issubclass(type(module), ModuleType)]
    return {id(vars(module)): module for module in known}
