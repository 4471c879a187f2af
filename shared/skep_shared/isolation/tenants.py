"""The quotas of a tenant, and what it uses of them.

Quotas are stored in `P:tenants` and read by the scripts that enforce them: submit.lua and claim.lua.
"""

from collections.abc import Mapping
from typing import Annotated, Final, Self

import msgpack
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from skep_shared.errors import InvalidArgument

LARGEST: Final = 2**53  # a number of Lua is exact up to here


class TenantQuotas(BaseModel):
    """What a tenant may use; None: any amount.

    max_resident: sessions that have an owner. max_pending: cells that wait or run. max_bytes: of stored checkpoints.
    cpu_seconds_a_day: processor time of its sessions' processes, from midnight to midnight (UTC).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    max_resident: Annotated[int | None, Field(ge=1, le=1_000_000)] = None
    max_pending: Annotated[int | None, Field(ge=1, le=100_000_000)] = None
    cells_a_minute: Annotated[int | None, Field(ge=1, le=10_000_000)] = None
    max_bytes: Annotated[int | None, Field(ge=1, le=LARGEST)] = None
    cpu_seconds_a_day: Annotated[int | None, Field(ge=1, le=100_000_000)] = None

    @classmethod
    def checked(cls, **given: object) -> Self:
        """Return quotas. Raises InvalidArgument, naming the quota, the value and the bound."""
        try:
            return cls.model_validate(given)
        except ValidationError as exc:
            first = exc.errors()[0]
            raise InvalidArgument(".".join(map(str, first["loc"])) or "quotas", first["input"], first["msg"]) from exc

    @classmethod
    def unpack(cls, packed: bytes) -> Self:
        """Read the stored form; quotas of a newer version are ignored. Raises ValueError for any other bytes."""
        stored = msgpack.unpackb(packed)
        if not isinstance(stored, dict):
            raise ValueError(f"a map was expected, not {type(stored).__name__}")  # noqa: TRY004 - as pydantic's own
        return cls.model_validate({name: value for name, value in stored.items() if name in cls.model_fields})

    def pack(self) -> bytes:
        """Return the stored form, without the quotas that are not set."""
        packed: bytes = msgpack.packb(self.model_dump(exclude_none=True))
        return packed


class TenantUse(BaseModel):
    """What a tenant uses now. resident: its sessions that have an owner. cpu_seconds: used since midnight (UTC)."""

    model_config = ConfigDict(frozen=True)

    sessions: int
    resident: int
    pending: int
    stored_bytes: int
    cpu_seconds: float

    @classmethod
    def read(cls, fields: Mapping[bytes, bytes], *, sessions: int, resident: int, cpu_ms: int) -> Self:
        """Return the use from the fields of the tenant's hash, the sizes of its two indexes, and its processor time."""
        return cls(
            sessions=sessions,
            resident=resident,
            pending=int(fields.get(b"pending", 0)),
            stored_bytes=int(fields.get(b"bytes", 0)),
            cpu_seconds=cpu_ms / 1000,
        )
