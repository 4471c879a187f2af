"""Locks that are not held, and objects that are built on them."""

from .cases import read

CASES = read(
    "locks",
    r"""
== a lock
import threading
lock = threading.Lock(); again = lock; both = [lock]
--
assert not lock.locked() and lock is again is both[0]
with lock: assert both[0].locked()
== a recursive lock
import threading
lock = threading.RLock(); both = [lock]
--
with lock:
    with both[0]: assert lock is both[0]
== an object with a lock
import threading
class Account:
    def __init__(self): self.lock = threading.Lock(); self.total = 0
    def add(self, amount):
        with self.lock: self.total += amount; return self.total
account = Account(); account.add(5)
--
assert account.add(2) == 7 and not account.lock.locked()
== a lock that objects share
import threading
class Part:
    def __init__(self, lock): self.lock = lock
lock = threading.Lock(); one = Part(lock); other = Part(lock)
--
assert one.lock is other.lock is lock
== a lock of a class, a closure and a decorator
import functools, threading
class Registry:
    lock = threading.RLock(); known = {}
    @classmethod
    def add(cls, name):
        with cls.lock: cls.known[name] = len(cls.known); return cls.known[name]
def synchronized(function):
    lock = threading.Lock()
    @functools.wraps(function)
    def run(*args):
        with lock: return function(*args)
    return run
@synchronized
def double(x): return 2 * x
Registry.add("a")
--
assert Registry.add("b") == 1 and double(4) == 8
== a condition
import threading
condition = threading.Condition(); ready = []
--
def work():
    with condition: ready.append(1); condition.notify_all()
with condition:
    thread = threading.Thread(target=work); thread.start()
    assert condition.wait_for(lambda: ready, timeout=20)
thread.join(); del thread
== events, set and not
import threading
went = threading.Event(); went.set(); waits = threading.Event()
--
assert went.is_set() and not waits.is_set() and not waits.wait(0)
waits.set()
assert waits.wait(20)
== semaphores
import threading
three = threading.Semaphore(3); three.acquire(); bounded = threading.BoundedSemaphore(1)
--
assert [three.acquire(blocking=False) for _ in range(3)] == [True, True, False]
bounded.acquire(); bounded.release()
try: bounded.release()
except ValueError: pass
else: raise AssertionError
== a barrier
import threading
barrier = threading.Barrier(1)
--
assert barrier.wait(20) == 0 and barrier.parties == 1
== queues with what is in them
import queue
first = queue.Queue(2); first.put("a"); first.put([1]); last = queue.LifoQueue(); last.put(1); last.put(2)
least = queue.PriorityQueue(); least.put(5); least.put(3)
--
assert first.full() and first.get() == "a" and first.get() == [1] and first.unfinished_tasks == 2
assert last.get() == 2 and least.get() == 3
first.task_done(); first.task_done(); first.join()
== a handler of logging, and its logger
import logging
class Kept(logging.Handler):
    def __init__(self): super().__init__(); self.records = []
    def emit(self, record): self.records.append(record.getMessage())
handler = Kept(); handler.setFormatter(logging.Formatter("%(message)s"))
log = logging.Logger("own", logging.DEBUG); log.addHandler(handler); log.info("one")
--
handler.handle(logging.makeLogRecord({"msg": "two"}))
assert handler.records == ["one", "two"]
== locks, events and queues of asyncio
import asyncio
lock = asyncio.Lock(); went = asyncio.Event(); went.set(); items = asyncio.Queue(); items.put_nowait([1])
--
async with lock: assert lock.locked()
await went.wait()
assert await items.get() == [1]
== a future that is done
import concurrent.futures
with concurrent.futures.ThreadPoolExecutor(1) as pool: future = pool.submit(lambda: [1, 2])
future.result(); del pool
--
assert future.done() and future.result() == [1, 2]
== a process that has ended
import subprocess
process = subprocess.run(["true"]); ended = subprocess.Popen(["false"]); ended.wait()
--
assert process.returncode == 0 and ended.returncode == 1 and ended.poll() == 1
== a timer of a schedule
import sched
times = sched.scheduler(lambda: 0, lambda _: None); seen = []
times.enter(0, 1, seen.append, ("a",))
--
times.run(blocking=False)
assert seen == ["a"]
""",
)
