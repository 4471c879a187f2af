"""Settings: flags, else `SKEP_*` in the environment, else these defaults. Units are in the names."""

import os
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from skep_shared.errors import InvalidArgument
from skep_shared.limits import check_prefix

DEFAULT_REDIS_URL = "redis://127.0.0.1:6379/0"


class Settings(BaseSettings):
    """What producers and workers of one shard must agree on, and how they talk to Redis."""

    model_config = SettingsConfigDict(env_prefix="SKEP_", frozen=True, extra="forbid")

    redis_url: Annotated[
        str, Field(description="redis://, rediss://, unix:// or redis+sentinel://host:port,host:port/service/db")
    ] = DEFAULT_REDIS_URL
    prefix: Annotated[str, Field(description="prefix of every key of this shard")] = "skep"
    command_timeout_seconds: Annotated[
        float, Field(gt=0, le=60, description="longest wait for Redis to answer a command")
    ] = 5.0
    connect_timeout_seconds: Annotated[
        float, Field(gt=0, le=60, description="longest wait for a connection to Redis")
    ] = 5.0
    block_seconds: Annotated[
        float, Field(gt=0, le=60, description="how long one blocking read waits for news; then it is asked again")
    ] = 5.0
    outage_seconds: Annotated[
        float, Field(ge=0, description="how long a client goes on trying while Redis is away")
    ] = 60.0
    max_connections: Annotated[int, Field(ge=4, le=10_000, description="connections to Redis at the most")] = 64
    reply_ttl_seconds: Annotated[
        float, Field(ge=10, le=30 * 86_400, description="how long outcomes stay in a client's reply stream")
    ] = 900.0
    max_pending_cells: Annotated[
        int, Field(ge=1, le=1_000_000, description="cells a session may have waiting; more are refused")
    ] = 10_000

    @field_validator("prefix")
    @classmethod
    def _prefix_is_safe(cls, prefix: str) -> str:
        return check_prefix(prefix)

    @classmethod
    def load(cls, **overrides: object) -> Self:
        """Read the environment under the given overrides (None: not given); raises InvalidArgument."""
        given = {name: value for name, value in overrides.items() if value is not None}
        try:
            return cls(**given)  # type: ignore[arg-type]
        except SettingsError as exc:  # names the field in its text only
            field = next((name for name in cls.model_fields if f'"{name}"' in str(exc)), "settings")
            raise InvalidArgument(field, _in_environment(f"SKEP_{field}"), "JSON is needed in the environment") from exc
        except ValidationError as exc:
            first = exc.errors()[0]
            field = ".".join(str(part) for part in first["loc"]) or "settings"
            refusal = first.get("ctx", {}).get("error")  # by one of our own checks, which says its field and value too
            limit = refusal.limit if isinstance(refusal, InvalidArgument) else first["msg"]
            raise InvalidArgument(field, first["input"], limit) from exc


def _in_environment(name: str) -> str | None:
    """Give the variable's value; as in pydantic its case doesn't matter."""
    return next((value for key, value in os.environ.items() if key.upper() == name.upper()), None)


class WorkerSettings(Settings):
    """What a worker needs besides."""

    lease_seconds: Annotated[
        float, Field(ge=0.5, le=300, description="silence after which a worker counts as dead; it beats each third")
    ] = 3.0
    max_resident: Annotated[
        int, Field(ge=1, le=100_000, description="sessions that may live on this worker at a time")
    ] = 100
    idle_seconds: Annotated[
        float, Field(gt=0, description="idle time after which a session is hibernated; its next cell restores it")
    ] = 900.0
    busy_idle_seconds: Annotated[
        float,
        Field(gt=0, description="the same for a session whose tasks, threads or child processes work between cells"),
    ] = 3600.0
    commit_window: Annotated[
        int, Field(ge=1, le=4096, description="cells of a session handed to its process and not committed yet")
    ] = 64
    flush_ms: Annotated[
        float, Field(ge=0, le=1000, description="longest that output of a running cell waits for more to go with it")
    ] = 4.0
    flush_bytes: Annotated[
        int, Field(ge=1024, le=8 * 1024 * 1024, description="output that is sent without waiting for more")
    ] = 64 * 1024
    backlog_bytes: Annotated[
        int, Field(ge=64 * 1024, description="output held for Redis; above it the cell's writes wait")
    ] = 8 * 1024 * 1024
    grace_seconds: Annotated[
        float, Field(ge=0, le=3600, description="how long running cells may go on after SIGTERM")
    ] = 20.0
    unresponsive_seconds: Annotated[
        float, Field(ge=1, description="silence after which a session process counts as stuck, not busy")
    ] = 10.0
    start_seconds: Annotated[
        float, Field(gt=0, le=300, description="how long a zygote or a session process may take to start")
    ] = 20.0
    directory: Annotated[
        str,
        Field(
            description="where sessions have their directories, the same path on every worker of the shard; "
            "empty: what the shard's first worker chose, below its temporary directory"
        ),
    ] = ""
    redis_outage_seconds: Annotated[
        float, Field(ge=1, description="how long sessions are kept while Redis is away")
    ] = 300.0
    preload: Annotated[
        list[str], Field(description="modules the zygote imports, so that sessions have them at once")
    ] = []
    pass_env: Annotated[
        list[str], Field(description="environment variables sessions get besides PATH, HOME, LANG, LC_*, TZ, TMPDIR")
    ] = []
    ast_cache_size: Annotated[
        int, Field(ge=0, le=100_000, description="analysed cells a session remembers; 0 remembers none")
    ] = 100
    detection: Annotated[
        dict[str, list[str]], Field(description="names for the analysis: blocking, not_blocking (dotted names)")
    ] = {}
    keep_checkpoints: Annotated[
        int, Field(ge=1, le=10_000, description="checkpoints of a session that are kept, the latest ones")
    ] = 20
    keep_every_checkpoints: Annotated[
        int, Field(ge=0, le=1_000_000, description="the last checkpoint of each so many cells is kept too; 0: none")
    ] = 0
    keep_every_count: Annotated[
        int, Field(ge=1, le=10_000, description="how many of these are kept, the latest ones")
    ] = 50
    checkpoint_budget_bytes: Annotated[
        int, Field(ge=0, description="stored bytes of a session's checkpoints, above which older ones go first")
    ] = 1024 * 1024 * 1024
    checkpoint_store: Annotated[
        str, Field(description="where larger chunks go: file:///dir, s3://, gs:// or az://bucket/prefix; empty: Redis")
    ] = ""
    store_timeout_seconds: Annotated[
        float, Field(gt=0, le=600, description="longest wait for the checkpoint store to answer a call")
    ] = 30.0
    store_outage_seconds: Annotated[
        float, Field(ge=0, le=3600, description="how long a checkpoint goes on trying while the store is away")
    ] = 60.0
    state_bytes: Annotated[
        int, Field(ge=64 * 1024, description="what one checkpoint may save; the largest variables are left out beyond")
    ] = 1024 * 1024 * 1024
    workspace_quota_bytes: Annotated[
        int, Field(ge=0, description="files below a session's working directory that its checkpoints keep")
    ] = 64 * 1024 * 1024
    snapshot_seconds: Annotated[
        float, Field(gt=0, le=3600, description="how long saving a checkpoint may take; then it is partial")
    ] = 60.0
    snapshot_memory_bytes: Annotated[
        int, Field(ge=64 * 1024 * 1024, description="how much memory saving a checkpoint may take beside the session")
    ] = 4 * 1024 * 1024 * 1024
    restore_seconds: Annotated[
        float,
        Field(gt=0, le=3600, description="how long restoring a checkpoint may take, before an earlier one is tried"),
    ] = 120.0
    keep_events: Annotated[
        int, Field(ge=1, le=10**12, description="events of a session that are kept, the latest ones")
    ] = 1_000_000
    keep_events_days: Annotated[
        float, Field(ge=0, le=36_500, description="age above which events go; 0: age doesn't count")
    ] = 0.0
    keep_cell_ids: Annotated[
        int, Field(ge=1, le=10**9, description="done cells of a session whose ids are known, the latest ones")
    ] = 100_000
    keep_closed_days: Annotated[
        float, Field(ge=0, le=36_500, description="how long a closed session is kept; 0: for ever")
    ] = 30.0
    keep_idle_days: Annotated[
        float, Field(ge=0, le=36_500, description="unused for so long, a session is closed and purged; 0: never")
    ] = 0.0
    upkeep_sessions: Annotated[
        int, Field(ge=1, le=1_000_000, description="sessions that are looked at for these bounds, per minute")
    ] = 500
    worker_labels: Annotated[dict[str, str], Field(description="labels of this worker")] = {}
    log_format: Annotated[
        str, Field(pattern="^(auto|json|console)$", description="auto: console on a terminal, else json")
    ] = "auto"
    log_level: Annotated[str, Field(pattern="^(debug|info|warning|error)$", description="lowest level shown")] = "info"

    @field_validator("directory")
    @classmethod
    def _directory_is_absolute(cls, directory: str) -> str:
        if directory and not Path(directory).is_absolute():
            raise InvalidArgument("directory", directory, "an absolute path is needed, the same on every worker")
        return os.path.normpath(directory) if directory else ""
