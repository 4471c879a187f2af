"""The smallest program there is: it waits for ever. A process that executes it holds three pages of memory.

The file is made in memory, so nothing needs to be installed. It can't be read, which makes a process that executes it
without privileges one that others can't trace.

See elf(5) and memfd_create(2).
"""

import errno
import os
from struct import Struct
from typing import Final

from skep_workers.sandbox.kernel.system_calls import MACHINE

_HEADER: Final = Struct("<16sHHIQQQIHHHHHH")  # Elf64_Ehdr
_SEGMENT: Final = Struct("<IIQQQQQQ")  # Elf64_Phdr
_IDENTITY: Final = b"\x7fELF\x02\x01\x01"  # 64 bits, little-endian, version 1
_EXECUTABLE: Final = 2  # ET_EXEC
_LOADED: Final = 1  # PT_LOAD
_READ_AND_EXECUTE: Final = 5
_ADDRESS: Final = 0x400000
_PAGE_BYTES: Final = 0x10000  # the largest that a machine can have
_MFD_EXEC: Final = 0x10  # since Linux 6.3; earlier every such file could be executed
# The ELF machine, and the code: a loop around `pause`, or around `ppoll` of nothing.
_CODE: Final = {
    "x86_64": (62, bytes.fromhex("b822000000 0f05 ebf7")),
    "aarch64": (183, bytes.fromhex("280980d2 000080d2 010080d2 020080d2 030080d2 010000d4 faffff17")),
}


def idle_program() -> bytes:
    """Return the program for this machine. Raises OSError on an unknown one."""
    if MACHINE not in _CODE:
        raise OSError(errno.ENOSYS, f"no program for this machine ({MACHINE}), only for {' and '.join(_CODE)}")
    machine, code = _CODE[MACHINE]
    start = _HEADER.size + _SEGMENT.size
    length = start + len(code)
    entry = _ADDRESS + start
    sizes = (_HEADER.size, _SEGMENT.size, 1, 0, 0, 0)
    header = _HEADER.pack(_IDENTITY, _EXECUTABLE, machine, 1, entry, _HEADER.size, 0, 0, *sizes)
    segment = _SEGMENT.pack(_LOADED, _READ_AND_EXECUTE, 0, _ADDRESS, _ADDRESS, length, length, _PAGE_BYTES)
    return header + segment + code


def open_idle_program() -> int:
    """Return the descriptor of a file with the program, for os.execve. Raises OSError."""
    program = idle_program()
    try:
        written = os.memfd_create("idle", os.MFD_CLOEXEC | _MFD_EXEC)
    except OSError as exc:
        if exc.errno != errno.EINVAL:
            raise
        written = os.memfd_create("idle", os.MFD_CLOEXEC)
    try:
        os.write(written, program)
        # A file that is open for writing can't be executed.
        opened = os.open(f"/proc/self/fd/{written}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(written)
    os.fchmod(opened, 0o111)
    return opened
