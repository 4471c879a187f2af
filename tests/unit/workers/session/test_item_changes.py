"""Which items of libraries' containers count as changes of cells, and what is reported as not saved."""

import importlib.util
import sys
import types

import pytest

from skep_workers.session.checkpoint.reducers import owned_objects
from skep_workers.session.checkpoint.surroundings.imports import item_changes
from skep_workers.session.checkpoint.surroundings.imports.item_changes import ItemChanges
from skep_workers.session.checkpoint.surroundings.imports.mentions import ANY_KEY, mentions_in

NAME = "library_of_a_test"


class Special:
    """A library's own type with items."""

    def __setitem__(self, key, value):
        """Accept anything."""


@pytest.fixture
def library(monkeypatch):
    """A module of the environment that owns containers."""
    module = types.ModuleType(NAME)
    module.__spec__ = importlib.util.spec_from_loader(NAME, object())
    module.table, module.items, module.values, module.special = {"a": 1, "b": 2}, [1, 2, 3], {3}, Special()
    monkeypatch.setitem(sys.modules, NAME, module)
    objects = owned_objects.OwnedObjects()
    objects.add(NAME, module)
    monkeypatch.setattr(owned_objects.owned, "_places", objects.numbers)
    return module


@pytest.fixture
def changes():
    """The changes of a session."""
    return ItemChanges()


def mentions(source):
    tree = compile(source, "<cell>", "exec", 1024)  # as a tree
    return mentions_in(tree, [compile(source, "<cell>", "exec")])


def run(changes, source, names):
    """Run a cell, and return what is saved after it, by the text that is shown for it."""
    found = mentions(source)
    changes.before(found, names)
    exec(source, names)  # noqa: S102
    return {name.partition(f"{NAME}:")[2]: change for name, change in changes.read(names).items()}


@pytest.mark.parametrize(
    ("source", "items"),
    [
        ("a.b['x'] = 1", {("a", "b"): {"x"}}),
        ("del a['x'], a[y]", {("a",): {"x", ANY_KEY}}),
        ("a.b['x'] += 1", {("a", "b"): {"x"}}),
        ("a |= b", {("a",): {ANY_KEY}}),
        ("a.b.append(1)", {("a", "b"): {ANY_KEY}}),
        ("a.update({'x': 1, 'y': 2, **z}, w=3)", {("a",): {"x", "y", "w", ANY_KEY}}),
        ("a.update(b)", {("a",): {ANY_KEY}}),
        ("a.setdefault('x', 1)", {("a",): {"x"}}),
        ("def f():\n    a['x'] = 1", {("a",): {"x"}}),
        ("a['x']['y'] = 1", {}),
        ("f()['x'] = 1", {}),
        ("y = a['x']; z = a.get('x') + 1", {}),
        ("x = 1 + 2", {}),
    ],
)
def test_the_items_that_a_source_may_change(source, items):
    assert mentions(source).items == items


@pytest.mark.parametrize(
    ("source", "saved"),
    [
        ("lib.table['x'] = 3", {"table['x']": ("item", "x", 3)}),
        ("lib.table['a'] = 3", {"table['a']": ("item", "a", 3)}),
        ("del lib.table['a']", {"table['a']": ("no item", "a")}),
        ("lib.table['x'] = 3; del lib.table['x']", {}),
        ("mine = lib.table\nmine['x'] = 3", {"table['x']": ("item", "x", 3)}),
        ("lib.items.append(4)", {"items[:]": ("slice", 3, 0, [4])}),
        ("lib.items.insert(1, 4)", {"items[:]": ("slice", 1, 0, [4])}),
        ("lib.items.remove(2)", {"items[:]": ("slice", 1, 1, [])}),
        ("lib.items[0] = 7", {"items[:]": ("slice", 0, 1, [7])}),
        (
            "lib.values.add(4); lib.values.discard(3)",
            {"values[added]": ("added", {4}), "values[removed]": ("removed", {3})},
        ),
        ("lib.values |= {3}", {}),
    ],
)
def test_what_differs_from_the_librarys_content_is_saved(library, changes, source, saved):
    assert run(changes, source, {"lib": library}) == saved
    assert changes.lost == {}


def test_a_change_that_a_later_cell_makes_through_another_name_is_saved(library, changes):
    names = {"lib": library}
    run(changes, "mine = lib.table", names)

    assert run(changes, "mine[input] = 2", names | {"input": "y"}) == {"table['y']": ("item", "y", 2)}


def test_changes_are_made_again_in_another_process_and_then_saved_again(library, changes):
    names = {"lib": library}
    run(changes, "lib.table['x'] = 3; del lib.table['a']", names)
    run(changes, "lib.items[1:1] = [8, 9]; lib.values.add(4)", names)
    saved = changes.read({})
    for container in (library.table, library.items, library.values):
        container.clear()
    library.table |= {"a": 1, "new": 5}
    library.items += [0, 1, 2, 3]
    library.values |= {3}
    restored, lost = ItemChanges(), {}
    restored.restore(dict(saved), lost)

    assert (library.table, library.items, library.values) == ({"new": 5, "x": 3}, [0, 8, 9, 1, 2, 3], {3, 4})
    assert (restored.read({}), lost) == (saved, {})


def test_a_container_that_is_not_there_any_more_is_reported(library, changes):
    run(changes, "lib.table['x'] = 3", {"lib": library})
    saved = changes.read({})
    del library.table
    lost: dict[str, str] = {}
    ItemChanges().restore(dict(saved), lost)

    assert list(lost) == [f"{NAME}.table['x']"]
    assert f"{NAME} has no table" in lost[f"{NAME}.table['x']"]


def test_a_cell_that_imports_the_library_itself_saves_the_keys_that_it_names(library, changes, monkeypatch):
    monkeypatch.delitem(sys.modules, NAME)
    monkeypatch.setitem(sys.modules, "importable", types.ModuleType("importable"))
    cell = mentions(f"import {NAME} as lib\nlib.table['x'] = 3")
    changes.before(cell, {})
    monkeypatch.setitem(sys.modules, NAME, library)
    library.table["x"] = 3

    assert list(changes.read({"lib": library}).values()) == [("item", "x", 3)]
    assert changes.lost == {}


def test_a_cell_that_imports_the_library_itself_and_names_no_key_is_reported(library, changes, monkeypatch):
    monkeypatch.delitem(sys.modules, NAME)
    cell = mentions(f"import {NAME} as lib\nlib.items.append(4)")
    changes.before(cell, {})
    monkeypatch.setitem(sys.modules, NAME, library)
    library.items.append(4)

    assert changes.read({"lib": library}) == {}
    assert "import it in an earlier cell" in changes.lost[f"{NAME}.items"]


def test_items_of_a_librarys_own_type_are_reported(library, changes):
    assert run(changes, "lib.special['x'] = 1", {"lib": library}) == {}
    assert "its type Special" in changes.lost[f"{NAME}.special"]


def test_a_container_with_too_many_entries_is_reported(library, changes, monkeypatch):
    monkeypatch.setattr(item_changes, "MOST_ENTRIES", 1)

    assert run(changes, "lib.table['x'] = 1", {"lib": library}) == {}
    assert "it has 2 entries" in changes.lost[f"{NAME}.table"]


def test_a_container_that_grows_too_large_is_reported_and_one_that_shrinks_again_is_saved(
    library, changes, monkeypatch
):
    names = {"lib": library}
    monkeypatch.setattr(item_changes, "MOST_ENTRIES", 3)

    assert run(changes, "lib.table.update(dict.fromkeys(range(9)))", names) == {}
    assert "it has 11 entries" in changes.lost[f"{NAME}.table"]
    assert run(changes, "lib.table.clear()", names) == {f"table[{key!r}]": ("no item", key) for key in ("a", "b")}
    assert changes.lost == {}


def test_keys_that_fail_to_compare_are_reported_and_affect_no_cell(library, changes):
    class Key:
        is_broken = False

        def __hash__(self):
            if self.is_broken:
                raise ValueError("broken")
            return 1

    library.table[Key()] = 1
    Key.is_broken = True

    assert run(changes, "lib.table['x'] = 1", {"lib": library}) == {}
    assert "ValueError: broken" in changes.lost[f"{NAME}.table"]


def test_containers_of_the_session_are_none_of_a_library(library, changes):
    names = {"lib": library, "mine": {}, "held": [library.table]}

    assert run(changes, "mine['x'] = 1; held.append(2); lib.table = {}; lib.table['y'] = 1", names) == {}
    assert changes.lost == {}
