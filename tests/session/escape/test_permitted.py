"""What sessions do every day, and must be able to do in each tier, unless sandbox_differences.py says why not."""

from typing import Final

import pytest

from skep_shared.isolation.sandbox_tiers import STRENGTH

from ...sandbox_differences import refused_cells

pytestmark = pytest.mark.anyio

WORKER_MODULE: Final = "open('work_module.py', 'w').write('def double(x): return 2 * x')\nimport work_module\n"
PERMITTED: Final = {
    "run a program": "import subprocess\nsubprocess.run(['sh', '-c', 'echo ran'], capture_output=True).stdout == b'ran\\n'",
    "run a program of its own": "open('own', 'w').write('#!/bin/sh\\necho own')\nimport os, subprocess\nos.chmod('own', 0o755)\n"
    "subprocess.run(['./own'], capture_output=True).stdout == b'own\\n'",
    "run another Python": "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'import json'], check=True).returncode == 0",
    **{
        f"multiprocessing by {method}": f"{WORKER_MODULE}import multiprocessing\n"
        f"with multiprocessing.get_context('{method}').Pool(2) as pool: found = pool.map(work_module.double, [1, 2])\n"
        "found == [2, 4]"
        for method in ("fork", "spawn", "forkserver")
    },
    "shared memory": "from multiprocessing import shared_memory\nm = shared_memory.SharedMemory(create=True, size=8)\n"
    "m.buf[0] = 7\nother = shared_memory.SharedMemory(m.name)\nfound = other.buf[0]\nother.close()\nm.close()\nm.unlink()\n"
    "found == 7",
    "a manager": "import multiprocessing\nwith multiprocessing.Manager() as manager: found = list(manager.list([1]))\nfound == [1]",
    "asyncio's programs": "import asyncio\np = await asyncio.create_subprocess_exec('cat', stdin=-1, stdout=-1)\n"
    "(await p.communicate(b'x'))[0] == b'x'",
    "unix sockets": "import socket, asyncio\nasync def serve(reader, writer): writer.write(b'x'); writer.close()\n"
    "s = await asyncio.start_unix_server(serve, 'own.sock')\nr, w = await asyncio.open_unix_connection('own.sock')\n"
    "found = await r.read()\nw.close()\ns.close()\nfound == b'x'",
    "threads": "import threading\nran = []\nt = threading.Thread(target=ran.append, args=(1,))\nt.start()\nt.join()\nran == [1]",
    "sqlite": "import sqlite3\nwith sqlite3.connect('own.db') as db: db.execute('create table t (x)')\n"
    "db.execute('insert into t values (1)').rowcount == 1",
    "temporary files": "import tempfile\nwith tempfile.NamedTemporaryFile() as f, tempfile.TemporaryDirectory() as d: found = f.write(b'x')\n"
    "found == 1",
    "files in its home": "import os, tempfile\nwith tempfile.TemporaryFile(dir=os.path.expanduser('~')) as f: found = f.write(b'x')\n"
    "found == 1",
    "rename between its directories": "import os, shutil, tempfile\nd = tempfile.mkdtemp()\nopen(f'{d}/a', 'w').write('x')\n"
    "shutil.move(f'{d}/a', 'a')\nos.path.exists('a')",
    "certificates": "import ssl\nssl.create_default_context() is not None",
    "users and time zones": "import pwd, os, zoneinfo\npwd.getpwuid(os.getuid()) and str(zoneinfo.ZoneInfo('Europe/Berlin')) != ''",
    "own priority and processors": "import os\nos.nice(1)\nos.sched_setaffinity(os.getpid(), os.sched_getaffinity(0))\nTrue",
    "own limits": "import resource\nresource.prlimit(0, resource.RLIMIT_NOFILE) == resource.getrlimit(resource.RLIMIT_NOFILE)",
    "signals to its children": "import subprocess\np = subprocess.Popen(['sleep', '99'])\np.kill()\np.wait() == -9",
    "its own process in /proc": "import os\nlen(os.listdir('/proc/self/fd')) > 3 and 'VmRSS' in open('/proc/self/status').read()",
    "a pool of processes": "import math\nfrom concurrent.futures import ProcessPoolExecutor\n"
    "with ProcessPoolExecutor(2) as pool: found = list(pool.map(math.sqrt, [4, 9]))\nfound == [2, 3]",
    "a pool of threads": "from concurrent.futures import ThreadPoolExecutor\n"
    "with ThreadPoolExecutor(2) as pool: found = list(pool.map(abs, [-4, 9]))\nfound == [4, 9]",
    "queues and pipes between processes": "import multiprocessing\nforking = multiprocessing.get_context('fork')\n"
    "queue, (mine, theirs) = forking.Queue(), forking.Pipe()\n"
    "def work(): queue.put(1); theirs.send(2)\n"
    "p = forking.Process(target=work)\np.start()\nfound = queue.get(), mine.recv()\np.join()\nfound == (1, 2)",
    "listeners of multiprocessing": "import threading\nfrom multiprocessing.connection import Client, Listener\n"
    "with Listener() as listener:\n"
    "    t = threading.Thread(target=lambda: listener.accept().send(1))\n    t.start()\n"
    "    found = Client(listener.address).recv()\n    t.join()\nfound == 1",
    "sockets between a process and its child": "import os, socket\nmine, theirs = socket.socketpair()\n"
    "if os.fork() == 0:\n    theirs.send(b'x')\n    os._exit(0)\n"
    "found = mine.recv(1)\nos.wait()\nmine.close()\ntheirs.close()\nfound == b'x'",
    "a shell by asyncio": "import asyncio\np = await asyncio.create_subprocess_shell('echo $((1 + 1))', stdout=-1)\n"
    "(await p.communicate())[0] == b'2\\n'",
    "memory maps": "import mmap\nwith open('map', 'w+b') as f: f.truncate(4096); m = mmap.mmap(f.fileno(), 4096); m[:1] = b'x'; m.close()\n"
    "open('map', 'rb').read(1) == b'x' and len(mmap.mmap(-1, 4096)) == 4096",
    "locks on files": "import fcntl\nwith open('lock', 'w') as f: fcntl.flock(f, fcntl.LOCK_EX); fcntl.lockf(f, fcntl.LOCK_UN)\n"
    "f.closed",
    "a write-ahead log of sqlite": "import sqlite3\nwith sqlite3.connect('wal.db') as db: mode = db.execute('pragma journal_mode=wal').fetchone()\n"
    "mode == ('wal',)",
    "copies, links and archives": "import os, shutil\nos.makedirs('tree/below', exist_ok=True)\nopen('tree/a', 'w').write('x')\n"
    "os.link('tree/a', 'tree/hard')\nos.symlink('a', 'tree/soft')\nshutil.copytree('tree', 'copy', dirs_exist_ok=True)\n"
    "shutil.unpack_archive(shutil.make_archive('packed', 'zip', 'tree'), 'unpacked')\n"
    "open('unpacked/soft').read() == open('copy/hard').read() == 'x'",
    "git": "import subprocess\ncommands = 'git init -q r && cd r && git -c user.name=a -c user.email=b commit -q --allow-empty -m x'\n"
    "done = subprocess.run(commands, shell=True, capture_output=True, text=True)\n(done.returncode, done.stderr) == (0, '')",
    "an environment of its own": "import subprocess, sys\n"
    "subprocess.run([sys.executable, '-m', 'venv', '--without-pip', 'env'], check=True)\n"
    "subprocess.run(['env/bin/python', '-c', 'print(1)'], check=True, capture_output=True).stdout == b'1\\n'",
    "arrays and files of arrays": "import numpy as np\nnp.save('a.npy', np.arange(3))\n"
    "m = np.memmap('b', dtype='f8', mode='w+', shape=3)\nm[:] = np.linalg.inv(np.eye(3)).sum(0)\nm.flush()\n"
    "list(np.load('a.npy', mmap_mode='r')) == [0, 1, 2] and list(np.fromfile('b')) == [1, 1, 1]",
    "a pseudo-terminal": "import os, pty\nmine, theirs = pty.openpty()\nos.write(theirs, b'x')\nos.read(mine, 1) == b'x'",
    "watching files": "import ctypes\nlibc = ctypes.CDLL(None)\nlibc.inotify_add_watch(libc.inotify_init1(0), b'.', 2) >= 0",
    "devices": "open('/dev/null', 'w').write('x') and len(open('/dev/urandom', 'rb').read(4)) == 4",
    "processors and memory of the machine": "import os\nos.cpu_count() > 0 and 'MemTotal' in open('/proc/meminfo').read()",
}  # fmt: skip


@pytest.mark.parametrize("what", PERMITTED)
@pytest.mark.parametrize("tier", STRENGTH)
async def test_it_works(scene_of, tier, what):
    session = await scene_of(tier).start(f"worker-{abs(hash(what))}")
    cell = await session.run(PERMITTED[what])
    session.process.kill()
    await session.process.gone.wait()

    if what in refused_cells(tier):
        assert cell.error is not None or not cell.value
    else:
        assert cell.value, cell.text
