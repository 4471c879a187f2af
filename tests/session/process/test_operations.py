"""Operations: one answer each, for any request and whatever a cell is doing; `test_inspection` checks the answers."""

import asyncio

import pytest

pytestmark = pytest.mark.anyio


async def hold(session, code="input()"):
    """Start a cell that runs until it gets an answer."""
    cell = session.submit(code)
    await cell.until(lambda cell: cell.questions)
    return cell


async def test_an_unknown_operation_is_refused_by_name(session):
    assert await session.refusal("levitate") == "unknown operation 'levitate'"


async def test_a_request_without_a_required_field_is_refused(session):
    assert await session.refusal("inspect") == "KeyError: 'name'"
    assert await session.ask("variables") == []


SLOW = "import time\nclass Slow:\n    __module__ = 'numpy'\n    @property\n    def shape(self): time.sleep({})\nslow = Slow()"


async def test_an_operation_that_is_late_is_answered_at_its_deadline(session):
    await session.run(SLOW.format(3600))

    assert await session.refusal("variables", deadline=0.05) == "no answer within 0.05 s"


async def test_an_operation_after_a_late_one_is_answered_in_its_turn(session):
    await session.run(SLOW.format(0.2))
    late = session.request("variables", 0.05)
    behind = session.request("inspect", 30.0, name="len")

    assert (await late).is_error is True
    assert (await behind).is_error is False


async def test_an_operation_that_is_late_before_its_turn_never_starts(session):
    await session.run(SLOW.format(0.2) + "\nlooked = []")
    first, second = session.request("variables", 30.0), session.request("variables", 0.05)

    assert (await second).is_error is True
    assert (await first).is_error is False


async def test_two_operations_at_a_time_are_both_answered(session):
    await session.run("x = 1")
    first, second = await asyncio.gather(session.ask("variables"), session.ask("inspect", name="x"))

    assert (first[0]["name"], second["type"]) == ("x", "int")


async def test_many_operations_at_a_time_are_all_answered_or_refused(session):
    replies = await asyncio.gather(*[session.request("variables") for _ in range(200)])

    assert len(replies) == 200
    assert not replies[0].is_error


async def test_operations_do_not_affect_results_and_output(session):
    await session.run("'result'")
    for kind, question in (("variables", {}), ("inspect", {"name": "_"}), ("complete", {"code": "_", "cursor": 1})):
        await session.ask(kind, **question)
    cell = await session.run("_")

    assert (cell.value, cell.text, session.cells[0].frames) == ("result", "", [])


async def test_a_process_that_is_busy_answers_pings(session):
    cell = await session.submit("print('on')\nwhile True: pass").said("on")
    assert session.process.ping(1.0) == 0.0
    await session.ask("variables")  # its reply comes after the pong

    assert session.process.ping(2.0) == 0.0
    assert cell.done is None
