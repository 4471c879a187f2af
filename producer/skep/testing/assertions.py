"""Assertions for tests, whose messages show what happened in the cell."""

import difflib
import inspect
import pprint
from typing import Final

from skep.outcome import Outcome
from skep_shared.errors import InvalidArgument

TAIL_CHARS: Final = 4000
_NOT_GIVEN: Final = object()


def assert_ok(outcome: Outcome, value: object = _NOT_GIVEN, *, text: str | None = None) -> Outcome:
    """Assert that a cell finished, and return its outcome. value, text: what it must have returned and written.

    The AssertionError shows the cell's traceback as its user would see it and the end of its output, or what differs.
    Raises InvalidArgument for anything that is no Outcome.
    """
    __tracebackhide__ = True  # pytest shows the test's line instead
    if not isinstance(outcome, Outcome):
        hint = ""
        if inspect.iscoroutine(outcome):
            outcome.close()  # it would warn that it was never awaited
            hint = ": await the call"
        raise InvalidArgument("outcome", outcome, f"an Outcome is needed{hint}")
    name = f"cell {outcome.cell_id!r} of session {outcome.session_id!r}"
    if not outcome.ok:
        raise AssertionError(_failure(name, outcome))
    if value is not _NOT_GIVEN and value != outcome.value:
        note = " (its value can't travel as data, so this is its repr)" if outcome.value_is_repr else ""
        difference = _difference(pprint.pformat(value), pprint.pformat(outcome.value))
        raise AssertionError(f"{name} returned another value than expected{note}:\n{difference}")
    if text is not None and text != outcome.text:
        raise AssertionError(f"{name} wrote another text than expected:\n{_difference(text, outcome.text)}")
    return outcome


def _failure(name: str, outcome: Outcome) -> str:
    head = f"{name} {outcome.status.replace('_', ' ')}"
    parts = []
    if outcome.error is not None:
        fault = outcome.error
        head += f": {fault.ename}: {fault.evalue}" if fault.evalue else f": {fault.ename}"
        parts.append(fault.traceback.rstrip("\n"))
    if outcome.text:
        cut = f"(its last {TAIL_CHARS} characters) " if len(outcome.text) > TAIL_CHARS else ""
        parts.append(f"its output {cut}was:\n{outcome.text[-TAIL_CHARS:].rstrip()}")
    parts += [f"warning: {message}" for message in outcome.warnings]
    return "\n\n".join([head, *filter(None, parts)])


def _difference(expected: str, actual: str) -> str:
    """Return what differs, line by line: `-` is expected, `+` is what there is."""
    lines = difflib.ndiff(expected.splitlines(), actual.splitlines())
    return "\n".join(line.rstrip("\n") for line in lines)
