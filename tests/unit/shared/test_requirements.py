"""What a session requires of a worker, and how a shortage is described."""

from types import SimpleNamespace

import pytest

from skep_shared.isolation.sandbox_tiers import Tier
from skep_shared.models import SessionOptions
from skep_shared.requirements import Requirements


def worker(sandbox="none", **labels):
    return SimpleNamespace(labels=labels, sandbox=sandbox)


def test_by_default_nothing_is_required():
    requirements = Requirements.of(SessionOptions())

    assert not requirements
    assert requirements.are_met_by(worker())
    assert requirements.shortage([]) == ""


@pytest.mark.parametrize(
    ("options", "met_by", "not_by"),
    [
        ({"sandbox": "basic"}, worker("userns"), worker("none")),
        ({"requires": {"gpu": "a100"}}, worker("none", gpu="a100", zone="b"), worker("strict", gpu="t4")),
        ({"requires": {"gpu": "t4"}, "sandbox": "basic"}, worker("basic", gpu="t4"), worker("none", gpu="t4")),
        ({"requires": {"gpu": "t4"}, "sandbox": "basic"}, worker("strict", gpu="t4"), worker("strict")),
    ],
)
def test_labels_and_the_tier_must_both_be_there(options, met_by, not_by):
    requirements = Requirements.of(SessionOptions(**options))

    assert requirements
    assert requirements.are_met_by(met_by)
    assert not requirements.are_met_by(not_by)


@pytest.mark.parametrize(
    ("requirements", "workers", "described"),
    [
        (
            Requirements(sandbox=Tier.BASIC),
            [worker("none"), worker("none")],
            "no worker with sandbox basic or stronger is alive; workers without it: 2, with sandbox none (2)",
        ),
        (
            Requirements(sandbox=Tier.STRICT),
            [worker("none"), worker("basic")],
            "no worker with sandbox strict is alive; workers without it: 2, with sandbox basic (1), none (1)",
        ),
        (
            Requirements({"gpu": "a100", "disk": "big"}),
            [worker("none")],
            "no worker with the labels disk=big, gpu=a100 is alive; workers without them: 1",
        ),
        (
            Requirements({"gpu": "a100"}, Tier.BASIC),
            [worker("basic"), worker("none", gpu="a100")],
            "no worker with the labels gpu=a100 and sandbox basic or stronger is alive; workers without them: 2, "
            "with sandbox basic (1), none (1)",
        ),
        (
            Requirements(sandbox=Tier.BASIC),
            [],
            "no worker with sandbox basic or stronger is alive, and no other one",
        ),
        (Requirements(sandbox=Tier.BASIC), [worker("none"), worker("strict")], ""),
    ],
)
def test_a_shortage_names_what_is_missing_and_what_the_workers_have(requirements, workers, described):
    assert requirements.shortage(workers) == described
