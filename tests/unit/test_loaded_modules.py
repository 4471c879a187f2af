"""Which modules a look finds, whatever has been done to `sys.modules` since the look before."""

import sys
import threading
from types import ModuleType

import pytest

from skep_workers.session.checkpoint.surroundings.loaded_modules import LoadedModules


@pytest.fixture
def loaded(monkeypatch):
    monkeypatch.setattr(sys, "modules", sys.modules)
    before = dict(sys.modules)
    found = LoadedModules()
    found.prepare()
    found.look(lambda _: False)
    yield found
    sys.modules.clear()
    sys.modules.update(before)


def look(loaded):
    return [module.__name__ for module in loaded.look(lambda _: True)]


def test_nothing_is_new_where_nothing_has_changed(loaded):
    assert look(loaded) == []


def test_added_modules_are_found_once(loaded):
    sys.modules["one_added"] = ModuleType("one_added")
    sys.modules["two_added"] = ModuleType("two_added")

    assert sorted(look(loaded)) == ["one_added", "two_added"]
    assert look(loaded) == []
    assert loaded.own.keys() >= {"one_added", "two_added"}


def test_a_name_that_was_added_and_taken_out_again_hides_no_other(loaded):
    sys.modules["first"] = ModuleType("first")
    sys.modules["gone"] = ModuleType("gone")
    sys.modules["last"] = ModuleType("last")
    del sys.modules["gone"]

    assert sorted(look(loaded)) == ["first", "last"]


def test_a_module_in_the_place_of_another_is_found(loaded):
    sys.modules["place"] = ModuleType("place")
    look(loaded)

    sys.modules["place"] = ModuleType("replaced")

    assert look(loaded) == ["replaced"]
    assert loaded.own["place"].__name__ == "replaced"


def test_a_module_that_was_taken_out_is_not_the_sessions_any_more(loaded):
    sys.modules["added"] = ModuleType("added")
    look(loaded)

    del sys.modules["added"]
    sys.modules["other"] = ModuleType("other")

    assert look(loaded) == ["other"]
    assert "added" not in loaded.own


def test_another_name_of_a_known_module_makes_it_no_new_one(loaded):
    sys.modules["added"] = ModuleType("added")
    look(loaded)

    sys.modules["alias"] = sys.modules["added"]

    assert look(loaded) == []
    assert loaded.own["alias"] is sys.modules["added"]


def test_modules_are_found_beside_a_thread_of_user_code_and_after_it(loaded):
    end = threading.Event()
    thread = threading.Thread(target=end.wait, args=(30,), name="of user code")
    thread.start()
    sys.modules["beside"] = ModuleType("beside")
    beside = look(loaded)
    end.set()
    thread.join()
    sys.modules["after"] = ModuleType("after")

    assert beside == ["beside"]
    assert look(loaded) == ["after"]
