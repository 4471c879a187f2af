"""Tasks and threads that a cell leaves running: they continue, and their output always belongs to that cell."""

import itertools

import pytest

pytestmark = pytest.mark.anyio

TASK = "import asyncio\nasync def work():\n    await go.wait()\n    print('from the task')\ngo = asyncio.Event()\ntask = asyncio.create_task(work())"
THREAD = "import threading\ndef work():\n    go.wait()\n    print('from the thread')\ngo = threading.Event()\nthread = threading.Thread(target=work)\nthread.start()"


@pytest.mark.parametrize(
    ("start", "text"), [(TASK, "from the task\n"), (THREAD, "from the thread\n")], ids=["task", "thread"]
)
async def test_output_after_the_end_of_a_cell_belongs_to_that_cell(session, start, text):
    first = await session.run(start)
    later = await session.run("print('later')\ngo.set()")
    await first.said(text)

    assert (first.text, later.text) == (text, "later\n")


@pytest.mark.parametrize(
    ("start", "text"), [(TASK, "from the task\n"), (THREAD, "from the thread\n")], ids=["task", "thread"]
)
async def test_background_output_during_another_cell_belongs_to_the_cell_that_started_it(session, start, text):
    first = await session.run(start)
    later = session.submit("go.set()\nprint(input('go on? '))")
    await first.said(text)
    await later.until(lambda cell: cell.questions)
    session.answer(later, "yes")
    await later.ended()

    assert (first.text, later.text) == (text, "yes\n")


async def test_a_blocking_cell_sets_an_event_that_many_tasks_wait_for(session):
    await session.run(
        "import asyncio, time\ngo = asyncio.Event()\nasync def work(): return await go.wait()\n"
        "tasks = [asyncio.create_task(work()) for _ in range(100)]"
    )
    cell = await session.run("time.sleep(0); go.set()")

    assert (cell.mode, cell.error) == ("blocking_sync", None)
    assert await session.value("all(await asyncio.gather(*tasks))") is True


async def test_output_between_cells_is_sent_without_another_cell(session):
    cell = await session.run("import asyncio\nasync def work():\n    for i in range(3):\n        await asyncio.sleep(0.001)\n        print(i)\ntask = asyncio.create_task(work())")  # fmt: skip

    await cell.said("2\n")


async def test_a_cell_ends_without_waiting_for_its_tasks_and_threads(session):
    cell = await session.run(TASK)
    assert cell.status == "finished"
    cell = await session.run(THREAD)

    assert cell.status == "finished"


async def test_tasks_of_tasks_and_threads_of_threads_belong_to_the_first_cell(session):
    first = await session.run(
        "import asyncio, threading\ngo = asyncio.Event()\n"
        "def in_thread(): threading.Thread(target=print, args=('deep in threads',)).start()\n"
        "async def inner(): print('deep in tasks')\n"
        "async def outer():\n    await go.wait()\n    await asyncio.create_task(inner())\n"
        "    await asyncio.to_thread(in_thread)\n"
        "task = asyncio.create_task(outer())"
    )
    later = await session.run("go.set()\nawait task")
    await first.said("deep in threads")

    assert sorted(first.text.splitlines()) == ["deep in tasks", "deep in threads"]
    assert later.text == ""


@pytest.mark.parametrize(
    "define",
    [
        "class Worker(threading.Thread):\n    def run(self): print('ran')\nmake = Worker",
        "make = lambda: threading.Timer(0, print, ['ran'])",
        "class Worker(threading.Thread):\n    def start(self): super().start()\n    def run(self): print('ran')\nmake = Worker",
    ],
    ids=["subclass", "timer", "own start"],
)
async def test_every_kind_of_thread_belongs_to_the_cell_that_started_it(session, define):
    await session.run(f"import threading\n{define}")
    cell = await session.run("thread = make()\nthread.start()")
    await cell.said("ran\n")


async def test_output_of_a_thread_pool_belongs_to_the_cell_that_made_its_threads(session):
    cell = await session.run(
        "from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(4) as pool: list(pool.map(lambda i: print(f'{i}\\n', end=''), range(10)))"
    )

    assert sorted(int(line) for line in cell.text.split()) == list(range(10))


async def test_callbacks_of_the_loop_belong_to_the_cell_that_scheduled_them(session):
    cell = await session.run(
        "import asyncio\nloop = asyncio.get_running_loop()\nhandle = loop.call_later(0.001, print, 'called')"
    )

    await cell.said("called\n")


async def test_a_hundred_printing_tasks_lose_no_output(session):
    cell = await session.run(
        "import asyncio\nasync def write(n):\n    for i in range(50):\n        print(f'{n}:{i}')\n        await asyncio.sleep(0)\n"
        "await asyncio.gather(*[write(n) for n in range(100)]);"
    )

    assert sorted(cell.text.split()) == sorted(f"{n}:{i}" for n in range(100) for i in range(50))


async def test_a_hundred_printing_threads_lose_no_output(session):
    cell = await session.run(
        "import threading\ndef write(n):\n    for i in range(50): sys.stdout.write(f'{n}:{i}\\n')\nimport sys\n"
        "threads = [threading.Thread(target=write, args=(n,)) for n in range(100)]\n"
        "for thread in threads: thread.start()\nfor thread in threads: thread.join()"
    )

    assert sorted(cell.text.split()) == sorted(f"{n}:{i}" for n in range(100) for i in range(50))


async def test_threads_and_child_processes_that_print_at_once_lose_no_output(session):
    cell = await session.run(
        "import threading, subprocess, sys, os\n"
        "def write(n):\n    for i in range(20): sys.stdout.write(f'{n}:{i}\\n')\n"
        "    os.write(1, b''.join(b'%d:%d\\n' % (n, i) for i in range(20, 30)))\n"
        "    subprocess.run(['echo', f'{n}:30'])\n"
        "threads = [threading.Thread(target=write, args=(n,)) for n in range(10)]\n"
        "for thread in threads: thread.start()\nfor thread in threads: thread.join()"
    )

    assert sorted(cell.text.split()) == sorted(f"{n}:{i}" for n in range(10) for i in range(31))


async def test_background_tasks_continue_during_twenty_cells_of_every_mode(session):
    first = await session.run("import asyncio, time\ncounts = {}\nasync def count(n):\n    while True:\n        counts[n] = counts.get(n, 0) + 1\n        await asyncio.sleep(0)\ntasks = [asyncio.create_task(count(n)) for n in range(5)]")  # fmt: skip
    bodies = ["await asyncio.sleep(0.001)", "time.sleep(0.001)", "await asyncio.sleep(0)\nfor _ in range(3): await asyncio.sleep(0)", "x = 1"]  # fmt: skip
    seen = []
    for number in range(20):
        cell = await session.run(f"{bodies[number % 4]}\nprint(sorted(counts.items()))")
        assert cell.status == "finished"
        seen.append(dict(eval(cell.text)))

    assert first.text == ""
    assert seen[-1].keys() == set(range(5))
    assert all(earlier[n] <= later[n] for earlier, later in itertools.pairwise(seen) for n in earlier)
    assert all(seen[-1][n] > seen[0].get(n, 0) for n in range(5))
    assert await session.value("[task.done() for task in tasks]") == [False] * 5


async def test_a_background_task_continues_between_cells(session):
    await session.run("import asyncio\nasync def work():\n    for _ in range(5): await asyncio.sleep(0.001)\n    print('worked')\ntask = asyncio.create_task(work())")  # fmt: skip
    await session.cells[1].said("worked\n")

    assert await session.value("task.done()") is True


async def test_an_exception_of_a_task_ends_only_the_task(session):
    await session.run(
        "import asyncio\nasync def work(): raise ValueError('in the task')\ntask = asyncio.create_task(work())\nawait asyncio.sleep(0)"
    )

    assert await session.value("repr(task.exception())") == "ValueError('in the task')"


@pytest.mark.parametrize("raised", ["KeyboardInterrupt", "SystemExit"])
async def test_system_exit_and_the_like_in_a_task_do_not_end_the_session(session, raised):
    await session.run(f"import asyncio\nasync def work(): raise {raised}\ntask = asyncio.create_task(work())")

    assert await session.value("import asyncio\nawait asyncio.sleep(0.001)\nrepr(task.exception())") == f"{raised}()"


async def test_an_exception_of_an_unawaited_task_is_logged_in_the_output_of_its_cell(session):
    cell = await session.run(
        "import asyncio\nasync def work(): raise ValueError('lost')\ntask = asyncio.create_task(work())"
    )
    await session.run("import asyncio, gc\nawait asyncio.sleep(0)\ndel task\ngc.collect();")
    await session.run("pass")

    every = "".join(each.stderr for each in session.cells.values())
    assert "Task exception was never retrieved" in every
    assert cell.status == "finished"


async def test_an_exception_of_a_thread_is_reported_in_its_cell(session):
    cell = await session.run("import threading\nthread = threading.Thread(target=lambda: 1 / 0)\nthread.start()")
    await cell.said("ZeroDivisionError: division by zero")

    assert cell.stderr.startswith("Exception in thread Thread-")
    assert "    thread = threading.Thread(target=lambda: 1 / 0)\n" in cell.stderr


async def test_a_thread_may_end_itself_without_a_word(session):
    cell = await session.run(
        "import sys, threading\nthread = threading.Thread(target=sys.exit, args=(3,))\nthread.start()\nthread.join()"
    )

    assert (cell.status, cell.stderr) == ("finished", "")


async def test_an_exception_of_a_finalizer_is_reported_with_its_line(session):
    cell = await session.run("class Ends:\n    def __del__(self):\n        1 / 0\nends = Ends()\ndel ends")

    assert cell.stderr.startswith("Exception ignored in: <function Ends.__del__ at 0x")
    assert '  File "<cell 1>", line 3, in __del__\n    1 / 0\n' in cell.stderr
    assert cell.stderr.endswith("ZeroDivisionError: division by zero\n")


async def test_coroutine_objects_can_be_awaited_in_later_cells(session):
    await session.run("import asyncio\nasync def give(): return 5\ncoroutine = give()")
    await session.run("pass")

    assert await session.value("await coroutine") == 5


async def test_an_async_generator_remains_open_between_cells(session):
    await session.run("async def count():\n    for i in range(10): yield i\nnumbers = count()\nawait anext(numbers)")

    assert await session.value("await anext(numbers)") == 1


async def test_locks_and_queues_of_asyncio_work_across_cells_of_every_mode(session):
    await session.run("import asyncio, time\nqueue = asyncio.Queue()\nlock = asyncio.Lock()\nawait lock.acquire()")
    await session.run("time.sleep(0)\nqueue.put_nowait('item')\nlock.release()")

    assert await session.value("async with lock: item = await queue.get()\nitem") == "item"


async def test_a_server_that_one_cell_started_answers_the_next_cell(session):
    await session.run("import asyncio\nasync def serve(reader, writer):\n    writer.write(await reader.readline())\n    writer.close()\nserver = await asyncio.start_server(serve, '127.0.0.1', 0)\nport = server.sockets[0].getsockname()[1]")  # fmt: skip
    blocking = "import socket\nwith socket.create_connection(('127.0.0.1', port)) as s:\n    s.sendall(b'hello\\n')\n    answer = s.recv(100)\nanswer"

    assert await session.value(blocking) == b"hello\n"


async def test_a_signal_handler_may_print_while_a_cell_prints(session):
    cell = await session.run(
        "import signal\nticks = 0\ndef tick(*_):\n    global ticks\n    ticks += 1\n    print('tick\\n', end='')\n"
        "signal.signal(signal.SIGALRM, tick)\nsignal.setitimer(signal.ITIMER_REAL, 0.001, 0.005)\n"
        "i = 0\nwhile ticks < 20:\n    print(f'{i}\\n', end='')\n    i += 1\n"
        "signal.setitimer(signal.ITIMER_REAL, 0)\n(i, ticks)"
    )
    count, ticks = cell.value

    assert sorted(cell.text.split()) == sorted([*map(str, range(count)), *["tick"] * ticks])


async def test_a_finalizer_may_print_while_a_cell_prints(session):
    # Repeated, because gc.collect() does nothing while another thread, perhaps of the engine, is collecting.
    cell = await session.run(
        "import gc, time\ngone = []\nclass Cycle:\n    def __init__(self): self.me = self\n"
        "    def __del__(self): print('gone\\n', end=''); gone.append(1)\n"
        "gc.set_threshold(3, 2, 2)\nfor i in range(3000):\n    Cycle()\n    print(f'{i}\\n', end='')\n"
        "gc.set_threshold(700, 10, 10)\nwhile len(gone) < 3000:\n    gc.collect()\n    time.sleep(0)"
    )

    assert sorted(cell.text.split()) == sorted([*map(str, range(3000)), *["gone"] * 3000])
