"""`python -m skep_workers.sandbox`: what it prints, and its exit status."""

import json
import os
import subprocess
import sys

import pytest

from skep_shared.isolation.sandbox_tiers import Tier
from skep_shared.settings import WorkerSettings
from skep_workers.sandbox.kernel.landlock import abi_version
from skep_workers.sandbox.kernel.privileges import drop_capabilities, give_up_new_privileges, limit_capabilities
from skep_workers.sandbox.kernel.seccomp import Denial, build_filter, install_filter
from skep_workers.sandbox.probes.findings import Finding, MachineFacts, Mechanism
from skep_workers.sandbox.report_text import lines_of
from skep_workers.sandbox.tiers import Report

BLOCKED = (Mechanism.USER_MOUNTS, Mechanism.ROOT_MOUNTS)
FACTS = MachineFacts(0, 0, 2, ("landlock",), None, None, 1)


def run(*flags, preexec_fn=None, **environment):
    command = [sys.executable, "-P", "-m", "skep_workers.sandbox", *flags]
    inherited = {name: value for name, value in os.environ.items() if name != "SKEP_SANDBOX"}
    return subprocess.run(
        command, env=inherited | environment, capture_output=True, text=True, check=False, preexec_fn=preexec_fn
    )


def test_each_mechanism_has_a_line_with_what_it_blocks_and_what_lifts_it():
    findings = [Finding(each, works=True) for each in Mechanism if each not in BLOCKED]
    blocked = [Finding(each, False, "mount: Permission denied", ("do this",)) for each in BLOCKED]
    report = Report((*findings, *blocked))
    lines = list(lines_of(report, FACTS, "auto"))

    place = lines.index("user_mounts      no   mount: Permission denied; blocks userns")
    assert lines[place + 1].strip() == "do this"
    assert "seccomp          yes" in lines
    assert "AppArmor restricts user namespaces: yes" in lines
    assert "tier basic    works here" in lines
    assert lines[-1] == "SKEP_SANDBOX is auto; the strongest tier that works here is basic"


def test_json_is_one_line_that_names_tiers_and_mechanisms():
    done = run("--json")
    report = json.loads(done.stdout)

    assert done.stdout.count("\n") == 1
    assert set(report["tiers"]) == set(Tier)
    assert {each["mechanism"] for each in report["mechanisms"]} == set(Mechanism)


def become_container():
    """Restrict this process as a container engine does by default: no capabilities, and a filter of system calls."""
    limit_capabilities()
    give_up_new_privileges()
    denied = ("unshare", "mount", "umount2", "pivot_root", "setns", "bpf", "keyctl", "userfaultfd", "io_uring_setup")
    install_filter(build_filter([Denial(name) for name in denied]))
    drop_capabilities()


@pytest.mark.skipif(not abi_version(), reason="this kernel has no Landlock, so that no tier works")
def test_in_a_container_basic_works_and_what_lifts_the_others_is_named():
    command = [sys.executable, "-P", "-m", "skep_workers.sandbox", "--json"]
    done = subprocess.run(
        command,
        preexec_fn=become_container,
        env={name: value for name, value in os.environ.items() if name != "SKEP_SANDBOX"},
        capture_output=True,
        text=True,
        check=True,
    )
    report = Report.from_json(done.stdout)

    assert report.strongest is Tier.BASIC
    remedies = {finding.mechanism: " ".join(finding.remedy) for finding in report.findings if not finding.works}
    assert "seccomp=unconfined" in remedies[Mechanism.USER_NAMESPACES]
    assert "seccompProfile.type: Unconfined" in remedies[Mechanism.USER_NAMESPACES]
    assert "--cap-add SYS_ADMIN" in remedies[Mechanism.ROOT_MOUNTS]


@pytest.mark.skipif(not abi_version(), reason="this kernel has no Landlock, so that no tier works")
@pytest.mark.parametrize(("asked", "status"), [("none", 0), ("auto", 0), ("basic", 0), ("strict", 3), ("best", 2)])
def test_the_exit_status_says_whether_the_tier_that_is_asked_for_works(asked, status):
    done = run(preexec_fn=become_container, SKEP_SANDBOX=asked)

    assert done.returncode == status, done.stdout + done.stderr
    assert ("'best' is refused" in done.stderr) == (asked == "best")


def test_the_tier_that_is_asked_for_by_default_is_that_of_a_worker():
    assert f"\nSKEP_SANDBOX is {WorkerSettings.model_fields['sandbox'].default};" in run().stdout
