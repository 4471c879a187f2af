"""The fast path of printed text: neither its use nor its end loses text or changes the order of output."""

import pytest

pytestmark = pytest.mark.anyio

MODES = pytest.mark.parametrize(
    "setup",
    ["", "import time; time.sleep(0)", "import asyncio; await asyncio.sleep(0)"],
    ids=["loop", "thread", "await"],
)


@MODES
async def test_a_write_returns_the_number_of_its_characters(session, setup):
    cell = await session.run(f"{setup}\nimport sys\n[sys.stdout.write(text) for text in ('a', 'äöü', '', '€' * 5000)]")

    assert cell.value == [1, 3, 0, 5000]


@MODES
async def test_a_print_whose_argument_prints_keeps_the_order(session, setup):
    # print() looks `write` up first and calls `__str__` then.
    cell = session.submit(
        f"{setup}\nimport time\nclass Slow:\n    def __str__(self):\n        print('inner')\n        time.sleep(0.05)\n"
        "        return 'outer'\nfor _ in range(5): print(Slow())\nprint(input())"
    )
    await cell.until(lambda cell: cell.questions)

    assert cell.text == "inner\nouter\n" * 5
    session.answer(cell, "")
    await cell.ended()


async def test_a_reference_to_write_works_in_later_cells_tasks_and_threads(session):
    await session.run("import sys, asyncio, threading\nprint('x')\nkept = sys.stdout.write\nkept('y\\n')")
    here = await session.run("for i in range(3): kept(f'{i}\\n'); print('p', i)")
    task = await session.run(
        "async def later():\n    await event.wait()\n    kept('of the task\\n')\n    done.set()\n"
        "event, done = asyncio.Event(), asyncio.Event()\ntask = asyncio.create_task(later())"
    )
    other = await session.run("event.set()\nawait done.wait()\nprint('other')")
    thread = await session.run("t = threading.Thread(target=kept, args=('of the thread\\n',))\nt.start()\nt.join()")

    assert here.text == "0\np 0\n1\np 1\n2\np 2\n"
    assert (task.text, other.text) == ("of the task\n", "other\n")
    assert thread.text == "of the thread\n"


@MODES
async def test_lines_of_a_thread_between_prints_are_whole(session, setup):
    cell = await session.run(
        f"{setup}\nimport threading\nfor i in range(20):\n    print('before', i)\n"
        "    t = threading.Thread(target=print, args=('thread', i))\n    t.start()\n    t.join()\n    print('after', i)"
    )

    assert cell.text == "".join(f"before {i}\nthread {i}\nafter {i}\n" for i in range(20))


@MODES
async def test_a_forked_child_has_nothing_of_what_its_parent_printed(session, setup):
    cell = await session.run(
        f"{setup}\nimport os\nfor i in range(200): print(i)\npid = os.fork()\n"
        "if pid == 0:\n    print('child')\n    import sys; sys.stdout.flush()\n    os._exit(0)\n"
        "os.waitpid(pid, 0)\nprint('parent')"
    )

    assert cell.text == "".join(f"{i}\n" for i in range(200)) + "child\nparent\n"


async def test_a_signal_handler_that_prints_loses_no_line_and_keeps_the_order_of_both(session):
    cell = await session.run(
        "import signal, sys\nhandled = 0\ndef handler(*_):\n    global handled\n    handled += 1\n"
        "    sys.stdout.write(f'handled {handled}\\n')\n    signal.setitimer(signal.ITIMER_REAL, 0.001)\n"
        "signal.signal(signal.SIGALRM, handler)\nsignal.setitimer(signal.ITIMER_REAL, 0.001)\n"
        "i = 0\nwhile handled < 50:\n    sys.stdout.write(f'line {i}\\n')\n    i += 1\n"
        "signal.setitimer(signal.ITIMER_REAL, 0)\ni, handled"
    )
    lines, handled = cell.value
    printed = cell.text.splitlines()

    assert len(printed) == lines + handled
    assert [line for line in printed if line[0] == "l"] == [f"line {i}" for i in range(lines)]
    assert [line for line in printed if line[0] == "h"] == [f"handled {i + 1}" for i in range(handled)]


@pytest.mark.parametrize("what", ["close", "detach", "flush"])
async def test_a_stream_whose_wrapper_was_closed_or_detached_still_prints(session, what):
    cells = session.submit_all(
        f"import sys\nprint('first')\nsys.stdout.write.__self__.{what}()", "print('second')", "print('third')"
    )
    await cells[-1].ended()

    assert [cell.text for cell in cells] == ["first\n", "second\n", "third\n"]


async def test_an_interrupted_loop_has_printed_what_it_counted(session):
    cell = session.submit("i = 0\nwhile True:\n    print(i)\n    i += 1")
    await cell.said("1000\n")
    session.interrupt(cell)
    await cell.ended()
    counted = (await session.run("i")).value

    assert cell.status == "interrupted"
    lines = cell.text.split("\n")
    assert lines[:counted] == [str(i) for i in range(counted)]
    assert lines[counted:] in ([""], [str(counted)], [str(counted), ""])


async def test_rows_that_c_code_writes_arrive_whole(session):
    cell = await session.run(
        "import csv, sys\nprint('head')\ncsv.writer(sys.stdout, lineterminator='\\n').writerows([[i, i] for i in range(50_000)])"
    )

    assert cell.text == "head\n" + "".join(f"{i},{i}\n" for i in range(50_000))
