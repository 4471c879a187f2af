"""The orderly end of a session process: the work it reports, what it flushes, and which exit handlers it calls."""

import asyncio
import gzip
import os
import shutil
import signal
from pathlib import Path

import pytest

from skep_shared.checkpoints.manifest import Manifest
from skep_shared.protocol.frames import Saved, Shutdown
from skep_workers.host.process.leave_requests import Patience

pytestmark = pytest.mark.anyio

SHARED_MEMORY = "/dev/shm"  # noqa: S108 - where POSIX shared memory is


@pytest.fixture
async def kept(start_session):
    """A session that saves its state after each cell."""
    return await start_session(durability="commit")


def manifests(session, *, after=0):
    """Return the manifests of the snapshots that are not empty."""
    saved = [frame for frame in session.snapshots if isinstance(frame, Saved) and frame.manifest]
    return [Manifest.unpack(frame.manifest) for frame in saved[after:]]


async def saved(session, seq):
    """Wait for the snapshot after a cell; return how many there are."""
    async with session.news:
        await session.news.wait_for(lambda: any(found.seq == seq for found in manifests(session)))
    return len(manifests(session))


def is_there(path):
    return Path(path).exists()


def late_text(session):
    return "".join(cell.text for cell in session.cells.values())


# --- the work of a process


async def test_a_process_that_only_waits_for_cells_reports_no_work(session):
    await session.run("import asyncio, concurrent.futures, subprocess\nsubprocess.run(['true'])")
    await session.run(
        "await asyncio.to_thread(str)\nloop = asyncio.get_running_loop()\nloop.call_later(99, print).cancel()"
    )

    work = await session.process.work(10.0)

    assert (work.tasks, work.threads, work.children) == ([], [], [])


@pytest.mark.parametrize(
    ("code", "kind", "expected"),
    [
        ("import asyncio\nasync def tick(): await asyncio.sleep(99)\nt = asyncio.create_task(tick(), name='ticker')", "tasks", "ticker (tick)"),
        ("import asyncio\nasync def tick():\n    async with asyncio.timeout(98): await asyncio.Event().wait()\nt = asyncio.create_task(tick(), name='ticker')", "tasks", "ticker (tick)"),
        ("import asyncio\ndef beep(): pass\nh = asyncio.get_running_loop().call_later(99, beep)", "tasks", "callback beep"),
        ("import asyncio, socket\na, b = socket.socketpair()\nasyncio.get_running_loop().add_reader(a, print)", "tasks", "1 watched descriptors"),
        ("import threading\nthreading.Thread(target=threading.Event().wait, name='worker', daemon=True).start()", "threads", "worker"),
        ("import time, concurrent.futures\npool = concurrent.futures.ThreadPoolExecutor(1, 'busy')\nf = pool.submit(time.sleep, 99); None", "threads", "busy_0"),
        ("import subprocess\np = subprocess.Popen(['sleep', '99'])", "children", "sleep 99"),
    ],
    ids=["task", "task with a timeout", "timer", "reader", "thread", "pool", "child"],
)  # fmt: skip
async def test_running_work_is_named(session, code, kind, expected):
    await session.run(code)

    work = await session.process.work(10.0)

    found = {"tasks": work.tasks, "threads": work.threads, "children": work.children}
    [name] = found.pop(kind)
    assert expected in name
    assert not any(found.values())


async def test_helper_processes_of_multiprocessing_are_no_work_and_their_children_are(session):
    await session.run("import multiprocessing.shared_memory as m\ns = m.SharedMemory(create=True, size=100)")
    while (idle := await session.process.work(10.0)).children:
        pass  # the helper is still being started, and has no name yet
    await session.run("s.close(); s.unlink()")
    await session.run(
        "import multiprocessing, time\np = multiprocessing.get_context('forkserver').Process(target=time.sleep, args=(99,))\np.start()"
    )
    busy = await session.process.work(10.0)

    assert idle.children == []
    assert len(busy.children) == 1


async def test_a_process_that_holds_the_gil_does_not_answer(session):
    session.submit("import re\nprint('now', flush=True)\nre.match(r'(a+)+$', 'a' * 40 + 'b')")
    await session.cells[1].said("now")

    while await session.process.work(0.3) is not None:
        pass  # the call that holds it has not begun yet


def stop(pid):
    """Stop a process, and wait until it has stopped: until then it may still reply."""
    os.kill(pid, signal.SIGSTOP)
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        os.sched_yield()


async def test_the_end_of_a_process_answers_the_open_inquiry(session):
    stop(session.process.pid)
    asked = asyncio.create_task(session.process.work(30.0))
    await asyncio.sleep(0)
    session.process.kill()

    assert await asked is None


async def test_work_that_ends_with_a_process_is_named(session):
    await session.run(
        "import asyncio, socket, subprocess, threading\n"
        "async def tick(): await asyncio.sleep(99)\n"
        "t = asyncio.create_task(tick(), name='ticker')\n"
        "threading.Thread(target=threading.Event().wait, name='worker').start()\n"
        "p = subprocess.Popen(['sleep', '99'])\n"
        "server = socket.create_server(('127.0.0.1', 0))\n"
        "client = socket.create_connection(server.getsockname())\n"
        "pair = socket.socketpair()"
    )
    port = await session.value("server.getsockname()[1]")

    ended = await session.process.leave(Shutdown())

    assert ended.tasks == ["ticker (tick)"]
    assert ended.threads == ["worker"]
    assert [name.partition(" ")[2] for name in ended.children] == ["(sleep 99)"]
    assert f"tcp 127.0.0.1:{port} (listening)" in ended.connections
    assert any(name.endswith(f"to 127.0.0.1:{port}") for name in ended.connections)
    assert len(ended.connections) == 2
    assert ended.notes == []


# --- exit handlers


async def test_exit_handlers_run_and_what_they_print_is_output_of_the_last_cell(session):
    await session.run(
        "import atexit\natexit.register(print, 'first registered')\natexit.register(print, 'last registered')"
    )

    ended = await session.process.leave(Shutdown())

    assert session.cells[1].stdout == "last registered\nfirst registered\n"
    assert ended.notes == []
    assert session.exit_cause == "exited with status 0"


async def test_a_handler_that_raises_is_reported_and_the_others_run(session):
    await session.run("import atexit\natexit.register(print, 'still')\natexit.register(lambda: 1 / 0)")

    ended = await session.process.leave(Shutdown())

    assert ended.notes == ["an exit handler raised ZeroDivisionError: division by zero"]
    assert "still" in session.cells[1].stdout
    assert "ZeroDivisionError" in session.cells[1].stderr


async def test_a_handler_that_hangs_is_cut_short_and_the_others_run(session):
    await session.run(
        "import atexit, threading, time\natexit.register(print, 'still')\n"
        "atexit.register(threading.Event().wait)\natexit.register(time.sleep, 999)"
    )

    ended = await session.process.leave(Shutdown())

    assert ["LeaveTimeout" in note for note in ended.notes] == [True, True]
    assert "still" in session.cells[1].stdout


async def test_a_handler_that_can_not_be_cut_short_ends_with_its_process(session):
    await session.run("import atexit, re\natexit.register(re.match, r'(a+)+$', 'a' * 60 + 'b')")

    ended = await session.process.leave(Shutdown(), Patience(exit_seconds=1.0))

    assert ended.notes == ["its process ended before it had left in order"]
    assert session.exit_cause == "killed by SIGKILL"


@pytest.mark.parametrize(
    "code", ["import os\natexit.register(os._exit, 3)", "import signal\natexit.register(signal.raise_signal, 9)"]
)
async def test_a_handler_that_ends_the_process_is_reported(session, code):
    await session.run(f"import atexit\n{code}")

    ended = await session.process.leave(Shutdown())

    assert ended.notes == ["its process ended before it had left in order"]


async def test_a_callback_that_holds_the_event_loop_up_does_not_delay_the_exit(session):
    await session.run("import asyncio, time\nasyncio.get_running_loop().call_soon(time.sleep, 999)")

    ended = await session.process.leave(Shutdown(), Patience(begin_seconds=0.5))

    assert ended.notes == ["its process did not begin to leave in time, and was killed"]


async def test_a_process_that_is_killed_calls_no_handler(session, tmp_path):
    mark = tmp_path / "mark"
    await session.run(f"import atexit, pathlib\natexit.register(pathlib.Path({str(mark)!r}).touch)")
    session.process.kill()
    await session.process.gone.wait()

    assert not mark.exists()


async def test_a_finalizer_of_a_saved_object_is_not_called_if_the_session_continues(kept, tmp_path):
    made = await kept.value(
        "import tempfile, weakref\nclass Box: pass\nbox = Box(); box.lost = (n for n in ())\n"
        "deep = [{'dir': tempfile.TemporaryDirectory()}]\nf = weakref.finalize(box, print, 'the box ends')\n"
        "deep[0]['dir'].name"
    )

    await kept.process.leave(Shutdown(2))

    assert is_there(made)
    assert "the box ends" in late_text(kept)  # it could not be saved
    shutil.rmtree(made)


async def test_everything_is_cleaned_up_if_the_session_ends(kept, tmp_path):
    made = await kept.value(
        "import tempfile, weakref\n"
        "class Conn:\n    def __init__(self): self.me = self\n    def __del__(self): print('del ran')\n"
        "conn = Conn(); also = [conn]; tmp = tempfile.TemporaryDirectory()\nw = weakref.finalize(conn, print, 'fin ran')\n"
        "from multiprocessing import shared_memory\n"
        "shm = shared_memory.SharedMemory(create=True, size=1000)\n"
        "(tmp.name, shm.name)"
    )

    ended = await kept.process.leave(Shutdown(1, is_over=True))

    assert not is_there(made[0])
    assert not is_there(f"{SHARED_MEMORY}/{made[1]}")
    assert "fin ran\ndel ran\n" in kept.cells[1].stdout
    assert ended.notes == []


# --- files


async def test_open_files_are_flushed_and_compressed_ones_complete(session, tmp_path):
    await session.run(
        "import gzip, io, logging, logging.handlers\n"
        f"plain = open({str(tmp_path / 'plain')!r}, 'w'); plain.write('not flushed')\n"
        f"def opened():\n    file = open({str(tmp_path / 'local')!r}, 'w'); file.write('in a frame'); yield\n"
        "held = opened(); next(held)\n"
        f"packed = gzip.open({str(tmp_path / 'packed.gz')!r}, 'wt'); packed.write('all of it')\n"
        f"h = logging.handlers.MemoryHandler(100, target=logging.FileHandler({str(tmp_path / 'log')!r}))\n"
        "logging.getLogger('m').addHandler(h); logging.getLogger('m').warning('kept')"
    )

    ended = await session.process.leave(Shutdown())

    assert (tmp_path / "plain").read_text() == "not flushed"
    assert (tmp_path / "local").read_text() == "in a frame"
    assert gzip.decompress((tmp_path / "packed.gz").read_bytes()) == b"all of it"
    assert (tmp_path / "log").read_text() == "kept\n"
    assert ended.notes == []


async def test_a_pipe_without_a_reader_does_not_delay_the_exit(session):
    await session.run(
        "import subprocess\np = subprocess.Popen(['sleep', '99'], stdin=subprocess.PIPE, bufsize=10_000_000)\n"
        "p.stdin.write(b'x' * 1_000_000)"
    )

    ended = await session.process.leave(Shutdown())

    assert session.exit_cause == "exited with status 0"
    assert ended.notes == []


# --- the last snapshot


async def test_changes_by_tasks_and_threads_since_the_last_cell_are_saved(kept):
    await kept.run(
        "import asyncio, threading\nresults = []; go = threading.Event(); done = threading.Event()\n"
        "def work():\n    go.wait(); results.append('thread'); open('made.txt', 'w').write('x'); done.set(); threading.Event().wait()\n"
        "threading.Thread(target=work, daemon=True).start()\n"
        "async def later():\n    results.append('task')\n    go.set()\n    await asyncio.to_thread(done.wait)\n    print('ready')\n"
        "task = asyncio.create_task(later()); None"
    )
    await kept.cells[1].said("ready")
    before = await saved(kept, 1)

    await kept.process.leave(Shutdown(1))

    *_, last = manifests(kept, after=before)
    assert "made.txt" in [entry.path for entry in last.files]
    assert last.seq == 1


async def test_nothing_is_saved_again_if_nothing_can_have_changed(kept):
    await kept.run("import attrs\nclass A: pass\nmany = [A() for _ in range(9)]; text = {'a': [1]}")
    before = await saved(kept, 1)

    await kept.process.leave(Shutdown(1))

    assert manifests(kept, after=before) == []


async def test_a_state_equal_to_the_saved_one_is_not_saved_again(kept):
    await kept.run(
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\nmany = [[n] for n in range(9)]"
    )
    before = await saved(kept, 1)

    await kept.process.leave(Shutdown(1))

    assert manifests(kept, after=before) == []


async def test_a_file_that_was_flushed_or_written_by_a_handler_is_saved(kept):
    await kept.run("import atexit, pathlib\nw = open('work.txt', 'w'); w.write('in the workspace')")
    await kept.run("atexit.register(pathlib.Path('bye.txt').write_text, 'bye')")
    before = await saved(kept, 2)

    await kept.process.leave(Shutdown(2))

    *_, last = manifests(kept, after=before)
    assert {entry.path: entry.size for entry in last.files} == {"work.txt": 16, "bye.txt": 3}
    assert "pathlib" in last.names


async def test_names_are_saved_as_they_were_before_the_handlers(kept):
    await kept.run(
        "import atexit, threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
        "results = [1]\natexit.register(results.clear)"
    )
    before = await saved(kept, 1)

    await kept.process.leave(Shutdown(1))

    assert manifests(kept, after=before) == []


async def test_nothing_is_named_if_nothing_ends(session):
    await session.run("x = 1")
    ended = await session.process.leave(Shutdown())

    assert (ended.tasks, ended.threads, ended.children, ended.connections) == ([], [], [], [])
