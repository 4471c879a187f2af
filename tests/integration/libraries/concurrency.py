"""gevent, freezegun, asyncio, threads, executors and context variables."""

from .case import read

CASES = read(
    "concurrency",
    r"""
== a queue that was waited on
import asyncio
q = asyncio.Queue()
async def put(): await asyncio.sleep(.01); await q.put('a')
t = asyncio.create_task(put()); got = await q.get(); await t; del t
q.put_nowait('b')
--
assert got == 'a' and await q.get() == 'b'
== an event that was waited on
import asyncio
ev = asyncio.Event()
async def setter(): await asyncio.sleep(.01); ev.set()
t = asyncio.create_task(setter()); await ev.wait(); await t; del t
--
assert ev.is_set() and await ev.wait()
== a lock and a semaphore under contention
import asyncio
lock = asyncio.Lock(); sem = asyncio.Semaphore(2); seen = []
async def use(n):
    async with lock: await asyncio.sleep(.005); seen.append(n)
    async with sem: await asyncio.sleep(.005)
await asyncio.gather(*(use(n) for n in range(5)));
--
await use(9)
assert seen[-1] == 9 and not lock.locked()
== a condition and a barrier that were waited on
import asyncio
cond = asyncio.Condition(); bar = asyncio.Barrier(2); seen = []
async def wait():
    async with cond: await cond.wait(); seen.append("c")
t = asyncio.create_task(wait()); await asyncio.sleep(0)
async with cond: cond.notify_all()
await t; await asyncio.gather(bar.wait(), bar.wait()); del t
--
async with cond: cond.notify_all()
assert seen == ["c"] and bar.n_waiting == 0 and sorted(await asyncio.gather(bar.wait(), bar.wait())) == [0, 1]
== an object that holds a used queue
import asyncio
class Bus:
    def __init__(self): self.q = asyncio.Queue(); self.log = []
    async def run(self):
        self.log.append(await self.q.get())
bus = Bus(); t = asyncio.create_task(bus.run()); await asyncio.sleep(0); await bus.q.put(1); await t; del t
--
assert bus.log == [1] and bus.q.empty()
bus.q.put_nowait(2); await bus.run(); assert bus.log == [1, 2]
== queues of every kind [or loses: sq]
import asyncio, queue, collections
q = asyncio.Queue(); q.put_nowait(1); lk = asyncio.Lock(); ev = asyncio.Event(); ev.set(); pq = asyncio.PriorityQueue(3); pq.put_nowait((2, "b")); pq.put_nowait((1, "a")); sq = queue.SimpleQueue(); sq.put(5); lifo = queue.LifoQueue(); lifo.put(6)
--
assert q.get_nowait() == 1 and ev.is_set() and not lk.locked()
assert pq.get_nowait() == (1, "a") and pq.maxsize == 3 and sq.get_nowait() == 5 and lifo.get_nowait() == 6
-- told
assert q.get_nowait() == 1 and ev.is_set() and not lk.locked() and pq.get_nowait() == (1, "a") and lifo.get_nowait() == 6
== a task and a future that are done [or loses: task, fut]
import asyncio
async def w(): return [5]
task = asyncio.create_task(w()); await task
fut = asyncio.get_running_loop().create_future(); fut.set_result(7)
result = await asyncio.gather(w(), w())
--
assert result == [[5], [5]]
assert task.result() == [5] and fut.result() == 7
-- told
assert result == [[5], [5]] and await w() == [5]
== context variables, a token and a context [or loses: tok, ctx]
import contextvars
cv = contextvars.ContextVar('cv', default=1); tok = cv.set(5); ctx = contextvars.copy_context()
--
assert cv.get() == 5
-- told
assert cv.get() == 5
== a context that holds values [or loses: ctx]
import contextvars
v = contextvars.ContextVar('v', default=0)
v.set(3); kept = {'v': v}
ctx = contextvars.copy_context()
--
assert v.get() == 3 and kept['v'] is v
assert ctx[v] == 3
-- told
assert v.get() == 3 and kept['v'] is v
== thread locals
import threading
class L(threading.local): n = 0
loc = threading.local(); loc.x = 1; own = L(); own.n = 5
class Svc:
    def __init__(self): self.loc = threading.local(); self.v = 3
svc = Svc()
--
assert svc.v == 3
assert loc.x == 1 and own.n == 5
== executors [or loses: pool, svc]
import concurrent.futures as cf
pool = cf.ThreadPoolExecutor(2); r = pool.submit(pow, 2, 5).result()
class Svc:
    def __init__(self): self.pool = cf.ThreadPoolExecutor(1); self.done = [1]
svc = Svc()
--
assert r == 32 and svc.done == [1]
assert pool.submit(pow, 2, 3).result() == 8 and svc.pool.submit(pow, 2, 4).result() == 16
-- told
assert r == 32 and Svc().done == [1]
== locks of threads, used and free
import threading
lock = threading.RLock(); cond = threading.Condition(lock); sem = threading.BoundedSemaphore(2); ev = threading.Event(); ev.set(); sem.acquire(); bar = threading.Barrier(1)
with cond: cond.notify_all()
--
assert sem.acquire(blocking=False) and not sem.acquire(blocking=False) and ev.is_set() and bar.wait() == 0
with cond: assert lock.acquire(blocking=False); lock.release()
== a thread that has ended, a timer and a thread that runs [loses: runs] [or loses: ended, timer, stop]
import threading
stop = threading.Event(); log = []; ended = threading.Thread(target=log.append, args=(1,)); ended.start(); ended.join(); timer = threading.Timer(1000, print); runs = threading.Thread(target=stop.wait, daemon=True); runs.start()
--
assert log == [1] and not stop.is_set() and not ended.is_alive()
-- told
assert log == [1] and not threading.Event().is_set()
== processes and pools [loses: process, pool]
import multiprocessing as mp, multiprocessing.pool, subprocess, sys
process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE); pool = multiprocessing.pool.ThreadPool(1); done = subprocess.run(["true"]); name = mp.get_start_method(); kept = [1]
--
assert kept == [1] and done.returncode == 0 and mp.get_start_method() == name
== an exception of a task, and a group
import asyncio
async def fails(): raise ValueError("no")
async def many():
    async with asyncio.TaskGroup() as group: group.create_task(fails())
try: await many()
except* ValueError as exc: group = exc
results = await asyncio.gather(fails(), return_exceptions=True)
--
assert str(group.exceptions[0]) == "no" and type(results[0]) is ValueError
== events, queues and locks of gevent [or loses: ev, q, sem, group, pool, green]
import gevent, gevent.event, gevent.lock, gevent.pool, gevent.queue
ev = gevent.event.Event(); ev.set(); q = gevent.queue.Queue(); q.put(1); sem = gevent.lock.Semaphore(2); pool = gevent.pool.Pool(2); group = gevent.pool.Group(); green = gevent.spawn(pow, 2, 3); green.join(); value = green.value; kept = [1]
--
assert value == 8 and kept == [1] and ev.is_set() and q.get_nowait() == 1 and sem.acquire(blocking=False)
-- told
assert value == 8 and kept == [1]
again = gevent.spawn(pow, 2, 4); again.join(); assert again.value == 16
== functions that gevent runs
import gevent
def work(n): gevent.sleep(0); return n * factor
factor = 2; done = [g.value for g in gevent.joinall([gevent.spawn(work, n) for n in range(3)])]
--
factor = 3; jobs = [gevent.spawn(work, 2)]; gevent.joinall(jobs)
assert done == [0, 2, 4] and jobs[0].value == 6
== a clock that is frozen [or loses: freezer]
import datetime, freezegun
kept = [1]; day = datetime.date(2026, 1, 2); freezer = freezegun.freeze_time("2020-03-04"); freezer.start(); frozen = datetime.datetime.now(); later = datetime.timedelta(1)
--
assert kept == [1] and day == datetime.date(2026, 1, 2) and frozen.year == 2020 and frozen + later == datetime.datetime(2020, 3, 5)
freezer.stop(); assert datetime.date.today().year > 2020
-- told
assert kept == [1] and day.year == 2026 and frozen.year == 2020 and frozen + later == datetime.datetime(2020, 3, 5)
== a clock that was frozen
import datetime, freezegun
with freezegun.freeze_time("2020-03-04"): frozen = datetime.datetime.now(); day = datetime.date.today(); made = [datetime.datetime(2021, 1, 1)]
@freezegun.freeze_time("2019-01-01")
def year(): return datetime.date.today().year
--
assert frozen == datetime.datetime(2020, 3, 4) and day.year == 2020 and made[0].year == 2021 and year() == 2019 and datetime.date.today().year > 2020
""",
)
