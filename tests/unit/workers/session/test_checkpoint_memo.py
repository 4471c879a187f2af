"""Pickled objects are found without a copy of the memo, or with one where its table can't be read."""

import pickle
import random
from io import BytesIO

import pytest

from skep_workers.session.checkpoint.saving.pickling import memo as memo_module
from skep_workers.session.checkpoint.saving.pickling.memo import Memo


@pytest.fixture(params=["from the table", "from a copy"])
def way(request, monkeypatch):
    """Each way of looking objects up."""
    if request.param == "from a copy":
        monkeypatch.setattr(memo_module, "_READS_TABLES", False)


def dumped(value):
    """Return a pickler that has pickled the value."""
    pickler = pickle.Pickler(BytesIO(), protocol=5)
    pickler.dump(value)
    return pickler


def test_the_memo_tables_of_this_python_can_be_read():
    assert memo_module._READS_TABLES


@pytest.mark.parametrize("count", [0, 1, 7, 5000])
def test_pickled_objects_are_found_and_no_others(way, count):
    value = [{"n": [number]} for number in range(count)]
    others = [{"n": [number]} for number in range(count)]
    wanted = [id(each) for each in [*value, *others, *(each["n"] for each in value)]]
    random.Random(count).shuffle(wanted)

    met = set(Memo(dumped(value)).among(wanted))

    assert met == {id(each) for each in value} | {id(each["n"]) for each in value}


def test_all_pickled_objects_can_be_listed(way):
    value = [["a"], {"b": ["c"]}]

    objects = Memo(dumped(value)).objects()

    assert all(objects[id(each)] is each for each in (value, value[0], value[1], value[1]["b"]))


def test_the_objects_live_as_long_as_the_memo_does(way):
    class Made:
        def __reduce__(self):
            return list, ([[1]],)  # made for the pickler, held by nothing else

    memo = Memo(dumped([Made() for _ in range(100)]))

    assert all(id(found) == number for number, found in memo.objects().items())
