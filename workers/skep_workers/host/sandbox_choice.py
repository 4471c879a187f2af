"""Chooses the sandbox of a worker's sessions, at the worker's start.

Mechanisms are tried in a process of its own: a probe forks, and the worker has threads.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import structlog

from skep_shared.errors import StartError
from skep_shared.isolation.network import Network
from skep_shared.isolation.sandbox_tiers import Tier
from skep_shared.settings import WorkerSettings
from skep_workers.sandbox.file_access import check_rules, shared_rules
from skep_workers.sandbox.policy import SandboxPolicy
from skep_workers.sandbox.tiers import Choice, Report, choose, parse_tier, without_probes

log = structlog.get_logger()

PROBES_SECONDS: Final = 60.0  # each of the ten probes has a deadline of its own
_ERROR_CHARS: Final = 500


async def choose_sandbox(settings: WorkerSettings) -> Choice:
    """Return the tier that the settings ask for, and log it. Raises StartError, InvalidArgument."""
    wanted = parse_tier(settings.sandbox)
    choice = without_probes() if wanted is Tier.NONE else choose(wanted, await _probe())
    fields = {"tier": choice.tier, "next_tier": choice.next_tier, "blocked_by": choice.blocked_by}
    if choice.tier is Tier.NONE:
        reason = "code of cells runs with all rights of the worker's user"
        log.warning("sandbox.none", reason=reason, **fields)
    else:
        log.info("sandbox.chosen", **fields, **({"detail": choice.detail} if choice.detail else {}))
    return choice


def policy_of(
    choice: Choice, network: Network, settings: WorkerSettings, secret_places: Iterable[Path]
) -> SandboxPolicy:
    """Return what the zygote applies to its forks. network: the widest that a session may have.

    Raises StartError if a path of the settings does not exist, or opens one of the places, which hold files of all
    sessions.
    """
    policy = SandboxPolicy(choice.tier, tuple(settings.sandbox_read), tuple(settings.sandbox_write), network)
    if choice.tier is not Tier.NONE:
        for path in (*policy.readable, *policy.writable):
            if not Path(path).exists():
                raise StartError("sandbox", f"{path}, which sandbox_read or sandbox_write names, does not exist")
        check_rules(shared_rules(policy), map(str, secret_places))
    return policy


async def _probe() -> Report:
    """Return what this machine permits. Raises StartError."""
    command = [sys.executable, "-P", "-m", "skep_workers.sandbox", "--json"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SKEP_")}
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        async with asyncio.timeout(PROBES_SECONDS):
            output, errors = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise StartError("sandbox", f"the probes did not end within {PROBES_SECONDS:g} s") from None
    try:
        return Report.from_json(output.decode())
    except (ValueError, KeyError, TypeError) as exc:
        last = errors.decode(errors="replace")[-_ERROR_CHARS:]
        raise StartError("sandbox", f"the probes failed (exit status {process.returncode}): {last}") from exc
