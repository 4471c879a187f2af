"""Resources for the engine at the limits: reserve, limits, threads and signals, each in a separate process."""

import subprocess
import sys

import pytest

PRELUDE = """
import os, resource, signal, sys, threading
from skep_workers.session.safeguards.resource_reserve import Relief, deepen, raise_limits, relief
from skep_workers.session.safeguards.native_threads import Condition, Event, NativeThread, has_others, own_idents
from skep_workers.session.interrupt.signal_hold import SignalHold
"""


def run(code):
    """Run this in a fresh process, which it changes for good; returns what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + code], capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


USE_UP = """
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
relief.prepare()
def use_up():
    used = []
    try:
        while True: used.append(os.dup(0))
    except OSError:
        return used
"""


def test_the_reserve_has_descriptors_when_all_others_are_used_up():
    code = f"{USE_UP}\nuse_up()\nprint(len(relief.call(os.pipe)), len(relief.descriptors) > 0)"

    assert run(code) == ["2", "True"]


def test_the_reserve_is_filled_again_afterwards():
    code = f"""{USE_UP}
before = len(relief.descriptors)
with relief: inside = len(relief.descriptors)
print(inside < before, len(relief.descriptors) == before)"""

    assert run(code) == ["True", "True"]


def test_a_descriptor_that_user_code_has_reused_is_not_closed():
    code = f"""{USE_UP}
for fd in relief.descriptors: os.close(fd)
mine = use_up()
with relief: pass
print(all(os.fstat(fd) for fd in mine))"""

    assert run(code) == ["True"]


def test_soft_limits_are_raised_inside_and_restored_outside():
    code = """
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
sys.setrecursionlimit(100)
with relief:
    with relief: print(resource.getrlimit(resource.RLIMIT_FSIZE)[0] == hard, sys.getrecursionlimit() >= 1000)
    print(resource.getrlimit(resource.RLIMIT_FSIZE)[0] == hard)
print(resource.getrlimit(resource.RLIMIT_FSIZE)[0], sys.getrecursionlimit())"""

    assert run(code) == ["True", "True", "True", "1000", "100"]


def test_work_that_fails_with_relief_raises():
    code = """
calls = []
def work():
    calls.append(1)
    raise OSError("no")
try: relief.call(work)
except OSError as exc: print(exc, len(calls))"""

    assert run(code) == ["no", "2"]


def test_a_thread_of_the_engine_is_a_named_daemon_and_does_not_count_as_user_code():
    code = """
started, going = Event(), Event()
seen = []
def work():
    seen.append(threading.current_thread().name)
    started.set()
    going.wait()
thread = NativeThread(work, "skep-test")
print(thread.is_alive())
thread.start()
started.wait()
print(seen[0], thread.is_alive(), has_others(), len(own_idents), [t.name for t in threading.enumerate()][1])
going.set()
thread.join()
print(thread.is_alive(), len(own_idents), len(threading.enumerate()))
print(threading.Thread().name)"""

    assert run(code) == ["False", "skep-test", "True", "False", "1", "skep-test", "False", "0", "1", "Thread-1"]


def test_a_thread_counts_as_ended_in_a_fork():
    code = """
going = Event()
thread = NativeThread(going.wait, "skep-test")
thread.start()
pid = os.fork()
if not pid:
    thread.join()
    os._exit(0 if not thread.is_alive() and not own_idents else 1)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), thread.is_alive())"""

    assert run(code) == ["0", "True"]


def test_waits_of_the_engine_work_whatever_has_been_patched():
    code = """
threading.Lock = threading._allocate_lock = threading.Event = threading.Condition = threading.Thread = None
ready = Condition(threading.RLock())
done = []
def work():
    with ready:
        done.append(1)
        ready.notify_all()
with ready:
    NativeThread(work, "skep-test").start()
    while not done: ready.wait()
print(done, Event().wait(0))"""

    assert run(code) == ["[1]", "False"]


HOLD = """
raised = []
def handler(*_): raise ValueError("rang")
hold = SignalHold()
hold.begin()
"""


def test_signals_without_a_handler_of_a_cell_are_not_blocked():
    assert run(f"{HOLD}\nhold.block_after(None)\nprint(hold.is_held)") == ["False"]


def test_a_signal_that_a_cell_handles_is_delivered_when_the_hold_is_released():
    code = f"""{HOLD}
signal.signal(signal.SIGALRM, handler)
hold.block_after(None)
signal.raise_signal(signal.SIGALRM)
print(hold.is_held)
try: hold.release()
except ValueError as exc: print(exc, hold.is_held)
hold.block_after(None)
signal.raise_signal(signal.SIGALRM)
hold.release_safely(lambda exc: print("reported", exc))
print(signal.pthread_sigmask(signal.SIG_BLOCK, ()))"""

    assert run(code) == ["True", "rang", "False", "reported", "rang", "set()"]


def test_signals_that_a_cell_blocks_itself_remain_blocked():
    code = f"""{HOLD}
signal.signal(signal.SIGALRM, handler)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
hold.block_after(None)
hold.release()
print([number.name for number in signal.pthread_sigmask(signal.SIG_BLOCK, ())])"""

    assert run(code) == ["['SIGUSR1']"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_exceptions_of_handlers_do_not_keep_the_engine_from_blocking_signals(when):
    code = f"""{HOLD}
import skep_workers.session.interrupt.signal_hold as module
signal.signal(signal.SIGALRM, handler)
change, calls = module.pthread_sigmask, []
def interrupted(*args):
    calls.append(args)
    if len(calls) < 4 and {when == "before"}: handler()
    result = change(*args)
    if len(calls) < 4: handler()
    return result
module.pthread_sigmask = interrupted
hold.block_after(None)
print(hold.is_held, int(signal.SIGALRM) in change(signal.SIG_BLOCK, ()))
module.pthread_sigmask = change
hold.release()
print(change(signal.SIG_BLOCK, ()))"""

    assert run(code) == ["True", "True", "set()"]
