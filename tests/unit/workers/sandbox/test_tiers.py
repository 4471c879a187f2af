"""Which tier sessions get, from what the probes found; no tier is ever replaced by a weaker one without an error."""

import pytest

from skep_shared.errors import InvalidArgument, StartError
from skep_shared.isolation.sandbox_tiers import STRENGTH, Tier
from skep_workers.sandbox.policy import SandboxPolicy
from skep_workers.sandbox.probes.findings import Finding, Mechanism
from skep_workers.sandbox.tiers import NEEDS, Report, choose, parse_tier, without_probes

REMEDY = "sysctl -w some.setting=1"


def report_without(*missing):
    """Return the report of a machine that permits everything except these."""
    return Report(
        tuple(
            Finding(each, each not in missing, "no such call" if each in missing else "", (REMEDY,) * (each in missing))
            for each in Mechanism
        )
    )


def test_auto_is_the_strongest_that_works():
    assert choose(None, report_without()).tier is Tier.STRICT
    assert choose(None, report_without(Mechanism.ROOT_MOUNTS)).tier is Tier.USERNS
    assert choose(None, report_without(Mechanism.ROOT_USERS, Mechanism.USER_NAMESPACES)).tier is Tier.BASIC
    assert choose(None, report_without(Mechanism.LANDLOCK)).tier is Tier.NONE


@pytest.mark.parametrize("tier", STRENGTH[1:])
def test_a_tier_asked_for_by_name_that_does_not_work_is_an_error_that_names_why(tier):
    for mechanism in NEEDS[tier]:
        with pytest.raises(StartError) as raised:
            choose(tier, report_without(mechanism))
        for part in (f"tier {tier}", "SKEP_SANDBOX", f"{mechanism}: no such call", REMEDY):
            assert part in str(raised.value)


def test_the_next_tier_is_named_with_what_blocks_it():
    blocked = choose(Tier.BASIC, report_without(Mechanism.USER_MOUNTS))
    wished = choose(Tier.BASIC, report_without())
    strongest = choose(Tier.STRICT, report_without())

    assert (blocked.next_tier, blocked.blocked_by) == (Tier.USERNS, "user_mounts: no such call")
    assert (wished.next_tier, wished.blocked_by) == (Tier.USERNS, "SKEP_SANDBOX asks for basic")
    assert (strongest.next_tier, strongest.blocked_by) == (None, "")


def test_without_a_sandbox_the_setting_is_what_blocks_the_next_tier():
    assert without_probes() == choose(Tier.NONE, report_without())


def test_what_an_old_kernel_s_landlock_lacks_is_part_of_the_choice():
    findings = [
        Finding(each, works=True, detail="ABI 2: files; without TCP" if each is Mechanism.LANDLOCK else "")
        for each in Mechanism
    ]

    assert choose(Tier.BASIC, Report(tuple(findings))).detail == "ABI 2: files; without TCP"


def test_a_report_survives_its_json():
    report = report_without(Mechanism.LANDLOCK, Mechanism.CGROUP_V1)

    assert Report.from_json(report.to_json()) == report


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"mechanisms": [{}]}', '{"mechanisms": 1}'])
def test_other_text_is_no_report(text):
    with pytest.raises((ValueError, KeyError, TypeError)):
        Report.from_json(text)


def test_tiers_are_parsed_and_others_refused_with_the_choices():
    assert [parse_tier(text) for text in ("auto", "basic", "none")] == [None, Tier.BASIC, Tier.NONE]
    with pytest.raises(InvalidArgument, match="sandbox: 'best' is refused: must be auto, strict, userns, basic, none"):
        parse_tier("best")


def test_a_policy_survives_the_command_line_of_the_zygote():
    policy = SandboxPolicy(Tier.BASIC, ("/data", "/with space"), ('/with"quote',))

    assert SandboxPolicy.from_text(policy.to_text()) == policy
    assert SandboxPolicy().to_text() == ""
    assert SandboxPolicy.from_text("") == SandboxPolicy()
