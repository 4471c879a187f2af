"""A residency that ends at a gap before it has committed anything would find the same gap at once if it began again."""

from types import SimpleNamespace

import pytest
import structlog

from skep_shared.broker.script_replies import Claim
from skep_shared.errors import EventGap
from skep_workers.host.residency.lifecycle import Lifecycle
from skep_workers.host.residency.resident import Resident

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(("cursor", "requested"), [(4, 0), (5, 3)])
async def test_an_activation_is_requested_at_once_only_after_a_commit(monkeypatch, cursor, requested):
    """It ran its cell again and again, as fast as processes start."""

    async def find_gap():
        raise EventGap("s", 9, 7)

    async def release(*, shuts_down):
        return 3

    resident = Resident.__new__(Resident)
    resident.claim = Claim("s", "token", 1, 4, 7, 8, 0, "", closing=False, options=b"", head=0)
    resident._lifecycle = Lifecycle(resident.claim)
    resident._log = structlog.get_logger()
    resident._departure = SimpleNamespace(release=release)
    resident._parts = SimpleNamespace(
        checkpoints=SimpleNamespace(load=find_gap), journal=SimpleNamespace(cursor=cursor)
    )
    monkeypatch.setattr(resident, "_start_writers", lambda _: None)

    assert await resident._serve_until_over() == requested
