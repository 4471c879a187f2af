"""What the zygote has rehearsed leaves nothing behind that a session could find."""

import json
import subprocess
import sys

import pytest

LOOK = """
import asyncio, json, linecache, os, signal, sys, threading, warnings
from skep_workers.session.rehearsal import rehearse

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
before = look()  # whatever looking itself makes
before = look()
rehearse(sys.argv[1])
print(json.dumps([before, look()]))
"""


def test_nothing_but_warmth_is_left(tmp_path):
    done = subprocess.run([sys.executable, "-c", LOOK, str(tmp_path)], check=True, capture_output=True, timeout=40)

    before, after = json.loads(done.stdout)
    assert after == before


@pytest.mark.anyio
async def test_a_session_knows_nothing_of_it(start_session):
    session = await start_session()

    names = await session.value("sorted(name for name in globals() if not name.startswith('_'))")
    assert not {"x", "y"} & set(names)
    assert "<cell 3>" not in await session.value("import linecache\nlist(linecache.cache)")
