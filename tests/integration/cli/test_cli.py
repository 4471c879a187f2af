"""The command line as people and scripts meet it: real processes, a real Redis, real workers."""

import asyncio
import contextlib
import json
import os
import select
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from redis.asyncio import Redis

from skep.local.embedded import WorkerProcess
from skep.local.redis_server import RedisServer

from ...sandbox_tier import TIER
from .commands import skep_command

pytestmark = pytest.mark.timeout(120)

GONE_SECONDS = 20


@pytest.fixture
def scratch() -> Iterator[Path]:
    """Where a command puts temporary files; afterwards no file and no process may be left of it."""
    path = Path(tempfile.mkdtemp(prefix="skepcli-", dir="/tmp"))  # short, for unix sockets
    yield path
    assert_nothing_is_left(path)
    path.rmdir()


@pytest.fixture
def env(scratch: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SKEP_")}
    for name in ("FORCE_COLOR", "NO_COLOR", "COLUMNS"):
        kept.pop(name, None)
    return {**kept, "TMPDIR": str(scratch), "TERM": "xterm-256color"}


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    """A shard with one worker."""
    server = RedisServer()
    asyncio.run(server.__aenter__())
    worker = WorkerProcess(server.url, flags=("--log-level", "error"))
    try:
        asyncio.run(worker.start())
        yield server.url
    finally:
        asyncio.run(worker.stop())
        asyncio.run(server.stop())


@pytest.fixture
def session_id() -> str:
    return f"s-{uuid.uuid4().hex[:8]}"


def skep(*arguments: str, env: dict[str, str], stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(skep_command(*arguments), env=env, input=stdin, capture_output=True, text=True, check=False)


def lines_of(result: subprocess.CompletedProcess[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def assert_nothing_is_left(path: Path) -> None:
    mark = f"={path}".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            fd = os.pidfd_open(int(entry.name))
            try:
                if mark in (entry / "environ").read_bytes():
                    left = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    assert select.select([fd], [], [], GONE_SECONDS)[0], f"still running: {left}"
            finally:
                os.close(fd)
    assert list(path.iterdir()) == []


@contextlib.contextmanager
def start(*arguments: str, env: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A command that runs; it is killed should the test fail before its end."""
    with subprocess.Popen(
        skep_command(*arguments),
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def read_until(process: subprocess.Popen[str], text: str) -> str:
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if text in line:
            return seen
    raise AssertionError(f"{text!r} did not come, only {seen!r}")


@contextlib.contextmanager
def running_file(code: str, env: dict[str, str], tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """`skep run` on a file with this code, which has printed `going`."""
    file = tmp_path / "cells.py"
    file.write_text(code)
    with start("run", str(file), env=env) as process:
        read_until(process, "going")
        yield process


class Terminal:
    """A command on a terminal of 80 columns."""

    def __init__(self, *arguments: str, env: dict[str, str]) -> None:
        self.master, slave = os.openpty()
        self.process = subprocess.Popen(
            skep_command(*arguments), env={**env, "COLUMNS": "80"}, stdin=slave, stdout=slave, stderr=slave
        )
        os.close(slave)
        self.text = ""

    def read_until(self, text: str) -> str:
        while text not in self.text:
            data = self._read()
            assert data, f"{text!r} did not come, only {self.text!r}"
        return self.text

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def end(self) -> int:
        while self._read():
            pass
        os.close(self.master)
        return self.process.wait()

    def _read(self) -> str:
        try:
            data = os.read(self.master, 65536).decode(errors="replace")
        except OSError:  # EIO: the other side has gone
            data = ""
        self.text += data
        return data


PERCENT = """\
#!/usr/bin/env python
# %% [markdown]
# # A title
# %% load
x = 40
# %%
import sys
print("to stdout")
print("to stderr", file=sys.stderr)
x + 2
"""


def test_run_of_a_percent_file_keeps_stdout_and_stderr_apart(env, tmp_path):
    file = tmp_path / "cells.py"
    file.write_text(PERCENT)
    result = skep("run", str(file), env=env)
    assert (result.returncode, result.stdout, result.stderr) == (0, "to stdout\n42\n", "to stderr\n")


def test_run_of_a_notebook_runs_its_code_cells(env, tmp_path):
    file = tmp_path / "book.ipynb"
    cells = [
        {"cell_type": "markdown", "source": ["# no code"]},
        {"cell_type": "code", "source": ["y = 6\n", "print('a list of lines')"]},
        {"cell_type": "code", "source": "y * 7"},
    ]
    file.write_text(json.dumps({"nbformat": 4, "cells": cells}))
    result = skep("run", str(file), env=env)
    assert (result.returncode, result.stdout, result.stderr) == (0, "a list of lines\n42\n", "")


@pytest.mark.real_start
def test_run_reads_stdin(env):
    result = skep("run", "-", env=env, stdin="print('from stdin')\nawait __import__('asyncio').sleep(0, 'done')")
    assert (result.returncode, result.stdout) == (0, "from stdin\n'done'\n")


def test_run_stops_at_the_first_cell_that_fails_and_shows_why(env, tmp_path):
    file = tmp_path / "cells.py"
    file.write_text("# %%\nprint(1)\n# %%\nprint(2, end='')\n1 / 0\n# %%\nprint(3)\n")
    result = skep("run", str(file), env=env)
    assert (result.returncode, result.stdout) == (1, "1\n2\n")
    assert "Traceback (most recent call last):" in result.stderr
    assert result.stderr.endswith("skep: cell 2 of 3 failed: ZeroDivisionError: division by zero; 1 not run\n")


def test_run_with_keep_going_runs_what_follows_and_still_fails(env, tmp_path):
    file = tmp_path / "cells.py"
    file.write_text("# %%\n1 / 0\n# %%\nprint('after')\n")
    result = skep("run", str(file), "--keep-going", env=env)
    assert (result.returncode, result.stdout) == (1, "after\n")
    assert "skep: cell 1 of 2 failed: ZeroDivisionError" in result.stderr


def test_run_with_json_prints_every_event_as_one_line(env, tmp_path):
    file = tmp_path / "cells.py"
    file.write_text("print('hello')\n{'answer': 42}")
    result = skep("run", str(file), "--json", env=env)
    events = lines_of(result)
    assert [event["kind"] for event in events][:2] == ["cell.queued", "cell.started"]
    assert "".join(str(event["text"]) for event in events if event["kind"] == "output") == "hello\n"
    assert [event["value"] for event in events if event["kind"] == "result"] == [{"answer": 42}]
    assert (events[-1]["kind"], events[-1]["status"], result.returncode) == ("cell.finished", "finished", 0)


def test_run_on_a_cluster_leaves_a_session_and_says_which(env, tmp_path, redis_url):
    file = tmp_path / "My cells!.py"
    file.write_text("7")
    result = skep("run", str(file), "--redis", redis_url, env=env)
    assert (result.returncode, result.stdout) == (0, "7\n")
    name = result.stderr.split()[1]
    assert name.startswith("run-My-cells-")
    assert f"skep replay {name} --redis" in result.stderr
    assert "7" in skep("replay", name, "--redis", redis_url, env=env).stdout.splitlines()


@pytest.mark.real_start
def test_run_answers_input_from_stdin(env, tmp_path):
    file = tmp_path / "ask.py"
    file.write_text(
        "name = input('who? ')\nprint('hello', name)\ntry:\n    input()\nexcept EOFError:\n    print('over')"
    )
    result = skep("run", str(file), env=env, stdin="Bo\n")
    assert (result.returncode, result.stdout) == (0, "who? hello Bo\nover\n")


@pytest.mark.real_start
def test_ctrl_c_interrupts_the_running_cell_and_stops_the_run(env, tmp_path):
    with running_file("# %%\nprint('going')\nwhile True:\n    pass\n# %%\nprint('never')\n", env, tmp_path) as process:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
        assert (process.returncode, out) == (130, "")
        assert "KeyboardInterrupt" in err
        assert err.endswith("skep: cell 1 of 2 was interrupted: KeyboardInterrupt; 1 not run\n")


STUBBORN = """\
print("going")
while True:
    try:
        while True:
            pass
    except BaseException:
        print("not me")
"""


@pytest.mark.real_start
def test_a_second_ctrl_c_leaves_at_once_whatever_the_cell_does(env, tmp_path):
    with running_file(STUBBORN, env, tmp_path) as process:
        process.send_signal(signal.SIGINT)
        read_until(process, "not me")
        process.send_signal(signal.SIGINT)
        process.communicate()
        assert process.returncode == 130


@pytest.mark.real_start
def test_sigterm_leaves_nothing_behind(env, tmp_path):
    with running_file("print('going')\nwhile True:\n    pass\n", env, tmp_path) as process:
        process.terminate()
        process.communicate()
        assert process.returncode == 130


@pytest.mark.real_start
def test_a_reader_that_leaves_ends_a_run_in_silence(env, tmp_path):
    with running_file(
        "print('going')\nimport time\nwhile True:\n    print('on'); time.sleep(0.01)\n", env, tmp_path
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        with process.stderr:
            assert process.stderr.read() == ""
        assert process.wait() == 141


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["run", "nope.py"], "skep: nope.py: no such file or directory"),
        (["run", "x.py", "--bogus"], "skep: No such option: --bogus (see skep run --help)"),
        (["bogus"], "skep: No such command 'bogus' (see skep --help)"),
        (["exec", "1"], "skep: Missing option '--session' (see skep exec --help)"),
        (["replay", "x", "--html"], "skep: Option '--html' requires an argument (see skep replay --help)"),
        (
            ["tenants", "set", "x", "--max-pending"],
            "skep: Option '--max-pending' requires an argument (see skep tenants set --help)",
        ),
        (["exec", "1", "--session", "a b"], "skep: session_id: 'a b' is refused: "),
        (["sessions", "--prefix", "a b"], "skep: prefix: 'a b' is refused: letters, digits"),
        (["sessions", "--label", "app"], "skep: label: 'app' is refused: NAME=VALUE is needed"),
        (["sessions", "--label", "a=1", "--label", "a=2"], "skep: label: 'a=2' is refused: a is '1' already"),
        (["sessions", "--redis", "http://x"], "skep: redis_url: 'http://x' is refused: "),
        (["run", "-", "--prefix", "x"], "skep: --prefix: 'x' is refused: "),
    ],
)
def test_a_wrong_command_line_is_refused_in_one_line(env, arguments, complaint):
    result = skep(*arguments, env=env)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(complaint)
    assert result.stderr.count("\n") == 1


def test_a_file_of_ones_own_is_not_run_in_a_sandbox(env):
    """A sandbox closes the file's directory and stdin to it; the session failed with a PermissionError of /proc."""
    result = skep("run", "-", env=env | {"SKEP_SANDBOX": "basic"})

    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("skep: SKEP_SANDBOX: 'basic' is refused: ")


@pytest.mark.parametrize(
    "content", ["", "[]", "no json", '{"cells": 3}', '{"cells": [{"cell_type": "code", "source": 3}]}']
)
def test_what_is_no_notebook_is_refused_in_one_line(env, tmp_path, content):
    file = tmp_path / "book.ipynb"
    file.write_text(content)
    result = skep("run", str(file), env=env)
    assert (result.returncode, result.stdout) == (2, "")
    assert "this is no notebook" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["sessions", "--state", "asleep"], "state: 'asleep' is refused: "),
        (["sessions", "--id-prefix", "a b"], "prefix: 'a b' is refused: "),
        (["sessions", "--label", "app"], "label: 'app' is refused: "),
        (["tokens", "create", "--can", "fly"], "can: 'fly' is refused: "),
        (["tokens", "create", "--expires", "soon"], "expires: 'soon' is refused: "),
    ],
)
def test_a_wrong_flag_is_refused_before_redis_is_asked(env, arguments, named):
    result = skep(*arguments, "--redis", "redis://127.0.0.1:1", env=env)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(f"skep: {named}")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [["sessions"], ["exec", "1", "--session", "s"], ["replay", "s"], ["tour"]])
def test_a_redis_that_is_not_there_is_told_in_one_line(env, arguments):
    result = skep(*arguments, "--redis", "redis://127.0.0.1:1", env=env)
    assert result.returncode == 3
    assert result.stderr.startswith("skep: Redis at redis://127.0.0.1:1 is unavailable: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.real_start
def test_a_redis_that_cannot_be_started_is_told_in_one_line(env, tmp_path):
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    result = skep("run", "-", env={**env, "TMPDIR": str(folder)}, stdin="1")
    assert list(folder.iterdir()) == []
    assert result.returncode == 3
    assert "redis-server did not start" in result.stderr
    assert result.stderr.count("\n") == 1


def test_exec_runs_cells_in_one_session(env, redis_url, session_id):
    place = ["--session", session_id, "--redis", redis_url]
    assert skep("exec", "x = 41", *place, env=env).returncode == 0
    result = skep("exec", "x + 1", *place, env=env)
    assert (result.returncode, result.stdout, result.stderr) == (0, "42\n", "")
    result = skep("exec", "-", *place, env=env, stdin="print(x)")
    assert (result.returncode, result.stdout) == (0, "41\n")
    result = skep("exec", "x / 0", *place, env=env)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.endswith("ZeroDivisionError: division by zero\n")


def test_the_redis_url_comes_from_the_environment_too(env, redis_url, session_id):
    result = skep("exec", "1 + 1", "--session", session_id, env={**env, "SKEP_REDIS_URL": redis_url})
    assert (result.returncode, result.stdout) == (0, "2\n")


def test_replay_begins_behind_the_event_that_was_named(env, redis_url, session_id):
    place = ["--redis", redis_url]
    for code in ("print('first')", "print('second')"):
        skep("exec", code, "--session", session_id, *place, env=env)
    events = lines_of(skep("replay", session_id, "--json", *place, env=env))
    assert [event["id"] for event in events] == [f"{n}-0" for n in range(1, len(events) + 1)]
    last_of_first = next(event for event in events if event["kind"] == "cell.finished")
    rest = lines_of(skep("replay", session_id, "--json", "--after", str(last_of_first["id"]), *place, env=env))
    assert rest == events[events.index(last_of_first) + 1 :]
    shown = skep("replay", session_id, "--after", str(last_of_first["id"]), *place, env=env).stdout
    assert shown.splitlines() == ["[2] print('second')", "second"]


def test_replay_with_speed_shows_the_same(env, redis_url, session_id):
    place = ["--redis", redis_url]
    skep(
        "exec",
        "import time\nfor n in range(3):\n    print(n)\n    time.sleep(0.05)",
        "--session",
        session_id,
        *place,
        env=env,
    )
    plain = skep("replay", session_id, *place, env=env)
    assert skep("replay", session_id, "--speed", "5", *place, env=env).stdout == plain.stdout
    assert "\x1b" not in plain.stdout


def test_replay_follows_until_the_session_is_closed(env, redis_url, session_id):
    place = ["--redis", redis_url]
    skep("exec", "1", "--session", session_id, *place, env=env)
    with start("replay", session_id, "--follow", *place, env=env) as process:
        read_until(process, "[1] 1")
        skep("exec", "'news'", "--session", session_id, *place, env=env)
        read_until(process, "'news'")
        assert skep("close", session_id, *place, env=env).returncode == 0
        out, _ = process.communicate()
        assert (process.returncode, out) == (0, "· session closed\n")


@pytest.mark.real_start
def test_ctrl_c_ends_a_replay_that_follows(env, redis_url, session_id):
    skep("exec", "1", "--session", session_id, "--redis", redis_url, env=env)
    with start("replay", session_id, "--follow", "--redis", redis_url, env=env) as process:
        read_until(process, "[1] 1")
        process.send_signal(signal.SIGINT)
        assert process.communicate()[1] == ""
        assert process.returncode == 130


def test_replay_into_a_reader_that_leaves_is_silent(env, redis_url, session_id):
    skep(
        "exec",
        "for n in range(20000): print('a line of output', n)",
        "--session",
        session_id,
        "--redis",
        redis_url,
        env=env,
    )
    with start("replay", session_id, "--redis", redis_url, env=env) as process:
        read_until(process, "session started")
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        with process.stderr:
            assert process.stderr.read() == ""
        assert process.wait() == 141


def test_listings_show_what_is_there(env, redis_url, session_id):
    place = ["--redis", redis_url]
    skep("exec", "print('said')", "--session", session_id, *place, env=env)
    skep("exec", "1 / 0", "--session", session_id, *place, env=env)

    table = skep("sessions", *place, env=env).stdout.splitlines()
    assert table[0].split() == ["SESSION", "STATE", "DONE", "EVENTS", "ACTIVE", "WORKER"]
    (row,) = [line.split() for line in table if line.startswith(session_id)]
    assert row[1:3] == ["open", "2/2"]
    (record,) = [found for found in lines_of(skep("sessions", "--json", *place, env=env)) if found["id"] == session_id]
    assert (record["state"], record["cursor"]) == ("open", 2)

    (worker,) = lines_of(skep("workers", "--json", *place, env=env))
    assert record["owner"] == worker["id"]
    listed = skep("workers", *place, env=env).stdout
    assert str(worker["id"]) in listed
    assert f"{TIER} ({worker['sandbox_blocked_by']})" in listed
    assert worker["sandbox"] == TIER
    assert (worker["sandbox_blocked_by"] == "SKEP_SANDBOX asks for none") is (TIER == "none")

    shown = skep("show", session_id, *place, env=env).stdout
    assert "2 done, 0 pending" in shown
    assert "ZeroDivisionError: division by zero" in shown
    (record,) = lines_of(skep("show", session_id, "--json", *place, env=env))
    assert [cell["status"] for cell in record["cells"]] == ["finished", "failed"]
    assert record["cells"][0]["text"] == "said\n"


def test_interrupt_ends_the_running_cell_and_the_session_goes_on(env, redis_url, session_id):
    place = ["--redis", redis_url]
    with start("exec", "print('going')\nwhile True: pass", "--session", session_id, *place, env=env) as process:
        read_until(process, "going")
        assert skep("interrupt", session_id, *place, env=env).returncode == 0
        _, err = process.communicate()
        assert process.returncode == 1
        assert err.endswith("skep: the cell was interrupted: KeyboardInterrupt\n")
        assert skep("exec", "'alive'", "--session", session_id, *place, env=env).stdout == "'alive'\n"
        assert skep("interrupt", session_id, *place, env=env).stdout == f"nothing to interrupt in {session_id}\n"


@pytest.mark.real_start
def test_ctrl_c_during_exec_interrupts_the_cell_on_the_cluster(env, redis_url, session_id):
    with start(
        "exec", "print('going')\nwhile True: pass", "--session", session_id, "--redis", redis_url, env=env
    ) as process:
        read_until(process, "going")
        process.send_signal(signal.SIGINT)
        process.communicate()
        assert process.returncode == 130
        (record,) = lines_of(skep("show", session_id, "--json", "--redis", redis_url, env=env))
        assert [cell["status"] for cell in record["cells"]] == ["interrupted"]


def test_close_with_purge_forgets_the_session(env, redis_url, session_id):
    place = ["--redis", redis_url]
    skep("exec", "1", "--session", session_id, *place, env=env)
    assert skep("close", session_id, "--purge", *place, env=env).returncode == 0
    result = skep("show", session_id, *place, env=env)
    assert (result.returncode, result.stderr) == (2, f"skep: there is no session '{session_id}'\n")


def test_a_session_is_listed_rolled_back_forked_and_hibernated(env, redis_url, session_id):
    place, new = ["--redis", redis_url], f"{session_id}-new"
    for code in ("x = 1", "x = 2; made = (i for i in ())"):
        skep("exec", code, "--session", session_id, *place, env=env)

    table = skep("checkpoints", session_id, *place, env=env).stdout.splitlines()
    assert table[0].split() == ["CHECKPOINT", "NAME", "SIZE", "LOST", "VARIABLES"]
    assert [line.split()[0] for line in table[1:]] == ["1-0", "2-0"]
    assert table[2].split()[1:2] + table[2].split()[-3:] == ["head", "B", "1", "x"]
    first, second = lines_of(skep("checkpoints", session_id, "--json", *place, env=env))
    assert (first["id"], first["names"], first["is_head"], first["name"]) == ("1-0", ["x"], False, None)
    assert isinstance(first["bytes"], int)
    assert list(second["lost"]) == ["made"]

    rolled = skep("rollback", session_id, "1-0", *place, env=env)
    assert (rolled.returncode, rolled.stdout) == (0, f"session {session_id} continues from checkpoint 1-0\n")
    assert skep("exec", "x", "--session", session_id, *place, env=env).stdout == "1\n"
    forked = skep("fork", session_id, new, "--at", "2-0", *place, env=env)
    assert (forked.returncode, forked.stdout) == (0, f"session {new} starts from checkpoint 2-0 of {session_id}\n")
    assert skep("exec", "x", "--session", new, *place, env=env).stdout == "2\n"
    assert skep("hibernate", new, *place, env=env).returncode == 0
    assert skep("exec", "x + 1", "--session", new, *place, env=env).stdout == "3\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["checkpoints", "S"],
        ["rollback", "S", "1-0"],
        ["rollback", "S", "a name"],
        ["fork", "S", "T"],
        ["hibernate", "S"],
        ["update", "S", "--idle-seconds", "60"],
    ],
)
def test_what_is_not_there_is_named_without_a_traceback(env, redis_url, session_id, arguments):
    arguments = [session_id if word == "S" else word for word in arguments]
    result = skep(*arguments, "--redis", redis_url, env=env)

    assert (result.returncode, result.stdout) == (2, "")
    assert session_id in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_fork_to_an_id_that_is_taken_is_refused(env, redis_url, session_id):
    place = ["--redis", redis_url]
    skep("exec", "1", "--session", session_id, *place, env=env)
    result = skep("fork", session_id, session_id, *place, env=env)

    assert result.returncode == 2
    assert f"'{session_id}' is refused" in result.stderr


@pytest.mark.real_start
def test_without_a_worker_the_user_is_told_so_and_can_leave(env, redis_url, session_id):
    with start("exec", "1", "--session", session_id, "--redis", redis_url, "--prefix", "empty", env=env) as process:
        assert process.stderr is not None
        assert "no worker is alive there" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        process.communicate()
        assert process.returncode == 130


def test_ctrl_c_leaves_a_cell_that_no_worker_has_started(env, redis_url, session_id):
    with start("exec", "1", "--session", session_id, "--redis", redis_url, "--prefix", "empty", env=env) as process:
        with redis.Redis.from_url(redis_url) as client:
            assert client.xread({f"empty:session:{session_id}:cells": "0"}, block=20_000)  # until it is submitted
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate()
        assert process.returncode == 130
        assert "the cell has not started" in stderr


@pytest.mark.real_start
def test_worker_flags_are_the_worker_programs_own(env):
    result = skep("worker", "--help", env=env)
    assert result.returncode == 0
    assert "--lease-seconds" in result.stdout
    assert skep("worker", "--bogus", env=env).returncode == 2


@pytest.mark.real_start
def test_version_and_help(env):
    assert skep("--version", env=env).stdout.startswith("skep ")
    result = skep(env=env)
    assert result.returncode == 0
    for command in (
        "tour", "run", "exec", "worker", "replay", "sessions", "workers", "show", "interrupt", "checkpoints",
        "rollback", "fork", "hibernate", "update", "close", "doctor",
    ):  # fmt: skip
        assert f"\n  {command} " in result.stdout
    assert "..." not in result.stdout.partition("Commands:")[2]  # no summary is too long for 80 columns


def test_the_doctor_shows_which_sandboxes_the_machine_permits(env):
    shown = skep("doctor", "sandbox", env=env)
    (report,) = lines_of(skep("doctor", "sandbox", "--json", env=env))

    assert shown.returncode == (3 if report["strongest"] == "none" else 0), shown.stderr
    for mechanism in report["mechanisms"]:
        assert f"\n{mechanism['mechanism']} " in shown.stdout
    assert f"the strongest tier that works here is {report['strongest']}" in shown.stdout


def test_the_doctor_without_a_subject_names_the_commands(env):
    result = skep("doctor", env=env)

    assert result.returncode == 2
    assert "skep doctor --help" in result.stderr


@pytest.mark.real_start
def test_on_a_terminal_there_are_colours_and_progress(env, tmp_path):
    file = tmp_path / "cells.py"
    file.write_text(PERCENT)
    terminal = Terminal("run", str(file), env=env)
    terminal.read_until("✓ 2 cells in")
    assert terminal.end() == 0
    assert "[1/2]" in terminal.text
    assert "\x1b[2;31mto stderr" in terminal.text
    assert "\x1b[32m42" in terminal.text


def test_on_a_terminal_output_can_colour_itself_and_nothing_worse(env, tmp_path):
    file = tmp_path / "rude.py"
    file.write_text(r"print('\x1b[1;35mpink\x1b[0m \x1b]0;title\x07\x1b[2Jcleared\x9b5nbell\x07 50%\r100%')")
    terminal = Terminal("run", str(file), env=env)
    assert terminal.end() == 0
    assert "\x1b[1;35mpink\x1b[0m clearedbell 50%\r100%" in terminal.text.replace("5nbell", "bell")
    for harmful in ("title", "\x1b[2J", "\x9b", "\x07"):
        assert harmful not in terminal.text


RUDE = r"\x1b]0;title\x07\x1b[2J"
SAYS_IT = {
    "output": f"print('{RUDE}')",
    "result": f"class R:\n    def __repr__(self): return '{RUDE}'\nR()",
    "error": f"raise ValueError('{RUDE}')",
    "error's name": f"raise type('{RUDE}', (Exception,), {{}})",
    "warning": f"import warnings; warnings.warn('{RUDE}')",
    "prompt": f"try: input('{RUDE}')\nexcept EOFError: pass",
    "variable that can't be saved": f"globals()['{RUDE}'] = (i for i in ())",
}


@pytest.mark.parametrize("how", SAYS_IT)
def test_on_a_terminal_no_words_of_a_session_control_it_live_or_again(env, redis_url, session_id, how):
    place = ["--redis", redis_url]
    terminals = [Terminal("exec", SAYS_IT[how], "--session", session_id, *place, env=env)]
    if how == "prompt":
        terminals[0].type("\x04")
    terminals[0].end()
    for arguments in (["replay", session_id], ["show", session_id], ["checkpoints", session_id], ["sessions"]):
        terminals.append(Terminal(*arguments, *place, env=env))
        assert terminals[-1].end() == 0
    for terminal in terminals:
        for harmful in ("\x1b]0", "\x1b[2J", "\x07"):
            assert harmful not in terminal.text


def test_with_raw_a_terminal_gets_what_cells_write(env, tmp_path, redis_url, session_id):
    file = tmp_path / "rude.py"
    file.write_text(f"print('{RUDE}')")
    place = ["--session", session_id, "--redis", redis_url]
    commands = [
        ["run", str(file), "--raw", *place],
        ["exec", f"print('{RUDE}')", "--raw", *place],
        ["replay", session_id, "--raw", "--redis", redis_url],
    ]
    for command in commands:
        terminal = Terminal(*command, env=env)
        assert terminal.end() == 0
        assert "\x1b]0;title\x07\x1b[2J" in terminal.text


def test_exec_ends_a_cell_by_its_timeout(env, redis_url, session_id):
    place = ["--session", session_id, "--redis", redis_url]
    result = skep("exec", "import signal; signal.pause()", "--timeout", "0.2", *place, env=env)
    assert (result.returncode, result.stdout) == (1, "")
    reason = "KeyboardInterrupt: the cell ran into its timeout of 0.2 s"
    assert result.stderr.endswith(f"skep: the cell timed out: {reason}\n")
    assert skep("exec", "1", "--timeout", "60", *place, env=env).returncode == 0

    result = skep("exec", "1", "--timeout", "-1", *place, env=env)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("skep: timeout: -1.0 is refused: ")
    assert result.stderr.endswith("(given by --timeout)\n")


def test_exec_leaves_with_the_status_of_sys_exit(env, redis_url, session_id):
    place = ["--session", session_id, "--redis", redis_url]
    result = skep("exec", "import sys; sys.exit(9)", *place, env=env)
    assert (result.returncode, result.stdout, result.stderr) == (9, "", "")


def test_run_on_a_cluster_passes_arguments_and_keeps_the_exit_status(env, tmp_path, redis_url):
    file = tmp_path / "f.py"
    file.write_text("import sys\nprint(sys.argv[1:])\nsys.exit(5)")
    result = skep("run", str(file), "--redis", redis_url, "--", "a", "b", env=env)
    assert (result.returncode, result.stdout) == (5, "['a', 'b']\n")


def test_a_variable_that_is_no_setting_is_told_of(env, redis_url):
    wrong = {**env, "SKEP_REDIS_ULR": "x"}
    result = skep("sessions", "--redis", redis_url, env=wrong)
    told = "SKEP_REDIS_ULR in the environment is not a setting and is ignored; did you mean SKEP_REDIS_URL?"
    # A second line says so if there are no sessions, which depends on the tests before.
    assert (result.returncode, result.stderr.splitlines()[0]) == (0, f"skep: {told}")
    result = skep("worker", "--redis", "redis://127.0.0.1:1", "--log-format", "json", env=wrong)
    entries = [json.loads(line) for line in result.stderr.splitlines()]
    assert [entry["reason"] for entry in entries if entry["event"] == "environment.unknown"] == [told]


def test_a_refused_value_is_told_with_its_variable(env):
    result = skep("sessions", env={**env, "SKEP_REDIS_URL": "http://x"})
    assert result.returncode == 2
    assert result.stderr.startswith("skep: redis_url: 'http://x' is refused: ")
    assert result.stderr.endswith(" (given by SKEP_REDIS_URL)\n")
    result = skep("worker", env={**env, "SKEP_LEASE_SECONDS": "soon"})
    assert result.returncode == 2
    assert result.stderr.startswith("skep worker: lease_seconds: 'soon' is refused: ")
    assert result.stderr.endswith(" (given by SKEP_LEASE_SECONDS)\n")


@pytest.mark.real_start
def test_on_a_terminal_a_cell_can_ask(env, tmp_path):
    file = tmp_path / "ask.py"
    file.write_text("name = input('who? ')\nprint('hello', name)")
    terminal = Terminal("run", str(file), env=env)
    terminal.read_until("who? ")
    terminal.type("Bo\n")
    terminal.read_until("hello Bo")
    assert terminal.end() == 0


@pytest.mark.real_start
def test_the_tour_tells_its_whole_story_in_a_pipe_and_leaves_nothing(env):
    result = skep("tour", env=env)
    assert (result.returncode, result.stderr) == (0, "")
    assert "\x1b" not in result.stdout
    headings = [line for line in result.stdout.splitlines() if line.startswith("── ")]
    assert [heading.split()[1] for heading in headings] == [str(n) for n in range(1, 9)]
    assert "KeyError: 'coffee'" in result.stdout
    assert "SIGKILL for worker" in result.stdout
    assert "attempt 2" in result.stdout
    assert "`area` is from step 2" in result.stdout
    assert "none missing, none twice" in result.stdout


def test_the_tour_on_a_redis_of_ones_own_leaves_no_key_there(env, redis_url):
    result = skep("tour", "--redis", redis_url, "--prefix", "mine", env=env)
    assert (result.returncode, result.stderr) == (0, "")
    assert asyncio.run(keys_like(redis_url, "*mine*")) == []


@pytest.mark.real_start
def test_ctrl_c_ends_the_tour_and_leaves_nothing(env):
    with start("tour", env=env) as process:
        read_until(process, "SIGKILL for worker")
        process.send_signal(signal.SIGINT)
        assert process.communicate()[1] == ""
        assert process.returncode == 130


async def keys_like(url: str, pattern: str) -> list[bytes]:
    async with Redis.from_url(url) as redis:
        return [key async for key in redis.scan_iter(match=pattern)]
