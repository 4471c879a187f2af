"""Which tiers of the sandbox work on this machine, and which one a worker's sessions get."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Final, Self

from skep_shared.errors import InvalidArgument, StartError
from skep_shared.isolation.sandbox_tiers import STRENGTH, Tier
from skep_workers.sandbox.probes.findings import Finding, Mechanism

AUTO: Final = "auto"
_BASIC: Final = (Mechanism.NO_NEW_PRIVILEGES, Mechanism.SECCOMP, Mechanism.LANDLOCK)
NEEDS: Final[dict[Tier, tuple[Mechanism, ...]]] = {
    Tier.NONE: (),
    Tier.BASIC: _BASIC,
    Tier.USERNS: (
        *_BASIC, Mechanism.USER_NAMESPACES, Mechanism.USER_MOUNTS, Mechanism.USER_PROC, Mechanism.USER_NETWORK,
    ),
    Tier.STRICT: (
        *_BASIC, Mechanism.ROOT_MOUNTS, Mechanism.ROOT_PROC, Mechanism.ROOT_NETWORK, Mechanism.ROOT_USERS,
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Choice:
    """The tier of a worker's sessions.

    detail: what this tier lacks on this machine. next_tier: the next stronger one; blocked_by: why it isn't that.
    """

    tier: Tier
    detail: str = ""
    next_tier: Tier | None = None
    blocked_by: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that was found out about this machine."""

    findings: tuple[Finding, ...]

    @property
    def strongest(self) -> Tier:
        """Return the strongest tier that works here."""
        return next(tier for tier in reversed(STRENGTH) if not self.missing(tier))

    def missing(self, tier: Tier) -> list[Finding]:
        """Return what a tier needs and this machine doesn't permit."""
        return [finding for finding in self.findings if finding.mechanism in NEEDS[tier] and not finding.works]

    def obstacle(self, tier: Tier) -> str:
        """Return why sessions can't have a tier here, '' if they can."""
        reasons = [f"{finding.mechanism}: {finding.detail}" for finding in self.missing(tier)]
        return "; ".join(reasons)

    def blocked_tiers(self, mechanism: Mechanism) -> list[Tier]:
        """Return the tiers that need a mechanism."""
        return [tier for tier in STRENGTH if mechanism in NEEDS[tier]]

    def to_json(self) -> str:
        """Return the report as one line."""
        findings = [asdict(finding) | {"tiers": self.blocked_tiers(finding.mechanism)} for finding in self.findings]
        tiers = {tier: {"works": not self.obstacle(tier), "reason": self.obstacle(tier)} for tier in STRENGTH}
        return json.dumps({"strongest": self.strongest, "tiers": tiers, "mechanisms": findings})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the report of such a line. Raises ValueError, KeyError, TypeError for any other text."""
        found = json.loads(text)["mechanisms"]
        return cls(
            tuple(
                Finding(Mechanism(each["mechanism"]), bool(each["works"]), each["detail"], tuple(each["remedy"]))
                for each in found
            )
        )


def parse_tier(text: str) -> Tier | None:
    """Return the tier that a setting names, None for `auto`. Raises InvalidArgument."""
    if text == AUTO:
        return None
    try:
        return Tier(text)
    except ValueError:
        raise InvalidArgument("sandbox", text, f"must be {AUTO}, {', '.join(reversed(STRENGTH))}") from None


def choose(wanted: Tier | None, report: Report) -> Choice:
    """Return what sessions get: the wanted tier, or the strongest for None.

    Raises StartError if a tier that was asked for by name does not work here: sessions never get a weaker one instead.
    """
    tier = report.strongest if wanted is None else wanted
    obstacle = report.obstacle(tier)
    if obstacle:
        remedies = [line for finding in report.missing(tier) for line in finding.remedy]
        shown = f". What lifts it: {' | '.join(remedies)}" if remedies else ""
        reason = f"tier {tier}, which SKEP_SANDBOX asks for, is not available: {obstacle}{shown}"
        raise StartError("sandbox", reason)
    next_tier = next(iter(STRENGTH[STRENGTH.index(tier) + 1 :]), None)
    blocked_by = "" if next_tier is None else report.obstacle(next_tier) or f"SKEP_SANDBOX asks for {tier}"
    return Choice(tier, _lacks(tier, report.findings), next_tier, blocked_by)


def without_probes() -> Choice:
    """Return the choice for a worker that was not asked for a sandbox, which needs no look at the machine."""
    return Choice(Tier.NONE, "", Tier.BASIC, f"SKEP_SANDBOX asks for {Tier.NONE}")


def _lacks(tier: Tier, findings: Iterable[Finding]) -> str:
    """Return which parts of its mechanisms this tier lacks here, because the kernel is older than they are."""
    details = (finding.detail for finding in findings if finding.mechanism in NEEDS[tier])
    return "; ".join(detail for detail in details if "without" in detail)
