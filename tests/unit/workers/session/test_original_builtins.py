"""While the engine needs them, the built-in functions are the original ones, even if cells have replaced them."""

import builtins

import pytest

from skep_workers.session.safeguards.original_builtins import OriginalBuiltins, restore


@pytest.fixture
def names(monkeypatch):
    """The built-in names, as they were after the test."""
    for name in ("open", "len", "sorted"):
        monkeypatch.setattr(builtins, name, getattr(builtins, name))
    return vars(builtins)


def test_built_in_functions_are_the_original_ones_inside_and_the_cells_afterwards(names):
    first = open, len
    mine = names["open"], names["len"] = (lambda *_: "mine"), (lambda _: 0)
    with OriginalBuiltins():
        assert (open, len) == first
    seen = open, len
    restore()

    assert seen == mine


def test_a_function_that_cells_have_removed_exists_inside_and_is_removed_again_afterwards(names):
    del names["len"]
    with OriginalBuiltins():
        assert len([1]) == 1
    is_there = "len" in names
    restore()

    assert not is_there


def test_nothing_is_set_if_no_function_was_replaced(names):
    with OriginalBuiltins():
        names["sorted"] = sorted_in_it = object()
    seen = names["sorted"]

    assert seen is sorted_in_it
