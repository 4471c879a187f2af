"""seccomp: a filter over the system calls of a process and its descendants, in classic BPF.

The filter compares the call's number with each rule's. The kernel runs it once for each number when it is installed,
and remembers which calls are permitted whatever their arguments are: those cost nothing later.

See seccomp(2), linux/filter.h and linux/seccomp.h.
"""

import ctypes
import errno
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from struct import Struct
from typing import Final

from skep_workers.sandbox.kernel.system_calls import MACHINE, call, number_of

_ARCHITECTURES: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # AUDIT_ARCH_…
_X32: Final = 0x40000000  # x86_64 has a second set of calls, whose numbers begin here
_INSTRUCTION: Final = Struct("=HBBI")
_VALUE: Final = Struct("=I")  # an instruction's last part
_LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_JUMP_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_JUMP_AT_LEAST: Final = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_JUMP_ANY_BIT: Final = 0x45  # BPF_JMP | BPF_JSET | BPF_K
_RETURN: Final = 0x06  # BPF_RET | BPF_K
_ALLOW: Final = 0x7FFF0000  # SECCOMP_RET_ALLOW
_ERRNO: Final = 0x00050000  # SECCOMP_RET_ERRNO
_PASS_ON: Final = 0x7FC00000  # SECCOMP_RET_USER_NOTIF
_NUMBER_OFFSET: Final = 0  # in struct seccomp_data
_MACHINE_OFFSET: Final = 4
_ARGUMENTS_OFFSET: Final = 16
_ARGUMENT_BYTES: Final = 8  # the lower half comes first on both machines
_SET_FILTER: Final = 1  # SECCOMP_SET_MODE_FILTER
# SECCOMP_FILTER_FLAG_SPEC_ALLOW. Without it kernels before 5.16 slow the process down against speculative reads of its
# own memory; a session shares its memory with no code that it must be protected from.
_KEEP_SPEED: Final = 1 << 2
_NEW_LISTENER: Final = 1 << 3  # SECCOMP_FILTER_FLAG_NEW_LISTENER


class Comparison(Enum):
    """How a condition compares the lower 32 bits of an argument with its value."""

    EQUAL = "equal"
    NOT_EQUAL = "not equal"
    ANY_BIT = "any bit"
    NO_BIT = "no bit"


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that holds for an argument of a call."""

    argument: int
    comparison: Comparison
    value: int


@dataclass(frozen=True, slots=True)
class Denial:
    """A call that fails with this error number if all the conditions hold.

    is_passed_on: it does not fail, but waits for an answer by the filter's listener, see notifications.py.
    """

    name: str
    error: int = errno.EPERM
    conditions: tuple[Condition, ...] = ()
    is_passed_on: bool = False


def build_filter(denials: Iterable[Denial]) -> bytes:
    """Return the program that fails these calls and permits all others. Raises OSError on an unknown machine."""
    architecture = _ARCHITECTURES.get(MACHINE)
    if architecture is None:
        reason = f"this machine ({MACHINE}) is not supported, only {' and '.join(_ARCHITECTURES)} are"
        raise OSError(errno.ENOSYS, f"seccomp: {reason}")
    foreign = _return(_ERRNO | errno.ENOSYS)
    program = [_load(_MACHINE_OFFSET), _jump(_JUMP_EQUAL, architecture, 1, 0), foreign, _load(_NUMBER_OFFSET)]
    if MACHINE == "x86_64":
        program += [_jump(_JUMP_AT_LEAST, _X32, 0, 1), foreign]
    for denial in denials:
        number = number_of(denial.name)
        if number is not None:  # otherwise this machine doesn't have the call
            body = _fail_if(denial)
            program += [_jump(_JUMP_EQUAL, number, 0, len(body)), *body]
    return b"".join([*program, _return(_ALLOW)])


def with_value(program: bytes, placeholder: int, value: int) -> bytes:
    """Return the program with another value in the comparisons with `placeholder`."""
    return program.replace(_VALUE.pack(placeholder), _VALUE.pack(value))


def _fail_if(denial: Denial) -> list[bytes]:
    """Return the instructions for a call with the right number; they leave the number loaded if it is permitted."""
    verdict = _return(_PASS_ON if denial.is_passed_on else _ERRNO | denial.error)
    if not denial.conditions:
        return [verdict]
    body = [verdict, _load(_NUMBER_OFFSET)]
    for condition in reversed(denial.conditions):
        to_end = len(body) - 1  # from the instruction after the jump to the one that loads the number again
        operation = _JUMP_EQUAL if condition.comparison in {Comparison.EQUAL, Comparison.NOT_EQUAL} else _JUMP_ANY_BIT
        holds = condition.comparison in {Comparison.EQUAL, Comparison.ANY_BIT}
        jump = _jump(operation, condition.value, *((0, to_end) if holds else (to_end, 0)))
        body = [_load(_ARGUMENTS_OFFSET + _ARGUMENT_BYTES * condition.argument), jump, *body]
    return body


def _load(offset: int) -> bytes:
    return _INSTRUCTION.pack(_LOAD, 0, 0, offset)


def _jump(operation: int, value: int, if_true: int, if_false: int) -> bytes:
    return _INSTRUCTION.pack(operation, if_true, if_false, value & 0xFFFFFFFF)


def _return(value: int) -> bytes:
    return _INSTRUCTION.pack(_RETURN, 0, 0, value)


class _Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def install_filter(program: bytes) -> None:
    """Apply a program to this thread and its future children, in addition to earlier ones. Raises OSError.

    The thread must have no new privileges.
    """
    _install(program, _KEEP_SPEED)


def install_filter_with_listener(program: bytes) -> int:
    """Apply a program that passes calls on; return the descriptor of its listener. Raises OSError.

    A process can have one such filter. EBUSY: it has one already, of a container engine for example.
    """
    return _install(program, _KEEP_SPEED | _NEW_LISTENER)


def _install(program: bytes, flags: int) -> int:
    described = _Program(len(program) // _INSTRUCTION.size, program)
    return call("seccomp", _SET_FILTER, flags, ctypes.addressof(described))
