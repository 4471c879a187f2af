"""Objects that checkpoints leave out on purpose: each is named with the reason, and everything else is saved.

dill restores some of these as something else than they were: a lock as held, though nobody is left to release it, a
file that is opened again, at best, though it may have changed. Whoever wants that registers a recipe.
"""

from .cases import read

CASES = read(
    "left out",
    r"""
== a generator [loses: made]
made = (i for i in range(3)); kept = [1]
--
assert kept == [1]
== a lock that is held [loses: lock]
import threading
lock = threading.Lock(); kept = [1]; lock.acquire()
--
assert kept == [1] and threading.Lock().acquire()
== a recursive lock that is held [loses: lock]
import threading
lock = threading.RLock(); kept = [1]; lock.acquire()
--
assert kept == [1]
== an object with a lock that is held [loses: account]
import threading
class Account:
    def __init__(self): self.lock = threading.Lock()
account = Account(); other = Account(); account.lock.acquire()
--
assert not other.lock.locked()
== a lock that another thread holds [loses: lock]
import threading
lock = threading.RLock(); taken = threading.Event(); done = threading.Event()
def hold():
    with lock:
        taken.set()
        done.wait()
holder = threading.Thread(target=hold, daemon=True); holder.start(); taken.wait(); del holder
kept = [1]
--
assert kept == [1] and taken.is_set() and callable(hold)
== a process that nobody has waited for [loses: process]
import subprocess
process = subprocess.Popen(["true"]); kept = [1]
--
assert kept == [1]
== a future that isn't done [loses: future]
import concurrent.futures
future = concurrent.futures.Future(); kept = [1]
--
assert kept == [1]
== an open file [loses: file]
file = open("/etc/hosts"); kept = [1]
--
assert kept == [1]
== an open file for writing [loses: file]
file = open("left-out", "w"); kept = [1]
--
assert kept == [1]
== a socket [loses: sock]
import socket
sock = socket.socket(socket.AF_UNIX); kept = [1]
--
assert kept == [1]
== a running task [loses: task]
import asyncio
async def wait(): await asyncio.sleep(1000)
task = asyncio.get_event_loop().create_task(wait()); kept = [wait]
--
assert kept[0] is wait
== a coroutine that nobody awaited [loses: made]
async def work(): return 1
made = work(); kept = [work]
--
assert kept[0] is work
== a traceback [loses: trace]
try: 1 / 0
except ZeroDivisionError as exc: trace = exc.__traceback__
kept = [1]
--
assert kept == [1]
== a thread [loses: thread]
import threading
thread = threading.Thread(target=print); thread.start(); kept = [1]
--
assert kept == [1]
== a database connection [loses: base]
import sqlite3
base = sqlite3.connect(":memory:"); kept = [1]
--
assert kept == [1]
""",
)
