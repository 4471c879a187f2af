"""What is known about a session: its stored fields, what its owner adds to them, and which worker it lacks."""

from skep.link import ShardLink
from skep.listings.index_pages import live_workers
from skep_shared.models import OwnerFacts, SessionInfo, SessionOptions, WorkerInfo
from skep_shared.requirements import Requirements
from skep_shared.states import SessionState


class Shortages:
    """Finds requirements that no live worker meets. The workers are read once, and only if there are requirements."""

    def __init__(self, link: ShardLink) -> None:
        self._link = link
        self._workers: list[WorkerInfo] | None = None

    async def of(self, requirements: Requirements) -> str:
        """Return what no live worker has, and what they have; "" if one meets them. Raises RedisUnavailable."""
        if not requirements:
            return ""
        if self._workers is None:
            self._workers = [worker async for worker in live_workers(self._link)]
        return requirements.shortage(self._workers)


async def describe_session(
    link: ShardLink, session_id: str, fields: dict[bytes, bytes], owner_facts: bytes | None, shortages: Shortages
) -> SessionInfo:
    """Return a session from its hash. owner_facts: of its live owner. Raises RedisUnavailable."""
    owner = None if owner_facts is None else OwnerFacts.unpack(owner_facts)
    info = SessionInfo.from_hash(session_id, fields, facts=owner, maxima=link.settings.limits)
    if owner is not None or not (info.pending or info.state is SessionState.CLOSING):
        return info
    requirements = Requirements.of(SessionOptions.unpack(fields.get(b"options", b"")))
    return info.model_copy(update={"shortage": await shortages.of(requirements)})
