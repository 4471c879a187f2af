"""A program that ends without closing its client: it doesn't hang, and nothing is printed."""

import subprocess
import sys

import pytest

OPEN = """
import sys, threading, skep.sync
cluster = skep.sync.connect(sys.argv[1]).open()
session = cluster.session(sys.argv[2])
cell = session.submit("1 + 1")
print(cell.outcome().value)
"""
ENDS = {
    "nothing": "",
    "a half-read iterator": "events = session.events(follow=True); next(events)",
    "a daemon thread that waits": """
waits = session.submit("input()")
threading.Thread(target=waits.outcome, daemon=True).start()
for event in waits.events():
    if event.kind == "input.requested":
        break
""",
    "an error": "raise SystemExit(0)",
    "a call at exit": "import atexit; atexit.register(lambda: session.info())",
}
EMBEDDED = """
import sys, skep.sync
cluster = skep.sync.embedded().open()
print(cluster.worker_processes[0].pid, cluster.session("s").run("1 + 1").value, cluster.redis_url)
"""


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_a_client_that_is_left_open_ends_quietly(run, session, end):
    said, complaints, status = run(OPEN + end)
    if "input" in end:
        assert session.answer("")

    assert (said, complaints, status) == ("2\n", "", 0)


def test_an_embedded_cluster_that_is_left_open_is_stopped(process_end):
    program = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", EMBEDDED], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    said, complaints = program.communicate(timeout=45)
    pid, value, url = said.split()

    assert (value, complaints, program.returncode) == ("2", "", 0)
    socket = url.removeprefix("unix://").partition("?")[0]
    assert subprocess.run(["kill", "-0", pid], check=False, capture_output=True).returncode == 1
    assert subprocess.run(["ls", socket], check=False, capture_output=True).returncode != 0
