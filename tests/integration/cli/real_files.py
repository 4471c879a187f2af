"""Files that nobody here wrote, run unmodified through a real Redis and two workers, and by plain Python.

python -m tests.integration.cli.real_files PATH [PATH …] [--every N] [--limit N] [--seconds S] [--keep DIR]

A PATH is a file, or a folder of unpacked source distributions, as `pip download --no-deps --no-clean --no-build-isolation
--no-binary sympy sympy` leaves them in TMPDIR. Of a folder are taken notebooks of Python, scripts with `# %%` cells, and
scripts in folders of examples; each file runs in the folder it lies in, where its data are. Plain Python is the same
interpreter, without the file's magics. A file that fails there alike isn't our doing; exit status 1 tells that some file
fails otherwise. `--keep` puts each file's figures there, and what the two printed differently.
"""

import argparse
import asyncio
import base64
import difflib
import json
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import skep
from skep.cli.source_files import SourceCell, read_file

AT_A_TIME = 2
NOT_EXAMPLES = re.compile(r"(test_.*|.*_test|conftest|setup|__init__|__main__)\.py")
MAGIC = re.compile(r"^([ \t]*)[%!].*$", re.MULTILINE)
MARKER = re.compile(r"^#\s?%%", re.MULTILINE)
ADDRESS = re.compile(r"0x[0-9a-f]+")
PLAIN_EXITS = ("SystemExit: ", "SystemExit: 0", "SystemExit: None")  # the file ends there, and so it does in Python
CELL_PLACE = re.compile(r"<cell \d+>:\d+")


@dataclass
class Run:
    """What came of one file in one place; `fault` is empty where it ran to its end."""

    fault: str = ""
    seconds: float = 0.0
    figures: list[str] = field(default_factory=list)  # PNG as base64
    printed: dict[str, str] = field(default_factory=lambda: {"stdout": "", "stderr": ""})
    traceback: str = ""


@dataclass(frozen=True)
class Report:
    """One file in both places."""

    path: Path
    cells: int
    here: Run
    plain: Run

    @property
    def verdict(self) -> str:
        """Say in a word whose doing it is."""
        if not self.here.fault:
            return "runs" if not self.plain.fault else "runs here only"
        if not self.plain.fault:
            return "FAILS HERE ONLY"
        return "fails in plain Python too" if _error_name(self.here.fault) in self.plain.fault else "FAILS OTHERWISE"

    @property
    def difference(self) -> str:
        """Return what the two printed differently, apart from where in memory or in which file things are."""
        lines: list[str] = []
        for stream in ("stdout", "stderr"):
            place = re.compile(rf"{re.escape(str(self.path))}:\d+")
            plain, here = (
                ADDRESS.sub("0x", CELL_PLACE.sub("FILE", place.sub("FILE", run.printed[stream]))).splitlines()
                for run in (self.plain, self.here)
            )
            lines += difflib.unified_diff(plain, here, f"{stream} plain", f"{stream} here", lineterm="", n=1)
        return "\n".join(lines)


def _error_name(fault: str) -> str:
    """Return what both faults must name: the exception, or that it took too long."""
    return fault.split(": ")[2] if fault.startswith("cell ") else fault


def find_files(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield the files worth running, in order of their names."""
    for given in paths:
        for path in sorted(given.rglob("*")):
            if path.suffix == ".ipynb" and _is_python_notebook(path):
                yield path
            elif path.suffix == ".py" and not NOT_EXAMPLES.fullmatch(path.name):
                in_examples = any("example" in part.lower() for part in path.parts[:-1])
                if in_examples or MARKER.search(path.read_text(errors="replace")):
                    yield path
        if given.is_file():
            yield given


def _is_python_notebook(path: Path) -> bool:
    try:
        metadata = json.loads(path.read_text())["metadata"]
    except (ValueError, KeyError, TypeError):
        return False
    language = metadata.get("language_info", {}).get("name") or metadata.get("kernelspec", {}).get("language")
    return language in {None, "python"} and ".ipynb_checkpoints" not in path.parts


async def run_here(session: skep.Session, path: Path, cells: list[SourceCell], seconds: float) -> Run:
    """Run the cells until one fails."""
    run = Run()
    its_file = f"; __file__ = {str(path)!r}" if path.suffix == ".py" else ""
    await session.run(f"__import__('os').chdir({str(path.parent)!r}){its_file}")
    started_at = time.monotonic()
    try:
        async with asyncio.timeout(seconds):
            for number, cell in enumerate(cells, start=1):
                status = await _run_cell(session, cell, run)
                if run.fault in PLAIN_EXITS:
                    run.fault = ""
                    break
                if status != "finished":
                    run.fault = f"cell {number}: {status}: {run.fault}"
                    break
    except TimeoutError:
        await session.interrupt()
        run.fault = f"over {seconds:g} s"
    run.seconds = time.monotonic() - started_at
    return run


async def _run_cell(session: skep.Session, cell: SourceCell, run: Run) -> str:
    async for event in (await session.submit(cell.code)).events():
        match event.kind:
            case "output":
                run.printed[event.stream] += event.text
            case "display" | "result":
                run.figures += [picture] if (picture := event.bundle.get("image/png")) else []
            case "error":
                run.fault = f"{event.ename}: {event.evalue.splitlines()[0] if event.evalue else ''}"
                run.traceback = event.traceback
            case "warning":
                run.printed["stderr"] += f"[{event.category}] {event.message}\n"
            case "cell.finished":
                return event.status
    raise AssertionError("a cell's events end with its cell.finished")


async def run_plainly(path: Path, cells: list[SourceCell], seconds: float) -> Run:
    """Run the file with plain Python."""
    arguments = [str(path)]
    if path.suffix == ".ipynb":
        codes = [MAGIC.sub(r"\1pass", cell.code) for cell in cells if not cell.code.startswith("%%")]
        arguments = ["-c", "\n".join(codes)]
    started_at = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, cwd=path.parent, env=os.environ | {"MPLBACKEND": "Agg"},
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(seconds):
            out, err = (stream.decode(errors="replace") for stream in await process.communicate())
    except TimeoutError:
        process.kill()
        await process.wait()
        return Run(f"over {seconds:g} s", seconds)
    took = time.monotonic() - started_at
    if process.returncode == 0:
        return Run("", took, printed={"stdout": out, "stderr": err})
    words = err.strip().splitlines()
    return Run(f"{words[-1] if words else ''} (exit status {process.returncode})", took)


async def run_file(cluster: skep.Cluster, path: Path, session_id: str, seconds: float) -> Report:
    """Run one file in a session of its own, which is removed afterwards, and then by plain Python."""
    cells = read_file(str(path)).cells
    session = cluster.session(session_id, options=skep.SessionOptions(allow_input=False))
    here = await run_here(session, path, cells, seconds)
    await session.close(purge=True)
    return Report(path, len(cells), here, await run_plainly(path, cells, seconds))


async def run_all(paths: list[Path], seconds: float, keep: Path | None) -> list[Report]:
    """Run all files, some at a time."""
    turns = asyncio.Semaphore(AT_A_TIME)

    async def run_in_turn(cluster: skep.Cluster, number: int, path: Path) -> Report:
        async with turns:
            report = await run_file(cluster, path, f"real-{number}", seconds)
            print(f"{report.verdict}: {path}", file=sys.stderr, flush=True)
            if keep is not None:
                keep_traces(report, keep)
            return report

    async with skep.embedded(workers=2) as cluster:
        return await asyncio.gather(*[run_in_turn(cluster, number, path) for number, path in enumerate(paths)])


def keep_traces(report: Report, directory: Path) -> None:
    """Write the file's figures, and what is worth reading of it."""
    directory.mkdir(parents=True, exist_ok=True)
    name = f"{report.path.parent.name}-{report.path.stem}"
    for number, picture in enumerate(report.here.figures, start=1):
        (directory / f"{name}-{number}.png").write_bytes(base64.b64decode(picture))
    if report.here.fault:
        (directory / f"{name}.fault").write_text(f"{report.here.traceback}\n{report.plain.fault}\n")
    elif not report.plain.fault and (difference := report.difference):
        (directory / f"{name}.diff").write_text(difference + "\n")


def as_markdown(reports: list[Report]) -> str:
    """Return a row a file, and how many there are of each verdict."""
    lines = [
        "| file | cells | | figures | seconds | plain | here | plain Python |",
        "|---|--:|---|--:|--:|--:|---|---|",
    ]
    lines += [
        f"| {'/'.join(report.path.parts[-3:])} | {report.cells} | {report.verdict} | {len(here.figures)} "
        f"| {here.seconds:.1f} | {plain.seconds:.1f} | {here.fault[:160]} | {plain.fault[:160]} |"
        for report in reports
        for here, plain in [(report.here, report.plain)]
    ]
    counts = Counter(report.verdict for report in reports)
    return "\n".join([*lines, "", ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())])


def main() -> int:
    """Run and print; gives the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.integration.cli.real_files", description=__doc__)
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH")
    parser.add_argument("--every", type=int, default=1, help="take one file of so many, to see different ones")
    parser.add_argument("--limit", type=int, default=None, help="stop after this many files")
    parser.add_argument("--seconds", type=float, default=60.0, help="longest run of a file")
    parser.add_argument("--keep", type=Path, default=None, help="where to put figures, faults and differences")
    given = parser.parse_args()
    paths = list(find_files(path.resolve() for path in given.paths))[:: given.every][: given.limit]
    reports = asyncio.run(run_all([path for path in paths if read_file(str(path)).cells], given.seconds, given.keep))
    print(as_markdown(reports))
    return int(any(report.verdict.isupper() for report in reports))


if __name__ == "__main__":
    sys.exit(main())
