"""Kishu without a front end: an IPython shell in this process with Kishu's own hooks around each cell."""

import os
import time
from pathlib import Path

ROOT = Path(os.environ["KISHU_PATH_ROOT"])  # read by kishu when it is imported
os.environ["ENV_KISHU_TEST_MODE"] = "1"

import nbformat  # noqa: E402
from IPython.core.interactiveshell import InteractiveShell  # noqa: E402
from kishu.jupyterint import KishuForJupyter  # noqa: E402
from kishu.notebook_id import NotebookId  # noqa: E402
from serving import serve  # noqa: E402
from states import states  # noqa: E402

NOTEBOOK = ROOT / "bench.ipynb"
HEAD = ROOT / "head"


def _attach(kernel: str) -> tuple[InteractiveShell, KishuForJupyter]:
    shell = InteractiveShell.instance()
    if not NOTEBOOK.exists():
        nbformat.write(nbformat.v4.new_notebook(), NOTEBOOK)
    kishu = KishuForJupyter(NotebookId("bench", NOTEBOOK, kernel), shell)
    kishu.install_kishu_hooks()
    return shell, kishu


def measure(name: str, part: int, rounds: int) -> dict[str, float]:
    """Return the milliseconds that the changing cell takes, which has returned when it is durable, and what is stored."""
    state = next(state for state in states(part) if state.name == name)
    shell, kishu = _attach("first")

    def run(code: str) -> float:
        started = time.perf_counter()
        shell.run_cell(code, store_history=True).raise_error()
        return (time.perf_counter() - started) * 1000

    run("warm = 1")
    run(state.make)
    database = next(ROOT.rglob("*.kishudb"))
    size = database.stat().st_size
    taken = sorted(run(state.change) for _ in range(rounds))
    stored = (database.stat().st_size - size) / rounds
    HEAD.write_text(kishu._kishu_graph.head())
    return {"added": taken[len(taken) // 2], "durable": taken[len(taken) // 2], "bytes": stored}


def restore() -> float:
    """Return the milliseconds of checking out the last commit in a new process."""
    import numpy as np  # noqa: F401 - what is loaded needs them, which is not Kishu's time
    import pandas as pd  # noqa: F401

    _, kishu = _attach("second")
    started = time.perf_counter()
    kishu.checkout(HEAD.read_text(), skip_notebook=True)
    return (time.perf_counter() - started) * 1000


if __name__ == "__main__":
    serve({"measure": measure, "restore": restore})
