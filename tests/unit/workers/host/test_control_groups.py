"""Control groups: what is written to them and read from them, and their removal on the real kernel."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from skep_shared.isolation.session_limits import Excess, Limits
from skep_shared.process_trees import ProcessId, process_id
from skep_workers.host.control_groups import orphaned_groups, session_group
from skep_workers.host.control_groups.hierarchy import Hierarchy, members
from skep_workers.host.control_groups.orphaned_groups import name_for, remove_orphaned
from skep_workers.host.control_groups.removal import remove
from skep_workers.host.control_groups.session_group import SessionGroup
from skep_workers.sandbox.kernel.control_groups import ControlGroup

GONE = ProcessId(2**22 + 1, 1)
LIMIT = 64 * 1024 * 1024
ALL = frozenset({"memory", "pids", "cpu"})


def _places():
    """Return a directory of each version in which this process may make groups."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    own = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    found = {}
    for _, mounted, kind, options, *_ in mounts:
        for number, names, path in own:
            is_here = number == "0" if kind == "cgroup2" else names and set(names.split(",")) <= set(options.split(","))
            directory = Path(mounted) / path.lstrip("/")
            if kind in {"cgroup", "cgroup2"} and is_here and os.access(directory, os.W_OK):
                found.setdefault(f"cgroup-v{2 if kind == 'cgroup2' else 1}", directory)
    return found


PLACES = _places() or {"plain-directory": None}


@pytest.fixture(params=PLACES)
def place(request, tmp_path):
    """A group for this test alone, on the kernel's file system where this user may make one."""
    parent = PLACES[request.param]
    directory = tmp_path / "group" if parent is None else parent / f"skep-test-{os.getpid()}"
    directory.mkdir()
    yield directory
    remove_until_gone(directory)


def remove_until_gone(directory):
    while not remove([directory]):
        pass


@pytest.fixture
def start_in():
    """Return a function that starts a process in a group, and one that tells whether it has ended."""
    started = []

    def start(directory):
        process = subprocess.Popen(["sleep", "3600"])
        started.append(process)
        if (directory / "cgroup.procs").exists():
            (directory / "cgroup.procs").write_text(str(process.pid))
            assert members(directory) == [process.pid]
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def kernel(monkeypatch, tmp_path):
    """A directory whose groups get their files as they are written; the values, by file name."""
    written = {}

    def write(path, text):
        written[path.name] = text
        events = {
            "memory.limit_in_bytes": "memory.oom_control",
            "memory.max": "memory.events",
            "pids.max": "pids.events",
        }
        if path.name in events:
            (path.parent / events[path.name]).write_text("")

    monkeypatch.setattr(session_group, "write", write)
    return tmp_path, written


def make_group(directory, version, **limits):
    group = SessionGroup([Hierarchy(directory / "1", version, ALL)], Limits(**limits))
    group.make()
    return group


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        (1, {"memory.limit_in_bytes": str(LIMIT), "memory.memsw.limit_in_bytes": str(LIMIT), "pids.max": "40"}),
        (2, {"memory.max": str(LIMIT), "memory.swap.max": "0", "memory.oom.group": "1", "pids.max": "40"}),
    ],
)
def test_limits_are_written_under_their_names_in_each_version(kernel, version, expected):
    directory, written = kernel

    group = make_group(directory, version, memory_bytes=LIMIT, processes=40)

    assert written == expected
    assert group.enforced == {"memory_bytes", "processes"}


def test_a_session_without_limits_needs_the_weight_only(tmp_path):
    hierarchies = [Hierarchy(tmp_path / name, 1, frozenset({name})) for name in sorted(ALL)]

    group = SessionGroup(hierarchies, Limits(cpu_seconds=5))
    group.make()

    assert [path.name for path in tmp_path.iterdir()] == ["cpu"]
    assert group.enforced == frozenset()


COUNTERS = {
    "memory-v1": (1, "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n", "memory_bytes", LIMIT),
    "memory-v2": (2, "memory.events", "low 0\nhigh 0\nmax 9\noom 1\noom_kill 1\n", "memory_bytes", LIMIT),
    "processes-v1": (1, "pids.events", "max 1\n", "processes", 40),
    "processes-v2": (2, "pids.events", "max 1\n", "processes", 40),
}
PEAKS = {("memory_bytes", 1): "memory.max_usage_in_bytes", ("memory_bytes", 2): "memory.peak"}


@pytest.mark.parametrize("case", COUNTERS)
def test_what_the_kernel_has_enforced_is_named_with_its_limit(kernel, case):
    version, file, text, name, limit = COUNTERS[case]
    directory, _ = kernel
    group = make_group(directory, version, memory_bytes=LIMIT, processes=40)
    assert group.excess() is None

    (directory / "1" / file).write_text(text)

    assert group.excess() == Excess(name, limit, limit)


@pytest.mark.parametrize("case", COUNTERS)
def test_the_limit_of_a_group_around_the_worker_is_not_the_sessions(kernel, case):
    version, file, text, name, limit = COUNTERS[case]
    directory, _ = kernel
    group = make_group(directory, version, memory_bytes=LIMIT, processes=40)

    (directory / "1" / file).write_text(text)
    (directory / "1" / PEAKS.get((name, version), "pids.peak")).write_text(str(limit // 2))

    assert group.excess() is None


def test_a_group_that_was_removed_from_outside_has_refused_nothing(kernel):
    directory, _ = kernel
    group = make_group(directory, 1, processes=40)
    group.remove()

    assert group.excess() is None


def test_a_group_that_can_not_be_made_leaves_nothing(tmp_path):
    group = SessionGroup([Hierarchy(tmp_path / "1", 1, ALL)], Limits(processes=40))  # a plain directory has no pids.max

    with pytest.raises(FileNotFoundError):
        group.make()

    assert list(tmp_path.iterdir()) == []


def test_the_processes_of_a_group_and_of_those_in_it_end_with_it(place, start_in):
    inner = place / "inner"
    inner.mkdir()
    processes = [start_in(place), start_in(inner)] if (place / "cgroup.procs").exists() else []

    remove_until_gone(place)

    assert [process.wait() for process in processes] == [-9] * len(processes)
    assert not place.exists()


@pytest.fixture
def own_group(monkeypatch, place):
    """Make this test's group the one in which workers make theirs."""
    found = [ControlGroup(place, ("memory",))]
    monkeypatch.setattr(orphaned_groups, "own_groups", lambda version: found if version == 1 else [])
    return place


def test_groups_of_ended_workers_are_removed_with_their_processes(own_group, start_in):
    orphaned = own_group / name_for(GONE)
    (orphaned / "1").mkdir(parents=True)
    process = start_in(orphaned / "1")

    assert remove_orphaned() == []

    assert not orphaned.exists()
    if (own_group / "cgroup.procs").exists():
        assert process.wait() == -9


def test_groups_of_living_workers_and_other_groups_remain(own_group):
    me = process_id(os.getpid())
    assert me is not None
    others = [name_for(me), name_for(GONE).replace("skep-", "skep-1"), "another", "skep-1-2"]
    for name in others:
        (own_group / name).mkdir()

    assert remove_orphaned() == []

    assert {path.name for path in own_group.iterdir() if path.is_dir()} == set(others)


MOVE = """
import os, sys
from pathlib import Path
from skep_workers.host.control_groups import worker_groups
from skep_workers.sandbox.kernel.control_groups import ControlGroup
own = Path(sys.argv[1])
(own / "cgroup.procs").write_text(str(os.getpid()))
worker_groups.own_groups = lambda _: [ControlGroup(own, ())]
where = lambda: Path("/proc/self/cgroup").read_text().splitlines()[-1]
before = where()
groups = worker_groups.open_groups(2, "skep-x")
print(where() == before + "/skep-x/worker", groups.close(), where() == before, [*own.glob("*/")])
"""
V2 = [place for place in PLACES if place == "cgroup-v2"] or ["plain-directory"]


@pytest.mark.parametrize("kind", V2)
def test_a_worker_moves_to_a_group_next_to_its_sessions_and_back(kind, tmp_path):
    own = PLACES[kind] / f"skep-test-{os.getpid()}" if kind == "cgroup-v2" else tmp_path / "group"
    own.mkdir()
    try:
        done = subprocess.run([sys.executable, "-c", MOVE, str(own)], capture_output=True, text=True, check=False)
        if kind == "cgroup-v2":
            assert (done.stdout, done.stderr) == ("True True True []\n", "")
        else:
            (own / "cgroup.procs").unlink()
            assert "FileNotFoundError" in done.stderr  # a plain directory has no file to move a process with
            assert list(own.iterdir()) == []
    finally:
        remove_until_gone(own)
