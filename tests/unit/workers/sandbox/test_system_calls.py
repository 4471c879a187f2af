"""The numbers of system calls, compared with the kernel's headers where those are installed."""

import errno
import os
import re
from pathlib import Path

import pytest

from skep_workers.sandbox.kernel import system_calls
from skep_workers.sandbox.kernel.system_calls import NUMBERS, call

HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}
NEWER_THAN_SOME_HEADERS = {"open_tree_attr"}


@pytest.mark.parametrize(("column", "machine"), list(enumerate(HEADERS)))
def test_numbers_are_those_of_the_headers(column, machine):
    if not HEADERS[machine].exists():
        pytest.skip(f"{HEADERS[machine]} is not installed")
    defined = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", HEADERS[machine].read_text())
    in_header = {name: int(number) for name, number in defined}
    ours = {name: numbers[column] for name, numbers in NUMBERS.items() if numbers[column] is not None}

    assert {name: in_header.get(name) for name in ours.keys() - NEWER_THAN_SOME_HEADERS} == {
        name: number for name, number in ours.items() if name not in NEWER_THAN_SOME_HEADERS
    }


def test_no_number_is_used_twice():
    for column in range(2):
        used = [numbers[column] for numbers in NUMBERS.values() if numbers[column] is not None]
        assert len(set(used)) == len(used)


def test_a_call_that_fails_names_itself():
    with pytest.raises(OSError, match="setns") as raised:
        call("setns", -1, 0)

    assert raised.value.errno == errno.EBADF


def test_on_another_machine_a_call_is_refused_with_its_name(monkeypatch):
    monkeypatch.setattr(system_calls, "MACHINE", "riscv64")
    with pytest.raises(OSError, match=r"close_range: this machine \(riscv64\) is not supported") as raised:
        call("close_range", 0, 0, 0)

    assert raised.value.errno == errno.ENOSYS
    assert os.fstat(0)
