"""The plan of a soak's faults: each kind happens once before chance decides."""

import asyncio
from collections import Counter

import pytest

from .soak_faults import RATES, Nemesis
from .soak_log import SoakLog

pytestmark = pytest.mark.anyio


class Picky(Nemesis):
    """Records the faults, and can't do some kinds for a while."""

    def __init__(self, impossible, tries):
        super().__init__(1, SoakLog({}, lambda _: None), None)
        self.impossible = impossible
        self.tries = tries
        self.begun = Counter()

    def _begin(self, kind):
        if kind in self.impossible and self.tries:
            self.tries -= 1
            return False
        self.begun[kind] += 1
        if sum(self.begun.values()) == 200:
            raise asyncio.CancelledError
        return True


async def run(nemesis):
    """Run it until it has done this much."""
    task = asyncio.ensure_future(nemesis.run(1e-6))
    await nemesis.each_has_happened.wait()
    first_round = Counter(nemesis.begun)
    await asyncio.wait([task])
    return first_round


async def test_each_kind_has_happened_once_before_chance_decides():
    nemesis = Picky((), 0)

    assert await run(nemesis) == Counter(kind for kind, _ in RATES)
    assert sum(nemesis.begun.values()) == 200


async def test_a_kind_that_is_impossible_for_long_delays_no_other_and_still_happens():
    assert await run(Picky({"drain", "client kill"}, 100)) == Counter(kind for kind, _ in RATES)
