"""Magics that run programs: `!command`, `%%bash` and other scripts, `%pip`."""

import importlib
import shlex
import subprocess
import sys
from collections.abc import Mapping
from sys import _getframe as frame_at
from types import FrameType
from typing import Any, Final, NamedTuple

from skep_shared.originals import os
from skep_workers.session.display.publisher import DisplayPublisher
from skep_workers.session.display.shell_lines import ShellLines
from skep_workers.session.magics.expansion import expand
from skep_workers.session.packages.session_packages import SessionPackages
from skep_workers.session.runtime.internals import EXIT_CODE
from skep_workers.session.runtime.namespace import NamespaceManager

_SIGNALLED: Final = 128  # a shell adds this to the number of the signal that ended a command, to form its status
_BASH: Final = "/bin/bash"


class ScriptOptions(NamedTuple):
    """A program and its arguments, the variables for its output, and whether its failure makes the cell fail."""

    words: list[str]
    out: str | None = None
    err: str | None = None
    raises: bool = True

    @classmethod
    def read(cls, command: str) -> "ScriptOptions":
        """Parse the line of a script magic. Raises ValueError."""
        words: list[str] = []
        names: dict[str, str] = {}
        raises = True
        given = iter(shlex.split(command))
        for word in given:
            option, has_value, value = word.partition("=")
            if option in {"--out", "--err"}:
                names[option[2:]] = name = value if has_value else next(given, "")
                if not name.isidentifier():
                    raise ValueError(f"{option} takes the name of a variable, not {name!r}")
            elif word in {"--no-raise-error", "--raise-error"}:
                raises = word == "--raise-error"
            elif word in {"--bg", "--proc"}:
                raise ValueError(f"{word} isn't supported: start a background program with subprocess.Popen")
            else:
                words.append(word)
        if not words:
            raise ValueError("the program to run is missing")
        return cls(words, names.get("out"), names.get("err"), raises)


class ShellMagics:
    """Runs programs. Their output belongs to the cell; `_exit_code` is their status, or minus the ending signal."""

    def __init__(self, namespace: NamespaceManager, publisher: DisplayPublisher) -> None:
        self._namespace = namespace
        self._publisher = publisher
        self._packages: SessionPackages | None = None

    def install_with(self, packages: SessionPackages) -> None:
        """Use these packages for `%pip`, and notice what other commands install."""
        self._packages = packages

    def shell(self, command: str) -> None:
        """Run a command. `$name` and `{expression}` use the names of the cell, or of the function that runs it."""
        command = self._expanded(command, frame_at(1))
        self._prepare()
        self._note_status(subprocess.call(command, shell=True, executable=_shell()))  # noqa: S602 - asked for

    def shell_lines(self, command: str) -> ShellLines:
        """Run a command and return the lines of its output and its errors."""
        return self._lines(self._expanded(command, frame_at(1)))

    def shell_cell(self, options: str, script: str) -> ShellLines:
        """Run a shell script and return the lines of its output."""
        if options:
            raise ValueError(f"this magic takes no options, not {options!r}")
        return self._lines(self._expanded(script, frame_at(1)))

    def script(self, command: str, script: str) -> None:
        """Run a script with this program. Raises CalledProcessError if it fails, ValueError for unknown options."""
        self._run_script(ScriptOptions.read(self._expanded(command, frame_at(1))), script)

    def python(self, options: str, script: str) -> None:
        """Run a script in a separate interpreter. Raises the errors that `script` raises."""
        command = f"{shlex.quote(sys.executable)} {self._expanded(options, frame_at(1))}"
        self._run_script(ScriptOptions.read(command), script)

    def pip(self, arguments: str) -> None:
        """Run pip for the session's own packages.

        Raises CalledProcessError, PackagesOff, and PackagesNotInstalled if this worker has no pip.
        """
        words = shlex.split(self._expanded(arguments, frame_at(1)))
        assert self._packages is not None  # noqa: S101 - joined before any cell runs
        status = self._packages.pip(words)
        self._note_status(status)
        if status:
            raise subprocess.CalledProcessError(status, ["pip", *words])

    def conda(self, arguments: str) -> None:
        """Run conda. Raises CalledProcessError, FileNotFoundError."""
        self._run_tool(["conda"], self._expanded(arguments, frame_at(1)))

    def uv(self, arguments: str) -> None:
        """Run uv. Raises CalledProcessError, FileNotFoundError."""
        self._run_tool(["uv"], self._expanded(arguments, frame_at(1)))

    def _expanded(self, text: str, frame: FrameType) -> str:
        """Return the text with the values of names from the caller's frame inserted."""
        if "$" not in text and "{" not in text:
            return text
        names: Mapping[str, Any] = self._namespace.names
        if frame.f_locals is not frame.f_globals:
            names = {**names, **frame.f_globals, **frame.f_locals}
        expanded = expand(text, names)
        for problem in expanded.problems:
            self._publisher.warn("magic", problem)
        return expanded.text

    def _lines(self, command: str) -> ShellLines:
        self._prepare()
        done = subprocess.run(  # noqa: S602 - asked for
            command,
            shell=True,
            executable=_shell(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        self._note_status(done.returncode)
        return ShellLines.of(done.stdout)

    def _run_script(self, options: ScriptOptions, script: str) -> None:
        self._prepare()
        out, err = (subprocess.PIPE if name else None for name in (options.out, options.err))
        done = subprocess.run(options.words, input=script, stdout=out, stderr=err, text=True, check=False)
        for name, text in ((options.out, done.stdout), (options.err, done.stderr)):
            if name:
                self._namespace.names[name] = text
        self._note_status(done.returncode)
        if done.returncode and options.raises:
            raise subprocess.CalledProcessError(done.returncode, options.words, done.stdout, done.stderr)

    def _run_tool(self, tool: list[str], arguments: str) -> None:
        command = [*tool, *shlex.split(arguments)]
        self._prepare()
        status = subprocess.call(command)
        self._note_status(status)
        importlib.invalidate_caches()  # so that the next import finds what was installed
        if status:
            raise subprocess.CalledProcessError(status, command)

    def _prepare(self) -> None:
        """Prepare for a program that may install packages without Python, as uv does."""
        if self._packages is not None:
            self._packages.make_own()

    def _note_status(self, status: int) -> None:
        self._namespace.names[EXIT_CODE] = _SIGNALLED - status if status > _SIGNALLED else status
        if self._packages is not None:
            self._packages.refresh()


def _shell() -> str:
    """Return the user's shell, otherwise bash, which most notebooks expect, otherwise the shell of every system."""
    named = os.environ.get("SHELL")
    if named and os.access(named, os.X_OK):
        return named
    return _BASH if os.access(_BASH, os.X_OK) else "/bin/sh"
