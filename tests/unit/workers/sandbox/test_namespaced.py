"""The parts of the tiers with namespaces: the root directory of sessions, their users, their pid namespaces."""

import os
import signal
from pathlib import Path

import pytest

from skep_shared.errors import StartError
from skep_shared.isolation.sandbox_tiers import Tier
from skep_workers.sandbox.kernel.namespaces import NEW_USERS, map_user, unshare, unshare_mounts
from skep_workers.sandbox.namespaced import pid_namespaces, user_ids
from skep_workers.sandbox.namespaced.root_builder import build_in_child, check_access
from skep_workers.sandbox.namespaced.root_directory import build_root, shared_paths
from skep_workers.sandbox.namespaced.session_mounts import read_accounts
from skep_workers.sandbox.namespaced.user_ids import IdRange, find_range
from skep_workers.sandbox.policy import NO_SANDBOX, SandboxPolicy
from skep_workers.sandbox.probes.machine_facts import read_facts
from skep_workers.sandbox.probes.mechanisms import find_all
from skep_workers.sandbox.tiers import Report

PLACE = "/tmp/place-of-sessions"  # noqa: S108 - nothing is written there


@pytest.fixture(scope="module")
def report():
    return Report(tuple(find_all(read_facts())))


@pytest.fixture
def namespaces(report):
    """Skip the test where no process may make namespaces; return the function that permits a child to."""
    if not report.missing(Tier.STRICT):
        return lambda: None
    if report.missing(Tier.USERNS):
        pytest.skip("no tier with namespaces works here: `skep doctor sandbox` says why")

    def permit():
        user = os.geteuid(), os.getegid()
        unshare(NEW_USERS)
        map_user(*user, inside=user)

    return permit


@pytest.fixture
def in_root(namespaces, in_child):
    """Return a function that does something in a child whose root directory is that of sessions."""

    def run(work, policy=NO_SANDBOX):
        def enter():
            namespaces()
            unshare_mounts()
            build_root(policy, PLACE)
            return work()

        return in_child(enter)

    return run


def names_in(path):
    return sorted(each.name for each in Path(path).iterdir())


def test_the_root_directory_has_the_system_and_python_and_nothing_else(in_root):
    found = in_root(lambda: (names_in("/"), names_in("/dev"), Path(os.__file__).exists(), names_in(Path(PLACE).parent)))

    assert set(found[0]) >= {"bin", "dev", "etc", "lib", "proc", "run", "tmp", "usr"}
    assert not set(found[0]) & {"boot", "mnt", "media", "srv"}
    assert found[1] == ["fd", "full", "null", "random", "shm", "stderr", "stdin", "stdout", "urandom", "zero"]
    assert found[2]
    assert set(found[3]) >= {"place-of-sessions"}


def test_nothing_in_the_root_directory_can_be_changed_and_devices_work(in_root):
    def look():
        Path("/dev/null").write_text("x")
        refused = []
        for path in ("/new", "/etc/new", "/usr/new", f"{PLACE}/new", str(Path(os.__file__).with_name("new"))):
            try:
                Path(path).write_text("x")
            except OSError as exc:
                refused.append(exc.strerror)
        return refused

    assert in_root(look) == ["Read-only file system"] * 5


def test_configuration_is_copied_with_the_targets_of_its_links(in_root):
    same = ("/etc/hosts", "/etc/nsswitch.conf", "/etc/resolv.conf", "/etc/os-release", "/etc/localtime")
    expected = {path: Path(path).read_bytes() for path in same if Path(path).exists()}

    assert in_root(lambda: {path: Path(path).read_bytes() for path in expected}) == expected
    assert in_root(lambda: Path("/etc/shadow").exists()) is False


def test_paths_of_the_settings_are_there_by_their_names(in_root, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file").write_text("content")
    (tmp_path / "work").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    policy = SandboxPolicy(Tier.USERNS, (str(tmp_path / "link"),), (str(tmp_path / "work"),))

    def look():
        (tmp_path / "work" / "new").write_text("x")
        return (tmp_path / "link" / "file").read_text()

    assert in_root(look, policy) == "content"
    assert (tmp_path / "work" / "new").read_text() == "x"
    assert set(shared_paths(policy)) >= {str(tmp_path / "data"), str(tmp_path / "work")}


def own_namespaces():
    return [Path(f"/proc/self/ns/{kind}").readlink() for kind in ("mnt", "net", "pid")]


def test_building_it_leaves_this_process_where_it_was(namespaces, in_child):
    def build():
        namespaces()
        unshare_mounts()
        before = own_namespaces()
        built = build_in_child(NO_SANDBOX, PLACE, "")
        after = own_namespaces()
        return before == after, [str(Path(f"/proc/self/fd/{fd}").readlink())[:4] for fd in built[:2]]

    assert in_child(build) == (True, ["mnt:", "net:"])


def test_a_root_directory_that_cannot_be_built_says_why(namespaces, in_child, monkeypatch):
    def build():
        namespaces()
        unshare_mounts()
        build_in_child(SandboxPolicy(Tier.USERNS, (), ("/no/such/directory",)), PLACE, "")

    with pytest.raises(StartError, match="the root directory of sessions can't be made: FileNotFoundError"):
        in_child(build)


def test_a_directory_that_other_users_cannot_read_is_named(in_child, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    for policy, words in (
        (SandboxPolicy(Tier.STRICT, (str(closed),)), "can't read"),
        (SandboxPolicy(Tier.STRICT, (), (str(closed),)), "can't read and change"),
    ):
        with pytest.raises(StartError, match=f"other users {words} {closed}"):
            in_child(lambda policy=policy: check_access(policy, find_range().first))
    closed.chmod(0o755)
    in_child(lambda: check_access(SandboxPolicy(Tier.STRICT, (str(closed),)), find_range().first))


@pytest.mark.parametrize(
    ("mapped", "expected"),
    [
        ("         0          0 4294967295\n", IdRange(0x7000_0000, 1 << 22)),
        ("0 100000 65536\n", IdRange(61184, 4336)),
        ("0 1000 1\n1 100000 65536\n", IdRange(61184, 4336)),
        ("0 1000 1\n", None),
    ],
)
def test_the_users_of_sessions_are_ids_that_exist_here(monkeypatch, mapped, expected):
    monkeypatch.setattr(user_ids.Path, "read_text", lambda _: mapped)
    if expected is None:
        with pytest.raises(OSError, match="the ids 61184 to 65519 are not mapped in this user namespace"):
            find_range()
    else:
        assert find_range() == expected


def test_sessions_that_live_at_the_same_time_have_different_users():
    ids = IdRange(0x7000_0000, 1 << 22)

    assert len({ids.of(pid) for pid in range(1 << 16)}) == 1 << 16
    assert ids.of((1 << 22) - 1) < 0x7000_0000 + (1 << 22)


@pytest.mark.parametrize("may_return", [True, False])
def test_a_fork_is_the_second_process_of_a_namespace_that_ends_with_it(namespaces, in_child, report, may_return):
    if may_return and report.missing(Tier.STRICT):
        pytest.skip("only root may return to the machine's pid namespace")

    def work():
        namespaces()
        os.environ["PYTHONWARNINGS"] = "ignore"
        from skep_shared.protocol.orphans import adopt_orphans, children_of

        adopt_orphans()
        pids = pid_namespaces.PidNamespaces(os.pidfd_open(os.getpid()), may_return=may_return)
        seen = []
        for _ in range(3):
            read, write = os.pipe()
            pid = pids.fork()
            if pid == 0:
                os.write(write, f"{os.getpid()} {os.getppid()}".encode())
                signal.pause()
            inside = os.read(read, 100).decode()
            (first,) = pids.first_processes
            is_child = {pid, first} <= set(children_of(os.getpid()))
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            pids.note_end(pid)
            _, status = os.waitpid(first, 0)
            seen.append((inside, is_child, os.WTERMSIG(status), pids.first_processes))
        return seen

    assert in_child(work) == [("2 0", True, signal.SIGKILL, set())] * 3


def test_a_first_process_that_was_killed_is_replaced(namespaces, in_child):
    def work():
        namespaces()
        from skep_shared.protocol.orphans import adopt_orphans

        adopt_orphans()
        pids = pid_namespaces.PidNamespaces(os.pidfd_open(os.getpid()), may_return=False)
        pids.prepare_next()
        (first,) = pids.first_processes
        os.kill(first, signal.SIGKILL)
        os.waitpid(first, 0)
        pids.note_end(first)
        pid = pids.fork()
        if pid == 0:
            os._exit(7)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    assert in_child(work) == 7


def test_the_program_of_first_processes_waits_and_can_be_killed(in_child):
    def work():
        from skep_workers.sandbox.kernel.idle_program import open_idle_program

        program = open_idle_program()
        pid = os.fork()
        if pid == 0:
            os.execve(program, ["idle"], {})  # noqa: S606 - it is our own
        while b"idle" not in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.sched_yield()
        is_running = os.waitpid(pid, os.WNOHANG) == (0, 0)
        os.kill(pid, signal.SIGKILL)
        return is_running, os.WTERMSIG(os.waitpid(pid, 0)[1])

    assert in_child(work) == (True, signal.SIGKILL)


def test_a_user_without_an_account_gets_one():
    known, unknown = read_accounts((0, 0)), read_accounts((123_456, 654_321))

    assert known == {name: Path(f"/etc/{name}").read_bytes() for name in ("passwd", "group")}
    assert unknown["passwd"].splitlines()[-1] == b"session:x:123456:654321::/tmp:/bin/sh"
    assert unknown["group"].splitlines()[-1] == b"session:x:654321:"
