"""Privileges, limits and inherited descriptors that a process gives up."""

import os
import resource
import select
import signal
import subprocess

import pytest

from skep_workers.sandbox.kernel.open_descriptors import close_all_except
from skep_workers.sandbox.kernel.privileges import (
    die_with_parent,
    drop_capabilities,
    effective_capabilities,
    give_up_new_privileges,
    has_given_up_new_privileges,
    limit_capabilities,
)
from skep_workers.sandbox.kernel.resource_limits import limit_resources


def test_no_capability_is_left_and_a_program_gets_none(in_child):
    def attempt():
        limit_capabilities()
        give_up_new_privileges()
        drop_capabilities()
        in_program = subprocess.run(["/bin/cat", "/proc/self/status"], capture_output=True, text=True, check=True)
        lines = [line for line in in_program.stdout.splitlines() if line.startswith(("CapEff", "NoNewPrivs"))]
        return effective_capabilities(), has_given_up_new_privileges(), lines

    assert in_child(attempt) == (0, True, ["CapEff:\t0000000000000000", "NoNewPrivs:\t1"])


def test_a_process_dies_with_its_parent():
    # The parent ends when the child has reported that it is ready; a pipe without a writer says that the child ended.
    alive, held = os.pipe()
    parent = os.fork()
    if parent == 0:
        ready, report = os.pipe()
        own = os.getpid()
        if os.fork() == 0:
            die_with_parent(own)
            os.write(report, b"x")
            signal.pause()
        os.read(ready, 1)
        os._exit(0)
    os.close(held)
    os.waitpid(parent, 0)
    poll = select.poll()
    poll.register(alive, select.POLLIN)

    assert poll.poll(10_000)
    assert os.read(alive, 1) == b""
    os.close(alive)


def test_a_process_whose_parent_has_ended_is_reported(in_child):
    with pytest.raises(ProcessLookupError, match="has ended"):
        in_child(lambda: die_with_parent(2**22))


def test_everything_is_closed_except_what_is_kept():
    read, write = os.pipe()
    others = [os.dup(read) for _ in range(40)]
    kept = {write, others[0], others[20], others[39]}
    pid = os.fork()
    if pid == 0:
        close_all_except(kept)
        os.write(write, bytes(fd for fd in range(200) if _is_open(fd)))
        os._exit(0)
    os.waitpid(pid, 0)
    answer = os.read(read, 200)
    for fd in (read, write, *others):
        os.close(fd)

    assert set(answer) == {fd for fd in kept if fd < 200}


def _is_open(fd):
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def test_limits_cannot_be_raised_again(in_child):
    def attempt():
        limit_capabilities()
        limit_resources()
        drop_capabilities()
        with pytest.raises((ValueError, OSError)):
            resource.setrlimit(resource.RLIMIT_CORE, (1, 1))
        return resource.getrlimit(resource.RLIMIT_CORE)

    assert in_child(attempt) == (0, 0)
