"""The names of all Redis keys that skep uses; P is the shard's prefix.

SID is a session's full id: TENANT/ID for a session of a tenant.

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
| `P:shard` | hash | what all workers share: random id, data layout, directory of the sessions' directories, hash seed |
| `P:sessions` | zset | session id -> when it was created (ms) |
| `P:tenants` | hash | tenant -> its quotas (msgpack) |
| `P:tenant:TENANT` | hash | what a tenant uses: pending cells, stored bytes; a field that would be 0 is absent |
| `P:tenant:TENANT:sessions` | zset | session of the tenant -> when it was created (ms) |
| `P:tenant:TENANT:resident` | set | sessions of the tenant that have an owner |
| `P:tenant:TENANT:rate` | string + TTL | until when the tenant's cells a minute are used up (ms) |
| `P:tenant:TENANT:cpu` | string + TTL | processor time that the tenant's sessions have used since midnight, UTC (ms) |
| `P:upkeep` | string | how far the round of retention through `P:sessions` has come |
| `P:workers` | zset | worker id -> last heartbeat (ms) |
| `P:worker:WID` | hash + TTL | alive marker, facts, and the ids of its signing keys |
| `P:worker:WID:mailbox` | stream | wake-ups and control requests |
| `P:worker:WID:sessions` | set | what it owns |
| `P:waiting` | zset | sessions with pending cells and no live owner -> since when (ms) |
| `P:named` | zset | waiting sessions that a recovery has reported to a worker -> when it last did (ms) |
| `P:client:CID:replies` | stream + TTL | outcomes for one client process |
| `P:client:CID:wake` | stream + TTL | ends the blocking read that a client's many followers share |
| `P:upload:UID:N` | string + TTL | a piece of a file that is being written into a session |
| `P:tokens` | zset | token id -> when its record is removed (ms; inf: never) |
| `P:token:ID` | hash + TTL | digest, tenant, rights, name and times of a token of the gateway |
| `P:link-key` | string | key of the signed links to files, made at random by the first gateway |
| `P:webhooks` | hash | TENANT/NAME -> what a webhook asks for (JSON); /NAME without a tenant |
| `P:webhook:TENANT/NAME` | hash | of a webhook: since when it is disabled, and why |
| `P:webhook:TENANT/NAME:cursors` | hash | SID -> `n:created at` of the session; n: the last event that is delivered |
| `P:webhook:TENANT/NAME:failures` | hash | SID -> the event that is tried again, how often, since when (msgpack) |
| `P:webhook:TENANT/NAME:lease` | string + TTL | token of the process that sends for the webhook |
| `P:arq`, `P:arq:wake` | zset, list | arq's queue, and the list that makes a worker poll it at once |
| `arq:job:ID`, `arq:result:ID` | string + TTL | arq's own: a job and its result; ids of skep's jobs begin with `P:` |
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one shard; `prefix` is checked by the settings.

    scope: "" if session ids are full ids, as they are for workers; "TENANT/" for the client of a tenant.
    """

    prefix: str = "{skep}"
    scope: str = ""

    def full_id(self, session_id: str) -> str:
        """Return the id under which Redis has a session of this scope."""
        return f"{self.scope}{session_id}"

    def short_id(self, full_id: str) -> str:
        """Return the id that a session has within this scope."""
        return full_id.removeprefix(self.scope)

    def session(self, session_id: str) -> str:
        """Session hash."""
        return f"{self.prefix}:session:{self.scope}{session_id}"

    def cells(self, session_id: str) -> str:
        """Stream of pending cells."""
        return f"{self.prefix}:session:{self.scope}{session_id}:cells"

    def ids(self, session_id: str) -> str:
        """Hash of known cell ids."""
        return f"{self.prefix}:session:{self.scope}{session_id}:ids"

    def events(self, session_id: str) -> str:
        """Stream of events."""
        return f"{self.prefix}:session:{self.scope}{session_id}:events"

    def checkpoints(self, session_id: str) -> str:
        """Stream of manifests."""
        return f"{self.prefix}:session:{self.scope}{session_id}:checkpoints"

    def blobs(self, session_id: str) -> str:
        """Hash of chunks."""
        return f"{self.prefix}:session:{self.scope}{session_id}:blobs"

    def names(self, session_id: str) -> str:
        """Hash of the names of checkpoints."""
        return f"{self.prefix}:session:{self.scope}{session_id}:names"

    def pins(self, session_id: str) -> str:
        """Hash of the sessions that read this one's chunks."""
        return f"{self.prefix}:session:{self.scope}{session_id}:pins"

    @property
    def purged(self) -> str:
        """Set of purged sessions whose chunks are still in a store."""
        return f"{self.prefix}:purged"

    @property
    def shard(self) -> str:
        """Hash of what all workers of the shard share."""
        return f"{self.prefix}:shard"

    @property
    def sessions(self) -> str:
        """Index of sessions."""
        return f"{self.prefix}:sessions"

    @property
    def own_sessions(self) -> str:
        """Index of the scope's sessions: of all sessions, or of a tenant's."""
        return self.sessions_of(self.scope[:-1]) if self.scope else self.sessions

    def sessions_of(self, tenant: str) -> str:
        """Index of a tenant's sessions."""
        return f"{self.prefix}:tenant:{tenant}:sessions"

    @property
    def tenants(self) -> str:
        """Hash of the quotas of tenants."""
        return f"{self.prefix}:tenants"

    def tenant(self, tenant: str) -> str:
        """Hash of what a tenant uses."""
        return f"{self.prefix}:tenant:{tenant}"

    def resident(self, tenant: str) -> str:
        """Set of a tenant's sessions that have an owner."""
        return f"{self.prefix}:tenant:{tenant}:resident"

    def rate(self, tenant: str) -> str:
        """Time until which a tenant's cells a minute are used up."""
        return f"{self.prefix}:tenant:{tenant}:rate"

    def cpu(self, tenant: str) -> str:
        """Processor time that a tenant's sessions have used today."""
        return f"{self.prefix}:tenant:{tenant}:cpu"

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

    @property
    def named(self) -> str:
        """Waiting sessions that a recovery has reported to a worker."""
        return f"{self.prefix}:named"

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
        """Stream that ends a blocking read of one client process."""
        return f"{self.prefix}:client:{client_id}:wake"

    def upload(self, piece: str) -> str:
        """Piece of a file that is being written into a session: the upload's id, a colon, and its offset in bytes."""
        return f"{self.prefix}:upload:{piece}"

    @property
    def tokens(self) -> str:
        """Index of the gateway's tokens."""
        return f"{self.prefix}:tokens"

    def token(self, token_id: str) -> str:
        """Record of a token of the gateway."""
        return f"{self.prefix}:token:{token_id}"

    @property
    def link_key(self) -> str:
        """Key of the signed links to files."""
        return f"{self.prefix}:link-key"

    @property
    def webhooks(self) -> str:
        """Hash of what webhooks ask for."""
        return f"{self.prefix}:webhooks"

    def webhook(self, full_name: str) -> str:
        """Hash of whether a webhook is disabled; a full name is TENANT/NAME, or /NAME."""
        return f"{self.prefix}:webhook:{full_name}"

    def webhook_cursors(self, full_name: str) -> str:
        """Hash of how far a webhook has come in each session."""
        return f"{self.prefix}:webhook:{full_name}:cursors"

    def webhook_failures(self, full_name: str) -> str:
        """Hash of the deliveries of a webhook that are being repeated."""
        return f"{self.prefix}:webhook:{full_name}:failures"

    def webhook_lease(self, full_name: str) -> str:
        """Token of the process that sends for a webhook."""
        return f"{self.prefix}:webhook:{full_name}:lease"

    def arq_job(self, job_id: str) -> str:
        """Return the key of a queued job; its name is arq's."""
        return f"arq:job:{job_id}"

    def arq_result(self, job_id: str) -> str:
        """Return the key of a job's result; its name is arq's."""
        return f"arq:result:{job_id}"

    @property
    def arq_queue(self) -> str:
        """Queue of arq."""
        return f"{self.prefix}:arq"

    @property
    def arq_wake(self) -> str:
        """List whose elements make a waiting worker poll arq's queue at once."""
        return f"{self.prefix}:arq:wake"
