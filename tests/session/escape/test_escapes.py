"""What hostile cells reach, in each tier. Without a sandbox every probe succeeds, so none of them is vacuous."""

import os

import pytest

from skep_shared.isolation.sandbox_tiers import Tier
from skep_workers.sandbox.kernel.landlock import abi_version

from .probe import Outcome
from .table import BUILT_TIERS, PROBES, table, written_table

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.name)
async def test_without_a_sandbox_it_succeeds(scenes, probe):
    if probe.as_root and os.geteuid() != 0:
        pytest.skip("only root can do this without a sandbox")

    outcome = await scenes[Tier.NONE].outcome(probe)
    if outcome is Outcome.ABSENT:
        pytest.skip("this kernel doesn't have the call")
    assert outcome is Outcome.SUCCEEDED


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.name)
@pytest.mark.parametrize("tier", BUILT_TIERS)
async def test_in_a_sandbox_it_is_refused_or_listed_with_its_reason(scene_of, tier, probe):
    if tier is Tier.BASIC and abi_version() < probe.landlock:
        pytest.skip(f"Landlock of this kernel has version {abi_version()}, {probe.landlock} is needed")
    outcome = await scene_of(tier).outcome(probe)

    assert (outcome is Outcome.SUCCEEDED) == (tier in probe.possible)


def test_every_probe_has_a_name_of_its_own():
    names = [probe.name for probe in PROBES]

    assert len(set(names)) == len(names) >= 60


def test_the_table_in_security_md_is_that_of_the_probes():
    assert written_table() == table()
