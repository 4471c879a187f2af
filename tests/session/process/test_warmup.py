"""The zygote's rehearsal leaves nothing that a session could find."""

import json
import subprocess
import sys

import pytest

LOOK = """
import asyncio, json, linecache, os, signal, sys, threading, warnings
from skep_workers.session.warmup import CELLS, rehearse

def look():
    return {
        "descriptors": sorted(os.listdir("/proc/self/fd")),
        "modules": sorted(sys.modules),
        "threads": [thread.name for thread in threading.enumerate()],
        "directory": os.getcwd(),
        "sources": [name for name in linecache.cache if name.startswith("<")],
        "main": sorted(vars(sys.modules["__main__"])),
        "streams": [type(sys.stdout).__name__, type(sys.stderr).__name__],
        "signals": [str(signal.getsignal(number)) for number in sorted(signal.valid_signals())],
        "filters": repr(warnings.filters),
        "loop": repr(asyncio.get_event_loop_policy()._local._loop),
        "files": sorted(os.listdir(sys.argv[1])),
    }

asyncio.set_event_loop(None)
before = look()  # so that objects made by `look` itself exist before
before = look()
rehearse(sys.argv[1], sys.prefix, CELLS)
print(json.dumps([before, look()]))
"""


def test_a_rehearsal_leaves_no_objects_threads_or_descriptors(tmp_path):
    done = subprocess.run([sys.executable, "-c", LOOK, str(tmp_path)], check=True, capture_output=True, timeout=40)

    before, after = json.loads(done.stdout)
    assert after == before


@pytest.mark.anyio
async def test_a_session_finds_no_trace_of_the_rehearsal(start_session):
    session = await start_session()

    names = await session.value("sorted(name for name in globals() if not name.startswith('_'))")
    assert not {"x", "y"} & set(names)
    assert "<cell 3>" not in await session.value("import linecache\nlist(linecache.cache)")


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="from Python 3.12 on tokenize has no patterns")
@pytest.mark.anyio
async def test_a_session_need_not_compile_the_patterns_of_tokenize(start_session):
    session = await start_session()

    assert await session.value("import tokenize\ntokenize._compile.cache_info().currsize") > 0
