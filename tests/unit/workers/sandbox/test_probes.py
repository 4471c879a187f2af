"""Probes: what they find here, how they end, what they leave, and what lifts a failure."""

import errno
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from skep_workers.sandbox.kernel import namespaces
from skep_workers.sandbox.kernel.control_groups import own_groups
from skep_workers.sandbox.kernel.privileges import effective_capabilities
from skep_workers.sandbox.probes.findings import MachineFacts, Mechanism
from skep_workers.sandbox.probes.machine_facts import read_facts
from skep_workers.sandbox.probes.mechanisms import find_all
from skep_workers.sandbox.probes.probing import Answer, in_grandchild, run_probe
from skep_workers.sandbox.probes.remedies import remedies_for

FACTS = MachineFacts(
    uid=1000,
    capabilities=0,
    seccomp_mode=0,
    modules=("capability", "landlock", "apparmor"),
    most_user_namespaces=10_000,
    unprivileged_user_namespaces=None,
    apparmor_restricts_user_namespaces=None,
)


def fail(number):
    raise OSError(number, "as the test says")


def test_a_probe_s_answer_or_error_is_returned():
    assert run_probe(lambda: "well") == Answer(works=True, text="well")
    assert run_probe(lambda: fail(errno.EPERM)) == Answer(works=False, text="as the test says", error=errno.EPERM)
    assert run_probe(lambda: 1 / 0) == Answer(works=False, text="ZeroDivisionError: division by zero")


def test_a_probe_that_ends_its_process_is_reported():
    assert run_probe(lambda: os._exit(0)) == Answer(works=False, text="the process that tried it was killed")


def test_a_probe_that_hangs_is_killed_at_its_deadline():
    answer = run_probe(lambda: time.sleep(3600), seconds=0.1)

    assert answer == Answer(works=False, text="no answer after 0.1 s")


def test_an_error_in_a_child_of_a_probe_is_its_error():
    assert run_probe(lambda: in_grandchild(lambda: None) or "well").works
    assert run_probe(lambda: in_grandchild(lambda: fail(errno.EXDEV)) or "").error == errno.EXDEV


def test_the_probes_leave_no_mount_and_no_process():
    mounts, children = Path("/proc/self/mounts").read_text(), _children()
    findings = find_all(read_facts())

    assert {finding.mechanism for finding in findings} == set(Mechanism)
    assert Path("/proc/self/mounts").read_text() == mounts
    assert _children() == children


def _children():
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text()


def test_a_mechanism_that_does_not_work_says_why_and_what_lifts_it():
    for finding in find_all(read_facts()):
        assert finding.works or finding.detail
        assert finding.works or finding.remedy


def test_a_probe_runs_in_mounts_of_its_own_where_that_is_permitted():
    ours = str(namespaces.mount_namespace())
    may = effective_capabilities() >> 21 & 1

    assert (run_probe(lambda: str(namespaces.mount_namespace())).text != ours) == bool(may)


def test_a_mount_in_the_machine_s_own_namespace_is_refused(monkeypatch):
    monkeypatch.setattr(namespaces, "call", lambda *_: pytest.fail("a mount was made"))
    with pytest.raises(RuntimeError, match="the machine's own mount namespace"):
        namespaces.mount_processes("/proc", namespaces.mount_namespace())


def test_the_facts_are_those_of_this_process():
    facts = read_facts()

    assert (facts.uid, facts.capabilities) == (os.geteuid(), effective_capabilities())


@pytest.mark.parametrize(
    ("mechanism", "error", "facts", "line"),
    [
        (Mechanism.LANDLOCK, errno.EOPNOTSUPP, {"modules": ("capability", "yama")}, "lsm=landlock,capability,yama"),
        (Mechanism.LANDLOCK, errno.ENOSYS, {"seccomp_mode": 2, "modules": None}, "landlock_restrict_self"),
        (Mechanism.LANDLOCK, errno.ENOSYS, {"modules": None}, "5.13 or newer"),
        (Mechanism.SECCOMP, errno.EINVAL, {}, "CONFIG_SECCOMP_FILTER"),
        (Mechanism.USER_NAMESPACES, errno.ENOSPC, {"most_user_namespaces": 0}, "user.max_user_namespaces="),
        (Mechanism.USER_NAMESPACES, errno.EPERM, {"unprivileged_user_namespaces": 0}, "unprivileged_userns_clone=1"),
        (
            Mechanism.USER_NAMESPACES,
            errno.EPERM,
            {"apparmor_restricts_user_namespaces": 1},
            "apparmor_restrict_unprivileged_userns=0",
        ),
        (Mechanism.USER_NAMESPACES, errno.EPERM, {"seccomp_mode": 2}, "seccompProfile.type: Unconfined"),
        (Mechanism.USER_NAMESPACES, errno.EINVAL, {}, "CONFIG_USER_NS"),
        (
            Mechanism.USER_MOUNTS,
            errno.EACCES,
            {"apparmor_restricts_user_namespaces": 1},
            "apparmor_restrict_unprivileged_userns=0",
        ),
        (Mechanism.USER_MOUNTS, errno.EACCES, {"seccomp_mode": 2}, "apparmor=unconfined"),
        (Mechanism.USER_PROC, errno.EPERM, {}, "procMount: Unmasked"),
        (Mechanism.ROOT_PROC, errno.EPERM, {}, "--cap-add SYS_ADMIN"),
        (Mechanism.ROOT_PROC, errno.EPERM, {"capabilities": 1 << 21}, "systempaths=unconfined"),
        (Mechanism.ROOT_MOUNTS, errno.EPERM, {}, "run the worker as root"),
        (Mechanism.ROOT_MOUNTS, errno.EACCES, {"capabilities": 1 << 21}, "apparmor=unconfined"),
        (Mechanism.CGROUP_V2, errno.EACCES, {}, "Delegate=yes"),
    ],
)
def test_what_lifts_a_failure_depends_on_the_machine(mechanism, error, facts, line):
    lines = remedies_for(mechanism, error, replace(FACTS, **facts))

    assert line in "\n".join(lines)


def test_control_groups_of_both_versions_are_read_as_the_kernel_writes_them(monkeypatch, tmp_path):
    (tmp_path / "unified" / "app").mkdir(parents=True)
    (tmp_path / "unified" / "app" / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    (tmp_path / "memory" / "app").mkdir(parents=True)
    files = {
        "/proc/self/cgroup": "9:name=systemd:/\n4:memory:/app\n3:cpuset:/\n0::/app\n",
        "/proc/self/mounts": f"cgroup {tmp_path}/memory cgroup rw,relatime,memory 0 0\n"
        f"cgroup2 {tmp_path}/unified cgroup2 rw,nosuid 0 0\n",
    }
    monkeypatch.setattr(
        "skep_workers.sandbox.kernel.control_groups._lines",
        lambda path: files[path].splitlines() if path in files else Path(path).read_text().splitlines(),
    )

    (second,), (first,) = own_groups(2), own_groups(1)
    assert (second.directory, second.controllers) == (tmp_path / "unified" / "app", ("memory", "pids", "cpu"))
    assert (first.directory, first.controllers) == (tmp_path / "memory" / "app", ("memory",))
    assert second.is_writable


def test_without_namespaces_in_proc_each_mechanism_is_still_tried_and_nothing_is_mounted(monkeypatch, tmp_path):
    """gVisor has no /proc/self/ns: all mechanisms were reported as missing for that."""
    monkeypatch.setattr(namespaces, "_OWN_MOUNTS", tmp_path / "ns" / "mnt")
    mounts = Path("/proc/self/mountinfo").read_text()

    found = {finding.mechanism: finding for finding in find_all(read_facts())}

    assert found[Mechanism.NO_NEW_PRIVILEGES].works
    for mechanism in (Mechanism.USER_MOUNTS, Mechanism.USER_PROC, Mechanism.ROOT_MOUNTS, Mechanism.ROOT_PROC):
        assert not found[mechanism].works
    assert Path("/proc/self/mountinfo").read_text() == mounts
