"""Threads of user code are counted in one step, since a thread of the engine may end between two steps."""

import os
import threading

from skep_workers.session.runtime import fork_safety
from skep_workers.session.safeguards import native_threads


class _EndsMeanwhile(dict):
    """Threads by id; one of them ends before it is looked at."""

    def __len__(self):
        return super().__len__() + 1


def test_a_thread_of_the_engine_that_ends_meanwhile_does_not_count_as_user_code(monkeypatch):
    threads = _EndsMeanwhile({1: threading.main_thread()})
    monkeypatch.setattr(native_threads, "_active", threads)

    assert not fork_safety.has_threads()


def test_threads_of_the_user_count_and_threads_of_the_engine_do_not(monkeypatch):
    own, users = threading.Thread(name="skep-snapshot"), threading.Thread(name="worker")
    threads = {1: threading.main_thread(), 2: own}
    monkeypatch.setattr(native_threads, "_active", threads)
    assert not fork_safety.has_threads()

    threads[3] = users
    assert fork_safety.has_threads()


def test_the_main_thread_never_counts_as_a_thread_of_the_user(monkeypatch):
    own = threading.Thread(name="skep-control")
    monkeypatch.setattr(native_threads, "_active", {2: own, 1: threading.main_thread()})

    assert not fork_safety.has_threads()


def test_a_thread_of_the_user_counts_alongside_those_that_the_engine_knows_by_number(monkeypatch):
    main = threading.main_thread()
    threads = {main.ident: main, 2: threading.Thread(name="skep-control")}
    monkeypatch.setattr(native_threads, "_active", threads)
    monkeypatch.setattr(native_threads, "own_idents", {2})
    assert not fork_safety.has_threads()

    threads[3] = threading.Thread(name="worker")
    assert fork_safety.has_threads()


class _HeldLock:
    """The lock of a thread of the engine: the thread ends, but can't leave before `gate` opens."""

    def __init__(self):
        self.is_ending, self.gate = threading.Event(), threading.Event()

    def acquire(self):
        """Acquire nothing."""

    def release(self):
        self.is_ending.set()
        self.gate.wait(10)


def test_a_thread_of_the_engine_that_has_ended_is_distinguished_from_a_librarys(monkeypatch):
    others, _ = fork_safety.more_threads(os.getpid(), native_threads.own_threads())
    thread, lock = native_threads.NativeThread(lambda: None, "skep-test"), _HeldLock()
    monkeypatch.setattr(thread, "_running", lock)
    thread.start()
    lock.is_ending.wait(10)

    found, ending = fork_safety.more_threads(os.getpid(), native_threads.own_threads())
    lock.gate.set()
    assert found == others
    assert ending > 0


def test_a_thread_of_the_engine_that_has_not_run_yet_is_no_librarys(monkeypatch):
    """On a busy machine a new thread waits for its first turn; the kernel counts it already."""
    others, _ = fork_safety.more_threads(os.getpid(), native_threads.own_threads())
    gate, has_run = threading.Event(), threading.Event()
    start = native_threads.start_new_thread
    monkeypatch.setattr(
        native_threads, "start_new_thread", lambda function, _: start(lambda: (gate.wait(10), function()), ())
    )
    native_threads.NativeThread(has_run.set, "skep-test").start()

    found, _ = fork_safety.more_threads(os.getpid(), native_threads.own_threads())
    gate.set()
    has_run.wait(10)
    assert found == others
