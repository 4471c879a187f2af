"""Flags that many commands share."""

from dataclasses import dataclass
from typing import Annotated

import typer


@dataclass(frozen=True, slots=True)
class Place:
    """A cluster as the flags name it; None: not given."""

    redis_url: str | None
    prefix: str | None


RedisFlag = Annotated[
    str | None,
    typer.Option(
        "--redis", metavar="URL", envvar="SKEP_REDIS_URL", help="The cluster's Redis: redis://, rediss:// or unix://."
    ),
]
PrefixFlag = Annotated[
    str | None, typer.Option("--prefix", metavar="NAME", help="Prefix of the cluster's keys (default: skep).")
]
RawFlag = Annotated[
    bool, typer.Option("--raw", help="Pass control sequences of the session on to the terminal, whatever they do.")
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON, one object per line.")]
SessionArgument = Annotated[str, typer.Argument(metavar="ID", help="The session's id.", show_default=False)]
