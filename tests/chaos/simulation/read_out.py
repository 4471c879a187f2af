"""What a simulated shard has stored at the end, for the checker."""

from typing import TYPE_CHECKING

import msgpack

from skep_shared.checkpoints.checkpoint_ids import CheckpointId

from .scenario import KEYS

if TYPE_CHECKING:
    from .world import World


def read_out(world: "World") -> None:
    """Put into the history what is stored at the end, read past the network, and what the readers have seen."""
    for session in world.sessions:
        key = KEYS.session(session).encode()
        fields = dict(world.store.get(key) or {})
        if not fields:
            continue
        for entry_id, flat in world.store.xrange(KEYS.events(session).encode()):
            world.history.add_event(session, int(entry_id.partition(b"-")[0]), flat[1])
        head, checkpoint, missing = CheckpointId.parse(fields.get(b"head", b"0")), None, 0
        entry = str(head).encode()
        for _, flat in world.store.xrange(KEYS.checkpoints(session).encode(), entry, entry):
            manifest = msgpack.unpackb(flat[1])
            chunks = world.store.hmget(KEYS.blobs(session).encode(), *manifest["blobs"])
            missing = sum(chunk is None for chunk in chunks)
            if chunks[0] is not None:
                checkpoint = msgpack.unpackb(chunks[0][1:])  # small ones are stored as they are
        world.history.add(
            {
                "op": "final", "session": session, "seq": int(fields.get(b"seq", 0)),
                "cursor": int(fields.get(b"cursor", 0)), "last": int(fields.get(b"last", 0)),
                "epoch": int(fields.get(b"epoch", 0)), "state": fields[b"state"].decode(), "head": str(head) if head else "",
                "checkpoint": checkpoint, "missing": missing,
            }
        )  # fmt: skip
        for cell, placed in (world.store.get(KEYS.ids(session).encode()) or {}).items():
            world.history.add({"op": "place", "session": session, "cell": cell.decode(), "entry": placed.decode()})
    for reader in world.readers:
        for number, name in reader.seen:
            world.history.add(
                {
                    "op": "read",
                    "reader": reader.machine.name,
                    "session": reader.session,
                    "id": number,
                    "digest": name,
                }
            )
        world.history.add(
            {"op": "reader", "reader": reader.machine.name, "session": reader.session, "after": reader.start}
        )
