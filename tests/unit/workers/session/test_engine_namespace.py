"""The namespace: how inputs are merged, which results are retained, and what the end closes."""

import builtins
import sys
import threading
import warnings

import pytest

from skep_workers.session.runtime.internals import ENGINE_INTERNALS
from skep_workers.session.runtime.namespace import MergeStrategy, NamespaceManager


def function():
    """A function of the user."""


@pytest.fixture
def namespace():
    return NamespaceManager()


# strategy, old value, new value, expected value
MERGES = [
    ("overwrite", 1, 2, 2),
    ("overwrite", function, None, None),
    ("preserve", 1, 2, 1),
    ("preserve", None, 2, None),
    ("smart", 1, 2, 2),
    ("smart", 1, None, None),
    ("smart", 1, function, function),
    ("smart", function, 1, function),
    ("smart", function, None, function),
    ("smart", int, 1, int),
    ("smart", sys, "text", sys),
    ("smart", function, int, int),
]


@pytest.mark.parametrize(("strategy", "old", "new", "after"), MERGES)
def test_the_strategy_decides_whether_a_bound_name_is_overwritten(namespace, strategy, old, new, after):
    namespace.names["x"] = old
    bound = namespace.merge({"x": new}, MergeStrategy(strategy))

    assert namespace.names["x"] is after
    assert bound == (["x"] if after is new else [])


@pytest.mark.parametrize("strategy", MergeStrategy)
def test_every_strategy_binds_a_new_name(namespace, strategy):
    assert namespace.merge({"x": None, "y": function}, strategy) == ["x", "y"]
    assert namespace.names["y"] is function


@pytest.mark.parametrize("strategy", MergeStrategy)
@pytest.mark.parametrize("name", sorted(ENGINE_INTERNALS))
def test_no_strategy_binds_a_name_of_the_engine(namespace, strategy, name):
    before = namespace.names.get(name, "unset")

    assert namespace.merge({name: "forged"}, strategy) == []
    assert namespace.names.get(name, "unset") is before


def test_the_documented_names_belong_to_the_engine():
    assert {"_", "__", "___", "_exception", "__builtins__", "__name__"} <= ENGINE_INTERNALS


def test_the_dict_is_never_replaced(namespace):
    names = namespace.names
    namespace.merge({"x": 1})
    namespace.clear()
    namespace.push_result(5)

    assert namespace.names is names


def test_clear_keeps_the_names_of_the_engine(namespace):
    namespace.merge({"x": 1, "y": 2})
    namespace.push_result(5)
    namespace.clear()

    assert "x" not in namespace.names
    assert namespace.names["_"] == 5
    assert namespace.names["__builtins__"] is builtins
    assert namespace.names["__name__"] == "__main__"


def test_functions_see_the_names_after_a_clear(namespace):
    exec("def f(): return x", namespace.names)  # noqa: S102 - what is tested
    f = namespace.names["f"]
    namespace.clear()
    namespace.merge({"x": "new"})

    assert f() == "new"


def test_user_names_are_in_the_order_of_binding(namespace):
    namespace.merge({"b": 1, "a": 2})
    namespace.push_result(1)

    assert namespace.user_names() == ["b", "a"]


def test_results_move_to_the_older_names(namespace):
    for value in (1, None, 2, 3, 4):
        namespace.push_result(value)

    assert [namespace.names[name] for name in ("_", "__", "___")] == [4, 3, 2]


def test_the_first_result_sets_only_the_first_name(namespace):
    namespace.push_result(0)

    assert (namespace.names["_"], "__" in namespace.names) == (0, False)


async def coroutine():
    """A coroutine of the user."""


def test_remaining_coroutines_are_closed_and_counted(namespace):
    namespace.merge({"a": coroutine(), "b": coroutine(), "c": 5})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert namespace.cleanup_coroutines() == 2
        assert namespace.cleanup_coroutines() == 0
        namespace.clear()


def test_a_coroutine_that_was_awaited_is_not_counted(namespace):
    done = coroutine()
    with pytest.raises(StopIteration):
        done.send(None)
    namespace.merge({"a": done})

    assert namespace.cleanup_coroutines() == 0


def test_a_coroutine_that_is_dropped_from_the_results_is_closed(namespace):
    namespace.push_result(coroutine())
    for value in range(3):
        namespace.push_result(value)

    assert namespace.names["___"] == 0


def test_a_coroutine_referenced_elsewhere_remains_awaitable_when_it_is_dropped_from_the_results(namespace):
    held = coroutine()
    namespace.push_result(held)
    for value in range(3):
        namespace.push_result(value)

    assert held.cr_frame is not None
    held.close()


def test_merges_from_many_threads_lose_nothing(namespace):
    def merge(number):
        for count in range(100):
            namespace.merge({f"n{number}_{count}": count})

    threads = [threading.Thread(target=merge, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(namespace.user_names()) == 800


def test_install_makes_it_the_main_module(namespace, monkeypatch):
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    namespace.install()

    assert vars(sys.modules["__main__"]) is namespace.names
