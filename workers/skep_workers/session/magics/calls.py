"""What translated magics call: one object, under a built-in name."""

import builtins
import os
import re
import shlex
import subprocess
import sys
import time
import timeit
from pathlib import Path
from typing import Any, Final

from skep_workers.session.display.publisher import DisplayPublisher
from skep_workers.session.inspection import Inspector
from skep_workers.session.magics.syntax import HELPER
from skep_workers.session.namespace import NamespaceManager

TIMEIT_SECONDS: Final = 0.2
TIMEIT_REPEATS: Final = 7
_VARIABLE: Final = re.compile(r"(?<![\\$])(?:\$([^\W\d]\w*)|\{([^\W\d]\w*)\})")  # `${name}` is the shell's own


class MagicCalls:
    """Runs magics in a session's namespace."""

    def __init__(self, namespace: NamespaceManager, publisher: DisplayPublisher) -> None:
        self._namespace = namespace
        self._publisher = publisher
        self._inspector = Inspector(namespace)
        self._timers: list[tuple[float, float]] = []

    def install(self) -> None:
        """Make it known to translated cells, without a name in the user's namespace."""
        setattr(builtins, HELPER, self)

    def shell(self, command: str) -> None:
        """Run a command; its output is the cell's. `$name` and `{name}` are variables of the session."""
        status = subprocess.call(self._expanded(command), shell=True, executable="/bin/sh")  # noqa: S602 - asked for
        if status:
            self._namespace.names["_exit_code"] = status

    def shell_lines(self, command: str) -> list[str]:
        """Run a command and give its output's lines."""
        done = subprocess.run(  # noqa: S602 - asked for
            self._expanded(command), shell=True, stdout=subprocess.PIPE, text=True, check=False
        )
        return done.stdout.splitlines()

    def bash(self, options: str, script: str) -> None:
        """Run a script with bash; raises CalledProcessError if it fails."""
        subprocess.run(["bash", *shlex.split(options), "-s"], input=script, text=True, check=True)

    def script(self, command: str, script: str) -> None:
        """Run a script with this command; raises CalledProcessError if it fails."""
        subprocess.run(shlex.split(command), input=script, text=True, check=True)

    def python(self, options: str, script: str) -> None:
        """Run a script in an interpreter of its own; raises CalledProcessError if it fails."""
        subprocess.run([sys.executable, *shlex.split(options), "-"], input=script, text=True, check=True)

    def who(self, _rest: str) -> None:
        """Print the names that cells have bound."""
        names = sorted(name for name in self._namespace.user_names() if not name.startswith("_"))
        print("\t".join(names) if names else "Interactive namespace is empty.")

    def pip(self, arguments: str) -> None:
        """Run pip for this session's interpreter."""
        subprocess.run([sys.executable, "-m", "pip", *shlex.split(arguments)], check=True)

    def cd(self, path: str) -> None:
        """Change the working directory; without a path, to the home directory."""
        os.chdir(Path(shlex.split(path)[0] if path else "~").expanduser())
        print(Path.cwd())

    def pwd(self, _rest: str) -> str:
        """Give the working directory."""
        return str(Path.cwd())

    def env(self, rest: str) -> Any:
        """Show the environment or one variable, or set one (`NAME=value` or `NAME value`)."""
        name, separator, value = rest.partition("=" if "=" in rest else " ")
        if not rest:
            return dict(os.environ)
        if not separator:
            return os.environ.get(name)
        os.environ[name.strip()] = value.strip()
        print(f"env: {name.strip()}={value.strip()}")
        return None

    def writefile(self, rest: str, body: str) -> None:
        """Write the cell to a file; `-a` appends."""
        words = shlex.split(rest)
        appends = "-a" in words
        path = Path(next(word for word in words if word != "-a")).expanduser()
        verb = "Appending to" if appends else "Overwriting" if path.exists() else "Writing"
        with path.open("a" if appends else "w", encoding="utf-8") as file:
            file.write(body)
        print(f"{verb} {path}")

    def markup(self, mime: str, body: str) -> None:
        """Show the cell itself as what it is."""
        self._publisher.display({mime: body, "text/plain": body}, raw=True)

    def help(self, name: str) -> None:
        """Print what is known of a name."""
        found = self._inspector.inspect(name)
        if not found["found"]:
            print(f"Object `{name}` not found.")
            return
        for label, field in (("Signature", "signature"), ("Type", "type"), ("File", "file"), ("Docstring", "doc")):
            if found[field]:
                text = f"{name}{found[field]}" if field == "signature" else found[field]
                print(f"{label}:{chr(10) if field == 'doc' else ' '}{text}")

    def start_timer(self) -> None:
        """Start a timer."""
        self._timers.append((time.perf_counter(), time.process_time()))

    def stop_timer(self, _started: None = None, value: Any = None) -> Any:
        """Stop the latest timer, print its times, and give the value on."""
        wall, cpu = self._timers.pop()
        print(f"CPU times: total: {_duration(time.process_time() - cpu)}")
        print(f"Wall time: {_duration(time.perf_counter() - wall)}")
        return value

    def drop_timers(self) -> None:
        """Forget timers that an exception left behind."""
        self._timers.clear()

    def timeit(self, statement: str) -> None:
        """Time a statement, repeatedly."""
        self._timeit(statement, "pass")

    def timeit_cell(self, setup: str, body: str) -> None:
        """Time a cell's body, repeatedly; its first line is the set-up."""
        self._timeit(body, setup or "pass")

    def _timeit(self, statement: str, setup: str) -> None:
        timer = timeit.Timer(statement, setup, globals=self._namespace.names)
        number, taken = 1, timer.timeit(1)
        while taken < TIMEIT_SECONDS and number < 10**8:
            number *= 10 if taken < TIMEIT_SECONDS / 10 else 2
            taken = timer.timeit(number)
        runs = [taken / number for taken in timer.repeat(TIMEIT_REPEATS, number)]
        mean = sum(runs) / len(runs)
        deviation = (sum((run - mean) ** 2 for run in runs) / len(runs)) ** 0.5
        print(
            f"{_duration(mean)} ± {_duration(deviation)} per loop "
            f"(mean ± std. dev. of {TIMEIT_REPEATS} runs, {number:,} loop{'s' if number > 1 else ''} each)"
        )

    def _expanded(self, command: str) -> str:
        names = self._namespace.names

        def value_of(found: re.Match[str]) -> str:
            name = found[1] or found[2]
            return str(names[name]) if name in names else found[0]

        return _VARIABLE.sub(value_of, command)


def _duration(seconds: float) -> str:
    for unit, factor in (("s", 1.0), ("ms", 1e-3), ("μs", 1e-6)):
        if seconds >= factor:
            return f"{seconds / factor:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"
