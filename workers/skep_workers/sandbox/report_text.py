"""The report for people: each mechanism, what it blocks, and the line that lifts it."""

import platform
from collections.abc import Iterator

from skep_shared.isolation.sandbox_tiers import STRENGTH, Tier
from skep_workers.sandbox.probes.findings import Finding, MachineFacts, Mechanism
from skep_workers.sandbox.tiers import Report

_INDENT = " " * 22


def lines_of(report: Report, facts: MachineFacts, asked: str) -> Iterator[str]:
    """Yield the lines; `asked` is the value of SKEP_SANDBOX."""
    modules = "unknown (securityfs is not mounted)" if facts.modules is None else ", ".join(facts.modules)
    apparmor = {None: "no", 0: "no", 1: "yes"}.get(facts.apparmor_restricts_user_namespaces, "yes")
    yield f"Linux {platform.release()}, {platform.machine()}, user {facts.uid}"
    yield f"security modules: {modules}"
    yield f"AppArmor restricts user namespaces: {apparmor}"
    yield f"a seccomp filter is active already: {'yes' if facts.seccomp_mode else 'no'}"
    yield f"processor time is divided among sessions by: {_divided_by(report, facts)}"
    yield ""
    for finding in report.findings:
        yield from _finding_lines(finding, report.blocked_tiers(finding.mechanism))
    yield ""
    for tier in STRENGTH[1:]:
        yield f"tier {tier:<8} {report.obstacle(tier) or 'works here'}"
    yield f"SKEP_SANDBOX is {asked}; the strongest tier that works here is {report.strongest}"


def _divided_by(report: Report, facts: MachineFacts) -> str:
    """Return what keeps many busy processes of one session from slowing down the other sessions."""
    groups = (Mechanism.CGROUP_V2, Mechanism.CGROUP_V1)
    if any(each.mechanism in groups and each.works and "cpu" in each.detail.split(", ") for each in report.findings):
        return "control groups"
    if facts.has_autogroup:
        return "the kernel's autogroups, which programs can leave by setsid(2)"
    return "nothing; a session with more busy processes gets more"


def _finding_lines(finding: Finding, tiers: list[Tier]) -> Iterator[str]:
    state = "yes" if finding.works else "no"
    needed = ", ".join(tiers)
    blocks = "" if finding.works else f"blocks {needed}" if tiers else "blocks no tier; limits are measured without it"
    yield f"{finding.mechanism:<16} {state:<4} {'; '.join(filter(None, (finding.detail, blocks)))}".rstrip()
    for line in finding.remedy:
        yield f"{_INDENT}{line}"
