"""The soak's oracle cell reports its state correctly even if it is interrupted anywhere."""

import sys

import pytest

from ..checker.oracle import NOTHING, absorb
from .soak_clients import ORACLE_CELL


class Interruption:
    """Raises KeyboardInterrupt at the n-th line that runs, in the cell or in code that it calls."""

    def __init__(self, lines):
        self.left = lines

    def __call__(self, frame, event, argument):
        if event == "line":
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
        return self


def run(namespace, cell_id, *, has_ballast, interruption=None):
    """Run a cell; return its value, None if it was interrupted."""
    namespace |= {"cell_id": cell_id, "lines": 1, "seconds": 0.0, "has_ballast": has_ballast}
    body, _, value = ORACLE_CELL.strip().rpartition("\n")
    sys.settrace(interruption)
    try:
        exec(body, namespace)  # noqa: S102 - it is a cell
    except KeyboardInterrupt:
        return None
    finally:
        sys.settrace(None)
    return eval(value, namespace)


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # a file that was just being written
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it is collected, and reports that
def test_a_cell_that_was_interrupted_anywhere_has_changed_all_or_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    first = absorb(NOTHING, "a")
    for number in range(1, 1000):
        (tmp_path / "state.txt").unlink(missing_ok=True)
        namespace = {}
        assert run(namespace, "a", has_ballast=True) == first
        value = run(namespace, "b", has_ballast=bool(number % 2), interruption=Interruption(number))
        after = run(namespace, "c", has_ballast=False)
        if value is not None:  # it has been interrupted everywhere
            break
        assert after in {absorb(first, "c"), absorb(absorb(first, "b"), "c")}, f"interrupted at line {number}"
    assert number > 50
    assert value == absorb(first, "b")
