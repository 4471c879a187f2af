"""The process that dill and cloudpickle are tried in: reads cases on stdin, forks a child for each step, tells on stdout.

Started as `python -c "from … import serve; serve()"`, so that `__main__` is as empty as a script's is at its start.
A step is a fresh process: one makes the case's names in `__main__` and dumps `{name: object}` of them to a file, another
loads the file into its `__main__` and runs the using code there.
"""

import contextlib
import importlib
import json
import os
import signal
import sys
import tempfile
import traceback

STEP_SECONDS = 30


def serve(preloaded):
    """Answer each line of [makes, uses] with {library: "" or what went wrong}."""
    for name in preloaded:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    main = sys.modules["__main__"].__dict__
    for name in [name for name in main if not name.startswith("__")]:
        del main[name]
    libraries = [importlib.import_module(name) for name in ("dill", "cloudpickle")]
    out, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        makes, uses = json.loads(line)
        verdicts = {library.__name__: _try(library, makes, uses) for library in libraries}
        print(json.dumps(verdicts), file=out, flush=True)


def _try(library, makes, uses):
    with tempfile.TemporaryDirectory() as directory:
        path = f"{directory}/dump"
        told = _step(directory, lambda names: _dump(library, makes, names, path))
        return f"not saved: {told}" if told else _step(directory, lambda names: _load(library, uses, names, path))


def _dump(library, makes, names, path):
    before = set(names)
    for number, code in enumerate(makes):
        exec(compile(code, f"<cell {number}>", "exec"), names)
    made = {name: value for name, value in names.items() if name not in before and name != "__annotations__"}
    with open(path, "wb") as file:
        library.dump(made, file)


def _load(library, uses, names, path):
    with open(path, "rb") as file:
        names.update(library.load(file))
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
    with open(read, "rb") as file:
        told = file.read()
    os.waitpid(pid, 0)
    return told[:-1].decode("utf-8", "replace") if told.endswith(b"\0") else "it ended its process"


def _told(exc):
    line = traceback.extract_tb(exc.__traceback__)[-1].line if isinstance(exc, AssertionError) else ""
    text = str(exc).splitlines()[0] if str(exc) else ""
    return f"{type(exc).__name__}: {text or line}"[:200]


