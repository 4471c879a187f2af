"""Landlock: what a process may do after it has restricted itself."""

import errno
import os
import signal
import socket
from pathlib import Path

import pytest

from skep_workers.sandbox.file_access import CHANGE, READ
from skep_workers.sandbox.kernel.landlock import (
    ABI,
    FILE_RIGHTS,
    PathRule,
    Right,
    RulesetPlan,
    abi_version,
    handled_rights,
    open_rule,
    restrict_to,
)
from skep_workers.sandbox.kernel.privileges import give_up_new_privileges

pytestmark = pytest.mark.skipif(not abi_version(), reason="this kernel has no Landlock")


def needs(abi):
    """Skip a test where the kernel's Landlock is older."""
    return pytest.mark.skipif(abi_version() < abi, reason=f"version {abi} of Landlock is needed")


def restrict(readable, own, abi=None):
    """Restrict this process to these directories."""
    version = abi_version() if abi is None else abi
    opened = [open_rule(PathRule(str(path), READ)) for path in readable]
    plan = RulesetPlan(opened, CHANGE, version)
    give_up_new_privileges()
    restrict_to(plan.make([os.open(own, os.O_PATH)]))


def error_of(attempt):
    try:
        attempt()
    except OSError as exc:
        return errno.errorcode[exc.errno]
    return ""


@pytest.fixture
def places(tmp_path):
    """Three directories: to read, to change, and secret; each with a file."""
    found = [tmp_path / name for name in ("readable", "own", "secret")]
    for place in found:
        place.mkdir()
        (place / "file").write_text(place.name)
    return found


@needs(ABI.TRUNCATE)
def test_files_are_read_and_changed_only_where_permitted(in_child, places):
    readable, own, secret = places

    def attempt():
        restrict([readable], own)
        return [
            error_of((readable / "file").read_text),
            error_of(lambda: (readable / "file").write_text("x")),
            error_of(lambda: (own / "file").write_text("x")),
            error_of((own / "new").mkdir),
            error_of(lambda: (own / "file").rename(own / "new" / "moved")),
            error_of((secret / "file").read_text),
            error_of(lambda: list(secret.iterdir())),
            error_of((secret / "file").unlink),
            error_of(lambda: os.truncate(secret / "file", 0)),
            error_of(lambda: (own / "link").symlink_to(secret)),
            error_of((own / "link" / "file").read_text),
        ]

    denied = "EACCES"
    assert in_child(attempt) == ["", denied, "", "", "", denied, denied, denied, denied, "", denied]


def test_a_rule_about_a_file_opens_that_file_only(in_child, places):
    readable, own, _ = places
    (readable / "other").write_text("")

    def attempt():
        restrict([readable / "file"], own)
        return [error_of((readable / name).read_text) for name in ("file", "other")]

    assert in_child(attempt) == ["", "EACCES"]


@needs(ABI.SCOPES)
def test_processes_outside_are_not_signalled_or_traced_and_those_inside_are(in_child, places):
    outside = os.getpid()

    def attempt():
        restrict(["/proc"], places[1])
        child = os.fork()
        if child == 0:
            signal.pause()
            os._exit(0)
        found = [
            error_of(lambda: os.kill(outside, 0)),
            error_of(Path(f"/proc/{outside}/cwd").readlink),
            error_of(Path(f"/proc/{child}/cwd").readlink),
            error_of(lambda: os.kill(child, signal.SIGKILL)),
        ]
        os.waitpid(child, 0)
        return found

    assert in_child(attempt) == ["EPERM", "EACCES", "", ""]


@needs(ABI.SCOPES)
def test_tcp_and_abstract_sockets_of_others_are_out_of_reach(in_child, places):
    name = f"\0skep-test-{os.getpid()}"
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind(name)
        abstract.listen()

        def attempt():
            restrict(["/proc"], places[1])
            return [
                error_of(lambda: socket.create_connection(server.getsockname())),
                error_of(lambda: socket.create_server(("127.0.0.1", 0))),
                error_of(lambda: socket.socket(socket.AF_UNIX).connect(name)),
            ]

        assert in_child(attempt) == ["EACCES", "EACCES", "EPERM"]


def test_an_older_kernel_s_version_leaves_out_what_it_does_not_handle(in_child, places):
    assert handled_rights(ABI.FILES) & (Right.REFER | Right.TRUNCATE | Right.IOCTL_DEV) == 0
    assert handled_rights(ABI.DEVICES) & Right.IOCTL_DEV
    outside = os.getpid()

    def attempt():
        restrict(["/proc"], places[1], abi=ABI.FILES)
        return [error_of(lambda: os.kill(outside, 0)), error_of((places[2] / "file").read_text)]

    assert in_child(attempt) == ["", "EACCES"]


def test_rights_to_a_file_leave_out_those_of_directories(places):
    opened, rights = open_rule(PathRule(str(places[0] / "file"), CHANGE))
    os.close(opened)

    assert rights == CHANGE & FILE_RIGHTS
    assert open_rule(PathRule(str(places[0] / "nothing"), READ)) is None


def connect(address):
    with socket.socket() as made:
        made.connect(address)


@needs(ABI.TCP)
def test_a_port_that_is_added_may_be_connected_to_and_no_other(in_child):
    def attempt():
        with socket.create_server(("127.0.0.1", 0)) as permitted, socket.create_server(("127.0.0.1", 0)) as other:
            addresses = [each.getsockname() for each in (permitted, other)]
            plan = RulesetPlan([], CHANGE, abi_version())
            give_up_new_privileges()
            restrict_to(plan.make((), [addresses[0][1]]))
            tried = [error_of(lambda address=address: connect(address)) for address in addresses]
            return [*tried, error_of(lambda: socket.socket().bind(("127.0.0.1", 0)))]

    assert in_child(attempt) == ["", "EACCES", "EACCES"]


@needs(ABI.TCP)
def test_ports_that_are_not_restricted(in_child):
    def attempt():
        with socket.create_server(("127.0.0.1", 0)) as server:
            plan = RulesetPlan([], CHANGE, abi_version(), restricts_tcp=False)
            give_up_new_privileges()
            restrict_to(plan.make(()))
            return [error_of(lambda: connect(server.getsockname())), error_of(lambda: socket.socket().bind(("", 0)))]

    assert in_child(attempt) == ["", ""]
