"""Objects of a class are found without harm to what other threads are making."""

import gc
import sys
import threading
import time
from io import BytesIO, IOBase, TextIOWrapper

import pytest

from skep_workers.session.runtime.live_objects import instances_of

ROUNDS = 30


class _Meta(type):
    def __hash__(cls):
        raise AssertionError("code of a metaclass ran")

    __eq__ = __hash__


class _Pretends:
    @property
    def __class__(self):
        raise AssertionError("code of an object ran")


def test_objects_of_a_class_and_of_its_subclasses_are_found():
    class Base:
        pass

    class Derived(Base, metaclass=_Meta):
        pass

    pretends = _Pretends()
    made = [Base(), Derived(), Derived()]
    found = instances_of(Base)

    assert len(found) == 3
    assert {id(each) for each in found} == {id(each) for each in made}
    del pretends


def test_no_reference_remains():
    probe = (object(), [])
    before = sys.getrefcount(probe)
    instances_of(dict)
    assert sys.getrefcount(probe) == before


def test_files_are_found():
    file = TextIOWrapper(BytesIO())
    assert any(each is file for each in instances_of(IOBase.__base__))


@pytest.fixture
def collections_run_code():
    """Run code whenever garbage is collected, as the callbacks of some test tools do."""

    def callback(*_):
        time.sleep(0)

    gc.callbacks.append(callback)
    yield
    gc.callbacks.remove(callback)


@pytest.mark.usefixtures("collections_run_code")
def test_a_tuple_that_another_thread_is_making_is_left_alone():
    """With `gc.get_objects()` nearly each round failed, in that thread."""
    padding = [[number] for number in range(20_000)]  # so that one look takes longer than the interval of threads
    problems = []
    has_ended = threading.Event()

    def make():
        try:
            while not has_ended.is_set():
                tuple([number] for number in range(1000))
        except SystemError as exc:
            problems.append(exc)

    maker = threading.Thread(target=make)
    maker.start()
    for _ in range(ROUNDS):
        instances_of(IOBase.__base__)
    has_ended.set()
    maker.join()
    assert (problems, gc.is_tracked(padding)) == ([], True)
