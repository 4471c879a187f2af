"""Measure skep, its peers and the physical limits in one run: prints a table, and returns an exit status.

python -m tests.bench [--only NAME …] [--all] [--quick] [--list] [--no-peers] [--peers-venv DIR] [--json FILE]

Without --all those that take minutes and concern the cluster's faults, not its speed, are left out: a run is to end
within 15 minutes.

Exit status: 0 if every goal was met, 1 if one was missed or a bench failed, 130 after Ctrl-C. Ratios travel between
machines, milliseconds don't; on a busy machine neither does. The peers' virtual environments are made on first use. What the
sessions of the benches import belongs to this environment: python -m pip install --editable '.[dev,bench]'
"""

import argparse
import asyncio
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

from skep_shared.settings import WorkerSettings

from . import (
    bandwidth,
    blocking,
    checkpoints,
    first_cell,
    forks,
    gateway,
    idle,
    interrupts,
    limited,
    many_sessions,
    neighbours,
    outage,
    pipelined,
    printing,
    replay,
    rolling,
    sandboxes,
    slots,
    state_overhead,
    steps,
    takeover,
    warm,
)
from .environments import REQUIREMENTS, Environments
from .figures import Row
from .lab import Lab, adopt_orphans, busy_share, end_orphans
from .table import Report, Section

DEFAULT_PEERS = Path.home() / ".cache" / "skep-bench"
BENCH_SECONDS = 400.0


class Bench(Protocol):
    """A module of this package that measures something."""

    NAME: str
    ABOUT: str
    PEERS: tuple[str, ...]

    def run(self, lab: Lab) -> AsyncIterator[Row]:
        """Yield rows as they are measured."""


BENCHES: tuple[Bench, ...] = (
    warm, blocking, limited, state_overhead, steps, interrupts, first_cell, pipelined, many_sessions, printing, bandwidth, replay, checkpoints, idle, sandboxes, gateway, takeover,
)  # fmt: skip
LONG_BENCHES: tuple[Bench, ...] = (rolling, outage, slots, forks, neighbours)


async def run_bench(bench: Bench, lab: Lab, report: Report) -> None:
    """Add the bench's rows to the report, also when it is cut short; what goes wrong in it is a row too."""
    busy = await busy_share()
    started = time.monotonic()
    rows: list[Row] = []
    try:
        async with asyncio.timeout(BENCH_SECONDS):
            async for row in bench.run(lab):
                rows.append(row)
                print(f"  {row.what}: {row.ours.text if row.ours else row.note}", file=sys.stderr)
    except Exception as exc:  # noqa: BLE001 - the other benches go on, and this one counts as missed
        traceback.print_exc()
        after = f"{type(exc).__name__} after {time.monotonic() - started:.0f} s: {exc}"
        rows.append(Row("the bench itself", note=after[:300], failed=True))
    finally:
        report.sections.append(Section(bench.NAME, tuple(rows), time.monotonic() - started, busy))
        report.redis_version = lab.redis_version


async def run_all(benches: list[Bench], lab: Lab, report: Report) -> None:
    """Run the benches in order; the report has those that are done whenever this ends."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    if lab.environments.are_wanted:
        failures = await lab.environments.prepare({name for bench in benches for name in bench.PEERS})
        for name, reason in failures.items():
            print(f"without {name}: {reason}", file=sys.stderr)
    for bench in benches:
        print(f"{bench.NAME}: {bench.ABOUT}", file=sys.stderr)
        await run_bench(bench, lab, report)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [bench.NAME for bench in (*BENCHES, *LONG_BENCHES)]
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help="this bench (repeatable)")
    parser.add_argument("--all", action="store_true", help="the long ones too")
    parser.add_argument("--quick", action="store_true", help="smaller and fewer: for trying, not for quoting")
    parser.add_argument("--list", action="store_true", help="say what there is")
    parser.add_argument("--no-peers", action="store_true", help="without the other projects")
    parser.add_argument(
        "--peers-venv", type=Path, default=DEFAULT_PEERS, metavar="DIR",
        help=f"where the virtual environments of {', '.join(REQUIREMENTS)} are kept (default: {DEFAULT_PEERS})",
    )  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="the same as JSON")
    return parser.parse_args()


def main() -> int:
    """Measure and print; return the exit status."""
    given = parse_arguments()
    if given.list:
        for bench in (*BENCHES, *LONG_BENCHES):
            print(f"{bench.NAME:12} {bench.ABOUT}")
        return 0
    for name in WorkerSettings.model_fields:  # set for a real shard
        os.environ.pop(f"SKEP_{name.upper()}", None)
    os.environ["SKEP_SANDBOX"] = "none"  # also where a worker is started alone; `sandboxes` compares with the others
    wanted = given.only or [bench.NAME for bench in (*BENCHES, *(LONG_BENCHES if given.all else ()))]
    benches = [bench for bench in (*BENCHES, *LONG_BENCHES) if bench.NAME in wanted]
    report = Report(is_quick=given.quick, has_peers=not given.no_peers)
    interrupted = False
    adopt_orphans()
    with tempfile.TemporaryDirectory(prefix="skep-bench-") as directory:
        # Whatever makes temporary files, here or in a child, makes them where they go with the run.
        tempfile.tempdir = os.environ["TMPDIR"] = directory
        environments = Environments(None if given.no_peers else given.peers_venv.absolute())
        lab = Lab(Path(directory), environments, is_quick=given.quick)
        try:
            asyncio.run(run_all(benches, lab, report))
        except (KeyboardInterrupt, asyncio.CancelledError):
            interrupted = True
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C would leave processes behind
            for left in end_orphans():
                print(f"had to be killed at the end: {left}", file=sys.stderr)
    if report.sections:
        print(report.as_markdown())
    if given.json:
        given.json.write_text(report.as_json() + "\n")
    return 130 if interrupted else 0 if report.is_good else 1


if __name__ == "__main__":
    sys.exit(main())
