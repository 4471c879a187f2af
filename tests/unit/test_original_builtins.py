"""While the engine needs them, the built-in functions are the first ones, whatever cells have put in their place."""

import builtins

import pytest

from skep_workers.session.original_builtins import OriginalBuiltins, restore


@pytest.fixture
def names(monkeypatch):
    """The built-in names, as they were after the test."""
    for name in ("open", "len", "sorted"):
        monkeypatch.setattr(builtins, name, getattr(builtins, name))
    return vars(builtins)


def test_inside_they_are_the_first_ones_and_afterwards_the_cells_again(names):
    first = open, len
    mine = names["open"], names["len"] = (lambda *_: "mine"), (lambda _: 0)
    with OriginalBuiltins():
        assert (open, len) == first
    seen = open, len
    restore()

    assert seen == mine


def test_one_that_cells_have_removed_is_there_inside_and_gone_again_afterwards(names):
    del names["len"]
    with OriginalBuiltins():
        assert len([1]) == 1
    is_there = "len" in names
    restore()

    assert not is_there


def test_where_none_was_replaced_nothing_is_set(names):
    with OriginalBuiltins():
        names["sorted"] = sorted_in_it = object()
    seen = names["sorted"]

    assert seen is sorted_in_it
