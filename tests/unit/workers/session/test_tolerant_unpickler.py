"""The reader that continues where an object can't be made: only objects that reach it are lost."""

import collections
import datetime as dt
import decimal
import importlib
import pickle
import signal
import sys
import types
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skep_workers.session.checkpoint.reducers.definitions import registry
from skep_workers.session.checkpoint.restoring.guard import CALL_SECONDS, Avoided, CallPage, Guard
from skep_workers.session.checkpoint.restoring.loading import StoredStream, load_group
from skep_workers.session.checkpoint.restoring.tolerant_unpickler import TolerantUnpickler


class Plain:
    """Pickled in the ordinary way."""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


class Fails(Plain):
    """Can't be restored."""

    def __setstate__(self, state: Any) -> None:
        raise ValueError("no")


class Slotted:
    """Has its state in slots."""

    __slots__ = ("left", "right")


class Numbers(list):
    """A list with attributes."""


class Node:
    """Hashes by its state."""

    def __init__(self, name: str) -> None:
        self.name, self.others = name, {}

    def __hash__(self) -> int:
        return hash(self.name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Node) and self.name == other.name


def make(function: Any, *arguments: Any) -> Any:
    """Return an object that is restored by a call."""

    class Made:
        def __reduce__(self) -> Any:
            return function, arguments

    return Made()


def pair_of(one: Any, other: Any) -> Any:
    """Return an object that holds both."""
    return Plain(one=one, other=other)


def fail() -> None:
    """Fail."""
    raise LookupError("gone")


def read(names: dict[str, Any], guard: Guard | None = None) -> tuple[dict[str, Any], dict[str, str]]:
    """Pickle these names and read them; return the restored ones, and the reasons of the others."""
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(names, protocol=5, buffer_callback=buffers.append)
    reader = TolerantUnpickler(data, buffers, guard or Guard())
    found = reader.load()
    lost = {name: reason for name, value in found.items() if (reason := reader.losses.reason(value)) is not None}
    return {name: value for name, value in found.items() if name not in lost}, lost


atoms = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(),
    st.binary(),
    st.builds(bytearray, st.binary()),
    st.dates(),
    st.decimals(allow_nan=False),
    st.complex_numbers(allow_nan=False),
    st.sampled_from([len, int, dt.date, Plain, ..., NotImplemented, collections.OrderedDict]),
)
keys = st.one_of(
    st.integers(),
    st.text(max_size=5),
    st.tuples(st.integers(), st.text(max_size=5)),
    st.frozensets(st.integers(), max_size=3),
)
# Small: hypothesis took fifty times as long to make values of its default sizes as the reader takes to read them.
values = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(keys, inner, max_size=4),
        st.sets(keys, max_size=4),
        st.frozensets(keys, max_size=4),
        st.dictionaries(keys, inner, max_size=4).map(collections.OrderedDict),
        st.lists(inner, max_size=4).map(collections.deque),
    ),
    max_leaves=12,
)


@given(values)
def test_it_reads_everything_that_pickle_reads(value):
    assert read({"value": value}) == ({"value": value}, {})


@pytest.mark.parametrize("size", [0, 1, 200, 255, 256, 65535, 65536, 300_000])
def test_it_reads_values_of_every_size(size):
    value = ["x" * size, b"y" * size, bytearray(size), list(range(size)), 1 << size, -(1 << size)]

    assert read({"value": value}) == ({"value": value}, {})


def test_out_of_band_buffers_are_not_copied():
    memory = bytearray(b"abc")

    (found, lost) = read({"mine": pickle.PickleBuffer(memory), "theirs": pickle.PickleBuffer(b"xyz")})

    assert not lost
    assert bytes(found["theirs"]) == b"xyz"
    found["mine"].raw()[0] = ord("z")
    assert memory == b"zbc"


def test_instances_slots_subclasses_and_cycles_are_restored():
    slotted, numbers, plain = Slotted(), Numbers([1, 2]), Plain(a=1)
    slotted.left = numbers
    slotted.right = plain.me = plain
    numbers.note = slotted
    cycle: tuple[Any, ...] = ([],)
    cycle[0].append(cycle)

    found, lost = read({"slotted": slotted, "numbers": numbers, "cycle": cycle})

    assert not lost
    assert found["slotted"].left is found["numbers"]
    assert found["numbers"] == [1, 2]
    assert found["numbers"].note is found["slotted"]
    assert found["slotted"].right.me is found["slotted"].right
    assert found["cycle"][0][0] is found["cycle"]


def test_a_value_that_fails_costs_its_own_name_only():
    found, lost = read({"before": [1], "bad": Fails(x=1), "after": {"a": decimal.Decimal(1)}})

    assert found == {"before": [1], "after": {"a": decimal.Decimal(1)}}
    assert lost == {"bad": "restoring it raises ValueError: no"}


def test_holders_of_a_lost_object_are_lost_and_its_contents_are_not():
    shared = [1]
    bad = Fails(x=shared)

    found, lost = read({"shared": shared, "holder": {"k": [(bad,)]}, "other": [shared]})

    assert lost.keys() == {"holder"}
    assert found["other"][0] is found["shared"]


def test_objects_that_reached_a_lost_one_earlier_in_a_cycle_are_lost():
    ring: dict[str, Any] = {}
    ring["next"] = [Plain(ring=ring, bad=make(fail))]

    found, lost = read({"to_ring": [ring], "ring": ring, "free": [2]})

    assert found == {"free": [2]}
    assert lost == dict.fromkeys(("to_ring", "ring"), "restoring it raises LookupError: gone")


def set_note(value: Any, state: Any) -> None:
    """Set the state of a Noted."""
    value.note = state


class Noted:
    """Defines a function that sets its state."""

    def __reduce__(self) -> Any:
        return Noted, (), self.note, None, None, set_note


def test_an_object_whose_state_is_set_by_a_function_is_lost_with_the_state():
    good, bad = Noted(), Noted()
    good.note, bad.note = {"kept": [1]}, {"of": [Fails(x=1)]}

    found, lost = read({"good": good, "bad": bad})

    assert found["good"].note == {"kept": [1]}
    assert lost == {"bad": "restoring it raises ValueError: no"}


@pytest.mark.parametrize("is_on_the_stack", [False, True])
def test_the_arguments_of_an_object_in_a_cycle_are_not_lost_with_it(is_on_the_stack):
    class Bound:
        """Like a bound method: made from a function and from an object that holds this one."""

        def __init__(self, function: Any, owner: Any) -> None:
            self.function, self.owner = function, owner

        def __reduce__(self) -> Any:
            return pair_of, (self.function, self.owner)

    function = Plain(name="function")
    owner = Plain()
    bound = Bound(function, owner)
    owner.link, owner.bad = bound, Fails(x=1)
    names = {"pair": (function, bound)} if is_on_the_stack else {"bound": bound}

    restored, lost = read(names | {"function": function})

    assert restored["function"].name == "function"
    assert lost.keys() == names.keys()


def test_a_missing_module_costs_only_the_values_that_need_it(monkeypatch):
    module = types.ModuleType("test_gone_module")
    module.Thing = type("Thing", (), {"__module__": module.__name__})
    monkeypatch.setitem(sys.modules, module.__name__, module)
    data = pickle.dumps({"thing": module.Thing(), "kind": module.Thing, "kept": 5}, protocol=5)
    monkeypatch.delitem(sys.modules, module.__name__)

    reader = TolerantUnpickler(data, (), Guard())
    found = reader.load()

    assert found["kept"] == 5
    assert "ModuleNotFoundError" in reader.losses.reason(found["thing"])
    assert "ModuleNotFoundError" in reader.losses.reason(found["kind"])


@pytest.mark.parametrize("first", ["a", "b", "all"])
def test_sets_and_dicts_in_cycles_with_keys_that_hash_by_their_state(first):
    a, b = Node("a"), Node("b")
    a.others, b.others = {b: 1, "x": 2, a: 3}, {a: 4}
    everything = {a, b}
    a.club = b.club = everything
    names = {"a": a, "b": b, "all": everything}

    found, lost = read({first: names[first], **names})

    assert not lost
    a, b = found["a"], found["b"]
    assert list(a.others) == [b, "x", a]
    assert a.others[b] == 1
    assert b.others[a] == 4
    assert found["all"] == {a, b}
    assert a.club is found["all"]


def test_a_key_that_can_not_be_hashed_costs_only_its_holders():
    class_ = type("Unhashable", (Plain,), {"__hash__": lambda self: self.missing, "__module__": __name__})
    globals()["Unhashable"] = class_
    class_.__qualname__ = "Unhashable"
    key = class_(missing=1)
    table = {key: 1}
    del key.missing

    found, lost = read({"table": table, "kept": 1})

    assert found == {"kept": 1}
    assert lost.keys() == {"table"}


def hang() -> None:
    """Hang, and catch every exception."""
    while True:
        try:
            while True:
                pass
        except ValueError:
            pass


def test_a_call_that_hangs_is_ended_and_costs_its_own_name_only(monkeypatch):
    monkeypatch.setattr("skep_workers.session.checkpoint.restoring.guard.CALL_SECONDS", 0.05)
    with Guard() as guard:
        found, lost = read({"kept": [1], "stuck": make(hang), "also": [2]}, guard)

    assert found == {"kept": [1], "also": [2]}
    assert "takes longer" in lost["stuck"]
    assert CALL_SECONDS > 0.05


# The first alarm comes after 0.05 s and is set again for one second.
SLOW_MODULE = "import signal\nwhile signal.getitimer(signal.ITIMER_REAL)[0] < 0.5: pass\nvalue = 7\n"


@pytest.fixture
def slow_module(tmp_path, monkeypatch):
    (tmp_path / "slow_to_import.py").write_text(SLOW_MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield pickle.dumps({"module": make(importlib.import_module, "slow_to_import")}, protocol=5)
    sys.modules.pop("slow_to_import", None)


@pytest.mark.parametrize("is_tolerant", [True, False])
def test_the_import_of_a_library_is_not_cut_short(slow_module, monkeypatch, is_tolerant):
    """Half of a library can't be used, and a C extension can't be imported again."""
    monkeypatch.setattr(registry, "home", "/elsewhere")
    with Guard(call_seconds=0.4) as guard:  # a busy machine must reach the module's code within it
        loaded = load_group(StoredStream(slow_module, [], is_tolerant), guard)

    assert loaded.lost == {}
    assert loaded.values["module"].value == 7


def test_the_import_of_a_module_in_the_sessions_directory_is_cut_short(slow_module, monkeypatch, tmp_path):
    monkeypatch.setattr(registry, "home", str(tmp_path))
    with Guard(call_seconds=0.05) as guard:
        loaded = load_group(StoredStream(slow_module, [], is_tolerant=True), guard)

    assert "takes longer" in loaded.lost["module"]


@pytest.mark.parametrize("is_tolerant", [True, False])
def test_an_alarm_after_a_call_has_ended_raises_nothing(monkeypatch, is_tolerant):
    leave = Guard.leave

    def leave_late(guard):
        signal.raise_signal(signal.SIGALRM)
        leave(guard)

    monkeypatch.setattr(Guard, "leave", leave_late)
    data = pickle.dumps({"a": make(list), "b": make(fail)}, protocol=5)
    with Guard() as guard:
        loaded = load_group(StoredStream(data, [], is_tolerant), guard)

    assert loaded.values["a"] == []
    assert list(loaded.lost) == ["b"]


def test_avoided_calls_are_not_made():
    page = CallPage()
    seen: list[int] = []
    data = pickle.dumps({"a": make(seen.append, 1), "b": make(fail)}, protocol=5)
    with Guard(page=page) as guard:
        reader = TolerantUnpickler(data, (), guard)
        monitored: list[Any] = []
        enter = guard.enter
        guard.enter = lambda offset, callee: monitored.append((offset, callee)) or enter(offset, callee)
        reader.load()
    offset = next(offset for offset, callee in monitored if callee == "fail")

    with Guard(Avoided({(0, offset): "it hung before"})) as guard:
        reader = TolerantUnpickler(data, (), guard)
        found = reader.load()

    assert reader.losses.reason(found["b"]) == "it hung before"
    assert page.read() is None
    page.close()


def test_recursion_is_contained():
    def recurse() -> None:
        recurse()

    globals()["recurse"] = recurse
    recurse.__qualname__ = "recurse"

    found, lost = read({"kept": 1, "deep": make(recurse)})

    assert found == {"kept": 1}
    assert "RecursionError" in lost["deep"]


@pytest.mark.parametrize("data", [b"", b"\x80\x05", b"\x80\x05h\x07.", b"\x80\x05\xffN."])
def test_the_error_of_a_broken_stream_names_the_position(data):
    with pytest.raises(pickle.UnpicklingError, match="broken at byte"):
        TolerantUnpickler(data, (), Guard()).load()
