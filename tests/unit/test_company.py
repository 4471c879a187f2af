"""Whether user code has threads is told by one look: a thread of the engine's may end between two."""

import threading

from skep_workers.session import company


class _EndsMeanwhile(dict):
    """Threads by id, of which one has ended by the time that they are looked at."""

    def __len__(self):
        return super().__len__() + 1


def test_a_thread_of_the_engine_that_ends_meanwhile_is_none_of_the_user(monkeypatch):
    threads = _EndsMeanwhile({1: threading.main_thread()})
    monkeypatch.setattr(company, "_active_threads", threads)

    assert not company.has_threads()


def test_a_thread_of_the_user_counts_and_one_of_the_engine_does_not(monkeypatch):
    own, users = threading.Thread(name="skep-snapshot"), threading.Thread(name="worker")
    monkeypatch.setattr(company, "_active_threads", {1: threading.main_thread(), 2: own})
    assert not company.has_threads()

    company._active_threads[3] = users
    assert company.has_threads()
