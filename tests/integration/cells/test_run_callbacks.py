"""`session.run` with functions that are called for the events of the cell."""

import asyncio

import pytest

import skep

pytestmark = pytest.mark.anyio

LINES = "import sys\nfor n in range(3): print(n, flush=True)\nprint('e', file=sys.stderr)\n6 * 7"


def text_of(events):
    return "".join(event.text for event in events if event.kind == "output" and event.stream == "stdout")


async def test_a_plain_function_gets_the_output_in_order(session):
    seen = []
    outcome = await session.run(LINES, on_output=seen.append)

    assert outcome.value == 42
    assert text_of(seen) == "0\n1\n2\n"
    assert {event.kind for event in seen} == {"output"}
    assert "".join(event.text for event in seen if event.stream == "stderr") == "e\n"


async def test_an_asynchronous_function_gets_every_event_of_the_cell(session):
    seen = []

    async def see(event):
        await asyncio.sleep(0)
        seen.append(event)

    outcome = await session.run(LINES, on_event=see)

    kinds = [event.kind for event in seen]
    assert outcome.ok
    assert (kinds[0], kinds[-1]) == ("cell.queued", "cell.finished")
    assert "result" in kinds
    assert {event.cell_id for event in seen} == {outcome.cell_id}
    assert [event.id for event in seen] == sorted((event.id for event in seen), key=lambda i: int(i.split("-")[0]))


async def test_both_are_called_for_output_the_general_one_first(session):
    calls = []
    await session.run(
        "print('x')",
        on_event=lambda event: calls.append(("event", event.id)),
        on_output=lambda event: calls.append(("output", event.id)),
    )

    [place] = [place for place, (kind, _) in enumerate(calls) if kind == "output"]
    assert calls[place - 1] == ("event", calls[place][1])


async def test_output_arrives_while_the_cell_runs(session, gate):
    def see(event):
        if "before" in event.text:
            gate.open()

    assert (await session.run(f"print('before', flush=True); {gate.wait}; 1", on_output=see, wait=30)).value == 1


async def test_calls_do_not_overlap(session):
    running, most, seen = 0, 0, []

    async def see(event):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1
        seen.append(event)

    await session.run("import time\nfor n in range(5): print(n, flush=True); time.sleep(0.02)", on_output=see)

    assert most == 1
    assert text_of(seen) == "0\n1\n2\n3\n4\n"


@pytest.mark.parametrize("is_async", [True, False])
async def test_an_exception_ends_the_wait_and_not_the_cell(session, gate, is_async):
    def fail(event):
        raise LookupError(event.text)

    async def fail_later(event):
        await asyncio.sleep(0)
        fail(event)

    code = f"print('x', flush=True); {gate.wait}; 7"
    with pytest.raises(LookupError, match="x"):
        await session.run(code, cell_id="c", on_output=fail_later if is_async else fail)
    gate.open()

    assert (await session.cell("c").outcome()).value == 7


async def test_a_timeout_error_of_a_function_is_its_own(session):
    def fail(event):
        raise TimeoutError("of the function")

    with pytest.raises(TimeoutError, match="of the function") as caught:
        await session.run("print('x')", on_output=fail, wait=30)
    assert not isinstance(caught.value, skep.WaitTimeout)


async def test_the_wait_includes_a_function_that_does_not_return(session):
    async def hang(event):
        await asyncio.Event().wait()

    with pytest.raises(skep.WaitTimeout):
        await session.run("print('x')", cell_id="c", on_output=hang, wait=0.5)
    assert (await session.cell("c").outcome()).ok


async def test_a_cell_that_has_ended_before_is_replayed(session):
    await session.run("print('x'); 1", cell_id="c")
    seen = []

    assert (await session.run("print('x'); 1", cell_id="c", on_output=seen.append)).value == 1
    assert text_of(seen) == "x\n"


@pytest.mark.parametrize("name", ["on_output", "on_event"])
async def test_what_is_no_function_is_refused_before_anything_is_written(shard, name):
    with pytest.raises(skep.InvalidArgument) as caught:
        await shard.session("s").run("1", **{name: "print"})

    assert (caught.value.field, caught.value.value) == (name, "print")
    with pytest.raises(skep.NotFound):
        await shard.session("s").info()
