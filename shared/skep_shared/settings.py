"""Settings: from command-line flags, otherwise from `SKEP_*` environment variables, otherwise these defaults.

Units are part of the names.
"""

import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, SecretStr, field_validator

from skep_shared.environment_settings import HIDDEN, EnvironmentSettings
from skep_shared.errors import InvalidArgument
from skep_shared.isolation.internet_addresses import check_internal_network
from skep_shared.isolation.network import check_hosts
from skep_shared.isolation.session_limits import (
    CellsPerMinute,
    CpuSeconds,
    FileBytes,
    Limits,
    MemoryBytes,
    OpenFiles,
    OutputBytes,
    Processes,
    WallSeconds,
    WorkspaceBytes,
    WorkspaceFiles,
)
from skep_shared.limits import check_prefix, check_tenant
from skep_shared.signing import SMALLEST_KEY_BYTES, split_keys

DEFAULT_REDIS_URL = "redis://127.0.0.1:6379/0"


class Settings(EnvironmentSettings):
    """The settings on which producers and workers of one shard must agree, and those of the connection to Redis."""

    redis_url: Annotated[
        str,
        Field(
            repr=False, description="redis://, rediss://, unix:// or redis+sentinel://host:port,host:port/service/db"
        ),
    ] = DEFAULT_REDIS_URL
    # In braces all keys of a shard hash to one slot of a Redis Cluster, so that scripts may touch several of them.
    prefix: Annotated[str, Field(description="prefix of every key of this shard")] = "{skep}"
    tenant: Annotated[
        str | None, Field(description="of a client: the tenant that its sessions belong to; workers serve all tenants")
    ] = None
    command_timeout_seconds: Annotated[
        float, Field(gt=0, le=60, description="longest wait for Redis to answer a command")
    ] = 5.0
    connect_timeout_seconds: Annotated[
        float, Field(gt=0, le=60, description="longest wait for a connection to Redis")
    ] = 5.0
    block_seconds: Annotated[
        float, Field(gt=0, le=60, description="how long one blocking read of Redis waits before it is repeated")
    ] = 5.0
    outage_seconds: Annotated[
        float, Field(ge=0, description="how long a client keeps trying while Redis is unavailable")
    ] = 60.0
    max_connections: Annotated[int, Field(ge=4, le=10_000, description="maximum number of connections to Redis")] = 64
    reply_ttl_seconds: Annotated[
        float, Field(ge=10, le=30 * 86_400, description="how long a client's reply stream keeps outcomes")
    ] = 900.0
    max_pending_cells: Annotated[
        int, Field(ge=1, le=1_000_000, description="cells that may wait in a session; further ones are rejected")
    ] = 10_000
    # A secret, so not a flag: the arguments of a process can be read by others.
    signing_key: Annotated[
        SecretStr,
        Field(
            description="keys that sign cells, requests and checkpoints, separated by commas: the first one signs, "
            "all are accepted; empty: nothing is signed or checked"
        ),
    ] = SecretStr("")
    # Maxima of sessions' limits: see session_limits.py. A client refuses options above its own ones, and a worker
    # applies its own ones to every session.
    limits_memory_bytes: Annotated[
        MemoryBytes | None, Field(description="maximum memory of all processes of a session")
    ] = None
    limits_cpu_seconds: Annotated[CpuSeconds | None, Field(description="maximum processor time of a cell")] = None
    limits_wall_seconds: Annotated[WallSeconds | None, Field(description="maximum timeout of a cell")] = None
    limits_processes: Annotated[
        Processes | None, Field(description="maximum number of processes and threads of a session")
    ] = None
    limits_open_files: Annotated[
        OpenFiles | None, Field(description="maximum number of open files of each process of a session")
    ] = None
    limits_file_bytes: Annotated[
        FileBytes | None, Field(description="maximum size of each file that a session writes")
    ] = None
    limits_workspace_bytes: Annotated[
        WorkspaceBytes | None, Field(description="maximum disk space of a session's directory")
    ] = None
    limits_workspace_files: Annotated[
        WorkspaceFiles | None, Field(description="maximum number of files in a session's directory")
    ] = None
    limits_output_bytes: Annotated[
        OutputBytes | None, Field(description="maximum text and displays of a cell; beyond that, the cell ends")
    ] = None
    limits_cells_per_minute: Annotated[
        CellsPerMinute | None, Field(description="maximum number of cells submitted to a session in a minute")
    ] = None

    network: Annotated[
        str,
        Field(
            pattern="^(none|allow-list|host|)$",
            description="widest network that sessions may ask for: none, allow-list, host; empty: none in a sandbox, "
            "host without one",
        ),
    ] = ""

    @property
    def limits(self) -> Limits:
        """The maxima of sessions' limits."""
        return Limits(**self._maxima())

    def _maxima(self) -> dict[str, Any]:
        maxima = {name: getattr(self, f"limits_{name}", None) for name in Limits.model_fields}
        return maxima | {"pending_cells": self.max_pending_cells}

    @field_validator("prefix")
    @classmethod
    def _prefix_is_safe(cls, prefix: str) -> str:
        return check_prefix(prefix)

    @field_validator("signing_key")
    @classmethod
    def _keys_are_long(cls, signing_key: SecretStr) -> SecretStr:
        text = signing_key.get_secret_value()
        keys = split_keys(text)
        if (text and not keys) or any(len(key.encode()) < SMALLEST_KEY_BYTES for key in keys):
            limit = f"each key must have at least {SMALLEST_KEY_BYTES} bytes: python -c 'import secrets; "
            raise InvalidArgument("signing_key", HIDDEN, limit + "print(secrets.token_hex(32))' makes one")
        return signing_key

    @field_validator("tenant")
    @classmethod
    def _tenant_is_safe(cls, tenant: str | None) -> str | None:
        return None if tenant is None else check_tenant(tenant)


class WorkerSettings(Settings):
    """The additional settings of a worker."""

    lease_seconds: Annotated[
        float,
        Field(
            ge=0.5,
            le=300,
            description="without a heartbeat for this long a worker counts as dead; it sends three meanwhile",
        ),
    ] = 3.0
    max_resident: Annotated[
        int, Field(ge=1, le=100_000, description="maximum number of sessions on this worker at a time")
    ] = 100
    idle_seconds: Annotated[
        float, Field(gt=0, description="idle time after which a session hibernates; its next cell restores it")
    ] = 900.0
    busy_idle_seconds: Annotated[
        float,
        Field(gt=0, description="idle time for a session whose tasks, threads or child processes run between cells"),
    ] = 3600.0
    commit_window: Annotated[
        int, Field(ge=1, le=4096, description="cells of a session that may be sent to its process but not committed")
    ] = 64
    flush_ms: Annotated[
        float, Field(ge=0, le=1000, description="longest time that output of a running cell is held to be batched")
    ] = 4.0
    flush_bytes: Annotated[
        int, Field(ge=1024, le=8 * 1024 * 1024, description="amount of output that is sent without waiting for more")
    ] = 64 * 1024
    backlog_bytes: Annotated[
        int, Field(ge=64 * 1024, description="output that may wait for Redis; beyond that, writes of cells block")
    ] = 8 * 1024 * 1024
    grace_seconds: Annotated[
        float, Field(ge=0, le=3600, description="how long running cells may continue after SIGTERM")
    ] = 20.0
    unresponsive_seconds: Annotated[
        float, Field(ge=1, description="a session process that doesn't answer for this long counts as stuck")
    ] = 10.0
    start_seconds: Annotated[
        float, Field(gt=0, le=300, description="how long a zygote or a session process may take to start")
    ] = 20.0
    directory: Annotated[
        str,
        Field(
            description="parent of the sessions' directories, the same path on every worker of the shard; "
            "empty: chosen by the shard's first worker, below its temporary directory"
        ),
    ] = ""
    redis_outage_seconds: Annotated[
        float, Field(ge=1, description="how long sessions are kept while Redis is unavailable")
    ] = 300.0
    preload: Annotated[
        list[str], Field(description="modules to import in advance, so that sessions can import them quickly")
    ] = []
    pass_env: Annotated[
        list[str],
        Field(
            description="environment variables that sessions get, besides PATH, HOME, USER, LANG, LC_*, TZ, TMPDIR …"
        ),
    ] = []
    ast_cache_size: Annotated[
        int, Field(ge=0, le=100_000, description="analysed cells that a session caches; 0: none")
    ] = 100
    detection: Annotated[
        dict[str, list[str]],
        Field(description="changes to the list of blocking calls: blocking, not_blocking (dotted names)"),
    ] = {}
    keep_checkpoints: Annotated[int, Field(ge=1, le=10_000, description="latest checkpoints of a session to keep")] = 20
    keep_every_checkpoints: Annotated[
        int, Field(ge=0, le=1_000_000, description="also keep the last checkpoint of every so many cells; 0: none")
    ] = 0
    keep_every_count: Annotated[
        int, Field(ge=1, le=10_000, description="how many checkpoints of keep_every_checkpoints to keep")
    ] = 50
    checkpoint_budget_bytes: Annotated[
        int, Field(ge=0, description="stored bytes of a session's checkpoints; beyond that, the oldest are removed")
    ] = 1024 * 1024 * 1024
    checkpoint_store: Annotated[
        str,
        Field(description="store for larger chunks: file:///dir, s3://, gs:// or az://bucket/prefix; empty: Redis"),
    ] = ""
    store_timeout_seconds: Annotated[
        float, Field(gt=0, le=600, description="longest wait for the checkpoint store to answer a call")
    ] = 30.0
    store_outage_seconds: Annotated[
        float, Field(ge=0, le=3600, description="how long saving is retried while the store is unavailable")
    ] = 60.0
    state_bytes: Annotated[
        int,
        Field(ge=64 * 1024, description="maximum size of a checkpoint; beyond that, it omits the largest variables"),
    ] = 1024 * 1024 * 1024
    workspace_quota_bytes: Annotated[
        int, Field(ge=0, description="maximum size of the files in a session's directory that its checkpoints keep")
    ] = 64 * 1024 * 1024
    packages: Annotated[
        str,
        Field(
            pattern="^(saved|recorded|off)$",
            description="packages that sessions install: saved with their checkpoints, recorded (installed again by "
            "each new process), off",
        ),
    ] = "saved"
    packages_bytes: Annotated[
        int,
        Field(ge=0, description="maximum size of a session's packages that is saved; beyond that, they are recorded"),
    ] = 64 * 1024 * 1024
    packages_seconds: Annotated[
        float,
        Field(
            gt=0,
            le=3600,
            description="how long installing the packages of a session's options, or recorded ones, may take",
        ),
    ] = 300.0
    snapshot_seconds: Annotated[
        float, Field(gt=0, le=3600, description="how long saving a checkpoint may take; beyond that, it is partial")
    ] = 60.0
    snapshot_memory_bytes: Annotated[
        int,
        Field(ge=64 * 1024 * 1024, description="memory that saving a checkpoint may use in addition to the session"),
    ] = 4 * 1024 * 1024 * 1024
    restore_seconds: Annotated[
        float,
        Field(gt=0, le=3600, description="how long restoring a checkpoint may take, before an earlier one is tried"),
    ] = 120.0
    keep_events: Annotated[int, Field(ge=1, le=10**12, description="latest events of a session to keep")] = 1_000_000
    keep_events_days: Annotated[
        float, Field(ge=0, le=36_500, description="age above which events are removed; 0: no limit")
    ] = 0.0
    keep_cell_ids: Annotated[
        int, Field(ge=1, le=10**9, description="latest ended cells of a session whose ids are remembered")
    ] = 100_000
    keep_closed_days: Annotated[
        float, Field(ge=0, le=36_500, description="how long a closed session is kept; 0: forever")
    ] = 30.0
    keep_idle_days: Annotated[
        float, Field(ge=0, le=36_500, description="an open session unused for this long is closed and purged; 0: never")
    ] = 0.0
    upkeep_sessions: Annotated[
        int, Field(ge=1, le=1_000_000, description="sessions per minute that are checked for the keep_* limits")
    ] = 500
    sandbox: Annotated[
        str,
        Field(
            pattern="^(auto|strict|userns|basic|none)$",
            description="isolation of sessions: auto (the strongest that works here), strict, userns, basic, none",
        ),
    ] = "auto"
    sandbox_read: Annotated[
        list[str],
        Field(description="files and directories that sessions in a sandbox may read, besides the system's"),
    ] = []
    sandbox_write: Annotated[
        list[str], Field(description="files and directories that sessions in a sandbox may read and change")
    ] = []
    network_default: Annotated[
        str,
        Field(
            pattern="^(none|allow-list|host|)$",
            description="network of sessions that ask for none: none, allow-list, host; empty: none in a sandbox, host "
            "without one",
        ),
    ] = ""
    network_hosts: Annotated[
        list[str],
        Field(
            description="hosts that every session with an allow-list may connect to: example.org, *.example.org:8443"
        ),
    ] = []
    network_internal: Annotated[
        list[str],
        Field(
            description="private networks (10.1.0.0/16) that allowed hosts may lead to; otherwise only public addresses"
        ),
    ] = []
    cgroups: Annotated[
        str,
        Field(
            pattern="^(auto|v2|v1|none)$",
            description="control groups for limits of sessions: auto (what works here), v2, v1, none (measure instead)",
        ),
    ] = "none"
    worker_labels: Annotated[dict[str, str], Field(description="labels of this worker")] = {}
    log_format: Annotated[
        str, Field(pattern="^(auto|json|console)$", description="auto: console on a terminal, otherwise json")
    ] = "auto"
    log_level: Annotated[str, Field(pattern="^(debug|info|warning|error)$", description="lowest level shown")] = "info"

    def _maxima(self) -> dict[str, Any]:
        return super()._maxima() | {"checkpoint_bytes": self.state_bytes}

    @field_validator("sandbox_read", "sandbox_write")
    @classmethod
    def _sandbox_paths_are_absolute(cls, paths: list[str]) -> list[str]:
        for path in paths:
            if not Path(path).is_absolute():
                raise InvalidArgument("sandbox_read, sandbox_write", path, "must be an absolute path")
        return paths

    @field_validator("network_hosts")
    @classmethod
    def _hosts_are_names(cls, hosts: list[str]) -> list[str]:
        check_hosts(hosts)
        return hosts

    @field_validator("network_internal")
    @classmethod
    def _internal_networks_are_private(cls, networks: list[str]) -> list[str]:
        for network in networks:
            check_internal_network(network)
        return networks

    @field_validator("detection")
    @classmethod
    def _detection_is_known(cls, detection: dict[str, list[str]]) -> dict[str, list[str]]:
        if not detection.keys() <= {"blocking", "not_blocking"}:
            raise InvalidArgument("detection", detection, "only blocking and not_blocking are known")
        return detection

    @field_validator("directory")
    @classmethod
    def _directory_is_absolute(cls, directory: str) -> str:
        if directory and not Path(directory).is_absolute():
            raise InvalidArgument("directory", directory, "must be an absolute path, the same on every worker")
        return os.path.normpath(directory) if directory else ""
