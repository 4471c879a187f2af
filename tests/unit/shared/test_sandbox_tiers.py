"""The order of the tiers, and tiers that only another version of skep knows."""

import itertools

import pytest

from skep_shared.errors import InvalidArgument
from skep_shared.isolation.sandbox_tiers import STRENGTH, Tier, check_tier, is_as_strong


def test_the_weakest_tier_comes_first():
    assert STRENGTH == ("none", "basic", "userns", "strict")


@pytest.mark.parametrize(("weaker", "stronger"), list(itertools.combinations(STRENGTH, 2)))
def test_a_tier_is_as_strong_as_itself_and_each_weaker_one(weaker, stronger):
    assert is_as_strong(stronger, weaker)
    assert is_as_strong(stronger, stronger)
    assert not is_as_strong(weaker, stronger)


def test_an_unknown_tier_is_neither_strong_enough_nor_reached():
    assert not is_as_strong("unknown", "basic")
    assert not is_as_strong("strict", "unknown")
    assert not is_as_strong("unknown", "unknown")
    assert is_as_strong("unknown", "none")


@pytest.mark.parametrize("tier", [*STRENGTH, Tier.BASIC])
def test_a_tier_is_read_from_its_name(tier):
    assert check_tier(tier) is Tier(tier)


@pytest.mark.parametrize("value", ["auto", "", "Strict", 1, None, ["basic"]])
def test_any_other_value_is_refused_with_the_field_and_the_rule(value):
    with pytest.raises(InvalidArgument) as caught:
        check_tier(value)

    assert (caught.value.field, caught.value.value) == ("sandbox", value)
    assert caught.value.limit == "one of none, basic, userns, strict is needed"
