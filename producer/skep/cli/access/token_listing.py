"""`skep tokens` and its commands: the tokens of the gateway, as operators make and see them."""

import sys
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from skep.cli.flags import Place
from skep.cli.output.event_printers import print_json
from skep.cli.output.listings import Listing
from skep.cli.output.screen import Screen
from skep.cli.output.tables import Column
from skep.cli.places import named_link
from skep.gateway.tokens.store import TokenRecord, TokenStore, check_rights
from skep_shared.errors import InvalidArgument

_COLUMNS: Final = (
    Column("ID"),
    Column("NAME", may_shrink=True),
    Column("TENANT", may_shrink=True),
    Column("CAN"),
    Column("CREATED"),
    Column("EXPIRES"),
    Column("STATE"),
)
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}


def parse_lifetime(text: str) -> float | None:
    """Return the seconds that a text such as 30d means, None for never. Raises InvalidArgument."""
    if text == "never":
        return None
    number, unit = text[:-1], text[-1:]
    if not (number.isascii() and number.isdigit() and len(number) <= 10 and unit in _UNITS and int(number)):
        raise InvalidArgument("expires", text, "a time such as 90s, 15m, 12h, 30d or 4w is needed, or never")
    return float(int(number) * _UNITS[unit])


async def create(place: Place, *, can: str, expires: str, name: str, as_json: bool) -> int:
    """Make a token and print it on stdout, with a line about it on stderr; return the exit status."""
    seconds = parse_lifetime(expires)
    rights = check_rights(word.strip() for word in can.split(",") if word.strip())  # before it connects
    async with named_link(place) as link:
        record, text = await TokenStore(link).create(
            can=rights, tenant=link.settings.tenant, seconds=seconds, name=name
        )
    if as_json:
        print_json({"token": text, **_record(datetime.now(UTC), record)})
        return 0
    print(text)
    reach = f"tenant {record.tenant}" if record.tenant else "all sessions of the shard"
    end = f"until {_shown(record.expires_at)}" if record.expires_at else "until it is revoked"
    said = f"for {reach}, may {','.join(sorted(record.can))}, valid {end}; it is not shown again"
    print(f"skep: token {record.id} {said}", file=sys.stderr)
    return 0


async def show_all(place: Place, *, as_json: bool) -> int:
    """Print the tokens, and return the exit status."""
    async with named_link(place) as link:
        found = await TokenStore(link).records(link.settings.tenant)
    now = datetime.now(UTC)
    listing = Listing(_COLUMNS, partial(_row, now), partial(_record, now), "no tokens here (skep tokens create)")
    return listing.show(found, as_json=as_json)


async def revoke(token_id: str, place: Place) -> int:
    """Revoke a token, and return the exit status."""
    async with named_link(place) as link:
        await TokenStore(link).revoke(token_id, link.settings.tenant)
    print(f"token {token_id} is revoked; its open streams end within a second")
    return 0


def _row(now: datetime, token: TokenRecord, _screen: Screen) -> list[str]:
    return [
        token.id,
        token.name or "-",
        token.tenant or "-",
        ",".join(sorted(token.can)),
        _shown(token.created_at),
        "never" if token.expires_at is None else _shown(token.expires_at),
        token.state(now),
    ]


def _record(now: datetime, token: TokenRecord) -> dict[str, Any]:
    return {
        "id": token.id,
        "name": token.name,
        "tenant": token.tenant,
        "can": sorted(token.can),
        "created_at": token.created_at.isoformat(),
        "expires_at": None if token.expires_at is None else token.expires_at.isoformat(),
        "revoked_at": None if token.revoked_at is None else token.revoked_at.isoformat(),
        "state": token.state(now),
    }


def _shown(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}Z"
