"""The scripts that workers call, as typed functions: heartbeats, recovery, claims, activations."""

from collections.abc import Mapping, Sequence

from skep_shared.broker.layout import LAYOUT, layout_mismatch
from skep_shared.broker.origins import read_origins
from skep_shared.broker.script_replies import Claim, ClaimStatus, Heartbeat, KeptRequest, Mark, Recovered, Shard
from skep_shared.broker.script_source import ScriptCalls, load_scripts
from skep_shared.checkpoints.checkpoint_ids import CheckpointId
from skep_shared.full_ids import stored_ids
from skep_shared.isolation.sandbox_tiers import Tier


class WorkerScripts(ScriptCalls):
    """The scripts of workers. All methods raise the driver's errors when Redis can't be reached."""

    sources = load_scripts("shard", "heartbeat", "leave", "recover", "claim", "compare", "answer", "activate")

    async def join_shard(self, worker_id: str, proposed: Shard, *, is_directory_chosen: bool) -> Shard:
        """Return what the shard's workers share; the first worker writes what is `proposed`.

        is_directory_chosen: an operator has set this directory; it replaces the shard's if no other worker is alive.
        Raises RedisUnsuitable if the shard's data has another layout.
        """
        keys = (self.keys.shard, self.keys.workers)
        args = (self.keys.prefix, worker_id, proposed.shard_id, proposed.directory, proposed.hash_seed)
        reply = await self._call("shard", keys, (*args, int(is_directory_chosen), LAYOUT))
        if reply[0] == b"LAYOUT":
            raise layout_mismatch(self.keys.prefix, reply[1] or None)
        shard_id, directory, hash_seed = reply[1:]
        return Shard(shard_id.decode(), directory.decode(), int(hash_seed))

    async def heartbeat(self, worker_id: str, lease_ms: int, facts: bytes, *, patience_ms: int) -> Heartbeat:
        """Renew the worker's lease, and return whether other workers or sessions need recovery."""
        keys = (self.keys.worker(worker_id), self.keys.workers, self.keys.waiting, self.keys.named)
        args = (worker_id, lease_ms, facts, patience_ms, "" if self.signer is None else self.signer.key_ids)
        now, alive, neglected, next_ms = await self._call("heartbeat", keys, args)
        return Heartbeat(now, bool(alive), neglected, next_ms)

    async def leave(self, worker_id: str) -> int:
        """Remove the worker; return the number of sessions that it still owned."""
        k = self.keys
        keys = (k.worker(worker_id), k.workers, k.mailbox(worker_id), k.owned(worker_id))
        left: int = (await self._call("leave", keys, (worker_id,)))[0]
        return left

    async def answer(self, client_id: str, operation_id: str, kind: int, payload: bytes, ttl_ms: int) -> None:
        """Append an answer to a client's replies, also on a full server."""
        await self._call("answer", (self.keys.replies(client_id),), (ttl_ms, operation_id, kind, payload))

    async def recover(self, *, silence_ms: int, page: int, patience_ms: int) -> Recovered:
        """Process one page of dead workers and of waiting sessions."""
        k = self.keys
        reply = await self._call("recover", (k.workers, k.waiting), (k.prefix, silence_ms, page, patience_ms))
        return Recovered(reply[0], tuple(stored_ids(reply[1:])))

    async def activate(self, session_ids: Sequence[str]) -> None:
        """Queue an activation of each session: some worker makes it resident, if no live worker has it."""
        await self._call("activate", (), (self.keys.prefix, *session_ids))

    async def claim(
        self, session_id: str, worker_id: str, token: str, *, has_store: bool = False, sandbox: str = Tier.NONE
    ) -> Claim | ClaimStatus:
        """Claim a session that has no live owner.

        has_store: the worker may write its chunks to a store. sandbox: the tier of the worker's sessions.
        Raises ValueError if the session's hash is not written by skep; then the worker is its owner nevertheless.
        """
        k = self.keys
        keys = (k.session(session_id), k.waiting, k.worker(worker_id), k.owned(worker_id))
        reply = await self._call("claim", keys, (k.prefix, session_id, worker_id, token, int(has_store), sandbox))
        status = ClaimStatus(reply[0].decode())
        if status is not ClaimStatus.OK:
            return status
        epoch, cursor, seq, last, losses, previous, state, options, head, kept, created, origins, told = reply[1:14]
        idle, handed = reply[14:]
        is_closing = state == b"closing"
        requests = tuple(each for text in kept.decode().split() if (each := KeptRequest.parse(text)).seq > cursor)
        pairs = (pair.partition(":") for pair in told.decode().split())
        said = tuple((int(number), int(attempt)) for number, _, attempt in pairs if int(number) > cursor)
        return Claim(
            session_id, token, epoch, cursor, seq, last, losses, previous.decode(), is_closing, options,
            CheckpointId.parse(head), requests,
            int(created), read_origins(origins.decode()), said, idle, bool(handed),
        )  # fmt: skip

    async def compare(self, known: Mapping[str, Mark]) -> dict[str, tuple[Mark, bool]]:
        """Return the marks of the sessions whose mark differs from the known one, and whether they are closing.

        A session that is closing is always included.
        """
        ids = list(known)
        args: list[str | bytes | int] = []
        for mark in known.values():
            args += (mark.seq, mark.cursor, mark.last, mark.token)
        reply = await self._call("compare", [self.keys.session(sid) for sid in ids], args)
        return {
            ids[place - 1]: (Mark(seq, cursor, last, token.decode("utf-8", "replace")), state == b"closing")
            for place, seq, cursor, last, token, state in reply
        }
