"""What the host sends to a process that has ended is dropped: the end is reported separately."""

import asyncio
import os
import socket
from unittest import mock

import uvloop

from skep_shared.protocol.frames import Blob, Interrupt
from skep_workers.host.process import process as process_module
from skep_workers.host.process.process import SessionProcess


def test_sending_to_a_process_that_has_just_ended_is_no_error():
    """uvloop raises for a transport that is closed, which made the residency fail."""

    async def send_to_ended_process():
        process = SessionProcess(mock.Mock())
        ours, theirs = socket.socketpair()
        transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
        process._transport = process._control = transport
        theirs.close()
        transport.abort()
        for _ in range(10):
            await asyncio.sleep(0)  # it closes in its own time

        process.execute([])
        process.control(Interrupt(1, 1))
        process.ping(0.0)
        await process.send_state(Blob(b"name", b"data"))
        process._router.hello.cancel()

    uvloop.run(send_to_ended_process())


def test_a_process_that_was_never_forked_signals_no_group(monkeypatch):
    """Its pid is 0, and group 0 is the worker's own."""
    signalled = []
    monkeypatch.setattr(os, "killpg", lambda group, _: signalled.append(group))
    monkeypatch.setattr(process_module, "EXIT_STATUS_SECONDS", 0.0)

    async def end_before_the_fork():
        endings = []
        listener = mock.Mock(start_ending=lambda ending: endings.append(asyncio.ensure_future(ending)) or endings[-1])
        process = SessionProcess(listener)
        process.kill()
        await endings[0]
        assert process.gone.is_set()
        process._router.hello.exception()

    uvloop.run(end_before_the_fork())
    assert signalled == []
