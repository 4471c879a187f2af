"""The names that `import skep` exports: where they say that they come from, and that this is where they are found."""

import importlib
import inspect
import pickle
import subprocess
import sys
import traceback
import typing

import pydantic
import pytest
from tests.unit.shared.test_errors import EXAMPLES

import skep

EXPORTED = {name: getattr(skep, name) for name in skep.__all__}
CLASSES = {name: each for name, each in EXPORTED.items() if inspect.isclass(each)}
FUNCTIONS = {name: each for name, each in EXPORTED.items() if inspect.isfunction(each)}
ERRORS = {name: each for name, each in CLASSES.items() if issubclass(each, BaseException)}
PUBLIC_EXAMPLES = [error for error in EXAMPLES if type(error) in ERRORS.values()]


def named(things):
    return pytest.mark.parametrize("thing", things.values(), ids=things)


@named({**CLASSES, **FUNCTIONS})
def test_a_class_or_function_is_found_under_the_name_it_states(thing):
    assert getattr(importlib.import_module(thing.__module__), thing.__qualname__) is thing


@named({**ERRORS, **FUNCTIONS})
def test_an_error_or_function_states_the_public_module(thing):
    assert thing.__module__ == "skep"


def test_a_traceback_shows_the_public_name_of_an_error():
    shown = "".join(traceback.format_exception(skep.SessionClosed("user-42")))

    assert shown.startswith("skep.SessionClosed: session 'user-42' is closed")


def test_every_public_error_has_an_example():
    assert {type(error) for error in PUBLIC_EXAMPLES} == set(ERRORS.values())


@pytest.mark.parametrize("error", PUBLIC_EXAMPLES, ids=lambda error: type(error).__name__)
def test_a_public_error_survives_pickling(error):
    restored = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes

    assert type(restored) is type(error)
    assert (restored.args, vars(restored)) == (error.args, vars(error))


def test_an_error_is_unpickled_by_a_process_that_has_not_imported_skep():
    packed = pickle.dumps(skep.BacklogFull("s", 3, 2))
    program = f"import pickle; print(pickle.loads({packed!r}).args)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout.strip() == "('s', 3, 2)"


def test_an_error_pickled_under_its_defining_module_is_still_read():
    packed = pickle.dumps(skep.SessionClosed("s"), 0).replace(b"cskep\n", b"cskep_shared.errors\n")

    assert type(pickle.loads(packed)) is skep.SessionClosed  # noqa: S301 - our own bytes


@named({**{name: each for name, each in CLASSES.items() if name not in ERRORS}, **FUNCTIONS})
def test_the_source_of_a_class_or_function_is_found(thing):
    assert thing.__qualname__ in inspect.getsource(thing)


@named({**CLASSES, **FUNCTIONS})
def test_the_type_hints_of_a_class_or_function_are_resolved(thing):
    typing.get_type_hints(thing)


@named(ERRORS)
def test_the_type_hints_of_the_fields_of_an_error_are_resolved(thing):
    typing.get_type_hints(thing.__init__)


@named({name: each for name, each in CLASSES.items() if issubclass(each, pydantic.BaseModel)})
def test_a_model_can_be_built_again(thing):
    thing.model_rebuild(force=True)
    assert thing.model_json_schema()["type"] == "object"
