"""Which modules are found as new, after any change of `sys.modules`."""

import sys
import threading
import weakref
from types import ModuleType

import pytest

from skep_workers.session.checkpoint.reducers.origins import origins
from skep_workers.session.checkpoint.surroundings.imports.loaded_modules import LoadedModules


@pytest.fixture
def loaded(monkeypatch):
    monkeypatch.setattr(sys, "modules", sys.modules)
    before = dict(sys.modules)
    found = LoadedModules()
    found.prepare()
    found.find_new(lambda _: False)
    yield found
    sys.modules.clear()
    sys.modules.update(before)


def find_new(loaded):
    return [module.__name__ for module in loaded.find_new(lambda _: True)]


def test_nothing_is_new_if_nothing_has_changed(loaded):
    assert find_new(loaded) == []


def test_added_modules_are_found_once(loaded):
    sys.modules["one_added"] = ModuleType("one_added")
    sys.modules["two_added"] = ModuleType("two_added")

    assert sorted(find_new(loaded)) == ["one_added", "two_added"]
    assert find_new(loaded) == []
    assert loaded.own.keys() >= {"one_added", "two_added"}


def test_a_name_that_was_added_and_removed_again_hides_no_other(loaded):
    sys.modules["first"] = ModuleType("first")
    sys.modules["gone"] = ModuleType("gone")
    sys.modules["last"] = ModuleType("last")
    del sys.modules["gone"]

    assert sorted(find_new(loaded)) == ["first", "last"]


def test_a_module_that_replaces_another_is_found(loaded):
    sys.modules["place"] = ModuleType("place")
    find_new(loaded)

    sys.modules["place"] = ModuleType("replaced")

    assert find_new(loaded) == ["replaced"]
    assert loaded.own["place"].__name__ == "replaced"


def test_a_removed_module_is_no_longer_the_sessions(loaded):
    sys.modules["added"] = ModuleType("added")
    find_new(loaded)

    del sys.modules["added"]
    sys.modules["other"] = ModuleType("other")

    assert find_new(loaded) == ["other"]
    assert "added" not in loaded.own


def test_a_known_module_is_not_new_under_another_name(loaded):
    sys.modules["added"] = ModuleType("added")
    find_new(loaded)

    sys.modules["alias"] = sys.modules["added"]

    assert find_new(loaded) == []
    assert loaded.own["alias"] is sys.modules["added"]


def test_modules_are_found_during_and_after_a_thread_of_user_code(loaded):
    end = threading.Event()
    thread = threading.Thread(target=end.wait, args=(30,), name="of user code")
    thread.start()
    sys.modules["beside"] = ModuleType("beside")
    beside = find_new(loaded)
    end.set()
    thread.join()
    sys.modules["after"] = ModuleType("after")

    assert beside == ["beside"]
    assert find_new(loaded) == ["after"]


def test_nothing_is_remembered_about_the_address_of_the_main_module_of_before(monkeypatch):
    """The process that sessions are forked from has another `__main__`, which nothing keeps alive in a session.

    The next module at its address, one that a cell makes, would be taken for a library's, and be lost.
    """
    monkeypatch.setattr(sys, "modules", {**sys.modules, "__main__": ModuleType("__main__")})
    before, address = weakref.ref(sys.modules["__main__"]), id(sys.modules["__main__"])
    found = LoadedModules()
    found.prepare()
    assert address in origins._made_by_libraries
    sys.modules["__main__"] = ModuleType("__main__")
    found.find_new(lambda _: False)

    assert before() is None
    assert address not in origins._made_by_libraries
