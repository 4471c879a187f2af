"""What is left out of checkpoints on purpose: it is named with the reason, and all around it is kept.

dill restores some of these as something else than they were: a lock in the state it had, a file that is opened again,
at best, though it may have changed. Whoever wants that registers a recipe.
"""

from .cases import read

CASES = read(
    "left out",
    r"""
== a generator [loses: made]
made = (i for i in range(3)); kept = [1]
--
assert kept == [1]
== a lock [loses: lock]
import threading
lock = threading.Lock(); kept = [1]
--
assert kept == [1] and threading.Lock().acquire()
== an open file [loses: file]
file = open("/etc/hosts"); kept = [1]
--
assert kept == [1]
== an open file for writing [loses: file]
file = open("/tmp/skep-fidelity-left-out", "w"); kept = [1]
--
assert kept == [1]
== a socket [loses: sock]
import socket
sock = socket.socket(); kept = [1]
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
