"""The table of magics: the Python that each is translated to, and the text that `%name?` prints."""

import ast
import re
from collections.abc import Callable
from typing import Final, NamedTuple

from skep_workers.session.errors.compiler_warnings import quiet_compile
from skep_workers.session.runtime.internals import HELPER

LineCall = Callable[[str], str]  # the text after the name -> Python
CellCall = Callable[[str, str], str]  # the text after the name, and the cell's other lines -> Python


class Magic(NamedTuple):
    """One magic; `line` and `cell` return its Python. The engine itself handles a cell magic that has no `cell`."""

    doc: str
    line: LineCall | None = None
    cell: CellCall | None = None


# The argument of these magics is code of the cell, which may contain magics itself.
RUN_HERE: Final = frozenset({"time", "timeit"})

_TIMING_OPTIONS: Final = re.compile(r"(?:-(?:[nrp]\s*\d+|[tcoqv]+)(?:\s+|$))*")
_TIMING_OPTION: Final = re.compile(r"-(?:([nrp])\s*(\d+)|([tcoqv]+))")
_INLINE: Final = frozenset({"", "inline", "agg", "--list", "-l"})
_PYLAB: Final = "import numpy, matplotlib; from matplotlib import pyplot; np, plt = numpy, pyplot"


def split_timing_options(rest: str) -> tuple[str, str]:
    """Return the options of a timing magic as written, and the text after them."""
    found = _TIMING_OPTIONS.match(rest)
    end = found.end() if found is not None else 0
    return rest[:end], rest[end:]


def _call(name: str) -> LineCall:
    return lambda rest: f"{HELPER}.{name}({rest!r})"


def _cell_call(name: str) -> CellCall:
    return lambda rest, body: f"{HELPER}.{name}({rest!r}, {body!r})"


def _program(command: str) -> CellCall:
    return lambda rest, body: f"{HELPER}.script({f'{command} {rest}'.strip()!r}, {body!r})"


def _markup(mime: str) -> CellCall:
    return lambda rest, body: (
        f"{HELPER}.markup({mime!r}, {body!r}, {rest!r})" if rest else f"{HELPER}.markup({mime!r}, {body!r})"
    )


def _command(name: str) -> LineCall:
    return lambda rest: f"{HELPER}.shell({f'{name} {rest}'.strip()!r})"


def _ignored(name: str, why: str) -> LineCall:
    return lambda rest: f"{HELPER}.ignored({f'%{name} {rest}'.strip()!r}, {why!r})"


def _time(rest: str) -> str:
    """Return the Python that times one line; an expression keeps its value, and may await."""
    if not rest:
        return "None"
    try:
        quiet_compile(rest, "<magic>", "eval", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    except SyntaxError:
        return f"{HELPER}.start_timer(); {rest.rstrip('; ')}; {HELPER}.stop_timer()"
    return f"{HELPER}.stop_timer({HELPER}.start_timer(), ({rest}))"


def _timing_arguments(options: str) -> str:
    """Return the options as arguments of a call."""
    given: dict[str, int] = {}
    for name, number, flags in _TIMING_OPTION.findall(options):
        if name:
            given[name] = int(number)
        given.update(dict.fromkeys(flags, 1))
    if given.get("n") == 0 or given.get("r") == 0:
        raise ValueError(f"-n and -r need a number above 0, not {options.strip()!r}")
    return "".join(f", {name}={number}" for name, number in given.items())


def _timeit(rest: str) -> str:
    options, statement = split_timing_options(rest)
    if not statement.strip():
        raise ValueError("%timeit needs a statement after its options -n, -r, -p, -c, -o and -q")
    return f"{HELPER}.timeit({statement!r}{_timing_arguments(options)})"


def _timeit_cell(rest: str, body: str) -> str:
    options, setup = split_timing_options(rest)
    return f"{HELPER}.timeit_cell({setup!r}, {body!r}{_timing_arguments(options)})"


def _matplotlib(rest: str) -> str:
    if rest.strip() in _INLINE:
        return "pass"
    return _ignored("matplotlib", "figures are always shown as pictures")(rest)


def _pylab(rest: str) -> str:
    return _PYLAB if "--no-import-all" in rest.split() else f"{_PYLAB}; from pylab import *"


_TIMING: Final = "-n LOOPS, -r REPEATS, -p DIGITS, -c (processor time), -o (return the result), -q (print nothing)"
_SCRIPT: Final = "[--out NAME] [--err NAME] [--no-raise-error] ARGUMENTS: the cell is"

LINE_MAGICS: Final[dict[str, Magic]] = {
    "pip": Magic("ARGUMENTS: run pip for the packages of this session.", _call("pip")),
    "conda": Magic("ARGUMENTS: run conda.", _call("conda")),
    "uv": Magic("ARGUMENTS: run uv.", _call("uv")),
    "cd": Magic("[PATH]: change the working directory and print it; the default is the home directory.", _call("cd")),
    "pwd": Magic("return the working directory.", _call("pwd")),
    "env": Magic("[NAME | NAME=VALUE | NAME VALUE]: return the environment or one variable, or set it.", _call("env")),
    "set_env": Magic("NAME VALUE: set a variable of the environment.", _call("env")),
    "who": Magic("[TYPE …]: print the names that cells have bound, or only those of these types.", _call("who")),
    "who_ls": Magic("[TYPE …]: return these names as a list.", _call("who_ls")),
    "whos": Magic("[TYPE …]: print these names with types and values.", _call("whos")),
    "reset": Magic("[-f]: unbind every name that cells have bound.", _call("reset")),
    **{
        name: Magic(f"ARGUMENTS: run the command {name}.", _command(name))
        for name in ("ls", "cat", "cp", "mv", "rm", "mkdir", "rmdir", "man")
    },
    "ll": Magic("ARGUMENTS: list files with their sizes and times.", _command("ls -l")),
    "less": Magic("FILE: print a file.", _command("cat")),
    "more": Magic("FILE: print a file.", _command("cat")),
    "clear": Magic("hide the output of the cell so far.", _call("clear")),
    "sx": Magic("COMMAND: run a shell command and return its output lines, as `!!COMMAND` does.", _call("shell_lines")),
    "system": Magic("COMMAND: run a shell command and return its output lines.", _call("shell_lines")),
    "time": Magic("STATEMENT: print how long it takes; return the value of an expression.", _time),
    "timeit": Magic(f"[OPTIONS] STATEMENT: time it repeatedly. {_TIMING}.", _timeit),
    "run": Magic("[-i] FILE ARGUMENTS: run a Python file in the session's namespace.", _call("run")),
    "matplotlib": Magic("[inline]: accepted without effect; figures are always shown when a cell ends.", _matplotlib),
    "load_ext": Magic("autoreload: accepted without effect; it is the only extension.", _call("load_extension")),
    "reload_ext": Magic("autoreload: accepted without effect; it is the only extension.", _call("load_extension")),
    "autoreload": Magic(
        "[now | off | explicit | all | 0 | 1 | 2]: reload modules whose files have changed, before each cell (all, 2), "
        "those of %aimport only (explicit, 1), or now.",
        _call("autoreload"),
    ),
    "aimport": Magic("MODULE [-MODULE …]: import a module for `%autoreload 1`, or exclude one.", _call("aimport")),
    "config": Magic("not supported; shows a warning.", _ignored("config", "sessions have no such settings")),
    "precision": Magic(
        "not supported; shows a warning.",
        _ignored("precision", "numbers are shown by repr; use numpy.set_printoptions for arrays"),
    ),
    "xmode": Magic("not supported; shows a warning.", _ignored("xmode", "tracebacks are Python's own")),
    "colors": Magic("not supported; shows a warning.", _ignored("colors", "sessions add no colours to output")),
    "autosave": Magic("not supported; shows a warning.", _ignored("autosave", "every cell is saved when it ends")),
    "pylab": Magic("[--no-import-all]: bind numpy and matplotlib, and all their names.", _pylab),
    "pinfo": Magic("NAME: describe the object that a name is bound to, as `NAME?` does.", _call("help")),
    "pinfo2": Magic("NAME: describe it with its source code.", lambda rest: f"{HELPER}.help({rest!r}, True)"),
    "lsmagic": Magic("print the names of all magics.", _call("list_magics")),
}  # fmt: skip

CELL_MAGICS: Final[dict[str, Magic]] = {
    "bash": Magic(f"{_SCRIPT} a script for bash.", cell=_program("bash")),
    "sh": Magic(f"{_SCRIPT} a script for bash.", cell=_program("bash")),
    "script": Magic(f"{_SCRIPT} the input of the program that the arguments name.", cell=_cell_call("script")),
    "python": Magic(f"{_SCRIPT} a script for a separate interpreter.", cell=_cell_call("python")),
    "python3": Magic(f"{_SCRIPT} a script for a separate interpreter.", cell=_cell_call("python")),
    **{name: Magic(f"{_SCRIPT} a script for {name}.", cell=_program(name)) for name in ("perl", "ruby")},
    "sx": Magic("the cell is a shell script; returns its output lines.", cell=_cell_call("shell_cell")),
    "system": Magic("the cell is a shell script; returns its output lines.", cell=_cell_call("shell_cell")),
    "!": Magic("the cell is a shell script; returns its output lines.", cell=_cell_call("shell_cell")),
    "writefile": Magic("[-a] FILE: write the cell to a file; -a appends.", cell=_cell_call("writefile")),
    "file": Magic("[-a] FILE: write the cell to a file; -a appends.", cell=_cell_call("writefile")),
    "timeit": Magic(f"[OPTIONS] [SET-UP]: time the cell repeatedly. {_TIMING}.", cell=_timeit_cell),
    "html": Magic("show the cell as HTML.", cell=_markup("text/html")),
    "HTML": Magic("show the cell as HTML.", cell=_markup("text/html")),
    "javascript": Magic("show the cell as JavaScript.", cell=_markup("application/javascript")),
    "js": Magic("show the cell as JavaScript.", cell=_markup("application/javascript")),
    "latex": Magic("show the cell as LaTeX.", cell=_markup("text/latex")),
    "markdown": Magic("show the cell as Markdown.", cell=_markup("text/markdown")),
    "svg": Magic("show the cell as SVG.", cell=_markup("image/svg+xml")),
    "SVG": Magic("show the cell as SVG.", cell=_markup("image/svg+xml")),
    "capture": Magic("[--no-stdout] [--no-stderr] [--no-display] [NAME]: store the output of the cell in a variable."),
    "time": Magic("print how long the cell takes."),
}
