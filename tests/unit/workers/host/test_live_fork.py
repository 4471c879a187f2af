"""Live forks of sandboxed sessions: a hostile origin must not get to choose the process of another session."""

import asyncio
from pathlib import Path
from unittest import mock

from skep_shared.isolation.sandbox_tiers import Tier
from skep_workers.host.process.live_fork import LiveForking
from skep_workers.host.process.zygote import SessionSetup, Zygote
from skep_workers.sandbox.policy import SandboxPolicy


def test_an_origin_in_a_sandbox_is_not_even_asked():
    async def start():
        setup = SessionSetup(sandbox=SandboxPolicy(Tier.BASIC))
        zygote = Zygote(Path("/none"), Path("/none"), setup, hash_seed=1, start_seconds=1.0)
        source, directory = mock.Mock(), mock.Mock()
        forking = LiveForking(mock.Mock(), zygote, directory, 1.0, lambda _: source)
        return await forking.start(source, mock.Mock(), mock.Mock(), mock.Mock()), source, directory

    started, source, directory = asyncio.run(start())

    assert started is None
    source.live_process.assert_not_called()
    directory.start_process.assert_not_called()
