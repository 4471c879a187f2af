"""The object that translated magics call, stored under a built-in name."""

import builtins
import re
import shlex
import sys
from pathlib import Path
from sys import _getframe as frame_at
from types import FrameType
from typing import Any, Final

from skep_shared.originals import os
from skep_workers.session.control.inspection import Inspector
from skep_workers.session.control.introspection import short_repr, type_name
from skep_workers.session.display.publisher import DisplayPublisher
from skep_workers.session.display.shell_lines import ShellLines
from skep_workers.session.errors.compiler_warnings import compiles_quietly
from skep_workers.session.magics.help import HelpMagics
from skep_workers.session.magics.reloading import ReloadingMagics
from skep_workers.session.magics.shell import ShellMagics
from skep_workers.session.magics.syntax import translate
from skep_workers.session.magics.timing import TimingMagics
from skep_workers.session.runtime.internals import HELPER, RESULT_NAMES
from skep_workers.session.runtime.namespace import NamespaceManager

_NO_NAMES: Final = "Interactive namespace is empty."
_SETTING: Final = re.compile(r"([^\s=]+)(?:\s*=\s*|\s+)(.*)", re.DOTALL)
_SECRET: Final = re.compile(r"key|token|secret|passw", re.IGNORECASE)


class MagicCalls(ShellMagics, TimingMagics, HelpMagics, ReloadingMagics):
    """Runs magics in a session's namespace."""

    def __init__(self, namespace: NamespaceManager, publisher: DisplayPublisher) -> None:
        ShellMagics.__init__(self, namespace, publisher)
        TimingMagics.__init__(self, namespace)
        HelpMagics.__init__(self, namespace, Inspector(namespace))
        ReloadingMagics.__init__(self, namespace, publisher)
        self._namespace = namespace
        self._publisher = publisher
        self._left_directory: Path | None = None

    def install(self) -> None:
        """Make this object available to translated cells, without a name in the user's namespace."""
        setattr(builtins, HELPER, self)

    def run_line_magic(self, name: str, line: str = "") -> Any:
        """Run a line magic by its name. Raises UnknownMagic, and whatever the magic raises."""
        return _run(translate(f"%{name} {line}".strip()).source, frame_at(1))

    def magic(self, text: str) -> Any:
        """Run a line magic; `text` is its name and its arguments."""
        return _run(translate(f"%{text.lstrip('%')}").source, frame_at(1))

    def run_cell_magic(self, name: str, line: str, cell: str) -> Any:
        """Run a cell magic by its name. Raises UnknownMagic, or ValueError for a magic that applies to a whole cell."""
        translated = translate(f"%%{name} {line}\n{cell}")
        if translated.is_timed or translated.capture is not None:
            raise ValueError(f"%%{name} can't be called: write it in the first line of its cell")
        return _run(translated.source, frame_at(1))

    def system(self, command: str) -> None:
        """Run a shell command, as the line `!command` does."""
        _run(f"{HELPER}.shell({command!r})", frame_at(1))

    def getoutput(self, command: str) -> ShellLines:
        """Run a shell command and return its output's lines, as `x = !command` does."""
        return _run(f"{HELPER}.shell_lines({command!r})", frame_at(1))  # type: ignore[no-any-return]

    def ignored(self, magic: str, why: str) -> None:
        """Warn that a magic has no effect here."""
        self._publisher.warn("magic", f"{magic} has no effect: {why}")

    def who(self, rest: str) -> None:
        """Print the names that cells have bound; if types are named, only the names of values of these types."""
        names = self.who_ls(rest)
        print("\t".join(names) if names else _NO_NAMES)

    def who_ls(self, rest: str) -> list[str]:
        """Return the names that cells have bound; if types are named, only the names of values of these types."""
        kinds, values = rest.split(), self._namespace.names
        names = sorted(name for name in self._namespace.user_names() if not name.startswith("_"))
        return [name for name in names if not kinds or type(values[name]).__name__ in kinds]

    def whos(self, rest: str) -> None:
        """Print the names that `who` does, with their types and values."""
        rows = [(name, self._namespace.names[name]) for name in self.who_ls(rest)]
        if not rows:
            print(_NO_NAMES)
            return
        table = [("Variable", "Type", "Data/Info"), *((name, type_name(each), short_repr(each)) for name, each in rows)]
        first, second = (max(len(row[column]) for row in table) for column in (0, 1))
        for name, kind, text in table:
            print(f"{name:{first}}   {kind:{second}}   {text}".rstrip())

    def reset(self, rest: str) -> None:
        """Unbind the names that cells have bound, without confirmation. Raises ValueError for an unknown option."""
        if rest.strip() not in {"", "-f", "-s", "-sf", "-fs"}:
            raise ValueError(f"%reset takes no option except -f, which is always on, not {rest!r}")
        self._namespace.clear()
        for name in RESULT_NAMES:
            self._namespace.names.pop(name, None)

    def clear(self, _rest: str) -> None:
        """Hide the output of the cell so far."""
        self._publisher.clear_output()

    def cd(self, rest: str) -> None:
        """Change the working directory to a path, to the previous one (`-`), or without an argument to the home."""
        text = self._expanded(rest, frame_at(1)).strip()
        is_quiet = text.startswith("-q")
        text = text.removeprefix("-q").strip()
        if text[:1] in {"'", '"'}:
            text = shlex.split(text)[0]  # a path without quotes may contain spaces
        before = Path.cwd()
        if text == "-" and self._left_directory is None:
            raise ValueError("%cd - returns to the previous directory, and there is none yet")
        path = self._left_directory if text == "-" and self._left_directory else Path(text or "~")
        os.chdir(path.expanduser())
        self._left_directory = before
        if not is_quiet:
            print(Path.cwd())

    def pwd(self, _rest: str) -> str:
        """Return the working directory."""
        return str(Path.cwd())

    def env(self, rest: str) -> Any:
        """Return the environment with its secrets hidden, or one variable; or set one (`NAME=value` or `NAME value`).

        Raises ValueError for a variable that does not exist.
        """
        if not rest:
            return {name: "<hidden>" if _SECRET.search(name) else value for name, value in os.environ.items()}
        setting = _SETTING.fullmatch(self._expanded(rest, frame_at(1)).strip())
        if setting is None:
            if rest.strip() not in os.environ:
                raise ValueError(f"the environment has no variable {rest.strip()!r}; %env NAME=VALUE sets one")
            return os.environ[rest.strip()]
        name, value = setting.groups()
        os.environ[name] = value
        print(f"env: {name}={value}")
        return None

    def writefile(self, rest: str, body: str) -> None:
        """Write the cell to a file, or append it with `-a`. Raises OSError, or ValueError without a file name."""
        words = shlex.split(self._expanded(rest, frame_at(1)))
        appends = "-a" in words or "--append" in words
        names = [word for word in words if word not in {"-a", "--append"}]
        if len(names) != 1:
            raise ValueError(f"%%writefile takes [-a] and one file, not {rest!r}")
        path = Path(names[0]).expanduser()
        verb = "Appending to" if appends else "Overwriting" if path.exists() else "Writing"
        with path.open("a" if appends else "w", encoding="utf-8") as file:
            file.write(body)
        print(f"{verb} {path}")

    def run(self, rest: str) -> None:
        """Run a Python file in the session's namespace, as a program with arguments.

        Raises ValueError for an unknown option, OSError, and whatever the file raises except a SystemExit of status 0.
        """
        words = shlex.split(self._expanded(rest, frame_at(1)))
        while words and words[0] == "-i":
            words = words[1:]
        if not words or words[0].startswith("-"):
            raise ValueError(f"%run takes [-i], a Python file and its arguments, not {rest!r}")
        path = Path(words[0]).expanduser()
        if not path.exists() and path.with_name(f"{path.name}.py").exists():
            path = path.with_name(f"{path.name}.py")
        code = compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
        names, argv, before = self._namespace.names, sys.argv, self._namespace.names.get("__file__")
        sys.argv = [str(path), *words[1:]]
        names["__file__"] = str(path)
        sys.path.insert(0, str(path.resolve().parent))
        try:
            exec(code, names)
        except SystemExit as exc:
            if exc.code not in (None, 0):
                raise
        finally:
            sys.argv = argv
            if str(path.resolve().parent) in sys.path:
                sys.path.remove(str(path.resolve().parent))
            names.pop("__file__", None)
            if before is not None:
                names["__file__"] = before

    def markup(self, mime: str, body: str, options: str = "") -> None:
        """Display the text of the cell as this MIME type; options are for Jupyter's front ends and have no effect."""
        if options:
            self.ignored(f"the option {options}", "a display has no metadata here")
        self._publisher.display({mime: body, "text/plain": body}, raw=True)


def _run(source: str, frame: FrameType) -> Any:
    """Run the translation of a magic with the names of the caller's frame; return the value of an expression."""
    if compiles_quietly("eval", source.strip(), "<magic>"):
        return eval(compile(source.strip(), "<magic>", "eval", dont_inherit=True), frame.f_globals, frame.f_locals)
    exec(compile(source, "<magic>", "exec", dont_inherit=True), frame.f_globals, frame.f_locals)
    return None
