"""The filter of system calls: what a program denies, and that it denies nothing else."""

import ctypes
import errno
import os
import socket
import sys

import pytest

from skep_shared.isolation.network import Network
from skep_workers.sandbox.denied_calls import basic_denials, denials_of_other_processes, network_denials
from skep_workers.sandbox.kernel import seccomp
from skep_workers.sandbox.kernel.privileges import give_up_new_privileges
from skep_workers.sandbox.kernel.seccomp import Comparison, Condition, Denial, build_filter, install_filter, with_value
from skep_workers.sandbox.kernel.system_calls import call

MOST_INSTRUCTIONS = 4096


def error_of(attempt):
    """Return the number of the error of a call, 0 without one."""
    try:
        attempt()
    except OSError as exc:
        return exc.errno
    return 0


def under(denials, *attempts):
    """Return the errors of these attempts under a filter."""
    give_up_new_privileges()
    install_filter(build_filter(denials))
    return [error_of(attempt) for attempt in attempts]


def priority(which, who):
    return lambda: call("setpriority", which, who, 0)


def test_a_denied_call_fails_with_its_error_and_others_work(in_child):
    denials = [Denial("setns", errno.EXDEV), Denial("acct", errno.EPERM)]

    assert in_child(lambda: under(denials, lambda: call("setns", -1, 0), lambda: os.close(os.open("/", 0)))) == [
        errno.EXDEV,
        0,
    ]


@pytest.mark.parametrize(
    ("test", "value", "denied"),
    [
        (Comparison.EQUAL, 5, [5]),
        (Comparison.NOT_EQUAL, 5, [0, 4, 7]),
        (Comparison.ANY_BIT, 6, [4, 5, 7]),
        (Comparison.NO_BIT, 4, [0]),
    ],
)
def test_a_condition_decides_by_the_argument(in_child, test, value, denied):
    denials = [Denial("setpriority", errno.EXDEV, (Condition(0, test, value),))]
    arguments = [0, 4, 5, 7]
    errors = in_child(lambda: under(denials, *(priority(which, 0) for which in arguments)))

    assert [which for which, error in zip(arguments, errors, strict=True) if error == errno.EXDEV] == denied


def test_all_conditions_of_a_denial_must_hold_and_later_denials_are_still_tried(in_child):
    conditions = (Condition(0, Comparison.EQUAL, 7), Condition(1, Comparison.EQUAL, 9))
    denials = [Denial("setpriority", errno.EXDEV, conditions), Denial("acct", errno.EXDEV)]
    attempts = [priority(7, 9), priority(7, 8), priority(6, 9), lambda: call("acct", 0)]

    assert in_child(lambda: under(denials, *attempts)) == [errno.EXDEV, errno.EINVAL, errno.EINVAL, errno.EXDEV]


def test_an_argument_whose_upper_half_is_set_is_compared_by_its_lower_half_as_the_kernel_reads_it(in_child):
    denials = [Denial("setpriority", errno.EXDEV, (Condition(0, Comparison.EQUAL, 7),))]

    assert in_child(lambda: under(denials, priority(7 | 1 << 32, 0))) == [errno.EXDEV]


def test_filters_add_up_and_are_inherited(in_child):
    def attempt():
        first = under([Denial("acct", errno.EXDEV)])
        install_filter(build_filter([Denial("setns", errno.EXDEV)]))
        pid = os.fork()
        if pid == 0:
            errors = [error_of(lambda: call("acct", 0)), error_of(lambda: call("setns", -1, 0))]
            os._exit(errors == [errno.EXDEV, errno.EXDEV])
        return first, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    assert in_child(attempt) == ([], 1)


def test_the_calls_of_another_architecture_do_not_exist(in_child):
    if seccomp.MACHINE != "x86_64":
        pytest.skip("x86_64 has a second set of calls")

    def attempt():
        under([])
        libc = ctypes.CDLL(None, use_errno=True)
        return libc.syscall(0x40000000 | 39), ctypes.get_errno()  # getpid of x32

    assert in_child(attempt) == (-1, errno.ENOSYS)


def test_on_another_machine_no_filter_is_built(monkeypatch):
    monkeypatch.setattr(seccomp, "MACHINE", "riscv64")
    with pytest.raises(OSError, match="seccomp: this machine"):
        build_filter([])


def test_a_placeholder_is_replaced_in_every_comparison():
    denials = denials_of_other_processes(0x7FFFFFF0)

    assert with_value(build_filter(denials), 0x7FFFFFF0, 4321) == build_filter(denials_of_other_processes(4321))


def test_the_filters_of_the_tier_have_room_to_grow():
    for denials in (basic_denials(), denials_of_other_processes(1)):
        assert len(build_filter(denials)) // 8 < MOST_INSTRUCTIONS / 4


@pytest.mark.parametrize(
    ("attempt", "error"),
    [
        pytest.param(lambda: call("unshare", 0x10000000), errno.EPERM, id="user namespace"),
        pytest.param(lambda: call("unshare", 0x80), errno.EPERM, id="time namespace"),
        pytest.param(lambda: call("clone", 0x10000000 | 17), errno.EPERM, id="clone into a user namespace"),
        pytest.param(lambda: call("clone3", 0, 0), errno.ENOSYS, id="clone3"),
        pytest.param(lambda: call("userfaultfd", 0), errno.EPERM, id="userfaultfd of kernel faults"),
        pytest.param(lambda: os.close(call("userfaultfd", 1)), 0, id="userfaultfd of own faults"),
        pytest.param(lambda: socket.socket(socket.AF_INET), errno.EACCES, id="internet"),
        pytest.param(lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM), errno.EACCES, id="internet 6, UDP"),
        pytest.param(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW), errno.EACCES, id="netlink"),
        pytest.param(lambda: socket.socket(40, socket.SOCK_STREAM), errno.EACCES, id="vsock"),
        pytest.param(lambda: socket.socket(socket.AF_UNIX).close(), 0, id="unix socket"),
        pytest.param(lambda: [each.close() for each in socket.socketpair()], 0, id="pair of sockets"),
        pytest.param(lambda: call("shmget", 1, 4096, 0o1600), errno.EPERM, id="System V memory"),
        pytest.param(lambda: call("ioctl", 0, 0x5412, 0), errno.EPERM, id="typing into a terminal"),
    ],
)
def test_the_tier_denies_and_permits(in_child, attempt, error):
    (found,) = in_child(lambda: under([*basic_denials(), *network_denials(Network.NONE)], attempt))

    assert found == error


@pytest.mark.parametrize("name", ["sched_setaffinity", "prlimit64", "setpriority", "ioprio_set"])
def test_another_process_s_limits_and_priority_cannot_be_changed(in_child, name):
    parent = os.getpid()
    of_itself = {
        "sched_setaffinity": lambda pid: os.sched_setaffinity(pid, os.sched_getaffinity(0)),
        "prlimit64": lambda pid: call("prlimit64", pid, 7, 0, 0),
        "setpriority": lambda pid: call("setpriority", 0, pid, 0),
        "ioprio_set": lambda pid: call("ioprio_set", 1, pid, 0),
    }[name]

    def attempt():
        return under(
            denials_of_other_processes(os.getpid()),
            lambda: of_itself(0),
            lambda: of_itself(os.getpid()),
            lambda: of_itself(parent),
        )

    assert in_child(attempt) == [0, 0, errno.EPERM]


def test_the_priority_of_all_processes_of_the_user_cannot_be_changed(in_child):
    attempts = [lambda: os.setpriority(os.PRIO_USER, 0, 0), lambda: call("ioprio_set", 3, 0, 0)]

    assert in_child(lambda: under(denials_of_other_processes(os.getpid()), *attempts)) == [errno.EPERM] * 2


def test_threads_and_programs_start_under_the_filter(in_child):
    def attempt():
        import subprocess
        import threading

        under(basic_denials())
        ran = []
        thread = threading.Thread(target=lambda: ran.append(1))
        thread.start()
        thread.join()
        return ran, subprocess.run([sys.executable, "-c", "print(2)"], capture_output=True, check=True).stdout

    assert in_child(attempt) == ([1], b"2\n")
