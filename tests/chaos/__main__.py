"""python -m tests.chaos: run seeds of the simulation, soak real parts, or check a saved history.

python -m tests.chaos sim --seed 7 --verbose        one seed, told step by step
python -m tests.chaos sim --seeds 0:500             many, with a summary
python -m tests.chaos sim --seed 7 --save h.jsonl   keep its history
python -m tests.chaos soak --minutes 10 --seed 3 --history h.jsonl   real parts; `soak` may be left out
python -m tests.chaos check h.jsonl                 what the checker says of a history
"""

import argparse
import os
import sys
import time
from collections import Counter
from pathlib import Path

from .checker.anomalies import Verdict
from .checker.checker import check
from .checker.history import History
from .model.script_base import SEEDED_BUGS
from .simulation.scenario import Scenario
from .simulation.simulation import quiet_logs, simulate
from .soak.soak import Plan, soak


def main() -> int:
    """Do what the command line says; 1 if anything didn't hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    sim = commands.add_parser("sim", help="run seeds of the simulation")
    sim.add_argument("--seed", type=int, help="one seed")
    sim.add_argument("--seeds", help="from:to")
    sim.add_argument("--bug", choices=SEEDED_BUGS, help="with this bug in the scripts")
    sim.add_argument("--verbose", action="store_true", help="tell every call, fault and log line")
    sim.add_argument("--save", type=Path, help="write the (last) history there")
    soaking = commands.add_parser("soak", help="run real workers on a real Redis")
    soaking.add_argument("--minutes", type=float, default=10.0)
    soaking.add_argument("--seed", type=int, default=0)
    soaking.add_argument("--sessions", type=int, default=40)
    soaking.add_argument("--fault-every", type=float, default=1.5, help="seconds between faults, on average")
    soaking.add_argument("--verbose", action="store_true", help="tell every fault")
    soaking.add_argument("--history", type=Path, help="write the history there, and the workers' log beside it")
    checking = commands.add_parser("check", help="check a history")
    checking.add_argument("history", type=Path)
    arguments = sys.argv[1:]
    is_bare = arguments[:1] and arguments[0].startswith("--") and arguments[0] != "--help"
    options = parser.parse_args(["soak", *arguments] if is_bare else arguments)
    if options.command == "soak":
        return _soak(options)
    if options.command == "check":
        verdict = check(History.load(options.history))
        _print_verdict(verdict)
        return int(not verdict.is_valid)
    return _simulate(options)


def _simulate(options: argparse.Namespace) -> int:
    first, last = (int(part) for part in (options.seeds or f"{options.seed or 0}:{(options.seed or 0) + 1}").split(":"))
    bugs = frozenset({options.bug} if options.bug else ())
    names: Counter[str] = Counter()
    totals: Counter[str] = Counter()
    bad = 0
    tell = print if options.verbose else None
    started, started_cpu = time.perf_counter(), time.process_time()
    with quiet_logs(tell):
        for seed in range(first, last):
            world = simulate(Scenario.draw(seed), bugs=bugs, tell=tell)
            verdict = check(world.history)
            names.update(verdict.names)
            totals.update({"steps": world.loop.steps, "calls": world.network.calls, **world.counts})
            totals.update({name: round(verdict.metrics[name]) for name in ("cells", "events", "reads", "takeovers")})
            if not verdict.is_valid:
                bad += 1
                print(f"seed {seed}: {verdict.anomalies[0]} ({len(verdict.anomalies)} in all)")
            if options.save:
                world.history.save(options.save)
    if last - first == 1:
        _print_verdict(verdict)
    else:
        seconds, cpu = time.perf_counter() - started, time.process_time() - started_cpu
        print(f"{last - first} seeds, {bad} not valid, {seconds:.1f} s ({cpu:.1f} s of processor time)")
        print(", ".join(f"{count} {name}" for name, count in sorted(totals.items())))
        for name, count in names.most_common():
            print(f"  {count:6} {name}")
    return int(bad > 0)


def _soak(options: argparse.Namespace) -> int:
    path: Path | None = options.history
    os.environ.setdefault("SKEP_SANDBOX", "none")  # with live forks
    plan = Plan(
        seed=options.seed,
        seconds=options.minutes * 60,
        sessions=options.sessions,
        fault_every=options.fault_every,
    )
    tell = print if options.verbose else lambda _: None
    result = soak(plan, tell=tell, log_path=path.with_suffix(".log") if path is not None else None)
    if path is not None:
        result.history.save(path)
    print(result.summary())
    return int(not result.verdict.is_valid)


def _print_verdict(verdict: Verdict) -> None:
    print("VALID" if verdict.is_valid else "NOT VALID")
    for anomaly in verdict.anomalies[:50]:
        print(f"  {anomaly}")
    if verdict.resets:
        print(f"  {len(verdict.resets)} things that a rollback took with it")
    print("  " + ", ".join(f"{name} {value:g}" for name, value in verdict.metrics.items()))


if __name__ == "__main__":
    sys.exit(main())
