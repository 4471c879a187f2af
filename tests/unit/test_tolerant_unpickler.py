"""The reader that goes on where an object can't be made: what reaches such an object is lost, and nothing else."""

import collections
import datetime as dt
import decimal
import pickle
import sys
import types
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skep_workers.session.checkpoint.restoring.guard import CALL_SECONDS, Avoided, CallPage, Guard
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
    """Return something that is restored by a call."""

    class Made:
        def __reduce__(self) -> Any:
            return function, arguments

    return Made()


def pair_of(one: Any, other: Any) -> Any:
    """Return something that holds both."""
    return Plain(one=one, other=other)


def fail() -> None:
    """Fail."""
    raise LookupError("gone")


def read(names: dict[str, Any], guard: Guard | None = None) -> tuple[dict[str, Any], dict[str, str]]:
    """Pickle these names and read them; returns those that were restored, and the reasons of the others."""
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
keys = st.one_of(st.integers(), st.text(), st.tuples(st.integers(), st.text()), st.frozensets(st.integers()))
values = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.lists(inner),
        st.lists(inner).map(tuple),
        st.dictionaries(keys, inner),
        st.sets(keys),
        st.frozensets(keys),
        st.dictionaries(keys, inner).map(collections.OrderedDict),
        st.lists(inner).map(collections.deque),
    ),
)


@settings(max_examples=150, deadline=None)
@given(values)
def test_it_reads_what_pickle_reads(value):
    assert read({"value": value}) == ({"value": value}, {})


@pytest.mark.parametrize("size", [0, 1, 200, 255, 256, 65535, 65536, 300_000])
def test_it_reads_values_of_all_sizes(size):
    value = ["x" * size, b"y" * size, bytearray(size), list(range(size)), 1 << size, -(1 << size)]

    assert read({"value": value}) == ({"value": value}, {})


def test_buffers_stay_out_of_band():
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


def test_what_fails_costs_its_own_name():
    found, lost = read({"before": [1], "bad": Fails(x=1), "after": {"a": decimal.Decimal(1)}})

    assert found == {"before": [1], "after": {"a": decimal.Decimal(1)}}
    assert lost == {"bad": "restoring it raises ValueError: no"}


def test_what_holds_it_is_lost_too_and_what_it_holds_is_not():
    shared = [1]
    bad = Fails(x=shared)

    found, lost = read({"shared": shared, "holder": {"k": [(bad,)]}, "other": [shared]})

    assert lost.keys() == {"holder"}
    assert found["other"][0] is found["shared"]


def test_what_reached_it_earlier_in_a_cycle_is_lost_too():
    ring: dict[str, Any] = {}
    ring["next"] = [Plain(ring=ring, bad=make(fail))]

    found, lost = read({"to_ring": [ring], "ring": ring, "free": [2]})

    assert found == {"free": [2]}
    assert lost == dict.fromkeys(("to_ring", "ring"), "restoring it raises LookupError: gone")


def set_note(value: Any, state: Any) -> None:
    """Set the state of a Noted."""
    value.note = state


class Noted:
    """Says with a function of its own how its state is set."""

    def __reduce__(self) -> Any:
        return Noted, (), self.note, None, None, set_note


def test_an_object_whose_state_is_set_by_a_function_is_lost_with_the_state():
    good, bad = Noted(), Noted()
    good.note, bad.note = {"kept": [1]}, {"of": [Fails(x=1)]}

    found, lost = read({"good": good, "bad": bad})

    assert found["good"].note == {"kept": [1]}
    assert lost == {"bad": "restoring it raises ValueError: no"}


@pytest.mark.parametrize("is_on_the_stack", [False, True])
def test_what_an_object_of_a_cycle_is_made_of_does_not_reach_the_cycle(is_on_the_stack):
    class Bound:
        """Like a bound method: made of a function, and of an object that holds it."""

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


def test_a_module_that_is_gone_costs_what_needs_it(monkeypatch):
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
def test_sets_and_dicts_in_cycles_with_keys_that_hash_by_state(first):
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


def test_a_key_that_can_never_be_hashed_costs_what_holds_it():
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
    """Hang, whatever is raised here."""
    while True:
        try:
            while True:
                pass
        except ValueError:
            pass


def test_what_hangs_is_ended_and_costs_its_own_name(monkeypatch):
    monkeypatch.setattr("skep_workers.session.checkpoint.restoring.guard.CALL_SECONDS", 0.05)
    with Guard() as guard:
        found, lost = read({"kept": [1], "stuck": make(hang), "also": [2]}, guard)

    assert found == {"kept": [1], "also": [2]}
    assert "takes longer" in lost["stuck"]
    assert CALL_SECONDS > 0.05


def test_calls_that_are_avoided_are_not_made():
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
def test_a_broken_stream_says_where(data):
    with pytest.raises(pickle.UnpicklingError, match="broken at byte"):
        TolerantUnpickler(data, (), Guard()).load()
