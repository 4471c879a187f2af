"""What a tree of processes uses, as the worker measures it."""

import os
import subprocess
import sys
import threading

import pytest

from skep_workers.host.limits.process_tree import measure_tree, proportional_bytes

GROUP = """
import os, sys, threading
stop = threading.Event()
threads = [threading.Thread(target=stop.wait) for _ in range(int(sys.argv[1]))]
for thread in threads: thread.start()
child = os.fork()
memory = bytearray(b"x") * int(sys.argv[2])
if child:
    print("ready", flush=True)
sys.stdin.read()
if child: stop.set()
"""


@pytest.fixture
def start_group():
    """Return a function that starts a process with threads and one child, and waits until they are there."""
    started = []

    def start(*, threads: int = 0, memory_bytes: int = 1) -> int:
        command = [sys.executable, "-c", GROUP, str(threads), str(memory_bytes)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        return process.pid

    yield start
    for process in started:
        process.communicate()


def test_threads_and_descendants_count(start_group):
    usage = measure_tree(start_group(threads=5))

    assert usage.processes == 7
    assert len(usage.pids) == 2


def test_measuring_stops_beyond_the_limit(start_group):
    usage = measure_tree(start_group(threads=5), 3)

    assert usage.processes == 6
    assert len(usage.pids) == 1


def test_memory_counts(start_group):
    size = 50_000_000
    before = measure_tree(start_group())
    usage = measure_tree(start_group(memory_bytes=size))

    assert usage.resident_bytes > before.resident_bytes + size
    assert proportional_bytes(usage.pids) > size


def test_shared_memory_is_divided_among_those_who_share_it(start_group):
    usage = measure_tree(start_group())

    assert 0 < proportional_bytes(usage.pids) < usage.resident_bytes


def test_processor_time_of_an_ended_child_counts():
    before = measure_tree(os.getpid()).cpu_seconds
    work = "import time\nwhile time.process_time() < 0.2: pass"
    subprocess.run([sys.executable, "-c", work], check=True)

    assert measure_tree(os.getpid()).cpu_seconds >= before + 0.15


def test_a_child_that_has_ended_counts_until_its_parent_waits_for_it():
    alone = measure_tree(os.getpid()).processes
    process = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

    assert measure_tree(os.getpid()).processes == alone + 1
    process.wait()
    assert measure_tree(os.getpid()).processes == alone


def test_a_process_that_does_not_exist_uses_nothing():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()

    usage = measure_tree(process.pid)

    assert (usage.processes, usage.cpu_seconds, usage.resident_bytes, usage.pids) == (0, 0.0, 0, [])
    assert proportional_bytes([process.pid]) == 0


def test_children_of_other_threads_count():
    alone = len(measure_tree(os.getpid()).pids)
    started: list[subprocess.Popen[bytes]] = []
    thread = threading.Thread(
        target=lambda: started.append(subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE))
    )
    thread.start()
    thread.join()

    assert len(measure_tree(os.getpid()).pids) == alone + 1
    started[0].communicate(b"\n")
