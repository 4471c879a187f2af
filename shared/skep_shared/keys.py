"""Every Redis key skep uses, and nowhere else a key is made.

| key | type | holds |
|---|---|---|
| `P:session:SID` | hash | owner, token, epoch, seq, cursor, last event, state, options, times |
| `P:session:SID:cells` | stream | pending cells; the cell of seq n has the id `n-0` |
| `P:session:SID:ids` | hash | cell id -> `p:seq:waiting clients` or `d:seq:first event:last event` |
| `P:session:SID:events` | stream | ordered output; the n-th event has the id `n-0` |
| `P:session:SID:checkpoints` | stream | manifests; `n-0` is that of the cell of seq n, see checkpoint_ids.py |
| `P:session:SID:blobs` | hash | chunks that manifests name, by the hash of their content |
| `P:session:SID:names` | hash | name of a checkpoint -> the checkpoint |
| `P:session:SID:pins` | hash | session forked from a checkpoint here, directly or not -> the checkpoint |
| `P:purged` | set | `SID:created at` of purged sessions whose chunks a worker has to remove from the store |
| `P:shard` | hash | what all workers share: random id, directory of the sessions' directories, hash seed |
| `P:sessions` | zset | session id -> when it was created (ms) |
| `P:upkeep` | string | how far the round of retention through `P:sessions` has come |
| `P:workers` | zset | worker id -> last heartbeat (ms) |
| `P:worker:WID` | hash + TTL | alive marker and facts |
| `P:worker:WID:mailbox` | stream | wake-ups and control requests |
| `P:worker:WID:sessions` | set | what it owns |
| `P:waiting` | zset | sessions with pending cells and no live owner -> since when (ms) |
| `P:client:CID:replies` | stream + TTL | outcomes for one client process |
| `P:client:CID:wake` | stream + TTL | ends the blocking read that a client's many followers share |
| `P:arq`, `P:arq:wake` | zset, list | arq's queue, and the list that makes a worker poll it at once |
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one shard; `prefix` is checked by the settings."""

    prefix: str = "skep"

    def session(self, session_id: str) -> str:
        """Session hash."""
        return f"{self.prefix}:session:{session_id}"

    def cells(self, session_id: str) -> str:
        """Stream of pending cells."""
        return f"{self.prefix}:session:{session_id}:cells"

    def ids(self, session_id: str) -> str:
        """Hash of known cell ids."""
        return f"{self.prefix}:session:{session_id}:ids"

    def events(self, session_id: str) -> str:
        """Stream of events."""
        return f"{self.prefix}:session:{session_id}:events"

    def checkpoints(self, session_id: str) -> str:
        """Stream of manifests."""
        return f"{self.prefix}:session:{session_id}:checkpoints"

    def blobs(self, session_id: str) -> str:
        """Hash of chunks."""
        return f"{self.prefix}:session:{session_id}:blobs"

    def names(self, session_id: str) -> str:
        """Hash of the names of checkpoints."""
        return f"{self.prefix}:session:{session_id}:names"

    def pins(self, session_id: str) -> str:
        """Hash of the sessions that read this one's chunks."""
        return f"{self.prefix}:session:{session_id}:pins"

    @property
    def purged(self) -> str:
        """Set of sessions that are gone but for their chunks in a store."""
        return f"{self.prefix}:purged"

    @property
    def shard(self) -> str:
        """What all workers of the shard share."""
        return f"{self.prefix}:shard"

    @property
    def sessions(self) -> str:
        """Index of sessions."""
        return f"{self.prefix}:sessions"

    @property
    def upkeep(self) -> str:
        """Place of the round of retention in the index of sessions."""
        return f"{self.prefix}:upkeep"

    @property
    def workers(self) -> str:
        """Index of workers."""
        return f"{self.prefix}:workers"

    @property
    def waiting(self) -> str:
        """Sessions that need an owner."""
        return f"{self.prefix}:waiting"

    def worker(self, worker_id: str) -> str:
        """Alive marker and facts of a worker."""
        return f"{self.prefix}:worker:{worker_id}"

    def mailbox(self, worker_id: str) -> str:
        """Stream of wake-ups and control requests."""
        return f"{self.prefix}:worker:{worker_id}:mailbox"

    def owned(self, worker_id: str) -> str:
        """Set of sessions a worker owns."""
        return f"{self.prefix}:worker:{worker_id}:sessions"

    def replies(self, client_id: str) -> str:
        """Stream of outcomes for one client process."""
        return f"{self.prefix}:client:{client_id}:replies"

    def wake(self, client_id: str) -> str:
        """Stream by which one client process ends a blocking read of its own."""
        return f"{self.prefix}:client:{client_id}:wake"

    @property
    def arq_queue(self) -> str:
        """Queue of arq."""
        return f"{self.prefix}:arq"

    @property
    def arq_wake(self) -> str:
        """List whose elements make a waiting worker poll arq's queue at once."""
        return f"{self.prefix}:arq:wake"
