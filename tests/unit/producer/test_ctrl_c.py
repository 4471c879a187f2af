"""Ctrl-C before Redis has replied to the submission of a cell."""

import asyncio
import os
import signal

import pytest

from skep.cli.ctrl_c import CtrlC
from skep.cli.output.screen import Screen

pytestmark = pytest.mark.anyio


class _Cell:
    """Stands in for a cell; keeps whether it was interrupted."""

    def __init__(self):
        self.interrupted = asyncio.Event()

    async def interrupt(self):
        self.interrupted.set()
        return True


async def submission(cell, reply):
    await reply.wait()
    return cell


@pytest.fixture
async def press():
    """Return a coroutine function that presses Ctrl-C, and returns once the signal has been handled."""
    before = signal.getsignal(signal.SIGINT)

    async def press(ctrl_c):
        os.kill(os.getpid(), signal.SIGINT)
        while not ctrl_c.was_pressed:  # noqa: ASYNC110 - nothing else signals it
            await asyncio.sleep(0)

    yield press
    asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)
    signal.signal(signal.SIGINT, before)


async def test_a_press_before_the_reply_interrupts_the_cell_once_it_is_known(press):
    ctrl_c, cell, reply = CtrlC(Screen()), _Cell(), asyncio.Event()
    with ctrl_c.watched():
        submitted = asyncio.create_task(ctrl_c.submit(submission(cell, reply)))
        await asyncio.sleep(0)  # it has begun
        await press(ctrl_c)
        reply.set()

        assert await submitted is cell
        await cell.interrupted.wait()
        ctrl_c.cell_has_started = True


async def test_a_press_between_two_cells_is_for_the_second(press):
    ctrl_c, first, second, reply = CtrlC(Screen()), _Cell(), _Cell(), asyncio.Event()
    with ctrl_c.watched():
        at_once = asyncio.Event()
        at_once.set()
        await ctrl_c.submit(submission(first, at_once))
        ctrl_c.cell_has_started = True
        submitted = asyncio.create_task(ctrl_c.submit(submission(second, reply)))
        await asyncio.sleep(0)
        await press(ctrl_c)
        reply.set()

        await submitted
        await second.interrupted.wait()
        ctrl_c.cell_has_started = True
    assert not first.interrupted.is_set()


async def test_without_a_reply_the_command_leaves_and_says_so(press, capsys, monkeypatch):
    monkeypatch.setattr("skep.cli.ctrl_c.END_SECONDS", 0.01)
    reply = asyncio.Event()  # never set

    async def command():
        ctrl_c = CtrlC(Screen())
        with ctrl_c.watched():
            submitted = asyncio.create_task(ctrl_c.submit(submission(_Cell(), reply)))
            await asyncio.sleep(0)
            await press(ctrl_c)
            await submitted

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(command())
    assert "the cell may be in the queue" in capsys.readouterr().err
