"""A client that was opened before a fork: replaced in the child, untouched in the parent, without a warning."""

import pytest

ENDS = {"exit": "sys.exit(0)", "at once": "os._exit(0)"}
IDLE = """
import os, sys, skep.sync
opening = skep.sync.connect(sys.argv[1])
cluster = opening.open()
session = cluster.session(sys.argv[2])
cell = session.submit("print('of the parent'); 1")
followed = session.events(follow=True)
assert next(followed).kind == "session.started"
pid = os.fork()
if pid == 0:
    print("child:", session.run("2 + 2").value, cell.outcome().text.strip(), cell.seq, session.files.list(), flush=True)
    try:
        list(followed)
    except Exception as exc:
        print("child:", exc, flush=True)
    END
_, status = os.waitpid(pid, 0)
assert status == 0, status
print("parent:", session.run("3 + 3").value, cell.outcome().text.strip())
kinds = []
for event in followed:
    kinds.append(event.kind)
    if kinds.count("cell.finished") == 3:
        break
print("parent:", kinds.count("cell.finished"))
"""
UNUSED = """
import gc, os, sys, skep.sync
opening = skep.sync.connect(sys.argv[1])
cluster = opening.open()
session = cluster.session(sys.argv[2])
session.run("1")
pid = os.fork()
if pid == 0:
    opening.close()
    del opening, cluster, session
    gc.collect()
    END
_, status = os.waitpid(pid, 0)
assert status == 0, status
for _ in range(20):
    assert session.run("1").ok
print("parent: fine")
"""
BUSY = """
import os, sys, threading, skep.sync
opening = skep.sync.connect(sys.argv[1])
cluster = opening.open()
ended, counts = threading.Event(), []

def work(number):
    session, count = cluster.session(f"{sys.argv[2]}-{number}"), 0
    while not ended.is_set() or count < 5:
        assert session.run(f"{count}").value == count
        count += 1
    counts.append(count == session.info().seq)

threads = [threading.Thread(target=work, args=[number]) for number in range(4)]
for thread in threads:
    thread.start()
children = []
for number in range(8):
    pid = os.fork()
    if pid == 0:
        session = cluster.session(f"{sys.argv[2]}-child-{number}")
        assert [session.run(str(value)).value for value in range(3)] == [0, 1, 2]
        os._exit(7)
    children.append(pid)
statuses = {os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children}
ended.set()
for thread in threads:
    thread.join()
print(statuses, counts)
"""
NESTED = """
import os, sys, skep.sync
cluster = skep.sync.connect(sys.argv[1]).open()
session = cluster.session(sys.argv[2])
generations = [session.run("x = 1; x").value]
for generation in range(3):
    pid = os.fork()
    if pid:
        _, status = os.waitpid(pid, 0)
        assert session.run("x").ok
        sys.exit(os.waitstatus_to_exitcode(status))
    print(session.run("x += 1; x").value, flush=True)
"""
HELD = """
import os, sys, redis, skep.sync
server = redis.Redis.from_url(sys.argv[1])
before = len(server.client_list())
opening = skep.sync.connect(sys.argv[1])
session = opening.open().session(sys.argv[2])
session.submit("1")  # no worker runs it
assert len(server.client_list()) > before
reading, writing = os.pipe()
pid = os.fork()
if pid == 0:
    server.close()
    os.close(writing)
    os.read(reading, 1)
    os._exit(0)
opening.close()
while len(server.client_list()) > before:
    pass
os.close(writing)
os.waitpid(pid, 0)
server.close()
print("closed while the child lives")
"""
EMBEDDED = """
import os, sys, skep.sync
with skep.sync.embedded() as cluster:
    session = cluster.session("s")
    session.run("x = 1")
    pid = os.fork()
    if pid == 0:
        print("child:", session.run("x + 1").value, len(cluster.worker_processes), flush=True)
        try:
            cluster.worker_processes[0].kill()
        except Exception as exc:
            print("child:", type(exc).__name__, flush=True)
        sys.exit(0)
    os.waitpid(pid, 0)
    print("parent:", session.run("x").value)
"""


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_a_child_gets_a_connection_of_its_own_and_the_parent_continues(run, end):
    said, complaints, status = run(IDLE.replace("END", end))

    lines = said.splitlines()
    assert (complaints, status) == ("", 0)
    assert lines[0] == "child: 4 of the parent 1 []"
    assert "before a fork" in lines[1]
    assert lines[2:] == ["parent: 6 of the parent", "parent: 3"]


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_a_child_that_drops_or_closes_the_parent_s_client_does_not_disturb_it(run, end):
    assert run(UNUSED.replace("END", end)) == ("parent: fine\n", "", 0)


def test_a_child_keeps_no_connection_of_the_parent_open(run, redis_server):
    assert run(HELD, redis_server.url) == ("closed while the child lives\n", "", 0)


def test_forks_in_the_middle_of_calls_of_other_threads_lose_nothing(run):
    said, complaints, status = run(BUSY)

    # Python itself warns of forks of a process with threads of the user's own, from 3.12 on.
    assert [
        line for line in complaints.splitlines() if "DeprecationWarning" not in line and "os.fork" not in line
    ] == []
    assert (said, status) == ("{7} [True, True, True, True]\n", 0)


def test_forks_of_forks_have_connections_of_their_own(run):
    assert run(NESTED) == ("2\n3\n4\n", "", 0)


def test_a_child_uses_the_servers_of_an_embedded_cluster_and_does_not_end_them(run):
    said, complaints, status = run(EMBEDDED)

    assert said.splitlines() == ["child: 2 1", "child: ClientUnusable", "parent: 1"]
    assert (complaints, status) == ("", 0)
