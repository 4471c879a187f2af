"""Where modules come from, which objects they own, and how a stream refers to these."""

import importlib.util
import io
import pickle
import sys
import types

import pytest

from skep_workers.session.checkpoint.reducers import owned_objects
from skep_workers.session.checkpoint.reducers.definitions import DefinitionKeys
from skep_workers.session.checkpoint.reducers.origins import Origins
from skep_workers.session.checkpoint.saving.pickling.memo import Memo
from skep_workers.session.checkpoint.saving.pickling.references import Prefixed, Reference, owned_in
from skep_workers.session.checkpoint.saving.pickling.snapshot_pickler import SnapshotPickler
from skep_workers.session.checkpoint.surroundings.imports.mentions import mentions_in
from skep_workers.session.checkpoint.surroundings.imports.submodules import Submodules


@pytest.fixture
def origins(tmp_path):
    """The origins of a session with its own directory."""
    home = tmp_path / "home"
    home.mkdir()
    found = Origins()
    found.prepare()
    found.begin(str(home))
    return found


def load(name, path, text="x = 1\n"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["os", "sys", "json", "os.path", "xml.dom", "_json", "zipimport", "pytest"])
def test_modules_of_the_environment_are_saved_by_name(origins, name):
    __import__(name)

    assert not origins.is_own(sys.modules[name])


def test_a_module_from_the_sessions_directory_is_its_own(origins, tmp_path):
    assert origins.is_own(load("mine", tmp_path / "home" / "mine.py"))


def test_a_package_installed_below_the_directory_is_not_its_own(origins, tmp_path, monkeypatch):
    (tmp_path / "home/lib/package-1.0.dist-info").mkdir(parents=True)
    module = load("package", tmp_path / "home/lib/package/__init__.py")
    monkeypatch.setitem(sys.modules, "package", module)

    assert not origins.is_own(module)


def test_a_module_made_in_code_is_the_sessions_own_unless_its_package_is_a_library(origins, monkeypatch):
    assert origins.is_own(types.ModuleType("by_hand"))
    assert not origins.is_own(types.ModuleType("json.by_hand"))


def test_a_second_copy_of_a_library_module_is_the_sessions_own(origins):
    spec = importlib.util.find_spec("colorsys")
    __import__("colorsys")

    assert origins.is_own(importlib.util.module_from_spec(spec))


def test_a_verdict_is_forgotten_with_its_module(origins):
    module = types.ModuleType("by_hand")
    assert origins.own_module(vars(module)) is module
    number = id(vars(module))
    del module

    assert number not in origins._spaces


def test_the_module_of_a_function_that_nothing_else_holds_is_found(origins, tmp_path):
    held = [load("mine", tmp_path / "home" / "mine.py", "def f(): return x\n")]

    assert origins.own_module(held[0].f.__globals__) is held[0]


@pytest.fixture
def library(monkeypatch):
    """A module of the environment that owns containers."""
    module = types.ModuleType("library_of_a_test")
    module.__spec__ = importlib.util.spec_from_loader(module.__name__, object())
    module.mapping, module.items, module.values = {"a": [1]}, [1, 2], {3}
    monkeypatch.setitem(sys.modules, module.__name__, module)
    objects = owned_objects.OwnedObjects()
    objects.add(module.__name__, module)
    monkeypatch.setattr(owned_objects.owned, "_places", objects.numbers)
    return module


def dump(value, references=()):
    file = io.BytesIO()
    pickler = SnapshotPickler(file, keys=DefinitionKeys(), is_trusting=True, buffer_callback=lambda _: True)
    pickler.dump(Prefixed(references, value) if references else value)
    return Memo(pickler), file.getvalue()


def twice(value):
    """Pickle as a snapshot does: a second time, with references, if necessary."""
    memo, data = dump(value)
    references = owned_in(memo, len(data))
    return dump(value, references)[1] if references else data


@pytest.mark.parametrize("padding", [0, 5000], ids=["a small stream", "a large stream"])
def test_containers_that_a_module_owns_are_the_modules_after_loading(library, padding):
    own = [library.mapping]
    value = {
        "deep": [{"key": (own, library.items)}, library.values],
        "again": library.mapping,
        "own": own,
        "more": [[number] for number in range(padding)],
    }

    loaded = pickle.loads(twice(value))  # noqa: S301 - made above

    assert loaded["again"] is library.mapping is loaded["own"][0]
    assert loaded["deep"][0]["key"][1] is library.items
    assert loaded["deep"][1] is library.values
    assert loaded["deep"][0]["key"][0] is loaded["own"] is not own
    assert loaded["more"] == value["more"]


def test_an_object_that_a_module_no_longer_owns_is_saved_by_value(library):
    value = library.items
    library.items = []

    assert pickle.loads(twice([value])) == [[1, 2]]  # noqa: S301 - made above


def test_references_keep_the_indexes_of_the_memo_right(library):
    references = [Reference(library.items, owned_objects.owned.place(library.items))]
    shared = ["x" * 100]

    loaded = pickle.loads(dump([library.items, shared, library.items, shared], references)[1])  # noqa: S301

    assert loaded[0] is loaded[2] is library.items
    assert loaded[1] is loaded[3]
    assert loaded[1] == shared


def mentions(source):
    tree = compile(source, "<cell>", "exec", 1024)  # as a tree
    return mentions_in(tree, [compile(source, "<cell>", "exec")])


@pytest.mark.parametrize(
    ("source", "stores"),
    [
        ("json.dumps = f", [("json", "dumps")]),
        ("a.b.c += 1", [("a", "b", "c")]),
        ("del json.x", [("json", "x")]),
        ("(a.x, b.y) = 1, 2", [("a", "x"), ("b", "y")]),
        ("for a.x in y: pass", [("a", "x")]),
        ("setattr(a.b, 'c', 1)", [("a", "b", "c")]),
        ("mock.patch('json.dumps', f).start()", [("json", "dumps")]),
        ("mock.patch.object(json, 'dumps').start()", [("json", "dumps")]),
        ("x = json.dumps(1)\ny = [1]", []),
        ("f().x = 1", []),
    ],
)
def test_the_attributes_that_a_source_may_change(source, stores):
    assert mentions(source).stores == stores


def test_attributes_that_only_a_function_changes_are_deferred():
    found = mentions("def f():\n    a.x = 1\na.y = 2\nb = lambda: setattr(a, 'z', 1)\n")

    assert set(found.stores) == {("a", "x"), ("a", "y"), ("a", "z")}
    assert found.deferred == {("a", "x"), ("a", "z")}


@pytest.mark.parametrize(
    ("source", "registers"),
    [
        ("A.B.register(C)", [("A", "B", "register")]),
        ("@A.register\nclass C: pass", [("A", "register")]),
        ("@A.register(int)\ndef f(x): pass", [("A", "register")]),
        ("@pd.api.register_accessor('x')\nclass C: pass", [("pd", "api", "register_accessor")]),
        ("@register_accessor('x')\nclass C: pass", [("register_accessor",)]),
    ],
)
def test_the_registries_that_a_source_uses(source, registers):
    assert list(dict.fromkeys(mentions(source).registers)) == registers


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import xml.dom.minidom", ["xml.dom.minidom"]),
        ("import xml\ndef f():\n    return xml.dom.minidom", ["xml.dom", "xml.dom.minidom"]),
        ("import xml.is_not_there", []),
        ("import os.path", ["os.path"]),
        ("x = 1", []),
    ],
)
def test_the_submodules_that_code_uses(source, found):
    __import__("xml.dom.minidom")
    submodules = Submodules()
    submodules.note([compile(source, "<cell>", "exec")])

    assert submodules.read() == found


def test_a_submodule_that_is_imported_later_is_found_later():
    sys.modules.pop("xml.sax.saxutils", None)
    submodules = Submodules()
    submodules.note([compile("def f():\n    import xml.sax.saxutils", "<cell>", "exec")])
    assert submodules.read() == []
    __import__("xml.sax.saxutils")

    assert submodules.read() == ["xml.sax.saxutils"]
