"""Requests for input, operations, displays and values from client to client, on a real worker."""

from contextlib import aclosing

import pytest

import skep

pytestmark = pytest.mark.anyio


async def question(cell):
    """Wait until the cell requests input."""
    async with aclosing(cell.events()) as events:
        async for event in events:
            if event.kind == "input.requested":
                return event
    raise AssertionError("it never asked")


async def test_input_is_answered_by_the_client_that_submitted(open_session):
    session = open_session()
    cell = await session.submit("name = input('Name? ')\nprint('Hello', name)\nname")
    asked = await question(cell)
    assert (asked.prompt, asked.is_password) == ("Name? ", False)
    assert await session.answer("Ada") is True
    outcome = await cell.outcome()

    assert (outcome.value, outcome.text) == ("Ada", "Hello Ada\n")


async def test_input_is_answered_by_any_other_client(cluster, open_session):
    session = open_session()
    cell = await session.submit("input()")
    await question(cell)
    async with skep.connect(cluster.redis_url) as other:
        assert await other.session(session.id).answer("from elsewhere") is True

    assert (await cell.outcome()).value == "from elsewhere"


async def test_answers_except_passwords_are_reported(open_session):
    session = open_session()
    cell = await session.submit("import getpass\n(input('a? '), getpass.getpass('b? '))")
    await question(cell)
    await session.answer("told")
    async with aclosing(session.events(follow=True)) as events:
        async for event in events:
            if event.kind == "input.requested" and event.is_password:
                break
    await session.answer("secret")
    await cell.outcome()

    assert [event.text async for event in session.events() if event.kind == "input.answered"] == ["told", None]
    assert not [event async for event in session.events() if event.kind == "input.answered" and "secret" in repr(event)]


async def test_an_answer_without_a_request_is_refused_or_dropped(open_session, says):
    session = open_session()
    await session.run("x = 1")
    assert await session.answer("to nobody") is False
    cell = await session.submit("print('ready')\ninput()")
    await question(cell)
    await session.answer("to the question")

    assert (await cell.outcome()).value == "to the question"


async def test_a_session_without_input_says_so(open_session):
    outcome = await open_session(allow_input=False).run("input()")

    assert (outcome.status, outcome.error.ename) == (skep.CellStatus.FAILED, "EOFError")


async def test_no_answer_in_time_is_the_end_of_the_file(open_session):
    outcome = await open_session(input_timeout=0.05).run("try: input()\nexcept EOFError: x = 'default'\nx")

    assert outcome.value == "default"


@pytest.fixture(
    params=["", "print('ready')\nwhile True: pass", "import time\nprint('ready')\ntime.sleep(60)"],
    ids=["idle", "spinning", "blocking"],
)
async def busy_session(open_session, says, request):
    """A session with names, in which a cell may be running."""
    session = open_session()
    await session.run("def area(r: float) -> float:\n    'Give the area.'\n    return 3 * r * r\nwords = ['a', 'b']")
    if request.param:
        await says(await session.submit(request.param), "ready")
    yield session
    await session.interrupt()


async def test_variables_are_listed(busy_session):
    found = {variable.name: variable for variable in await busy_session.variables()}

    assert (found["words"].type, found["words"].length, found["words"].repr) == ("list", 2, "['a', 'b']")


async def test_names_are_inspected(busy_session):
    found = await busy_session.inspect("area")

    assert (found.found, found.signature, found.doc) == (True, "(r: float) -> float", "Give the area.")
    assert found.source.startswith("def area(r: float)")
    assert (await busy_session.inspect("nothing_here")).found is False


async def test_names_are_completed(busy_session):
    found = await busy_session.complete("x = words.app")

    assert (found.matches, found.start, found.end) == (("append",), 10, 13)


async def test_operations_start_a_session_that_has_no_process(open_session):
    session = open_session()
    await session.run("x = 1")
    await session.run("import os\nos._exit(0)")

    assert [variable.name for variable in await session.variables()] in ([], ["x"])  # as in its checkpoint


async def test_displays_and_updates_fold_into_the_outcome(open_session):
    session = open_session()
    outcome = await session.run(
        "h = display('first', display_id='d')\ndisplay('second')\nh.update('updated')\n[1, {2: (3,)}]"
    )

    assert [bundle["text/plain"] for bundle in outcome.display] == ["'updated'", "'second'"]
    assert outcome.value == [1, {2: (3,)}]
    assert outcome.result == {"text/plain": "[1, {2: (3,)}]"}


async def test_rewrites_and_cuts_are_reported_as_warnings(open_session):
    session = open_session(output_limit=1024)
    outcome = await session.run("print('x' * 2000)\ndef f(): return await g()")

    assert outcome.warnings == (
        "output was cut at 1024 bytes",
        "line 1: def f awaits, so it was made async".replace("1:", "2:"),
    )
    assert len(outcome.text) == 1024


async def test_output_after_the_end_of_a_cell_is_found_under_it(open_session):
    session = open_session()
    cell = await session.submit(
        "import asyncio\ngo = asyncio.Event()\nasync def work():\n    await go.wait()\n    print('late')\ntask = asyncio.create_task(work())"
    )
    await cell.outcome()
    await session.run("go.set()\nawait task")
    late = [event async for event in session.events() if event.kind == "output"]

    assert {event.cell_id for event in late} == {cell.id}
    assert "".join(event.text for event in late) == "late\n"  # print writes its newline separately
