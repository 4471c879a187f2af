"""A cell that ends its own process is `crashed`, with the cause; the cells after it run, the worker lives."""

import os
import signal

import pytest

import skep

from ..session_processes import pid_of, zygote_of

pytestmark = pytest.mark.anyio

FIND_SOCKETS = """
import os, socket, stat
def own_sockets():
    for name in os.listdir("/proc/self/fd"):
        try:
            if stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                yield int(name)
        except OSError:
            pass
"""


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("import ctypes; ctypes.string_at(0)", "SIGSEGV"),
        ("import os; os._exit(0)", "status 0"),
        ("import os; os._exit(7)", "status 7"),
        ("import os; os.abort()", "SIGABRT"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", "SIGTERM"),
        ("import os, signal; os.killpg(0, signal.SIGKILL)", "SIGKILL"),
        ("import os; os.closerange(3, 65536)", "it closed its connection to the host"),
        (
            "import resource, time\nresource.setrlimit(resource.RLIMIT_NOFILE, (3, 300))\nprint('x')\ntime.sleep(3600)",
            "code of the session has lowered its limit of open files, RLIMIT_NOFILE, to 3",
        ),
    ],
)
async def test_the_cell_is_crashed_with_the_cause(session, code, cause):
    outcome = await session.run(code)

    assert (outcome.status, outcome.error.ename, outcome.attempt) == (skep.CellStatus.CRASHED, "SessionCrashed", 1)
    assert cause in outcome.error.evalue
    with pytest.raises(skep.SessionCrashed):
        outcome.raise_for_status()
    assert (await session.run("6 * 7")).value == 42


BREAK_ENGINE = "import skep_workers.session.output.link as link\nlink.CellLink.set_last_frames = lambda *frames: 1 / 0"


@pytest.mark.parametrize("last", ["", "import time; time.sleep(0)", "import asyncio; await asyncio.sleep(0)"])
async def test_a_failure_of_the_engine_says_what_it_was(session, last):
    outcome = await session.run(f"{BREAK_ENGINE}\n{last}")

    assert (outcome.status, outcome.error.ename) == (skep.CellStatus.CRASHED, "SessionCrashed")
    assert outcome.error.evalue == "the session process ended: the engine failed: ZeroDivisionError: division by zero"
    assert "Traceback" in outcome.text
    assert (await session.run("6 * 7")).value == 42


async def test_what_was_flushed_before_the_crash_is_kept(session):
    outcomes = [await session.run("import os\nprint('last words', flush=True)\nos._exit(1)") for _ in range(5)]

    assert [outcome.text for outcome in outcomes] == ["last words\n"] * 5


async def test_what_was_written_to_descriptor_1_before_the_crash_is_kept(session):
    outcomes = [await session.run("import os\nos.write(1, b'last words\\n')\nos._exit(1)") for _ in range(5)]

    assert [outcome.text for outcome in outcomes] == ["last words\n"] * 5


async def test_cells_queued_after_a_crash_run(session):
    cells = await session.submit_many(["1", "import os; os._exit(1)", *["2"] * 100])
    outcomes = [await cell.outcome() for cell in cells]

    assert outcomes[1].status is skep.CellStatus.CRASHED
    assert [outcome.value for outcome in (outcomes[0], *outcomes[2:])] == [1, *[2] * 100]
    assert {outcome.attempt for outcome in outcomes} == {1}


async def test_event_ids_stay_dense_across_crashes(session):
    await session.submit_many(["print('x')\nimport os; os._exit(1)", "print('y')"] * 5)
    await session.run("1")

    events = [event async for event in session.events()]
    assert [event.id for event in events] == [f"{number}-0" for number in range(1, len(events) + 1)]
    assert [event.kind for event in events].count("cell.finished") == 11
    kinds = [event.kind for event in events]
    assert kinds.count("session.started") + kinds.count("session.restored") == 6


async def test_the_traceback_of_a_segfault_is_in_the_output(session):
    outcome = await session.run("import ctypes\nctypes.string_at(0)")

    assert "Segmentation fault" in outcome.text


async def test_garbage_in_every_descriptor_ends_the_session_process_only(cluster, session):
    owner = (await session.run("1")) and (await session.info()).owner
    code = """
import os
for fd in range(3, 2048):
    try:
        os.write(fd, b"\\xff" * 64)
    except OSError:
        pass
while True: pass
"""
    outcome = await session.run(code)

    assert outcome.status is skep.CellStatus.CRASHED
    assert (await session.run("6 * 7")).value == 42
    assert (await session.info()).owner == owner


GARBAGE = {
    "huge frame": b"\xff\xff\xff\xff",
    "no msgpack": b"\x00\x00\x00\x04\xc1\xc1\xc1\xc1",
    "unknown code": b"\x00\x00\x00\x02\x91\x7f",
    "forged hello": b"\x00\x00\x00\x02\x91\x00",
    "no array": b"\x00\x00\x00\x01\xc0",
    "empty": b"\x00\x00\x00\x00",
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())
async def test_garbage_on_the_protocol_socket_ends_the_session_process_only(session, garbage):
    await session.run("1")
    owner = (await session.info()).owner
    code = f"{FIND_SOCKETS}\nfor fd in own_sockets():\n    os.write(fd, {garbage!r})\nwhile True: pass"
    outcome = await session.run(code)

    assert outcome.status is skep.CellStatus.CRASHED
    assert "protocol" in outcome.error.evalue
    assert (await session.run("6 * 7")).value == 42
    assert (await session.info()).owner == owner


async def test_half_a_frame_blocks_no_session_forever(cluster, session, shared_path, eventually):
    # The host reads the next bytes of the process as the rest of the frame; an interrupt ends that state.
    patient = cluster.session(f"{session.id}-half", options=skep.SessionOptions(interrupt_grace=0.1))
    write = "for fd in own_sockets(): os.write(fd, b'\\x00\\xff\\xff\\xffabc')"
    cell = await patient.submit(f"{FIND_SOCKETS}\n{write}\nos.mkfifo({str(shared_path / 'written')!r})")

    async def is_written():
        return (shared_path / "written").exists()

    await eventually(is_written)
    await cell.interrupt()

    assert not (await cell.outcome()).ok
    assert (await patient.run("6 * 7")).value == 42


async def test_a_crash_in_one_session_does_not_affect_the_others(cluster, session):
    other = cluster.session(f"{session.id}-other")
    pid = await pid_of(other)
    await session.run("import os; os.abort()")

    assert await pid_of(other) == pid


async def test_a_process_that_dies_between_cells_is_replaced(session, process_end):
    pid = await pid_of(session)
    await session.run("import os, threading; threading.Timer(0.01, os._exit, [3]).start()")
    await process_end(pid)

    outcome = await session.run("6 * 7")
    assert outcome.ok or outcome.status is skep.CellStatus.CRASHED
    assert (await session.run("6 * 7")).value == 42


async def test_a_dead_zygote_is_replaced(cluster, session, process_end):
    zygote = await zygote_of(session)
    os.kill(zygote, signal.SIGKILL)
    await process_end(zygote)

    others = [cluster.session(f"{session.id}-{number}") for number in range(4)]
    assert [(await other.run("1")).value for other in others] == [1] * 4
    assert (await session.run("6 * 7")).value == 42
