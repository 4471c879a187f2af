"""Runs cases through dill and cloudpickle, in processes of their own."""

import asyncio
import importlib.util
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from .cases import Case
from .ours import PRELOADED, Verdicts

LIBRARIES: Final = ("dill", "cloudpickle")
LINE_BYTES: Final = 1024 * 1024
AT_ONCE: Final = 2  # some cases need seconds until they count as hanging


def are_installed() -> bool:
    """Return whether a library to compare with is installed."""
    return all(importlib.util.find_spec(name) for name in LIBRARIES)


async def run(cases: Sequence[Case]) -> dict[str, Verdicts]:
    """Return the result of each case with each library: library -> case id -> '' or the failure."""
    light, heavy = [[case for case in cases if bool(case.needs) is needs] for needs in (False, True)]
    shares = (light[start::AT_ONCE] for start in range(AT_ONCE))
    done = await asyncio.gather(_run(heavy, PRELOADED), *(_run(share, ()) for share in shares))
    return {name: {case: told for part in done for case, told in part[name].items()} for name in LIBRARIES}


async def _run(cases: Sequence[Case], preloaded: Sequence[str]) -> dict[str, Verdicts]:
    verdicts: dict[str, Verdicts] = {name: {} for name in LIBRARIES}
    start = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
    start += f"import peer_process; peer_process.serve({tuple(preloaded)!r})"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "ignore", "-c", start,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, limit=LINE_BYTES,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        for case in cases:
            process.stdin.write(json.dumps([case.makes, case.uses]).encode() + b"\n")
            await process.stdin.drain()
            for name, told in json.loads(await process.stdout.readline()).items():
                verdicts[name][case.id] = told
    finally:
        process.kill()
        await process.wait()
    return verdicts
