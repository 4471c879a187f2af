"""The pipes of descriptors 1 and 2: large, unless that would use up what the user's other pipes need."""

import contextlib
import json
import subprocess
import sys
from fcntl import fcntl
from pathlib import Path

from skep_workers.host.process import output_pipes
from skep_workers.host.process.output_pipes import PIPE_BYTES, enlarge, make_pipe

F_GETPIPE_SZ = 1032


def size_of(fd):
    return fcntl(fd, F_GETPIPE_SZ)


def largest():
    return int(Path("/proc/sys/fs/pipe-max-size").read_text(encoding="ascii"))


def test_a_pipe_holds_a_mebibyte():
    with contextlib.ExitStack() as made:
        pipes = [make_pipe(made) for _ in range(2)]
        enlarge(*(write for _, write in pipes))
        assert [size_of(read) for read, _ in pipes] == [min(PIPE_BYTES, largest())] * 2


def test_no_descriptor_is_left_open():
    with contextlib.ExitStack() as made:
        _, write = make_pipe(made)
        before = sorted(Path("/proc/self/fd").iterdir())
        enlarge(write)
        assert sorted(Path("/proc/self/fd").iterdir()) == before


def test_without_a_readable_limit_the_full_size_is_tried(monkeypatch):
    monkeypatch.setattr(output_pipes, "_LARGEST", "/proc/sys/fs/no-such-file")
    with contextlib.ExitStack() as made:
        _, write = make_pipe(made)
        enlarge(write)
        assert size_of(write) > 64 * 1024


def test_a_descriptor_that_is_not_a_pipe_is_left_unchanged(tmp_path):
    with (tmp_path / "file").open("w") as file:
        enlarge(file.fileno())


AS_NOBODY = """
import contextlib, json, os, sys
from fcntl import fcntl
from skep_workers.host.process.output_pipes import enlarge, make_pipe
if os.getuid() == 0:
    os.setuid(65534)
sizes = []
with contextlib.ExitStack() as made:
    for _ in range(100):
        read, write = make_pipe(made)
        enlarge(write)
        sizes.append(fcntl(read, 1032))
    sizes.append(fcntl(make_pipe(made)[0], 1032))
print(json.dumps(sizes))
"""


def test_the_pipes_of_an_unprivileged_user_keep_their_usual_size():
    run = subprocess.run([sys.executable, "-c", AS_NOBODY], check=True, capture_output=True, text=True)
    *sizes, other = json.loads(run.stdout)

    assert set(sizes) <= {64 * 1024, min(PIPE_BYTES, largest())}
    assert sizes == sorted(sizes, reverse=True)  # the first ones are the large ones
    assert other == 64 * 1024
