"""The process that dill and cloudpickle are tried in: reads cases on stdin, forks a child for each step, reports on stdout.

Started as `python -c "from … import serve; serve()"`, so that `__main__` is as empty as a script's is at its start.
A step is a fresh process: one makes the case's names in `__main__` and dumps `{name: object}` of them to a file for each
library, others load a file into their `__main__` and run the using code there.
"""

# ruff: noqa: BLE001, S102 - its purpose is to run code and to report every result

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import sys
import tempfile
import traceback
from pathlib import Path

STEP_SECONDS = 30
STILL_SECONDS = 2  # a step that neither ends nor computes waits forever, for example for a lock restored as held


def serve(preloaded):
    """Answer each line of [makes, uses] with {library: "" or what went wrong}."""
    for name in preloaded:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    main = sys.modules["__main__"].__dict__
    for name in [name for name in main if not name.startswith("__")]:
        del main[name]
    libraries = [importlib.import_module(name) for name in ("dill", "cloudpickle")]
    gc.collect()
    gc.freeze()  # otherwise collections in children would copy every page
    out, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        makes, uses = json.loads(line)
        print(json.dumps(_try(libraries, makes, uses)), file=out, flush=True)


def _try(libraries, makes, uses):
    with tempfile.TemporaryDirectory() as home:
        directory = Path(home)
        told = _step(directory, lambda names: _dump(libraries, makes, names, directory))
        if told:
            return dict.fromkeys([library.__name__ for library in libraries], f"not made: {told}")
        return {library.__name__: _try_to_load(library, uses, directory) for library in libraries}


def _try_to_load(library, uses, directory):
    dump = directory / library.__name__
    if not dump.exists():
        return f"not saved: {dump.with_suffix('.failed').read_text()}"
    return _step(directory, lambda names: _load(library, uses, names, dump))


def _dump(libraries, makes, names, directory):
    before = set(names)
    for number, code in enumerate(makes):
        exec(compile(code, f"<cell {number}>", "exec"), names)
    made = {name: value for name, value in names.items() if name not in before and name != "__annotations__"}
    for library in libraries:
        dump = directory / library.__name__
        try:
            dump.write_bytes(library.dumps(made))
        except BaseException as exc:
            dump.with_suffix(".failed").write_text(_told(exc))


def _load(library, uses, names, dump):
    names.update(library.loads(dump.read_bytes()))
    exec(compile(uses, "<use>", "exec"), names)


def _step(directory, work):
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.alarm(STEP_SECONDS)
        told = ""
        try:
            os.close(read)
            os.chdir(directory)
            sys.path.insert(0, "")
            null = os.open(os.devnull, os.O_RDWR)
            for fd in (0, 1, 2):
                os.dup2(null, fd)
            work(sys.modules["__main__"].__dict__)
        except BaseException as exc:
            told = _told(exc)
        finally:
            with contextlib.suppress(OSError):
                os.write(write, told.encode("utf-8", "replace")[:2000] + b"\0")
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as file:
        hangs = _hangs(pid, read)
        if hangs:
            os.kill(pid, signal.SIGKILL)
        told = file.read()
    os.waitpid(pid, 0)
    if told.endswith(b"\0"):
        return told[:-1].decode("utf-8", "replace")
    return "it hangs" if hangs else "it ended its process"


def _hangs(pid, read):
    """Wait until a step reports a result or ends (False), or makes no progress between two checks."""
    before = None
    while not select.select([read], [], [], STILL_SECONDS)[0]:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        state, used = fields[0], fields[11:13]
        if state == "S" and used == before:
            return True
        before = used
    return False


def _told(exc):
    line = traceback.extract_tb(exc.__traceback__)[-1].line if isinstance(exc, AssertionError) else ""
    text = str(exc).splitlines()[0] if str(exc) else ""
    return f"{type(exc).__name__}: {text or line}"[:200]
