"""One worker: a lease, a mailbox, a dispatcher, a zygote, and the sessions resident here, under one task group.

It ends in order. The dispatcher picks no more jobs. The sessions drain: each commits and is released, and one with
pending cells is activated elsewhere. The worker leaves the index, the zygote ends, the scratch directory is removed.
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
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from skep_shared import __version__
from skep_shared.broker.activation import jobs_due
from skep_shared.broker.client_scripts import ClientScripts
from skep_shared.broker.keys import Keys
from skep_shared.broker.lane import Lane
from skep_shared.broker.mailbox_entries import unpack_mailbox_entry
from skep_shared.broker.redis_client.cancellation import cancel_until_ended
from skep_shared.broker.redis_client.connection import BLOCK_MARGIN_SECONDS, open_redis
from skep_shared.broker.redis_client.redis_errors import is_out_of_memory
from skep_shared.broker.script_replies import Shard
from skep_shared.broker.scripts import Scripts
from skep_shared.broker.server_check import as_skep_error, check_server
from skep_shared.broker.submission import append_cells, cell_from_options, pack_options
from skep_shared.broker.worker_scripts import WorkerScripts
from skep_shared.errors import SignatureRefused, StartError
from skep_shared.foreign_errors import describe_error
from skep_shared.limits import check_cell_id, check_full_session_id
from skep_shared.models import WorkerFacts
from skep_shared.packages import PackageMode, index_settings
from skep_shared.settings import WorkerSettings
from skep_shared.signing import make_signer, signed_job
from skep_workers.host.broker.activation_backoff import ActivationBackoff
from skep_workers.host.broker.answers import Answers
from skep_workers.host.broker.backoff import RETRIABLE
from skep_workers.host.broker.dispatch import Dispatcher, open_arq
from skep_workers.host.broker.lease import PATIENCE_MS, Lease
from skep_workers.host.broker.mailbox import Mailbox
from skep_workers.host.broker.redis_clock import RedisClock
from skep_workers.host.broker.shard import join_shard
from skep_workers.host.broker.signed_requests import SignedRequests
from skep_workers.host.control_groups.worker_groups import WorkerGroups
from skep_workers.host.descriptor_limit import DescriptorLimit
from skep_workers.host.group_choice import choose_groups, close_groups
from skep_workers.host.maintenance.sessions import SessionUpkeep
from skep_workers.host.maintenance.store import open_store, remove_purged
from skep_workers.host.network.choice import NetworkChoice, choose_networks
from skep_workers.host.network.proxy_process import ProxyProcess
from skep_workers.host.process.zygote import SessionSetup, Zygote
from skep_workers.host.residency.accounting import Accounting
from skep_workers.host.residency.context import Host
from skep_workers.host.residents import Residents
from skep_workers.host.sandbox_choice import choose_sandbox, policy_of
from skep_workers.host.session_places import SessionPlaces
from skep_workers.sandbox.tiers import without_probes

log = structlog.get_logger()

RECOVERY_PAGE = 100
MOST_JOBS_DUE = 2000  # a killed worker leaves up to MAX_JOBS that no worker may run for a while
SWEEP_SECONDS = 15.0
SHORTEST_LOOK_SECONDS = 0.25  # between two looks for idle sessions: each looks at all of them
LAST_BEAT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Lanes:
    """The worker's pipelines to Redis.

    reads: for commands with long replies. mailbox: for commands that block. heartbeats: see Lease.
    """

    commands: Lane
    reads: Lane
    mailbox: Lane
    heartbeats: Lane


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
        self._lanes = Lanes(
            commands=Lane(self._redis, settings.command_timeout_seconds),
            reads=Lane(self._redis, settings.command_timeout_seconds),
            mailbox=Lane(self._blocking, settings.block_seconds + BLOCK_MARGIN_SECONDS),
            heartbeats=Lane(self._redis, settings.command_timeout_seconds),
        )
        signer = make_signer(settings.signing_key, settings.prefix)
        self._scripts = Scripts(self._lanes.commands, self._keys, signer)
        self._signed_requests = SignedRequests(signer, self._lanes.reads, self._keys)
        self._clock = RedisClock()
        self._started_at = datetime.now(UTC)
        heartbeats = self._lanes.heartbeats
        self._lease = Lease(
            self.worker_id,
            WorkerScripts(heartbeats, self._keys, signer),
            settings,
            self._clock,
            self._facts,
            give_up_connection=heartbeats.abort,
        )
        self._store = open_store(settings)
        self._residents: Residents | None = None
        self._sandbox = without_probes()
        self._networks = NetworkChoice()
        self._proxy = ProxyProcess(settings.network_hosts, settings.network_internal, settings.start_seconds)
        self._stopping = asyncio.Event()
        self._accounting = Accounting()
        self._answers = Answers(self._redis, self._keys, settings.reply_ttl_seconds)
        self._activation_backoff = ActivationBackoff()

    async def run(self) -> None:
        """Serve until `stop`. Raises RedisUnavailable, RedisUnsuitable, StoreUnavailable, StartError, RedisOutage."""
        limit = DescriptorLimit()
        settings = self._settings = limit.make_room(self._settings)
        directory = Path(tempfile.mkdtemp(prefix="skep-worker-"))
        zygote: Zygote | None = None
        places = SessionPlaces()
        groups = WorkerGroups()
        try:
            unseen = await check_server(self._redis, settings)
            if unseen:
                log.warning(
                    "redis.not_checked", what=unseen, remedy="permit this user the INFO command, or check it yourself"
                )
            if self._store is not None:
                await self._store.check(self.worker_id)
            try:
                shard = await join_shard(self._scripts, settings, self.worker_id)
            except RETRIABLE as exc:
                raise as_skep_error(settings, exc) from exc
            await places.open(shard)
            place = places.current.place
            self._sandbox = await choose_sandbox(settings)
            self._networks = choose_networks(settings, self._sandbox.tier)
            policy = policy_of(self._sandbox, self._networks.possible[-1], settings, (directory, place))
            groups = await choose_groups(settings, places.worker)
            zygote = Zygote(
                directory,
                place,
                SessionSetup(
                    settings.preload,
                    settings.pass_env,
                    policy,
                    groups.directories,
                    index_settings(os.environ),
                    PackageMode(settings.packages),
                ),
                hash_seed=shard.hash_seed,
                start_seconds=settings.start_seconds,
                on_start=limit.restore_in,
            )
            await zygote.ensure_started()
            try:
                await self._lease.beat()
            except RETRIABLE as exc:
                raise as_skep_error(settings, exc) from exc
            async with asyncio.TaskGroup() as group:
                await self._serve(group, zygote, places, groups, shard)
        finally:
            self._accounting.log()
            if zygote is not None:
                await zygote.stop()
            await self._proxy.stop()
            await close_groups(groups)
            await places.close()
            lanes = self._lanes
            all_lanes = (lanes.commands, lanes.reads, lanes.mailbox, lanes.heartbeats)
            for client in (*all_lanes, self._redis, self._blocking, self._arq):
                with contextlib.suppress(*RETRIABLE):
                    await client.aclose()
            await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)

    def stop(self) -> None:
        """Drain and leave; a second call ends the grace period."""
        if self._stopping.is_set() and self._residents is not None:
            self._residents.hurry()
        self._stopping.set()

    async def _serve(
        self, group: asyncio.TaskGroup, zygote: Zygote, places: SessionPlaces, groups: WorkerGroups, shard: Shard
    ) -> None:
        host = Host(
            self.worker_id,
            self._settings,
            self._sandbox.tier,
            self._redis,
            self._lanes.reads,
            self._scripts,
            self._clock,
            zygote,
            places,
            groups,
            self._accounting,
            self._answers,
            self._signed_requests,
            self._networks,
            self._proxy,
            self._store,
        )
        residents = self._residents = Residents(host, group, self._activate_elsewhere)
        mailbox = Mailbox(
            self._lanes.mailbox,
            self._redis,
            self._keys.mailbox(self.worker_id),
            self._settings.block_seconds,
            unpack_mailbox_entry if self._scripts.signer is None else self._signed_requests.read_entry,
        )
        dispatcher = Dispatcher(
            self._arq,
            self._blocking,
            self._keys,
            residents,
            submit=self._submit,
            upkeep=SessionUpkeep(self._redis, self._scripts, self._settings).run,
        )

        async def on_lapse() -> None:
            # Redis may have lost everything, and this worker's lease with it.
            nonlocal shard
            shard = await self._join_again(shard, zygote, places)
            await residents.sweep()

        services = [
            group.create_task(self._lease.run(on_lapse), name="lease"),
            group.create_task(self._lease.watch_neglect(self._recover), name="recovery"),
            group.create_task(mailbox.run(residents.receive_entry), name="mailbox"),
            group.create_task(self._answers.run(), name="answers"),
            group.create_task(self._sweep(residents), name="sweep"),
            group.create_task(self._ping(residents), name="pings"),
            group.create_task(zygote.keep_running(), name="zygote"),
            group.create_task(self._proxy.keep_running(), name="proxy"),
            group.create_task(places.clean(), name="cleaning"),
        ]
        dispatching = group.create_task(dispatcher.run(), name="dispatcher")
        capacity, tier = self._settings.max_resident, self._sandbox.tier
        log.info("worker.ready", worker_id=self.worker_id, capacity=capacity, sandbox=tier)
        if self._on_ready is not None:
            self._on_ready(self.worker_id)
        await self._stopping.wait()
        dispatching.cancel()
        with contextlib.suppress(*RETRIABLE, TimeoutError):
            async with asyncio.timeout(LAST_BEAT_SECONDS):  # an unresponsive Redis must not use up the grace period
                await self._lease.beat()  # before sessions are released, others must learn that there is no room here
        log.info("worker.draining", resident=len(residents), grace_seconds=self._settings.grace_seconds)
        await residents.drain(self._settings.grace_seconds)
        await self._answers.wait_until_sent()
        await cancel_until_ended([dispatching, *services])
        with contextlib.suppress(*RETRIABLE):
            await self._scripts.leave(self.worker_id)
        log.info("worker.left", worker_id=self.worker_id)

    async def _join_again(self, known: Shard, zygote: Zygote, places: SessionPlaces) -> Shard:
        """Restore the shard's record if it is missing, or adopt the one that a new worker has made meanwhile."""
        shard = await join_shard(self._scripts, self._settings, self.worker_id, known)
        if shard != known:
            log.warning("shard.changed", shard_id=shard.shard_id, directory=shard.directory, was=known.shard_id)
            try:
                await places.open(shard)
            except StartError as exc:  # sessions continue where they are; the next start of this worker fails too
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
            limits=self._settings.limits,
            sandbox=self._sandbox.tier,
            sandbox_blocked_by=self._sandbox.blocked_by,
            network=self._networks.default,
            networks=[str(network) for network in self._networks.possible],
            network_hosts=self._settings.network_hosts,
        )

    async def _activate_elsewhere(self, session_id: str) -> None:
        """Ask for an activation, best effort: the next heartbeat of any worker finds a session that waits."""
        with contextlib.suppress(*RETRIABLE):
            await self._scripts.activate([session_id])

    async def _recover(self) -> None:
        """Recover from dead workers and find waiting sessions, one page at each heartbeat."""
        found = await self._scripts.recover(
            silence_ms=int(self._settings.lease_seconds * 1000), page=RECOVERY_PAGE, patience_ms=PATIENCE_MS
        )
        if found.dead:
            for session_id in found.waiting:
                self._activation_backoff.forget(session_id)
        elif found.waiting and await jobs_due(self._redis, self._keys, self._clock.now_ms()) > MOST_JOBS_DUE:
            return  # the workers are full or slow, so more jobs would not help
        now = asyncio.get_running_loop().time()
        due = [session_id for session_id in found.waiting if self._activation_backoff.record_if_due(session_id, now)]
        if found.dead or due:
            log.warning("recovery", dead_workers=found.dead, waiting=len(due))
        if not due:
            return
        try:
            await self._scripts.activate(due)
        except RETRIABLE as exc:
            # A full Redis accepts no job. A session may only need to be closed, which makes room.
            if is_out_of_memory(exc) and self._residents is not None:
                for session_id in due:
                    if self._residents.has_room:
                        self._residents.begin_activation(session_id)

    async def _ping(self, residents: Residents) -> None:
        """Send pings, and look for idle sessions: more often if one has a shorter idle time than the worker's."""
        loop, seconds = (
            asyncio.get_running_loop(),
            min(self._settings.unresponsive_seconds, self._settings.idle_seconds),
        )
        ping_at = loop.time() + seconds / 2
        while True:
            look_in = max(SHORTEST_LOOK_SECONDS, residents.shortest_idle_seconds / 2)
            await asyncio.sleep(min(ping_at - loop.time(), look_in))
            if loop.time() >= ping_at:
                residents.ping()
                ping_at = loop.time() + seconds / 2
            residents.hibernate_idle()

    async def _sweep(self, residents: Residents) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            with contextlib.suppress(*RETRIABLE):
                await residents.sweep()
                if self._store is not None:
                    await remove_purged(self._redis, self._keys, self._store)

    async def _submit(self, session_id: str, code: str, cell_id: str, options: dict[str, Any]) -> str:
        """Append a cell for arq's job. Raises what `append_cells` raises."""
        check_full_session_id(session_id)
        cell_id = check_cell_id(options.pop("cell_id", cell_id))
        client_id, signature = options.pop("client_id", ""), str(options.pop("signature", ""))
        scripts: ClientScripts = self._scripts
        if scripts.signer is not None:
            try:
                scripts.signer.check_text("job", session_id, cell_id, signed_job(code, options), signature)
            except SignatureRefused as exc:
                log.warning("signature.refused", session_id=session_id, what=exc.what, reason=exc.reason)
                scripts = ClientScripts(self._lanes.commands, self._keys)  # not signed, so that its owner refuses it
        cell = (cell_id, cell_from_options(code, options))
        await append_cells(
            scripts,
            session_id,
            [cell],
            max_pending=self._settings.max_pending_cells,
            client_id=client_id,
            options=pack_options(None, self._settings),
        )
        return cell_id
