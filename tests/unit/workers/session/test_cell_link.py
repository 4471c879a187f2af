"""What the link collects is sent once and in order, whatever interrupts the collecting."""

import os
import socket
from collections.abc import Iterator

import pytest

from skep_shared.protocol.flushed_text import FlushedText
from skep_shared.protocol.frame_codec import FrameDecoder
from skep_shared.protocol.interrupt_page import make_page
from skep_workers.session.attribution.writer import Writer, current_writer
from skep_workers.session.output import link as link_module
from skep_workers.session.output.link import CellLink
from skep_workers.session.safeguards.shield import Shield

CELL = Writer(1, 1)


class Bench:
    """A link on a socket pair, and one stream's `write`."""

    def __init__(self) -> None:
        self.host, self.own = socket.socketpair()
        self.flushed = FlushedText(make_page())
        self.link = CellLink(self.own, Shield(), self.flushed)
        self.link.running = CELL
        self.link.install_write("stdout", self._set_write, self._write_slowly)
        self._decoder = FrameDecoder()

    def _set_write(self, write):
        self.write = write

    def _write_slowly(self, text):
        self.link.write("stdout", text)
        return len(text)

    def sent(self) -> str:
        self.link.send()
        return "".join(frame.text for frame in self._decoder.feed(self.host.recv(65536)))

    def close(self) -> None:
        self.flushed.close()
        self.host.close()
        self.own.close()
        os.close(self.link.wake_fd)


@pytest.fixture
def bench() -> Iterator[Bench]:
    token = current_writer.set(CELL)
    bench = Bench()
    yield bench
    bench.close()
    current_writer.reset(token)


@pytest.mark.parametrize("is_sole_writer", [False, True])
def test_a_flush_amid_a_write_does_not_lose_the_next_write(bench, is_sole_writer, monkeypatch):
    # As a signal handler does that flushes: it runs where a function is called, before the fast path opens.
    def flush_and_find_no_threads() -> bool:
        bench.link.flush()
        return False

    bench.link.is_sole_writer = is_sole_writer
    monkeypatch.setattr(link_module, "has_others", flush_and_find_no_threads)
    bench.write("first\n")
    monkeypatch.setattr(link_module, "has_others", lambda: False)
    bench.write("second\n")

    assert bench.sent() == "first\nsecond\n"


@pytest.mark.parametrize("is_sole_writer", [False, True])
def test_writes_of_both_paths_are_sent_in_order(bench, is_sole_writer):
    bench.link.is_sole_writer = is_sole_writer
    for number in range(5):
        bench.write(f"{number}\n")
    bench.link.write("stdout", "slow\n")
    bench.write("last\n")

    assert bench.sent() == "0\n1\n2\n3\n4\nslow\nlast\n"
