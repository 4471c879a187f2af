"""The scripts that workers call, as typed functions: being alive, whom others have left, taking a session."""

from collections.abc import Mapping

from skep_shared.checkpoint_ids import CheckpointId
from skep_shared.manifests import read_origins
from skep_shared.script_replies import Claim, ClaimStatus, Heartbeat, Mark, Recovered, Shard
from skep_shared.script_source import ScriptCalls, load_scripts


class WorkerScripts(ScriptCalls):
    """What a worker does as one of many. All methods raise what the driver raises when Redis is away."""

    sources = load_scripts("shard", "heartbeat", "leave", "recover", "claim", "compare")

    async def join_shard(self, worker_id: str, proposed: Shard, *, is_directory_chosen: bool) -> Shard:
        """Return what the shard's workers share: what is `proposed` if this is the first one.

        is_directory_chosen: an operator asks for this directory; it replaces the shard's if no other worker lives.
        """
        keys = (self.keys.shard, self.keys.workers)
        args = (self.keys.prefix, worker_id, proposed.shard_id, proposed.directory, proposed.hash_seed)
        shard_id, directory, hash_seed = await self._call("shard", keys, (*args, int(is_directory_chosen)))
        return Shard(shard_id.decode(), directory.decode(), int(hash_seed))

    async def heartbeat(self, worker_id: str, lease_ms: int, facts: bytes, *, patience_ms: int) -> Heartbeat:
        """Live another lease, and hear whether others don't."""
        keys = (self.keys.worker(worker_id), self.keys.workers, self.keys.waiting, self.keys.named)
        args = (worker_id, lease_ms, facts, patience_ms)
        now, alive, neglected, next_ms = await self._call("heartbeat", keys, args)
        return Heartbeat(now, bool(alive), neglected, next_ms)

    async def leave(self, worker_id: str) -> int:
        """Stop being a worker; gives the number of sessions it still owned."""
        k = self.keys
        keys = (k.worker(worker_id), k.workers, k.mailbox(worker_id), k.owned(worker_id))
        left: int = (await self._call("leave", keys, (worker_id,)))[0]
        return left

    async def recover(self, *, silence_ms: int, page: int, patience_ms: int) -> Recovered:
        """Look at one page of dead workers and of waiting sessions."""
        k = self.keys
        reply = await self._call("recover", (k.workers, k.waiting), (k.prefix, silence_ms, page, patience_ms))
        return Recovered(reply[0], tuple(sid.decode() for sid in reply[1:]))

    async def claim(
        self, session_id: str, worker_id: str, token: str, *, has_store: bool = False
    ) -> Claim | ClaimStatus:
        """Take a session that nobody alive owns. has_store: the worker may put chunks of it into a store."""
        k = self.keys
        keys = (k.session(session_id), k.waiting, k.worker(worker_id), k.owned(worker_id))
        reply = await self._call("claim", keys, (k.prefix, session_id, worker_id, token, int(has_store)))
        status = ClaimStatus(reply[0].decode())
        if status is not ClaimStatus.OK:
            return status
        epoch, cursor, seq, last, losses, previous, state, options, head, kept, created, origins, told = reply[1:14]
        idle, handed = reply[14:]
        is_closing = state == b"closing"
        numbered = (request.partition(":") for request in kept.decode().split())
        requests = tuple((int(number), kind) for number, _, kind in numbered if int(number) > cursor)
        pairs = (pair.partition(":") for pair in told.decode().split())
        said = tuple((int(number), int(attempt)) for number, _, attempt in pairs if int(number) > cursor)
        return Claim(
            session_id, token, epoch, cursor, seq, last, losses, previous.decode(), is_closing, options,
            CheckpointId.parse(head), requests,
            int(created), read_origins(origins.decode()), said, idle, bool(handed),
        )  # fmt: skip

    async def compare(self, known: Mapping[str, Mark]) -> dict[str, tuple[Mark, bool]]:
        """Give how far those sessions are that are not where they are known to be, and whether they are closing.

        A session that is closing is given in any case.
        """
        ids = list(known)
        args: list[str | bytes | int] = []
        for mark in known.values():
            args += (mark.seq, mark.cursor, mark.last, mark.token)
        reply = await self._call("compare", [self.keys.session(sid) for sid in ids], args)
        return {
            ids[place - 1]: (Mark(seq, cursor, last, token.decode()), state == b"closing")
            for place, seq, cursor, last, token, state in reply
        }
