"""The parts of the ambient state, one by one, without a session."""

import decimal
import io
import logging
import random
import sys
import warnings
from contextvars import copy_context

import pytest

from skep_workers.session.checkpoint.surroundings.ambient import Ambient
from skep_workers.session.checkpoint.surroundings.imports.search_path import SearchPath
from skep_workers.session.checkpoint.surroundings.interpreter.codec_registry import CodecRegistry
from skep_workers.session.checkpoint.surroundings.interpreter.warning_filters import WarningFilters
from skep_workers.session.checkpoint.surroundings.libraries import library_parts
from skep_workers.session.checkpoint.surroundings.object_memory import identities, table
from skep_workers.session.checkpoint.surroundings.part import is_plain
from skep_workers.session.checkpoint.unchanged.fingerprints import fingerprint, same


class Touchy:
    """Runs code when it is compared."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError

    __hash__ = object.__hash__


@pytest.fixture(autouse=True)
def _process_as_before():
    path, filters, state = list(sys.path), list(warnings.filters), random.getstate()
    yield
    sys.path[:] = path
    warnings.filters[:] = filters
    random.setstate(state)


def test_identities_are_equal_for_the_same_objects_only():
    one, other = Touchy(), Touchy()

    assert identities((one, other)) == identities((one, other))
    assert identities((one, other)) != identities((other, one))
    assert len(identities(())) == 0


def test_the_table_of_a_dict_is_the_same_only_for_the_same_keys_and_values():
    names = {f"name {number}": Touchy() for number in range(50)}
    first, before = dict(names), table(names)

    assert table(names) == before
    names["name 7"] = Touchy()
    assert table(names) != before
    names["name 7"] = first["name 7"]
    assert table(names) == before
    del names["name 7"]
    assert table(names) != before


def test_reading_the_table_of_a_dict_counts_no_reference():
    value = Touchy()
    names = {"name": value}

    counted = sys.getrefcount(value)
    found = table(names)

    assert id(value).to_bytes(8, sys.byteorder) in found
    assert sys.getrefcount(value) == counted


@pytest.mark.parametrize("value", [1, "a", None, [1, (2.5, {"a": b"b"})], {1: {2}}, frozenset({True})])
def test_data_of_built_in_types_is_plain(value):
    assert is_plain(value)


@pytest.mark.parametrize("value", [Touchy(), [Touchy()], {"a": len}, type("Own", (str,), {})("a"), [[[[[[[[1]]]]]]]]])
def test_other_values_are_not_plain(value):
    assert not is_plain(value)


def test_reading_the_search_path_runs_no_code_of_its_entries():
    part = SearchPath()
    part.begin()
    sys.path.append(Touchy())

    state, objects = part.read()
    assert state[-1] is None
    assert [type(each) for each in objects.values()] == [Touchy]
    assert part.read()[0] == state


def test_filters_of_version_0_1_0_are_restored():
    old = [("error", None, UserWarning, None, 0)]
    WarningFilters().restore(old)

    assert warnings.filters == old


def test_a_decimal_context_of_version_0_1_0_is_restored():
    ambient = Ambient({})
    context = copy_context()
    context.run(ambient.restore, {"future_flags": 0, "decimal": (7, decimal.ROUND_UP)})
    assert context.run(ambient.finish, {}) == []

    assert context.run(decimal.getcontext).prec == 7


def test_a_part_that_fails_is_reported_and_affects_no_other():
    ambient = Ambient({})
    random.seed(1)
    expected = random.getstate()
    random.seed(2)
    ambient.restore({"time zone": (("NO", "NO"), 1, 1, 0), "path": 5, "random": expected, "signals": {"SIGNONE": 1}})
    notes = ambient.finish({})

    assert random.getstate() == expected
    assert [note.partition(":")[0] for note in notes] == ["time zone", "path", "signals"]


def test_a_part_that_can_not_be_read_is_reported_until_it_can(monkeypatch):
    ambient = Ambient({})
    monkeypatch.delattr(sys, "excepthook")
    ambient.read(0, {})
    assert list(ambient.lost) == ["(hooks)"]

    monkeypatch.undo()
    ambient.read(0, {})
    assert ambient.lost == {}


def test_the_registry_of_codecs_is_found():
    part = CodecRegistry()

    assert len(part._functions) > 0
    assert {"strict", "ignore", "replace"} <= set(part._handlers)


def test_no_two_parts_have_the_same_name():
    names = [part.name for part in library_parts()]

    assert len(set(names)) == len(names)
    assert not set(names) & set(Ambient({})._parts) - set(names)


CHANGES = {
    "its level": lambda handler: handler.setLevel("ERROR"),
    "its formatter": lambda handler: handler.setFormatter(logging.Formatter("%(name)s")),
    "its formatter's text": lambda handler: setattr(handler.formatter, "datefmt", "%H"),
    "its filters": lambda handler: handler.addFilter(logging.Filter("a")),
    "a filter": lambda handler: setattr(handler.filters[0], "name", "b"),
    "its stream": lambda handler: setattr(handler, "stream", sys.stderr),
    "an attribute": lambda handler: setattr(handler, "more", 1),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_logging_handler_has_another_fingerprint(change):
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(message)s"))
    handler.addFilter(logging.Filter("x"))
    before = fingerprint(handler)
    assert same(before, fingerprint(handler))

    CHANGES[change](handler)

    assert not same(before, fingerprint(handler))


def test_a_handler_with_a_mutable_attribute_has_no_fingerprint():
    assert fingerprint(logging.StreamHandler(io.StringIO())) is None
    handler = logging.StreamHandler(sys.stdout)
    handler.addFilter(bool)
    assert fingerprint(handler) is None
