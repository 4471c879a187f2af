"""Calls of `skep.sync` from threads, within event loops and callbacks, and after the end."""

import asyncio
import gc
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import skep
import skep.sync


def test_the_cells_of_many_threads_all_run_and_count_once(blocking, session_id):
    def run(number):
        session = blocking.session(f"{session_id}-{number % 4}")
        return [session.run(f"{number} * {turn}").value for turn in range(10)]

    with ThreadPoolExecutor(20) as pool:
        values = list(pool.map(run, range(20)))

    assert values == [[number * turn for turn in range(10)] for number in range(20)]
    assert [blocking.session(f"{session_id}-{number}").info().seq for number in range(4)] == [50] * 4


def test_threads_share_one_handle_on_a_cell(session):
    cell = session.submit("input()")
    with ThreadPoolExecutor(8) as pool:
        waits = [pool.submit(cell.outcome) for _ in range(8)]
        with cell.events() as events:
            assert any(event.kind == "input.requested" for event in events)
        assert session.answer("42")

    assert {wait.result().value for wait in waits} == {"42"}


def test_it_works_in_a_running_event_loop(session):
    async def handler():
        return session.run("6 * 7").value

    assert asyncio.run(handler()) == 42


def test_a_call_on_its_own_thread_is_refused_instead_of_never_returning(blocking):
    refused = []
    done = threading.Event()

    def callback():
        try:
            blocking.session("s").info()
        except skep.ClientUnusable as exc:
            refused.append(str(exc))
        done.set()

    skep.sync.process.background().post(callback)
    assert done.wait(30)

    assert "another thread" in refused[0]


def test_a_wait_in_another_thread_ends_when_the_client_is_closed(blocking, session, session_id):
    opening = skep.sync.connect(settings=blocking.settings)
    cell = opening.open().session(session_id).submit("input()")
    with ThreadPoolExecutor(2) as pool:
        waits = [pool.submit(cell.outcome), pool.submit(list, cell.events())]
        with session.events(follow=True) as events:
            assert any(event.kind == "input.requested" for event in events)
        opening.close()
        raised = [wait.exception(30) for wait in waits]
    assert session.answer("on")

    assert [type(error) for error in raised] == [skep.ClientUnusable] * 2
    assert session.cell(cell.id).outcome().value == "on"


def test_a_closed_client_says_so(blocking, session_id):
    with skep.sync.connect(settings=blocking.settings) as cluster:
        session = cluster.session(session_id)
        cell = session.submit("1")
        events = session.events()
    for call in (session.info, cell.outcome, lambda: session.run("2"), lambda: cluster.session("x"), cell.events):
        with pytest.raises(skep.ClientUnusable, match=r"closed.*skep\.sync\.connect"):
            call()
    with pytest.raises(skep.ClientUnusable, match="closed"):
        next(events)


def test_the_result_of_connect_says_how_it_is_used(blocking):
    opening = skep.sync.connect(settings=blocking.settings)
    with pytest.raises(skep.ClientUnusable, match="with"):
        opening.session("s")
    with pytest.raises(AttributeError):
        _ = opening.nonsense
    with opening as cluster:
        assert cluster.settings == blocking.settings
        with pytest.raises(skep.ClientUnusable, match="already open"):
            opening.open()
    with opening as cluster:
        assert list(cluster.workers())


def test_a_client_that_is_dropped_closes_its_connections(blocking):
    def connections():
        return sum("skep.sync connection" in task.get_name() for task in open_tasks())

    def open_tasks():
        found = []

        async def look():
            found.extend(asyncio.all_tasks())

        skep.sync.process.background().wait(look)
        return found

    before = connections()
    skep.sync.connect(settings=blocking.settings).open().session("dropped").submit("1")
    while connections() > before:
        gc.collect()


def test_an_unreachable_redis_raises_the_same_error():
    opening = skep.sync.connect("redis://127.0.0.1:1/0")
    with pytest.raises(skep.RedisUnavailable):
        opening.open()


def test_bad_arguments_are_refused_before_anything_is_opened():
    with pytest.raises(skep.InvalidArgument, match="tenant"):
        skep.sync.connect("redis://127.0.0.1:1/0", tenant="")
    with pytest.raises(skep.InvalidArgument, match="workers"):
        skep.sync.embedded(workers=0).open()
