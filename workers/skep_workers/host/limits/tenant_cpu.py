"""The processor time of a session of a tenant, counted for the tenant's quota.

It is reported soon after a commit, and every second while a cell runs. What a process has used since the last report is
lost if it is killed.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from skep_shared.broker.script_replies import Claim
from skep_shared.broker.tenant_scripts import TenantScripts
from skep_shared.full_ids import tenant_of
from skep_workers.host.broker.backoff import persist
from skep_workers.host.limits.process_tree import measure_tree
from skep_workers.host.process.process import SessionProcess

REPORT_SECONDS: Final = 1.0  # from one report to the next
MANY_PROCESSES: Final = 50  # measuring more of them must not block the worker's loop
SMALLEST_MS: Final = 5


class TenantCpu:
    """Reports the processor time of one session to Redis, if it has a tenant; otherwise does nothing."""

    def __init__(
        self,
        scripts: TenantScripts,
        claim: Claim,
        current: Callable[[], tuple[SessionProcess | None, bool]],
    ) -> None:
        """`current` returns the session's process, and whether a cell runs in it."""
        self.has_tenant: Final = bool(tenant_of(claim.session_id))
        self._scripts = scripts
        self._claim = claim
        self._current = current
        self._due = asyncio.Event()
        self._pid = 0
        self._before = self._seen = 0.0  # seconds of earlier processes, and of this one
        self._processes = 0
        self._reported_ms = 0
        self._turn = asyncio.Lock()  # so that no older count arrives after a newer one

    def journal_progressed(self) -> None:
        """Report soon: a cell has begun or has committed."""
        if self.has_tenant:
            self._due.set()

    async def run(self) -> None:
        """Report until cancelled. Raises Fenced."""
        while True:
            await self._due.wait()
            self._due.clear()
            await self.report()
            if self._current()[1]:
                self._due.set()
            await asyncio.sleep(REPORT_SECONDS)

    async def report(self) -> None:
        """Count what the session's processes have used until now. Raises Fenced."""
        if not self.has_tenant:
            return
        async with self._turn:
            await self._measure()
            used_ms = round((self._before + self._seen) * 1000)
            if used_ms >= self._reported_ms + SMALLEST_MS:
                charge = self._scripts.charge_cpu
                await persist(lambda: charge(self._claim, used_ms), "charge", session_id=self._claim.session_id)
                self._reported_ms = used_ms

    async def _measure(self) -> None:
        process, _ = self._current()
        if process is None or not process.pid:
            return
        if process.pid != self._pid:
            self._before, self._seen, self._pid = self._before + self._seen, 0.0, process.pid
        if self._processes <= MANY_PROCESSES:
            usage = measure_tree(process.pid)
        else:
            usage = await asyncio.to_thread(measure_tree, process.pid)
        self._processes = usage.processes
        self._seen = max(self._seen, usage.cpu_seconds)  # a child that was killed takes its time with it
