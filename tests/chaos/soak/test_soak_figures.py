"""Which changes of owner the figures of a soak count as takeovers."""

from typing import Any

import pytest

from ..checker.history import History
from .soak_figures import figures_of
from .soak_log import SoakLog


def claim(worker: str, epoch: int, losses: int = 0) -> dict[str, Any]:
    return {"op": "claim", "session": "s", "worker": worker, "epoch": epoch, "losses": losses, "at": epoch * 1000.0}


def test_a_claim_after_the_loss_of_an_owner_is_a_takeover():
    found = figures_of(History({}, [claim("w1", 1), claim("w2", 2, losses=1)]))

    assert (found.takeovers, len(found.without_cause)) == (1, 1)


def test_a_claim_without_a_loss_is_no_takeover_although_no_release_was_seen():
    found = figures_of(History({}, [claim("w1", 1), claim("w1", 2)]))

    assert (found.takeovers, found.without_cause) == (0, [])


@pytest.mark.parametrize("reply", [[b"OK", 0], [b"DUP"]])
def test_a_release_is_seen_by_the_reply_to_any_of_its_requests(reply):
    log = SoakLog({}, lambda _: None)
    log.released("w1", "s", 1, reply)
    log.released("w1", "s", 1, [b"DUP"])

    assert [op["op"] for op in log.history.ops] == ["release"]
