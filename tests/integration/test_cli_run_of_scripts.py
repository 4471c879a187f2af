"""`skep run FILE` as a stand-in for `python FILE`: what a script finds around itself, and how it may end."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(60)


def run_file(name: str, *, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run `skep run NAME` there."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("SKEP_")}
    command = [sys.executable, "-P", "-m", "skep.cli", "run", name]
    return subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=cwd, env=env, stdin=subprocess.DEVNULL, timeout=50
    )


ABOUT_ITSELF = """
from pathlib import Path
import os, sys
import beside
print(beside.NAME, __name__, sys.argv, Path(__file__).resolve(), os.getcwd(), open("data.txt").read())
"""


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


def test_a_script_may_spawn_processes_that_import_it(tmp_path):
    (tmp_path / "script.py").write_text(SPAWNS)
    result = run_file("script.py", cwd=tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (0, "[42]\n", "")


@pytest.mark.parametrize("leave", ["sys.exit()", "sys.exit(0)", "raise SystemExit", "exit()"])
def test_a_script_that_leaves_by_itself_has_not_failed(tmp_path, leave):
    (tmp_path / "script.py").write_text(f"# %%\nimport sys\nprint('done')\n{leave}\n# %%\nprint('never')\n")
    result = run_file("script.py", cwd=tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (0, "done\n", "")


def test_a_script_that_leaves_with_an_error_has_failed(tmp_path):
    (tmp_path / "script.py").write_text("raise SystemExit('no display here')")
    result = run_file("script.py", cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr.endswith("skep: the cell failed: SystemExit: no display here\n")
