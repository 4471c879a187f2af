"""Sockets that the proxy makes for a process whose seccomp filter passes the calls on."""

import asyncio
import errno
import os
import select
import signal
import socket
from pathlib import Path

import pytest

from skep_shared.isolation.network import Network
from skep_workers.proxy.socket_supply import make_loopback_socket, source_address, supply_sockets
from skep_workers.sandbox.denied_calls import network_denials
from skep_workers.sandbox.kernel.notifications import answer_with_error, receive_call
from skep_workers.sandbox.kernel.privileges import give_up_new_privileges
from skep_workers.sandbox.kernel.seccomp import build_filter, install_filter_with_listener

pytestmark = pytest.mark.anyio


def is_open(descriptor):
    return Path(f"/proc/self/fd/{descriptor}").exists()


class Child:
    """A forked process with the filter of an allow-list, which runs a function and reports its result as text."""

    def __init__(self, work):
        ours, theirs = socket.socketpair()
        self._read, write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                give_up_new_privileges()
                listener = install_filter_with_listener(build_filter(network_denials(Network.ALLOW_LIST)))
                socket.send_fds(theirs, [b"x"], [listener])
                os.close(listener)
                os.write(write, str(work()).encode())
            except BaseException as exc:  # noqa: BLE001 - the test sees it
                os.write(write, repr(exc).encode())
            finally:
                os._exit(0)
        theirs.close()
        os.close(write)
        _, (self.listener,), _, _ = socket.recv_fds(ours, 1, 1)
        ours.close()

    async def result(self):
        """Return the text, after the process has ended."""
        with os.fdopen(self._read, "rb") as pipe:
            text = await asyncio.to_thread(pipe.read)
        await asyncio.to_thread(os.waitpid, self.pid, 0)
        return text.decode()


async def test_a_socket_reaches_this_machine_with_the_address_of_its_session():
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)

        def work():
            with socket.create_connection(server.getsockname(), timeout=20) as made:
                made.sendall(b"hello")
                inheritable = made.get_inheritable()
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK, socket.IPPROTO_TCP) as other:
                return inheritable, other.getblocking(), other.getsockname()[0]

        child = Child(work)
        supply_sockets(5, child.listener)
        accepted, (address, _) = await asyncio.to_thread(server.accept)
        with accepted:
            assert accepted.recv(5) == b"hello"
        assert address == source_address(5) == "127.64.0.6"
        assert await child.result() == "(False, False, '127.64.0.6')"


async def test_many_threads_get_sockets_at_the_same_time():
    def work():
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(16) as pool:
            made = list(pool.map(lambda _: socket.socket(), range(200)))
        return len({each.fileno() for each in made})

    child = Child(work)
    supply_sockets(1, child.listener)

    assert await child.result() == "200"


async def test_a_process_without_free_descriptors_gets_an_error():
    def work():
        import resource

        resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
        socket.socket()

    child = Child(work)
    supply_sockets(1, child.listener)

    assert "OSError(24, 'Too many open files')" in await child.result()


async def test_a_process_that_is_killed_while_it_waits_does_not_disturb_others():
    child = Child(socket.socket)
    other = Child(lambda: socket.socket().getsockname()[0])
    select.select([child.listener], [], [])
    os.kill(child.pid, signal.SIGKILL)
    supply_sockets(1, child.listener)
    supply_sockets(2, other.listener)

    assert await other.result() == source_address(2)
    assert await child.result() == ""


async def test_the_listener_is_closed_after_the_end_of_the_process():
    child = Child(lambda: "done")
    assert await child.result() == "done"
    supply_sockets(1, child.listener)
    while is_open(child.listener):  # noqa: ASYNC110 - nothing is notified
        await asyncio.sleep(0.01)


async def test_without_a_listener_the_calls_fail():
    """The reason why the worker keeps the listener: a proxy that ends would otherwise end the network."""

    def work():
        os.read(wait, 1)
        socket.socket()

    wait, go = os.pipe()
    child = Child(work)
    os.close(child.listener)
    os.write(go, b"x")

    assert "Function not implemented" in await child.result()
    os.close(wait)
    os.close(go)


async def test_a_call_is_answered_with_an_error():
    child = Child(socket.socket)
    select.select([child.listener], [], [])
    held = receive_call(child.listener)
    assert held.arguments[:2] == (socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    answer_with_error(child.listener, held, errno.EACCES)

    assert "PermissionError" in await child.result()
    os.close(child.listener)


def test_a_loopback_socket_does_not_leave_this_machine():
    with make_loopback_socket("127.64.0.1") as made:
        made.settimeout(0.1)
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16).rstrip(b"\0") == b"lo"
        with pytest.raises(OSError, match=r"timed out|unreachable|Invalid argument|not permitted"):
            made.connect(("192.0.2.1", 80))
        assert made.getsockname()[0] == "127.64.0.1"


def test_each_session_has_an_address_of_its_own():
    assert source_address(0) == "127.64.0.1"
    assert len({source_address(key) for key in range(1000)}) == 1000
    assert source_address(0x3FFFFE - 1) == "127.127.255.254"
