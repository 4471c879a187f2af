"""`skep run --output OUT.ipynb`: a notebook as Jupyter would have saved it."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from .commands import skep_command

pytestmark = pytest.mark.timeout(60)

SAYS = """# %%
import sys
print('out')
print('more')
# %% [markdown]
# # A title
# and text
# %%
6 * 7
# %%
1 / 0
# %%
'never'
"""


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("SKEP_")}
    return subprocess.run(
        skep_command("run", *arguments),
        check=False,
        capture_output=True,
        text=True,
        cwd=cwd,
        env=env,
        timeout=50,
        stdin=subprocess.DEVNULL,
    )


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def test_a_script_becomes_a_notebook_with_what_its_cells_put_out(tmp_path):
    (tmp_path / "script.py").write_text(SAYS)
    result = run("script.py", "--output", "out.ipynb", cwd=tmp_path)
    assert result.returncode == 1

    notebook = read(tmp_path / "out.ipynb")
    assert (notebook["nbformat"], notebook["metadata"]["language_info"]["name"]) == (4, "python")
    first, text, second, failing, never = notebook["cells"]
    assert first["source"] == "import sys\nprint('out')\nprint('more')"
    assert (first["execution_count"], first["outputs"]) == (
        1, [{"output_type": "stream", "name": "stdout", "text": "out\nmore\n"}],
    )  # fmt: skip
    assert (text["cell_type"], text["source"]) == ("markdown", "# A title\nand text")
    assert second["outputs"] == [
        {"output_type": "execute_result", "execution_count": 2, "data": {"text/plain": "42"}, "metadata": {}}
    ]
    [error] = failing["outputs"]
    assert (error["output_type"], error["ename"], error["evalue"]) == ("error", "ZeroDivisionError", "division by zero")
    assert f'  File "{tmp_path / "script.py"}", line 11, in <module>' in error["traceback"]
    assert (never["execution_count"], never["outputs"]) == (None, [])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.ipynb", "script.py"]


def test_a_notebook_keeps_everything_but_its_outputs(tmp_path):
    cells = [
        {"cell_type": "markdown", "metadata": {"a": 1}, "source": ["# T\n", "t"], "id": "m"},
        {"cell_type": "code", "metadata": {"tags": ["x"]}, "source": ["1\n", "+ 1"], "id": "c",
         "execution_count": 7, "outputs": [{"output_type": "stream", "name": "stdout", "text": "old"}]},
        {"cell_type": "code", "metadata": {}, "source": "", "id": "e", "execution_count": 3, "outputs": []},
        {"cell_type": "code", "metadata": {}, "source": "2 + 2", "id": "d", "execution_count": None, "outputs": []},
    ]  # fmt: skip
    document = {"cells": cells, "metadata": {"kernelspec": {"name": "mine"}}, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "book.ipynb").write_text(json.dumps(document))
    assert run("book.ipynb", "--output", "book.ipynb", cwd=tmp_path).returncode == 0  # in its own place

    written = read(tmp_path / "book.ipynb")
    assert written["metadata"] == document["metadata"]
    assert [cell["source"] for cell in written["cells"]] == [cell["source"] for cell in cells]
    assert [cell.get("metadata") for cell in written["cells"]] == [cell["metadata"] for cell in cells]
    assert [cell.get("execution_count") for cell in written["cells"]] == [None, 1, None, 2]
    values = [output["data"]["text/plain"] for cell in written["cells"] for output in cell.get("outputs", ())]
    assert values == ["1", "4"]


def test_displays_are_kept_as_they_are_in_the_end(tmp_path):
    (tmp_path / "script.py").write_text(
        "handle = display('a', display_id=True)\nprint('between')\nhandle.update('b')\ndisplay({'text/html': '<b>x</b>'}, raw=True)"
    )
    result = run("script.py", "--output", "out.ipynb", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")

    [cell] = read(tmp_path / "out.ipynb")["cells"]
    kinds = [(output["output_type"], output.get("data", output.get("text"))) for output in cell["outputs"]]
    assert kinds == [
        ("display_data", {"text/plain": "'b'"}), ("stream", "between\n"), ("display_data", {"text/html": "<b>x</b>"}),
    ]  # fmt: skip
    assert all(output.get("metadata", {}) == {} for output in cell["outputs"])


@pytest.mark.parametrize("output", ["out.html", "nowhere/out.ipynb", "."])
def test_an_output_that_cannot_be_written_is_refused_before_anything_runs(tmp_path, output):
    (tmp_path / "script.py").write_text("open('ran', 'w').close()")
    result = run("script.py", "--output", output, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(f"skep: --output: '{output}' is refused: ")
    assert not (tmp_path / "ran").exists()
