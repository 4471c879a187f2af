"""Descriptions of how a process ended."""

import pytest

from skep_workers.host.process.exit_status import for_the_log


@pytest.mark.parametrize(
    ("cause", "logged"),
    [
        ("killed by SIGSEGV", "killed by SIGSEGV"),
        ("the engine failed: KeyError: 'a value: of the user'", "the engine failed: KeyError"),
        ("the engine failed: MemoryError", "the engine failed: MemoryError"),
    ],
)
def test_the_log_has_the_kind_of_an_exception_and_not_its_message(cause, logged):
    assert for_the_log(cause) == logged
