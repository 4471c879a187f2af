"""A process that waits for itself forever is distinguished from one that works, sleeps or waits for another one."""

import contextlib
import os
import signal
import threading
import time

import pytest

from skep_workers.session.checkpoint.saving.deadlocks import DeadlockWatch


@contextlib.contextmanager
def forked(work):
    """Fork a child that reports that it has started, and works; kill it at the end."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(write, b"x")
        work()
        os._exit(0)
    os.read(read, 1)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(read)
        os.close(write)


def wait_for_itself():
    lock = threading.Lock()
    with lock:
        lock.acquire()


def wait_for_itself_in_every_thread():
    thread = threading.Thread(target=wait_for_itself)
    thread.start()
    thread.join()


@pytest.mark.parametrize("work", [wait_for_itself, wait_for_itself_in_every_thread])
def test_a_process_that_waits_for_its_own_lock_is_found(work):
    with forked(work) as pid:
        watch = DeadlockWatch(pid)
        while not watch.is_deadlocked():  # until the child waits
            os.sched_yield()


def spin():
    while True:
        pass


def wait_a_while_for_a_lock():
    lock = threading.Lock()
    with lock:
        lock.acquire(timeout=3600)


def let_one_thread_work():
    threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
    wait_for_itself()


@pytest.mark.parametrize(
    "work",
    [spin, lambda: time.sleep(3600), wait_a_while_for_a_lock, let_one_thread_work, lambda: os.read(os.pipe()[0], 1)],
)
def test_a_process_that_may_continue_is_not_found(work):
    with forked(work) as pid:
        watch = DeadlockWatch(pid)

        assert not any(watch.is_deadlocked() for _ in range(200))


def test_an_ended_process_is_not_found():
    with forked(lambda: None) as pid:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)

        assert not any(DeadlockWatch(pid).is_deadlocked() for _ in range(3))
