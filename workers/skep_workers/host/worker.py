"""One worker: a lease, a mailbox, a dispatcher, a zygote, and the sessions resident here, under one task group.

It ends in order: the dispatcher stops picking, sessions drain (each commits and is released, and one with pending cells
is activated elsewhere), the worker leaves the index, the zygote goes, the scratch directory is removed.
"""

import asyncio
import contextlib
import os
import platform
import secrets
import shutil
import socket
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from skep_shared import __version__
from skep_shared.activation import enqueue_activation, jobs_due, open_arq
from skep_shared.connection import BLOCK_MARGIN_SECONDS, open_redis
from skep_shared.errors import StartError
from skep_shared.foreign_errors import describe_error
from skep_shared.keys import Keys
from skep_shared.lane import Lane
from skep_shared.limits import check_cell_id, check_session_id
from skep_shared.models import WorkerFacts
from skep_shared.redis_errors import is_out_of_memory
from skep_shared.script_replies import Shard
from skep_shared.scripts import Scripts
from skep_shared.server_check import as_skep_error, check_server
from skep_shared.settings import WorkerSettings
from skep_shared.submission import append_cells, cell_from_options
from skep_workers.host.accounting import Accounting
from skep_workers.host.backoff import RETRIABLE
from skep_workers.host.cancelling import cancel_until_ended
from skep_workers.host.clock import RedisClock
from skep_workers.host.descriptor_limit import DescriptorLimit
from skep_workers.host.dispatch import Dispatcher
from skep_workers.host.facilities import Host
from skep_workers.host.lease import PATIENCE_MS, Lease
from skep_workers.host.mailbox import Mailbox
from skep_workers.host.reminders import Reminders
from skep_workers.host.residents import Residents
from skep_workers.host.session_places import SessionPlaces
from skep_workers.host.session_upkeep import SessionUpkeep
from skep_workers.host.shard import join_shard
from skep_workers.host.store_upkeep import open_store, remove_purged
from skep_workers.host.zygote import Zygote

log = structlog.get_logger()

RECOVERY_PAGE = 100
MOST_JOBS_DUE = 2000  # a worker that was killed leaves up to MAX_JOBS behind that nobody may take for a while
SWEEP_SECONDS = 15.0
FAREWELL_SECONDS = 1.0


class WorkerHost:
    """A worker from start to drain; `run` it once."""

    def __init__(self, settings: WorkerSettings, *, on_ready: Callable[[str], None] | None = None) -> None:
        self._settings = settings
        self._on_ready = on_ready
        self.worker_id = f"{socket.gethostname()[:60]}-{os.getpid()}-{secrets.token_hex(4)}"
        self._keys = Keys(settings.prefix)
        self._redis = open_redis(settings)
        self._blocking = open_redis(settings, blocking=True)
        self._arq = open_arq(settings)
        self._lane = Lane(self._redis, settings.command_timeout_seconds)
        self._reading_lane = Lane(self._redis, settings.command_timeout_seconds)
        self._mail_lane = Lane(self._blocking, settings.block_seconds + BLOCK_MARGIN_SECONDS)
        self._scripts = Scripts(self._lane, self._keys)
        self._clock = RedisClock()
        self._started_at = datetime.now(UTC)
        self._lease = Lease(self.worker_id, self._scripts, settings, self._clock, self._facts)
        self._store = open_store(settings)
        self._residents: Residents | None = None
        self._stopping = asyncio.Event()
        self._accounting = Accounting()
        self._reminders = Reminders()

    async def run(self) -> None:
        """Serve until `stop`. Raises RedisUnavailable, RedisUnsuitable, StoreUnavailable, StartError, RedisOutage."""
        limit = DescriptorLimit()
        settings = self._settings = limit.make_room(self._settings)
        directory = Path(tempfile.mkdtemp(prefix="skep-worker-"))
        zygote: Zygote | None = None
        places = SessionPlaces()
        try:
            unseen = await check_server(self._redis, settings)
            if unseen:
                log.warning("redis.not_checked", what=unseen, remedy="permit this user INFO, or look for yourself")
            if self._store is not None:
                await self._store.check(self.worker_id)
            try:
                shard = await join_shard(self._scripts, settings, self.worker_id)
            except RETRIABLE as exc:
                raise as_skep_error(settings, exc) from exc
            await places.open(shard)
            zygote = Zygote(
                directory,
                places.current.place,
                preload=settings.preload,
                pass_env=settings.pass_env,
                hash_seed=shard.hash_seed,
                start_seconds=settings.start_seconds,
                on_start=limit.give_back,
            )
            await zygote.ensure_started()
            try:
                await self._lease.beat()
            except RETRIABLE as exc:
                raise as_skep_error(settings, exc) from exc
            async with asyncio.TaskGroup() as group:
                await self._serve(group, zygote, places, shard)
        finally:
            self._accounting.log()
            if zygote is not None:
                await zygote.stop()
            await places.close()
            for client in (self._lane, self._reading_lane, self._mail_lane, self._redis, self._blocking, self._arq):
                with contextlib.suppress(*RETRIABLE):
                    await client.aclose()
            await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)

    def stop(self) -> None:
        """Drain and leave; a second call ends the grace period."""
        if self._stopping.is_set() and self._residents is not None:
            self._residents.hurry()
        self._stopping.set()

    async def _serve(self, group: asyncio.TaskGroup, zygote: Zygote, places: SessionPlaces, shard: Shard) -> None:
        host = Host(
            self.worker_id,
            self._settings,
            self._redis,
            self._reading_lane,
            self._scripts,
            self._clock,
            zygote,
            places,
            self._accounting,
            self._store,
        )
        residents = self._residents = Residents(host, group, self._activate_elsewhere)
        mailbox = Mailbox(
            self._mail_lane, self._redis, self._keys.mailbox(self.worker_id), self._settings.block_seconds
        )
        dispatcher = Dispatcher(
            self._arq,
            self._blocking,
            self._keys,
            activate=residents.activate,
            submit=self._submit,
            has_room=lambda: residents.has_room,
            wait_for_room=residents.wait_for_room,
            upkeep=SessionUpkeep(self._redis, self._scripts, self._settings).run,
        )

        async def on_lapse() -> None:
            # Redis may have lost everything, and this worker's lease with it.
            nonlocal shard
            shard = await self._join_again(shard, zygote, places)
            await residents.sweep()

        services = [
            group.create_task(self._lease.run(on_lapse), name="lease"),
            group.create_task(self._lease.look(self._recover), name="recovery"),
            group.create_task(mailbox.run(residents.on_entry), name="mailbox"),
            group.create_task(self._sweep(residents), name="sweep"),
            group.create_task(self._ping(residents), name="pings"),
            group.create_task(zygote.keep(), name="zygote"),
            group.create_task(places.clean(), name="cleaning"),
        ]
        dispatching = group.create_task(dispatcher.run(), name="dispatcher")
        log.info("worker.ready", worker_id=self.worker_id, capacity=self._settings.max_resident)
        if self._on_ready is not None:
            self._on_ready(self.worker_id)
        await self._stopping.wait()
        dispatching.cancel()
        with contextlib.suppress(*RETRIABLE, TimeoutError):
            async with asyncio.timeout(FAREWELL_SECONDS):  # a Redis that stands still must not cost the grace period
                await self._lease.beat()  # the others hear that there is no room here, before sessions come to them
        log.info("worker.draining", resident=len(residents), grace_seconds=self._settings.grace_seconds)
        await residents.drain(self._settings.grace_seconds)
        await cancel_until_ended([dispatching, *services])
        with contextlib.suppress(*RETRIABLE):
            await self._scripts.leave(self.worker_id)
        log.info("worker.left", worker_id=self.worker_id)

    async def _join_again(self, known: Shard, zygote: Zygote, places: SessionPlaces) -> Shard:
        """Put the shard's record back if it is gone, or adopt the one that a new worker has made meanwhile."""
        shard = await join_shard(self._scripts, self._settings, self.worker_id, known)
        if shard != known:
            log.warning("shard.changed", shard_id=shard.shard_id, directory=shard.directory, was=known.shard_id)
            try:
                await places.open(shard)
            except StartError as exc:  # sessions go on where they are; the next start of this worker fails, and says so
                log.error("shard.not_adopted", error=describe_error(exc))
            zygote.follow_shard(places.current.place, shard.hash_seed)
        return shard

    def _facts(self) -> WorkerFacts:
        return WorkerFacts(
            host=socket.gethostname(),
            pid=os.getpid(),
            version=__version__,
            python=platform.python_version(),
            started_at=self._started_at,
            capacity=0 if self._stopping.is_set() else self._settings.max_resident,
            resident=len(self._residents) if self._residents is not None else 0,
            counters=dict(self._accounting.counters),
            labels=self._settings.worker_labels,
        )

    async def _activate_elsewhere(self, session_id: str) -> None:
        """Best effort: a session that is waiting is found by the next beat of any worker."""
        with contextlib.suppress(*RETRIABLE):
            await enqueue_activation(self._arq, self._keys, session_id)

    async def _recover(self) -> None:
        """Look after dead workers and waiting sessions, a page a beat."""
        found = await self._scripts.recover(
            silence_ms=int(self._settings.lease_seconds * 1000), page=RECOVERY_PAGE, patience_ms=PATIENCE_MS
        )
        if found.dead:
            for session_id in found.waiting:
                self._reminders.forget(session_id)
        elif found.waiting and await jobs_due(self._arq, self._keys, self._clock.now_ms()) > MOST_JOBS_DUE:
            return  # the workers are full, or slow: more jobs would only be more of the same
        now = asyncio.get_running_loop().time()
        asked_for = [session_id for session_id in found.waiting if self._reminders.take(session_id, now)]
        if found.dead or asked_for:
            log.warning("recovery", dead_workers=found.dead, waiting=len(asked_for))
        for session_id in asked_for:
            try:
                await enqueue_activation(self._arq, self._keys, session_id)
            except RETRIABLE as exc:
                # A full Redis takes no job. The session may only want to be closed, which makes room.
                if is_out_of_memory(exc) and self._residents is not None and self._residents.has_room:
                    self._residents.take_in(session_id)

    async def _ping(self, residents: Residents) -> None:
        while True:
            await asyncio.sleep(min(self._settings.unresponsive_seconds, self._settings.idle_seconds) / 2)
            residents.ping()
            residents.hibernate_idle()

    async def _sweep(self, residents: Residents) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            with contextlib.suppress(*RETRIABLE):
                await residents.sweep()
                if self._store is not None:
                    await remove_purged(self._redis, self._keys, self._store)

    async def _submit(self, session_id: str, code: str, cell_id: str, options: dict[str, Any]) -> str:
        """Append a cell for arq's job. Raises InvalidArgument, SessionClosed, BacklogFull, RedisFull."""
        cell_id = check_cell_id(options.pop("cell_id", cell_id))
        client_id = options.pop("client_id", "")
        cell = (cell_id, cell_from_options(code, options))
        submitted = await append_cells(
            self._scripts,
            check_session_id(session_id),
            [cell],
            max_pending=self._settings.max_pending_cells,
            client_id=client_id,
        )
        if submitted.needs_activation:
            await enqueue_activation(self._arq, self._keys, session_id)
        return cell_id
