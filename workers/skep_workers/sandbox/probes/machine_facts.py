"""Reads the settings that decide about the sandbox."""

import os
from pathlib import Path

from skep_workers.sandbox.kernel.control_groups import is_in_root_group
from skep_workers.sandbox.kernel.privileges import effective_capabilities
from skep_workers.sandbox.probes.findings import MachineFacts


def read_facts() -> MachineFacts:
    """Return the facts of this machine and this process."""
    modules = _text("/sys/kernel/security/lsm")
    return MachineFacts(
        uid=os.geteuid(),
        capabilities=effective_capabilities(),
        seccomp_mode=_status_number("Seccomp"),
        modules=tuple(modules.split(",")) if modules else None,
        most_user_namespaces=_number("/proc/sys/user/max_user_namespaces"),
        unprivileged_user_namespaces=_number("/proc/sys/kernel/unprivileged_userns_clone"),
        apparmor_restricts_user_namespaces=_number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
        has_autogroup=_number("/proc/sys/kernel/sched_autogroup_enabled") == 1 and is_in_root_group(),
    )


def _number(path: str) -> int | None:
    text = _text(path)
    return int(text) if text.isdigit() else None


def _status_number(name: str) -> int:
    for line in _text("/proc/self/status").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    return 0


def _text(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
