"""Files that nobody here wrote, run unmodified through a real Redis and two workers.

python -m tests.integration.real_files DIR [DIR …] [--limit N] [--seconds S]

DIR holds unpacked source distributions, fetched for instance with `pip download --no-deps --no-binary :all: networkx`.
Taken are notebooks of Python, scripts with `# %%` cells, and scripts in folders of examples; each runs in the folder it
lies in, where its data are. A file whose run fails is run by plain Python too, with the same interpreter and without its
magics: where that fails alike, it isn't our doing. Exit status 1 tells that some file fails otherwise.
"""

import argparse
import asyncio
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import skep
from skep.cli.source_files import SourceCell, read_cells

AT_A_TIME = 4
NOT_EXAMPLES = re.compile(r"(test_.*|.*_test|conftest|setup|__init__|__main__)\.py")
MAGIC = re.compile(r"^([ \t]*)[%!].*$", re.MULTILINE)
MARKER = re.compile(r"^#\s?%%", re.MULTILINE)


@dataclass(frozen=True)
class Report:
    """What came of one file; `fault` and `plain_fault` are empty where it ran to its end."""

    name: str
    cells: int
    fault: str = ""
    plain_fault: str = ""

    @property
    def verdict(self) -> str:
        """Say in a word whose doing it is."""
        if not self.fault:
            return "runs"
        if not self.plain_fault:
            return "FAILS HERE ONLY"
        alike = _error_name(self.fault) in self.plain_fault
        return "fails in plain Python too" if alike else "FAILS OTHERWISE"


def _error_name(fault: str) -> str:
    """Give what both faults must name: the exception, or that it took too long."""
    return fault.split(": ")[2] if fault.startswith("cell ") else fault


def find_files(directories: Iterable[Path]) -> Iterator[Path]:
    """Yield the files worth running, in order of their names."""
    for directory in directories:
        for path in sorted(directory.rglob("*")):
            if path.suffix == ".ipynb" and _is_python_notebook(path):
                yield path
            elif path.suffix == ".py" and not NOT_EXAMPLES.fullmatch(path.name):
                in_examples = any("example" in part.lower() for part in path.parts[:-1])
                if in_examples or MARKER.search(path.read_text(errors="replace")):
                    yield path


def _is_python_notebook(path: Path) -> bool:
    try:
        metadata = json.loads(path.read_text())["metadata"]
    except (ValueError, KeyError, TypeError):
        return False
    language = metadata.get("language_info", {}).get("name") or metadata.get("kernelspec", {}).get("language")
    return language in {None, "python"} and ".ipynb_checkpoints" not in path.parts


async def run_here(session: skep.Session, path: Path, cells: list[SourceCell], seconds: float) -> str:
    """Run the cells until one fails; gives why, or nothing."""
    try:
        async with asyncio.timeout(seconds):
            await session.run(f"import os; os.chdir({str(path.parent)!r})")
            for number, cell in enumerate(cells, start=1):
                outcome = await session.run(cell.code)
                if not outcome.ok:
                    fault = outcome.error
                    told = f"{fault.ename}: {fault.evalue.splitlines()[0] if fault.evalue else ''}" if fault else ""
                    return f"cell {number}: {outcome.status}: {told}"
    except TimeoutError:
        await session.interrupt()
        return f"over {seconds:g} s"
    return ""


async def run_plainly(path: Path, cells: list[SourceCell], seconds: float) -> str:
    """Run the file with plain Python; gives why it fails, or nothing."""
    arguments = [str(path)]
    if path.suffix == ".ipynb":
        arguments = [
            "-c",
            "\n".join(MAGIC.sub(r"\1pass", cell.code) for cell in cells if not cell.code.startswith("%%")),
        ]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, cwd=path.parent, env=os.environ | {"MPLBACKEND": "Agg"},
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(seconds):
            _, err = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return f"over {seconds:g} s"
    words = err.decode(errors="replace").strip().splitlines()
    return f"{words[-1] if words else ''} (exit status {process.returncode})" if process.returncode else ""


async def run_file(cluster: skep.Cluster, path: Path, session_id: str, seconds: float) -> Report:
    """Run one file in a session of its own, which is removed afterwards."""
    cells = read_cells(str(path))
    session = cluster.session(session_id, options=skep.SessionOptions(allow_input=False))
    fault = await run_here(session, path, cells, seconds) if cells else ""
    plain_fault = await run_plainly(path, cells, seconds) if fault else ""
    if cells:
        await session.close(purge=True)
    return Report(str(path), len(cells), fault, plain_fault)


async def run_all(paths: list[Path], seconds: float) -> list[Report]:
    """Run all files, some at a time."""
    turns = asyncio.Semaphore(AT_A_TIME)

    async def run_in_turn(cluster: skep.Cluster, number: int, path: Path) -> Report:
        async with turns:
            report = await run_file(cluster, path, f"real-{number}", seconds)
            print(f"{report.verdict}: {path}", file=sys.stderr)
            return report

    async with skep.embedded(workers=2) as cluster:
        return await asyncio.gather(*[run_in_turn(cluster, number, path) for number, path in enumerate(paths)])


def as_markdown(reports: list[Report]) -> str:
    """Give a row a file, and how many there are of each verdict."""
    lines = ["| file | cells | | here | plain Python |", "|---|--:|---|---|---|"]
    lines += [
        f"| {report.name} | {report.cells} | {report.verdict} | {report.fault[:160]} | {report.plain_fault[:160]} |"
        for report in reports
    ]
    counts = Counter(report.verdict for report in reports)
    return "\n".join([*lines, "", ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())])


def main() -> int:
    """Run and print; gives the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.integration.real_files", description=__doc__)
    parser.add_argument("directories", nargs="+", type=Path, metavar="DIR")
    parser.add_argument("--limit", type=int, default=None, help="stop after this many files")
    parser.add_argument("--seconds", type=float, default=60.0, help="longest run of a file")
    given = parser.parse_args()
    paths = list(find_files(directory.resolve() for directory in given.directories))[: given.limit]
    reports = asyncio.run(run_all(paths, given.seconds))
    print(as_markdown(reports))
    return int(any(report.verdict.isupper() for report in reports))


if __name__ == "__main__":
    sys.exit(main())
