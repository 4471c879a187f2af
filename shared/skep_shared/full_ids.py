"""The full id of a session: TENANT/ID for a session of a tenant, otherwise its id, which has no slash."""

from collections.abc import Iterable

from skep_shared.limits import check_full_session_id


def tenant_of(full_id: str) -> str:
    """Return the tenant of a session, "" if it has none."""
    return full_id.rpartition("/")[0]


def file_name_of(full_id: str) -> str:
    """Return a session's name for files and directories. No id has a comma, so the names of two sessions differ."""
    return full_id.replace("/", ",")


def stored_ids(names: Iterable[bytes]) -> list[str]:
    """Return the ids among the names that Redis has in an index of sessions; other names were not written by skep."""
    return [full_id for name in names if (full_id := _stored_id(name)) is not None]


def _stored_id(name: bytes) -> str | None:
    try:
        return check_full_session_id(name.decode())
    except ValueError:  # InvalidArgument, or no text
        return None
