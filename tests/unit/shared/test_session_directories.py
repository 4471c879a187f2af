"""Who may use the directory of a session on one machine."""

import os
import signal
import subprocess
import sys

import pytest

from skep_shared.process_trees import (
    ProcessId,
    is_running,
    kill_tree,
    open_process,
    pid_space,
    process_id,
    wait_for_end,
)
from skep_shared.session_directories import DirectoryOwner, SessionDirectories, empty, make_private_directory

GONE = ProcessId(2**22 + 1, 1)  # above the highest pid there can be
LONGEST_ID = "s" * 200


@pytest.fixture
def directories(tmp_path):
    return SessionDirectories(tmp_path / "root" / "shard")


@pytest.fixture
def sleeper():
    """A process that sleeps, with a child that does."""
    process = subprocess.Popen(["sh", "-c", "sleep 3600 & echo $!; wait"], stdout=subprocess.PIPE, text=True)
    child = int(process.stdout.readline())
    yield process, child
    process.kill()
    process.wait()
    process.stdout.close()


def us():
    return process_id(os.getpid())


def owner(name="t", epoch=1, worker=None, processes=()):
    return DirectoryOwner(name, (1, epoch), worker or us(), tuple(processes))


def test_an_owner_is_read_as_it_was_written(directories, sleeper):
    process = process_id(sleeper[0].pid)
    with directories.lock("s") as file:
        assert file.read() is None
        file.write(owner(processes=[process, GONE]))
        assert file.read() == owner(processes=[process, GONE])
        file.write(owner("later", 2))
        assert file.read() == owner("later", 2)


def test_what_is_no_owner_counts_as_none(directories):
    with directories.lock("s"):
        pass
    for text in (b"\xc1", b"\x91\x01", b"", b"\x94\xa1t\x92\x01\x01\x92\x01"):
        (directories.place / ".owners" / "s").write_bytes(text)
        with directories.lock("s") as file:
            assert file.read() is None


def test_one_at_a_time_holds_the_lock(directories):
    with directories.lock("s"):
        with pytest.raises(BlockingIOError):
            directories.lock("s")
        with directories.lock("other"):
            pass
    with directories.lock("s"):
        pass


def test_the_lock_of_a_removed_file_is_not_mistaken_for_that_of_the_next(directories):
    with directories.lock("s") as file:
        file.remove()
        with directories.lock("s") as other:
            other.write(owner())
            with pytest.raises(BlockingIOError):
                directories.lock("s")


@pytest.mark.parametrize("session_id", ["s", LONGEST_ID, "a@b+c=d~e-f.g", "_", "0"])
def test_every_legal_id_has_a_directory_below_the_place(directories, session_id):
    with directories.lock(session_id) as file:
        file.write(owner())
        path = directories.make(session_id)
    assert path.parent == directories.place
    assert path.stat().st_mode & 0o777 == 0o700


def test_a_discarded_directory_is_out_of_the_way_at_once_and_emptied_later(directories):
    with directories.lock("s"):
        (directories.make("s") / "file").write_text("old")
        (left,) = directories.discard("s")
        assert not directories.path("s").exists()
        assert list(directories.make("s").iterdir()) == []
        assert (left / "file").read_text() == "old"
    empty(left)
    assert not left.exists()


def test_a_private_directory_is_discarded_with_its_session_s(directories):
    with directories.lock("s"):
        private = make_private_directory(directories.make("s"))
        (private / "file").write_text("old")
        left = directories.discard("s")

    assert private.parent == directories.place / ".tmp"
    assert not private.exists()
    assert [[each.name for each in path.iterdir()] for path in left] == [[], ["file"]]


def test_a_private_directory_of_a_tenant_s_session_is_discarded(directories):
    with directories.lock("acme/s"):
        private = make_private_directory(directories.make("acme/s"))
        directories.discard("acme/s")

    assert not private.exists()


def test_the_longest_id_has_a_private_directory_for_sockets(directories):
    with directories.lock(LONGEST_ID):
        private = make_private_directory(directories.make(LONGEST_ID))

    assert len(str(private)) - len(str(directories.place)) < 23
    assert private != make_private_directory(directories.path("s"))


def test_only_its_user_can_enter_a_private_directory(directories):
    with directories.lock("s"):
        private = make_private_directory(directories.make("s"))

    assert [path.stat().st_mode & 0o777 for path in (private, private.parent)] == [0o700, 0o700]


def test_a_place_with_private_directories_is_removed_by_the_last_worker(directories):
    held = directories.join()
    with directories.lock("s") as file:
        file.write(owner(worker=GONE))
        make_private_directory(directories.make("s"))
    directories.leave(held)

    assert not directories.place.exists()


def test_without_a_directory_nothing_is_discarded(directories):
    with directories.lock("s"):
        assert directories.discard("s") == []


@pytest.mark.parametrize("kind", ["link", "file", "dangling"])
def test_what_a_cell_has_put_in_the_place_of_its_directory_is_removed_and_not_followed(directories, tmp_path, kind):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("")
    with directories.lock("s"):
        path = directories.path("s")
        if kind == "file":
            path.write_text("")
        else:
            path.symlink_to(outside if kind == "link" else tmp_path / "nothing")
        (left,) = directories.discard("s")
    empty(left)

    assert not os.path.lexists(left)
    assert (outside / "kept").exists()


def test_directories_of_workers_that_have_ended_are_removed_with_their_processes(directories, sleeper):
    process, child = sleeper
    child_id = process_id(child)
    with directories.lock("dead") as file:
        file.write(owner(worker=GONE, processes=[process_id(process.pid)]))
        directories.make("dead")
    with directories.lock("living") as file:
        file.write(owner())
        directories.make("living")
    directories.remove_abandoned()

    assert not directories.path("dead").exists()
    assert directories.path("living").exists()
    assert process.wait() == -signal.SIGKILL
    assert not is_running(child_id)
    with directories.lock("living") as file:
        assert file.read() == owner()


def test_a_locked_directory_is_left_to_the_holder_of_the_lock(directories):
    with directories.lock("s") as file:
        file.write(owner(worker=GONE))
        directories.make("s")
        directories.remove_abandoned()
        assert directories.path("s").exists()


def test_the_last_worker_to_leave_removes_the_place(directories):
    first, second = directories.join(), directories.join()
    with directories.lock("left") as file:
        file.write(owner(worker=GONE))
        directories.make("left")
    directories.leave(first)
    assert directories.path("left").exists()
    directories.leave(second)

    assert not directories.place.exists()
    again = directories.join()
    directories.leave(again)


def test_leaving_without_having_joined_leaves_a_place_that_is_used(directories):
    held = directories.join()
    directories.leave()
    assert directories.place.exists()
    directories.leave(held)
    directories.leave()
    assert not directories.place.exists()


def test_cleaning_does_not_make_a_removed_place_again(directories):
    held = directories.join()
    with directories.lock("s") as file:
        file.write(owner(worker=GONE))
    with pytest.raises(FileNotFoundError):
        directories.lock("other", must_exist=True)
    directories.leave(held)
    directories.remove_abandoned()
    directories.leave()

    assert not directories.place.exists()


def test_all_that_leave_at_once_leave_nothing(directories):
    code = (
        "import sys; from pathlib import Path; from skep_shared.session_directories import SessionDirectories\n"
        "places = SessionDirectories(Path(sys.argv[1])); held = places.join(); print(flush=True); input()\n"
        "places.remove_abandoned(); places.leave(held)"
    )
    for number in range(20):
        with directories.lock(f"s{number}") as file:
            file.write(owner(worker=GONE))
            directories.make(f"s{number}")
    command = [sys.executable, "-c", code, str(directories.place)]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(4)]
    for process in processes:
        process.stdout.readline()
    for process in processes:
        process.stdin.write(b"\n")
        process.stdin.close()
    for process in processes:
        assert process.wait() == 0
        process.stdout.close()

    assert not directories.place.exists()


def test_a_place_that_workers_with_other_pids_use_is_refused(directories):
    held = directories.join()
    (directories.place / ".lock").write_text("another boot pid:[1]")
    with pytest.raises(FileExistsError):
        directories.join()
    os.close(held)

    held = directories.join()  # the other ones have left
    assert (directories.place / ".lock").read_text() == pid_space()
    directories.leave(held)


def test_a_process_is_distinguished_from_a_later_one_with_its_pid():
    assert open_process(ProcessId(os.getpid(), us().started + 1)) is None
    assert open_process(GONE) is None
    assert kill_tree(ProcessId(os.getpid(), us().started + 1)) == []


FORKING = """
import os, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
os.write(1, f"{os.getpid()}\\n".encode())
while True:
    signal.pause()
"""


def test_a_whole_tree_is_killed_stopped_or_not():
    process = subprocess.Popen([sys.executable, "-c", FORKING], stdout=subprocess.PIPE, text=True)
    pids = [int(process.stdout.readline()) for _ in range(8)]
    os.kill(pids[3], signal.SIGSTOP)
    ids = [process_id(pid) for pid in pids]

    handles = kill_tree(process_id(process.pid))
    assert len(handles) == 8
    assert wait_for_end(handles, 10)
    process.wait()
    process.stdout.close()
    assert not any(map(is_running, ids))


def test_a_wait_for_processes_that_go_on_ends(sleeper):
    process, _ = sleeper
    assert wait_for_end([os.pidfd_open(process.pid)], 0.01) is False
    assert wait_for_end([], 0.01) is True
