"""input() and getpass(): a request among the output, an answer from a client, and EOFError without an answer."""

import pytest

pytestmark = pytest.mark.anyio


async def asked(cell, count=1):
    await cell.until(lambda cell: len(cell.questions) >= count or cell.done is not None)
    assert cell.done is None, cell.error
    return cell.questions[-1]


MODES = {
    "blocking": "",
    "awaiting": "import asyncio\nawait asyncio.sleep(0)\n",
    "loop": "import asyncio\nasync def f(): pass\ntask = asyncio.create_task(f())\n",
}


@pytest.mark.parametrize("setup", MODES.values(), ids=MODES.keys())
async def test_input_returns_the_answer_in_every_mode(session, setup):
    cell = session.submit(f"{setup}name = input('Name? ')\nname")
    question = await asked(cell)
    session.answer(cell, "Ada")

    assert (question.prompt, question.is_password) == ("Name? ", False)
    assert (await cell.ended()).value == "Ada"


async def test_the_request_for_input_comes_after_earlier_output(session):
    cell = session.submit("print('first')\ninput('then? ')")
    await asked(cell)

    assert cell.text == "first\n"
    assert type(cell.frames[-1]).__name__ == "InputRequest"
    session.answer(cell, "")
    assert (await cell.ended()).value == ""


async def test_getpass_asks_for_a_password(session):
    cell = session.submit("from getpass import getpass\ngetpass('Secret: ')")
    question = await asked(cell)
    session.answer(cell, "hunter2")

    assert (question.prompt, question.is_password) == ("Secret: ", True)
    assert (await cell.ended()).value == "hunter2"


async def test_several_questions_are_asked_one_after_the_other(session):
    cell = session.submit("[input(f'{i}? ') for i in range(3)]")
    for number in range(3):
        assert (await asked(cell, number + 1)).prompt == f"{number}? "
        session.answer(cell, f"answer {number}")

    assert (await cell.ended()).value == ["answer 0", "answer 1", "answer 2"]


async def test_input_works_in_a_thread(session):
    cell = session.submit("import asyncio\nawait asyncio.to_thread(input, 'in a thread? ')")
    await asked(cell)
    session.answer(cell, "yes")

    assert (await cell.ended()).value == "yes"


async def test_two_threads_ask_in_turn(session):
    cell = session.submit(
        "import asyncio\nsorted(await asyncio.gather(asyncio.to_thread(input, 'a'), asyncio.to_thread(input, 'b')))"
    )
    await asked(cell)
    session.answer(cell, "one")
    await asked(cell, 2)
    session.answer(cell, "two")

    assert (await cell.ended()).value == ["one", "two"]


async def test_background_tasks_continue_while_input_waits(session):
    await session.run("import asyncio\nasync def work():\n    await asyncio.sleep(0.001)\n    print('worked')")
    cell = session.submit("task = asyncio.create_task(work())")
    await cell.ended()
    waiting = session.submit("input()")
    await asked(waiting)
    await cell.said("worked")
    session.answer(waiting, "")

    assert (await waiting.ended()).status == "finished"


async def test_the_protocol_is_not_blocked_while_input_waits(session):
    cell = session.submit("x = 5\ninput()")
    await asked(cell)

    assert [found["name"] for found in await session.ask("variables")] == ["x"]
    session.answer(cell, "")
    await cell.ended()


async def test_no_answer_by_the_deadline_is_the_end_of_the_file(start_session):
    session = await start_session(input_timeout=0.05)
    cell = await session.run("input('anybody? ')")

    assert (cell.status, cell.error.ename) == ("failed", "EOFError")
    assert cell.error.evalue == "no answer within 0.05 s"


async def test_input_in_a_session_without_input_is_the_end_of_the_file(start_session):
    session = await start_session(allow_input=False)
    for code in ("input('anybody? ')", "import getpass\ngetpass.getpass()"):
        cell = await session.run(code)
        assert (cell.error.ename, cell.questions) == ("EOFError", [])
        assert "allow_input" in cell.error.evalue


async def test_an_answer_of_none_is_the_end_of_the_file(session):
    cell = session.submit("input()")
    await asked(cell)
    session.answer(cell, None)

    assert (await cell.ended()).error.ename == "EOFError"


async def test_code_may_continue_after_the_end_of_the_file(session):
    cell = session.submit("try: input()\nexcept EOFError: x = 'default'\nx")
    await asked(cell)
    session.answer(cell, None)

    assert (await cell.ended()).value == "default"


async def test_an_interrupt_ends_the_wait_for_an_answer(session):
    cell = session.submit("input()")
    await asked(cell)
    session.interrupt(cell)

    assert (await cell.ended()).status == "interrupted"


async def test_an_answer_to_an_earlier_question_is_dropped(session):
    first = session.submit("input('first')")
    await asked(first)
    session.answer(first, "to the first")
    await first.ended()
    second = session.submit("input('second')")
    await asked(second)
    session.answer(first, "late")
    session.answer(second, "to the second")

    assert (await second.ended()).value == "to the second"


async def test_the_prompt_may_be_any_object(session):
    cell = session.submit("input([1, 2])")

    assert (await asked(cell)).prompt == "[1, 2]"
    session.answer(cell, "")
    await cell.ended()


async def test_a_huge_prompt_is_shortened_and_answered(session):
    cell = session.submit("input('x' * 20_000_000)")

    assert "characters left out" in (await asked(cell)).prompt
    session.answer(cell, "yes")
    assert (await cell.ended()).value == "yes"


async def test_standard_input_itself_is_empty(session):
    assert await session.value("import sys\n(sys.stdin.read(), sys.stdin.readline())") == ("", "")


async def test_a_child_process_has_no_input(session):
    assert await session.value("import subprocess\nsubprocess.run(['cat'], capture_output=True).stdout") == b""


async def test_answers_of_any_text_arrive_whole(session):
    text = "ü😀\u2028" + "x" * 60_000
    cell = session.submit("input()")
    await asked(cell)
    session.answer(cell, text)

    assert (await cell.ended()).value == text
