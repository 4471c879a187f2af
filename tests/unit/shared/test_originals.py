"""The engine uses the standard library as it was before any cell ran: whatever a cell replaces there is not the engine's."""

import ast
import os
import sys
import time
from pathlib import Path
from unittest import mock

import pytest

from skep_shared import originals

SESSION = Path(__file__).parents[3] / "workers" / "skep_workers" / "session"
COPIED = ("gc", "os", "resource", "select", "signal", "socket", "threading", "time")
# These look at what cells have made of a module, or put something in it, and so need the one that cells have.
ABOUT_THE_MODULE = {
    "attribution/threads.py": {"threading"},
    "errors/uncaught.py": {"threading"},
    "interrupt/signal_hold.py": {"signal"},  # for the numbers
    "checkpoint/surroundings/interpreter/hooks.py": {"signal", "threading"},
    "checkpoint/surroundings/interpreter/settings.py": {"gc", "threading"},
    "checkpoint/surroundings/interpreter/time_zone.py": {"time"},
    "checkpoint/reducers/libraries/structs.py": {"threading"},
    "checkpoint/reducers/libraries/polars_plans.py": {"threading"},
}


def imported(path):
    """Return the modules that a file imports as a whole."""
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Import)]
    return {alias.name for node in nodes for alias in node.names}


@pytest.mark.parametrize("path", sorted(SESSION.rglob("*.py")), ids=lambda path: str(path.relative_to(SESSION)))
def test_a_module_of_the_engine_imports_the_copies(path):
    name = str(path.relative_to(SESSION))
    allowed = ABOUT_THE_MODULE.get(name, set()) | ({"gc"} if "reducers" in name else set())

    assert imported(path) & set(COPIED) <= allowed


@pytest.mark.parametrize(
    "path",
    [path for path in SESSION.rglob("*.py") if path.parent.name != "magics"],  # a magic runs in the cell
    ids=lambda path: str(path.relative_to(SESSION)),
)
def test_a_module_of_the_engine_opens_no_file_by_the_name_that_cells_can_replace(path):
    calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]

    assert "open" not in {call.id for call in calls if isinstance(call, ast.Name)}


def test_a_copy_is_found_by_no_tool_that_looks_through_the_modules():
    copies = [getattr(originals, name) for name in COPIED]

    assert not [copy for copy in copies if any(copy is module for module in sys.modules.values())]
    assert {copy.__name__ for copy in copies}.isdisjoint(COPIED)


def test_what_is_replaced_in_a_module_is_not_replaced_in_the_copy():
    with mock.patch("os.getpid", return_value=0), mock.patch("time.monotonic", return_value=0.0):
        assert (os.getpid(), time.monotonic()) == (0, 0.0)
        assert originals.os.getpid() > 0
        assert originals.time.monotonic() > 0.0

    with mock.patch("os.path.join", return_value=""):
        assert originals.os.path.join("a", "b") == "a/b"


def test_a_file_is_read_whole(tmp_path):
    (tmp_path / "large").write_bytes(b"x" * (3 * originals.READ_BYTES + 1))

    assert originals.read_file(str(tmp_path / "large")) == b"x" * (3 * originals.READ_BYTES + 1)
    with pytest.raises(FileNotFoundError):
        originals.read_file(str(tmp_path / "missing"))
