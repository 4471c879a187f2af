"""Changes the options of a session that exists: those that change without a new process.

The options are one packed value. A client reads it, changes its part and sends it back with a digest of what it has
read; update.lua refuses it if another client was faster. So options of a newer version of skep are retained.
"""

from typing import Final

import msgpack

from skep.link import ShardLink
from skep_shared.broker.mailbox_entries import UpdateSession
from skep_shared.broker.script_replies import UpdateStatus
from skep_shared.broker.submission import check_changeable
from skep_shared.errors import InvalidArgument, NotFound, OperationFailed, SessionClosed, SignatureRefused
from skep_shared.models import CHANGEABLE, SessionOptions
from skep_shared.signing import OTHER_KEY

MAX_TRIES: Final = 20


async def update_session(link: ShardLink, session_id: str, options: SessionOptions) -> None:
    """Change the options that were given. Raises what `Session.update` raises."""
    changes = checked_changes(options)
    key = link.keys.session(session_id)
    for _ in range(MAX_TRIES):
        before: bytes = await link.persist(lambda: link.redis.execute_command("HGET", key, "options")) or b""
        after = _changed(before, changes)
        request = UpdateSession(session_id, SessionOptions.unpack(after).idle_seconds)
        status = await link.persist(lambda: link.scripts.update(session_id, before, after, request))  # noqa: B023
        match status:
            case UpdateStatus.OK:
                return
            case UpdateStatus.UNKNOWN:
                raise NotFound("session", session_id)
            case UpdateStatus.CLOSED:
                raise SessionClosed(session_id)
            case UpdateStatus.UNSIGNED:
                raise SignatureRefused(f"update of session {link.keys.full_id(session_id)!r}", OTHER_KEY)
    reason = f"other clients have changed its options {MAX_TRIES} times meanwhile"
    raise OperationFailed(f"update of session {session_id!r}: {reason}; try again")


def checked_changes(options: SessionOptions) -> dict[str, object]:
    """Return the options that were given, by name. Raises InvalidArgument if one of them can't change."""
    if not isinstance(options, SessionOptions):
        raise InvalidArgument("options", options, f"SessionOptions are needed, not {type(options).__name__}")
    can = f"only {', '.join(CHANGEABLE)} can change after the session was created"
    given = [name for name in SessionOptions.model_fields if name in options.model_fields_set]
    for name in given:
        if name not in CHANGEABLE:
            value = getattr(options, name)
            raise InvalidArgument(name, sorted(value) if name == "env" else value, can)
    if not given:
        raise InvalidArgument("options", "SessionOptions()", f"at least one option is needed; {can}")
    check_changeable(options)
    return {name: getattr(options, name) for name in given}


def _changed(packed: bytes, changes: dict[str, object]) -> bytes:
    """Return packed options with these changes; an option with its default value is not stored."""
    fields: dict[str, object] = (msgpack.unpackb(packed) if packed else {}) | changes
    stored = {name: value for name, value in fields.items() if name not in changes or value not in ({}, None)}
    after: bytes = msgpack.packb(stored)
    return after
