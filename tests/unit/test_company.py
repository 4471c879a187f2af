"""Whether user code has threads is told by one look: a thread of the engine's may end between two."""

import threading

from skep_workers.session import company, native_threads


class _EndsMeanwhile(dict):
    """Threads by id, of which one has ended by the time that they are looked at."""

    def __len__(self):
        return super().__len__() + 1


def test_a_thread_of_the_engine_that_ends_meanwhile_is_none_of_the_user(monkeypatch):
    threads = _EndsMeanwhile({1: threading.main_thread()})
    monkeypatch.setattr(native_threads, "_active", threads)

    assert not company.has_threads()


def test_a_thread_of_the_user_counts_and_one_of_the_engine_does_not(monkeypatch):
    own, users = threading.Thread(name="skep-snapshot"), threading.Thread(name="worker")
    threads = {1: threading.main_thread(), 2: own}
    monkeypatch.setattr(native_threads, "_active", threads)
    assert not company.has_threads()

    threads[3] = users
    assert company.has_threads()


def test_the_main_thread_counts_as_no_thread_of_the_user_wherever_it_stands(monkeypatch):
    own = threading.Thread(name="skep-control")
    monkeypatch.setattr(native_threads, "_active", {2: own, 1: threading.main_thread()})

    assert not company.has_threads()
