"""A session's process that ends while its state is put into it has failed to start, however far the news of it is."""

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from skep_shared.errors import StartError
from skep_workers.host.session_processes import SessionProcesses

pytestmark = pytest.mark.anyio


async def test_one_whose_end_was_told_before_its_pipes_were_read_has_not_started():
    told = []
    process = SimpleNamespace(gone=asyncio.Event(), execute=lambda _: None)

    class Keeping:
        @asynccontextmanager
        async def reading_ahead(self):
            yield

        async def fill(self, *_, **__):
            processes._on_exit("SIGKILL", [])

    async def start_process(*_):
        return process, None

    processes = object.__new__(SessionProcesses)
    processes._live_forking = SimpleNamespace(source=lambda _: None)
    processes._journal = SimpleNamespace(head=None)
    processes._housing = SimpleNamespace(start_process=start_process)
    processes._keeping = Keeping()
    processes._on_frame, processes._is_replacing, processes.current = None, False, None
    processes._tell_exit = lambda *how: told.append(how)

    with pytest.raises(StartError, match="ended before its first cell"):
        await processes.start(None, is_lagging=False)

    assert told == [("SIGKILL", [], False)]
