"""Flags that many commands share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from skep_shared.errors import InvalidArgument


@dataclass(frozen=True, slots=True)
class Place:
    """A cluster as the flags name it; None: not given."""

    redis_url: str | None
    prefix: str | None
    tenant: str | None = None


RedisFlag = Annotated[
    str | None,
    typer.Option(
        "--redis", metavar="URL", envvar="SKEP_REDIS_URL", help="The cluster's Redis: redis://, rediss:// or unix://."
    ),
]
PrefixFlag = Annotated[
    str | None, typer.Option("--prefix", metavar="NAME", help="Prefix of the cluster's keys (default: {skep}).")
]
TenantFlag = Annotated[
    str | None, typer.Option("--tenant", metavar="NAME", help="The tenant whose sessions these are (or SKEP_TENANT).")
]
SandboxFlag = Annotated[
    str | None,
    typer.Option(
        "--sandbox", metavar="TIER", help="Run only in this sandbox (basic, userns, strict) or a stronger one."
    ),
]
RawFlag = Annotated[
    bool, typer.Option("--raw", help="Pass control sequences of the session on to the terminal, whatever they do.")
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON, one object per line.")]
SessionArgument = Annotated[str, typer.Argument(metavar="ID", help="The session's id.", show_default=False)]


def read_labels(labels: Sequence[str]) -> dict[str, str]:
    """Read labels as a command line has them. Raises InvalidArgument."""
    read: dict[str, str] = {}
    for label in labels:
        name, sign, text = label.partition("=")
        if not sign:
            raise InvalidArgument("label", label, "NAME=VALUE is needed")
        if read.setdefault(name, text) != text:
            raise InvalidArgument("label", label, f"{name} is {read[name]!r} already: no session has both")
    return read
