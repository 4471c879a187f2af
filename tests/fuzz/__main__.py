"""Fuzz the targets, one after the other, each in a process of its own; print what each one did.

python -m tests.fuzz [--seconds N] [--target NAME …] [--keep]

--seconds: for all targets together. --keep: choose inputs for tests/fuzz/corpus/ from those that reached new code.
Exit status: 0 if nothing was found, 1 otherwise; what was found is in .fuzz/findings/. Needs atheris: make fuzz.
"""

import argparse
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .target import MAX_INPUT_BYTES
from .targets import TARGETS

WORK: Final = Path(".fuzz")
FINDINGS: Final = WORK / "findings"
CORPUS: Final = Path(__file__).parent / "corpus"
INPUT_SECONDS: Final = 150  # an input that takes longer is a hang; a worker's neighbour is waited for 60 s
MAX_RSS_MB: Final = 1024
MOST_KEPT: Final = {"worker": 6, "signed_worker": 6}  # each input takes a worker some 50 ms
MOST_KEPT_OTHERS: Final = 40
LARGEST_KEPT_BYTES: Final = 2048
LAST_LINES: Final = 40

_STATE: Final = re.compile(
    r"^#\d+\s+(?:INITED|NEW|REDUCE|pulse|DONE|RELOAD)\s+cov: (\d+) ft: (\d+) corp: (\d+)", re.MULTILINE
)
_EXECUTED: Final = re.compile(r"stat::number_of_executed_units: (\d+)")
_PEAK_MB: Final = re.compile(r"stat::peak_rss_mb: +(\d+)")


@dataclass(frozen=True, slots=True)
class Run:
    """What one target did. edges: branches of skep that were reached, at the start and at the end."""

    name: str
    seconds: float
    inputs: int
    edges: tuple[int, int]
    kept: int
    peak_mb: int
    findings: tuple[str, ...]

    def __str__(self) -> str:
        """Return a line of the table."""
        per_second = self.inputs / max(self.seconds, 0.1)
        found = ", ".join(self.findings) or "none"
        return (
            f"{self.name:15} {self.seconds:7.0f} {self.inputs:9} {per_second:8.1f} {self.edges[0]:6} → {self.edges[1]:5}"
            f" {self.kept:6} {self.peak_mb:7}  {found}"
        )


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="for all targets together (60)")
    parser.add_argument("--target", action="append", choices=TARGETS, help="only this one; may be repeated")
    parser.add_argument("--keep", action="store_true", help="choose inputs for the corpus in the tree")
    options = parser.parse_args()
    names = options.target or list(TARGETS)
    FINDINGS.mkdir(parents=True, exist_ok=True)
    runs = []
    print("target          seconds    inputs  per sec  edges            kept  peak MB  findings", flush=True)
    for name in names:
        runs.append(fuzz(name, options.seconds / len(names)))
        print(runs[-1], flush=True)
        if options.keep:
            keep(name)
    return int(any(run.findings for run in runs))


def fuzz(name: str, seconds: float) -> Run:
    """Fuzz one target; its output is in .fuzz/NAME.log."""
    before, started = set(_findings_of(name)), time.monotonic()
    flags = (
        f"-max_total_time={max(1, int(seconds))}",
        f"-timeout={INPUT_SECONDS}",
        f"-report_slow_units={INPUT_SECONDS}",
    )
    with (WORK / f"{name}.log").open("w", encoding="utf-8", errors="replace") as log:
        process = subprocess.run(
            [*_command(name), *flags, str(CORPUS / name)], stdout=log, stderr=subprocess.STDOUT, check=False
        )
    text = (WORK / f"{name}.log").read_text(encoding="utf-8", errors="replace")
    found = sorted(set(_findings_of(name)) - before)
    if process.returncode and not found:
        found = [f"exit status {process.returncode}"]
    if found:
        print("\n".join(text.splitlines()[-LAST_LINES:]), file=sys.stderr)
    states = [(int(edges), int(kept)) for edges, _, kept in _STATE.findall(text)] or [(0, 0)]
    return Run(
        name,
        time.monotonic() - started,
        _number(_EXECUTED, text),
        (states[0][0], states[-1][0]),
        states[-1][1],
        _number(_PEAK_MB, text),
        tuple(found),
    )


def keep(name: str) -> None:
    """Add a sample of the inputs that reached new code to those in the tree.

    libFuzzer names inputs by their hash, so the first names are a sample. Its own choice of the smallest set with the
    same coverage (-merge) starts its program again, which `python -m` is not.
    """
    inputs = [path for path in sorted((WORK / name).iterdir()) if not path.name.startswith("seed-")]
    (CORPUS / name).mkdir(parents=True, exist_ok=True)
    for path in [path for path in inputs if path.stat().st_size <= LARGEST_KEPT_BYTES][
        : MOST_KEPT.get(name, MOST_KEPT_OTHERS)
    ]:
        shutil.copy(path, CORPUS / name / path.name)


def _command(name: str) -> list[str]:
    flags = [f"-artifact_prefix={FINDINGS}/{name}-", f"-rss_limit_mb={MAX_RSS_MB}", f"-max_len={MAX_INPUT_BYTES}"]
    return [sys.executable, "-m", "tests.fuzz.run", name, str(WORK / name), "-print_final_stats=1", *flags]


def _findings_of(name: str) -> list[str]:
    return [str(path) for path in FINDINGS.glob(f"{name}-*")]


def _number(pattern: re.Pattern[str], text: str) -> int:
    found = pattern.findall(text)
    return int(found[-1]) if found else 0


if __name__ == "__main__":
    sys.exit(main())
