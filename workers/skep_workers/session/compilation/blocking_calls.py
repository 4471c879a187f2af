"""The lists of blocking calls, and how a session or an operator changes them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from skep_workers.session.runtime.internals import HELPER

_BLOCKING_MAGICS: Final = (
    "shell", "shell_lines", "shell_cell", "script", "python", "pip", "conda", "uv", "timeit", "timeit_cell", "run",
    "run_line_magic", "run_cell_magic", "magic", "system", "getoutput",
)  # fmt: skip


class ExecutionMode(StrEnum):
    """How a cell is run."""

    TOP_LEVEL_AWAIT = "top_level_await"
    ASYNC_DEF = "async_def"
    BLOCKING_SYNC = "blocking_sync"
    SIMPLE_SYNC = "simple_sync"
    UNKNOWN = "unknown"


# Dotted names. A trailing `.*` matches every name below, and `()` stands for an instance.
BLOCKING_CALLS: Final = frozenset(
    {
        "builtins.input", "builtins.open", "getpass.getpass", "io.open",
        "time.sleep",
        "os.system", "os.popen", "os.wait", "os.waitpid", "os.read", "os.write", "os.fsync",
        "subprocess.run", "subprocess.call", "subprocess.check_call", "subprocess.check_output",
        "subprocess.getoutput", "subprocess.getstatusoutput",
        "subprocess.Popen().wait", "subprocess.Popen().communicate",
        "socket.create_connection", "socket.getaddrinfo", "socket.gethostbyname", "socket.socket().*",
        "select.select", "select.poll().poll", "select.epoll().poll", "selectors.DefaultSelector().select",
        "urllib.request.*", "urllib3.*", "http.client.*", "requests.*", "httpx.get", "httpx.post", "httpx.request",
        "httpx.Client().*", "ftplib.*", "smtplib.*", "imaplib.*", "poplib.*", "telnetlib.*", "xmlrpc.client.*",
        "sqlite3.*", "psycopg2.*", "psycopg.connect", "pymysql.*", "MySQLdb.*", "pymongo.*", "redis.Redis().*",
        "paramiko.*", "boto3.*", "shutil.*",
        "pathlib.Path().read_text", "pathlib.Path().read_bytes", "pathlib.Path().write_text",
        "pathlib.Path().write_bytes", "pathlib.Path().open", "pathlib.Path().mkdir", "pathlib.Path().unlink",
        "pathlib.Path().glob", "pathlib.Path().rglob", "pathlib.Path().iterdir",
        "queue.Queue().get", "queue.Queue().put", "queue.Queue().join", "queue.SimpleQueue().get",
        "threading.Thread().join", "threading.Event().wait", "threading.Condition().wait", "threading.Barrier().wait",
        "concurrent.futures.wait", "concurrent.futures.as_completed", "concurrent.futures.Future().result",
        "multiprocessing.*",
        *(f"builtins.{HELPER}.{magic}" for magic in _BLOCKING_MAGICS),
    }
)  # fmt: skip

# Calls that create and run a loop of their own, and block while it runs.
LOOP_RUNNING_CALLS: Final = frozenset(
    {"asyncio.run", "asyncio.Runner", "asyncio.Runner().run", "anyio.run", "trio.run", "uvloop.run"}
)

# Methods that run a loop, whatever object they are called on: it may be the session's own loop.
LOOP_RUNNING_METHODS: Final = frozenset({"run_until_complete", "run_forever"})

# Calls that need a running loop. A cell with such a call doesn't count as blocking, whatever else it calls.
LOOP_CALLS: Final = frozenset(
    {
        "asyncio.create_task", "asyncio.ensure_future", "asyncio.gather", "asyncio.get_running_loop",
        "asyncio.current_task", "asyncio.shield", "asyncio.wait_for", "asyncio.eager_task_factory",
    }
)  # fmt: skip

# Modules that are hardly usable without blocking. Imports of them are counted for the worker's metrics.
BLOCKING_MODULES: Final = frozenset(
    {"requests", "urllib.request", "urllib3", "http.client", "socket", "subprocess", "sqlite3", "psycopg2", "pymysql",
     "pymongo", "paramiko", "ftplib", "smtplib", "multiprocessing", "time"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class DetectionPolicy:
    """The names in each list. `always` overrides the analysis for every cell that doesn't await."""

    blocking_calls: frozenset[str] = BLOCKING_CALLS
    loop_running_calls: frozenset[str] = LOOP_RUNNING_CALLS
    loop_running_methods: frozenset[str] = LOOP_RUNNING_METHODS
    loop_calls: frozenset[str] = LOOP_CALLS
    blocking_modules: frozenset[str] = BLOCKING_MODULES
    always: ExecutionMode | None = None

    def changed(self, options: Mapping[str, Any]) -> "DetectionPolicy":
        """Return a policy that applies a session's options: `blocking` and `not_blocking` names, and `always`."""
        more, fewer, always = options.get("blocking"), options.get("not_blocking"), options.get("always")
        if not more and not fewer and not always:
            return self
        calls = (self.blocking_calls | frozenset(more or ())) - frozenset(fewer or ())
        return replace(self, blocking_calls=calls, always=ExecutionMode(always) if always else self.always)

    def is_blocking(self, name: str) -> bool:
        """Return whether a call of the function with this dotted name counts as blocking."""
        return _matches(name, self.blocking_calls)


DEFAULT_POLICY: Final = DetectionPolicy()


def _matches(name: str, names: frozenset[str]) -> bool:
    if name in names:
        return True
    head = name
    while "." in head:
        head = head.rpartition(".")[0]
        if f"{head}.*" in names or f"{head.removesuffix('()')}.*" in names:
            return True
    return False
