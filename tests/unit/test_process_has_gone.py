"""What the host still sends to a process that has gone goes nowhere: its end is told by itself."""

import asyncio
import socket

import uvloop

from skep_shared.frames import Blob, Interrupt
from skep_workers.host.process import SessionProcess


def test_sending_to_a_process_that_has_just_gone_is_no_error():
    """uvloop raises for a transport that is closed, and that failed the stay of its session."""

    async def send_to_what_has_gone():
        process = SessionProcess(lambda _: None, lambda *_: None)
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
        process._incoming.hello.cancel()

    uvloop.run(send_to_what_has_gone())
