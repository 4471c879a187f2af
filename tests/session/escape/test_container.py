"""In a container with an engine's defaults `auto` gives `basic`, and the doctor names what lifts the next tiers."""

import asyncio
import json
import os
import sys

import pytest

from skep_workers.sandbox.kernel.landlock import abi_version

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a container by hand"),
    pytest.mark.skipif(not abi_version(), reason="this kernel has no Landlock"),
]
CONTAINER = ("-m", "tests.session.escape.container")
DOCTOR = (sys.executable, "-m", "skep_workers.sandbox")


async def in_container(*command):
    """Return the exit status of a command in the container, and what it prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, *CONTAINER, *command, env=os.environ | {"SKEP_SANDBOX": "auto"}, stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await process.communicate()
    return process.returncode, printed.decode()


async def test_it_has_no_capabilities_a_filter_and_a_root_that_is_read_only():
    look = "grep -E '^(CapBnd|CapEff|NoNewPrivs|Seccomp):' /proc/self/status; touch /usr/written || echo read-only"
    _, printed = await in_container("sh", "-c", f"{look}; touch /tmp/written && echo writable")

    assert printed.split() == [
        "CapEff:", "0" * 16, "CapBnd:", "0" * 16, "NoNewPrivs:", "1", "Seccomp:", "2", "read-only", "writable",
    ]  # fmt: skip


async def test_auto_gives_basic():
    status, printed = await in_container(*DOCTOR, "--json")

    report = json.loads(printed)
    assert (status, report["strongest"]) == (0, "basic")
    blocked = {found["mechanism"] for found in report["mechanisms"] if not found["works"]}
    assert {"user_namespaces", "user_mounts", "user_proc", "root_mounts", "root_proc"} <= blocked
    assert blocked.isdisjoint({"no_new_privs", "seccomp", "landlock"})


async def test_the_doctor_names_the_options_that_lift_the_next_tier():
    _, printed = await in_container(*DOCTOR)

    assert "the strongest tier that works here is basic" in printed
    assert "container: --security-opt seccomp=unconfined" in printed
    assert "pod: securityContext.seccompProfile.type: Unconfined" in printed
    assert "container: --security-opt systempaths=unconfined" in printed
    assert "pod: securityContext.procMount: Unmasked, with hostUsers: false" in printed
