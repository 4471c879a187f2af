"""`skep run FILE` as a stand-in for `python FILE`: what a script finds around itself, and how it may end."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .commands import skep_command

pytestmark = pytest.mark.timeout(60)


def run_file(name: str, *arguments: str, cwd: Path, **stdin: Any) -> subprocess.CompletedProcess[str]:
    """Run `skep run NAME` there, with no stdin unless one is given."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("SKEP_")}
    command = skep_command("run", name, *arguments)
    given = stdin or {"stdin": subprocess.DEVNULL}
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=cwd, env=env, timeout=50, **given)


ABOUT_ITSELF = """
from pathlib import Path
import os, sys
import beside
print(beside.NAME, __name__, sys.argv, Path(__file__).resolve(), os.getcwd(), open("data.txt").read())
"""


@pytest.mark.real_start
def test_a_script_finds_what_plain_python_gives_it(tmp_path):
    folder = tmp_path / "scripts"
    folder.mkdir()
    (folder / "beside.py").write_text("NAME = 'its neighbour'")
    (folder / "script.py").write_text(ABOUT_ITSELF)
    (tmp_path / "data.txt").write_text("where the shell is")
    result = run_file("scripts/script.py", cwd=tmp_path)
    plain = subprocess.run(
        [sys.executable, "scripts/script.py"], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, plain.stdout, "")


def test_a_notebook_starts_in_its_own_folder(tmp_path):
    folder = tmp_path / "books"
    folder.mkdir()
    (folder / "data.txt").write_text("beside it")
    (folder / "beside.py").write_text("NAME = 'its neighbour'")
    code = "import beside\nprint(beside.NAME, open('data.txt').read(), '__file__' in globals())"
    (folder / "book.ipynb").write_text(json.dumps({"nbformat": 4, "cells": [{"cell_type": "code", "source": code}]}))
    result = run_file("books/book.ipynb", cwd=tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (0, "its neighbour beside it False\n", "")


SPAWNS = """
import multiprocessing
def double(x): return 2 * x
if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.map(double, [21]))
"""


@pytest.mark.real_start
def test_a_script_may_spawn_processes_that_import_it(tmp_path):
    (tmp_path / "script.py").write_text(SPAWNS)
    result = run_file("script.py", cwd=tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (0, "[42]\n", "")


@pytest.mark.parametrize("leave", ["sys.exit()", "sys.exit(0)", "raise SystemExit", "exit()"])
def test_a_script_that_leaves_by_itself_has_not_failed(tmp_path, leave):
    (tmp_path / "script.py").write_text(f"# %%\nimport sys\nprint('done')\n{leave}\n# %%\nprint('never')\n")
    result = run_file("script.py", cwd=tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (0, "done\n", "")


@pytest.mark.real_start
def test_a_script_that_leaves_with_an_error_has_failed(tmp_path):
    (tmp_path / "script.py").write_text("raise SystemExit('no display here')")
    result = run_file("script.py", cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr.endswith("skep: the cell failed: SystemExit: no display here\n")


def test_a_script_gets_its_arguments(tmp_path):
    (tmp_path / "script.py").write_text("import sys\nprint(sys.argv)")
    result = run_file("script.py", "--", "a", "--flag", "b c", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (0, "['script.py', 'a', '--flag', 'b c']\n")


LEAVES = {
    "sys.exit(3)": 3,
    "raise SystemExit(300)": 300 & 0xFF,
    "sys.exit(-1)": 255,
    "sys.exit(True)": 1,
    "sys.exit(0)": 0,
    "# %%\n1\n# %%\nsys.exit(4)\n# %%\nprint('never')": 4,
}


@pytest.mark.parametrize("leave", LEAVES)
def test_the_exit_status_is_the_scripts_own(tmp_path, leave):
    (tmp_path / "script.py").write_text(f"import sys\n{leave}\n")
    result = run_file("script.py", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (LEAVES[leave], "")
    assert "never" not in result.stdout


READS = {
    "sys.stdin.read()": "'one\\ntwo\\n'",
    "list(sys.stdin)": "['one\\n', 'two\\n']",
    "(input('first? '), sys.stdin.readline(), sys.stdin.read())": "('one', 'two\\n', '')",
    "__import__('subprocess').run(['cat'], stdin=sys.stdin, capture_output=True, text=True).stdout": "'one\\ntwo\\n'",
}


@pytest.mark.parametrize("source", ["pipe", "file"])
@pytest.mark.parametrize("read", READS)
def test_a_script_reads_the_commands_own_stdin(tmp_path, read, source):
    (tmp_path / "script.py").write_text(f"import sys\nx = {read}\nprint(repr(x))")
    (tmp_path / "data").write_text("one\ntwo\n")
    with (tmp_path / "data").open() as file:
        given = {"stdin": file} if source == "file" else {"input": "one\ntwo\n"}
        result = run_file("script.py", cwd=tmp_path, **given)
    assert (result.returncode, result.stdout.removeprefix("first? "), result.stderr) == (0, READS[read] + "\n", "")


FAILS = """# %% one
import warnings

def divide(x):
    return 1 / x
# %%
warnings.warn("look out")
# %% [markdown]
# some text
# %%

divide(0)
"""


def test_tracebacks_and_warnings_have_the_files_own_name_and_lines(tmp_path):
    (tmp_path / "script.py").write_text(FAILS)
    result = run_file("script.py", cwd=tmp_path)
    path = tmp_path / "script.py"
    assert f'  File "{path}", line 12, in <module>\n    divide(0)\n' in result.stderr
    assert f'  File "{path}", line 5, in divide\n    return 1 / x\n' in result.stderr
    assert f"{path}:7: UserWarning: look out\n" in result.stderr
    assert "<cell" not in result.stderr


def test_a_wrong_syntax_has_the_files_own_line(tmp_path):
    (tmp_path / "script.py").write_text("# %%\nx = 1\n# %%\ny = (\n")
    result = run_file("script.py", cwd=tmp_path)
    assert f'  File "{tmp_path / "script.py"}", line 4\n' in result.stderr


def test_a_traceback_of_a_notebook_names_its_cell(tmp_path):
    cells = [{"cell_type": "markdown", "source": "# T"}, {"cell_type": "code", "source": "x = 1\n1 / 0"}]
    (tmp_path / "book.ipynb").write_text(json.dumps({"nbformat": 4, "cells": cells}))
    result = run_file("book.ipynb", cwd=tmp_path)
    assert f'  File "{tmp_path / "book.ipynb"}", cell 2, line 2, in <module>' in result.stderr
