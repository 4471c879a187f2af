"""A background task of the gateway runs as long as its block, and its unexpected end is logged."""

import asyncio
import logging

import pytest

from skep.gateway.background_task import BackgroundTask

pytestmark = pytest.mark.anyio


class Worker(BackgroundTask):
    task_name = "some work"

    def __init__(self, failure=None):
        self.failure = failure
        self.began, self.ended = asyncio.Event(), asyncio.Event()

    async def _run(self):
        self.began.set()
        try:
            if self.failure is not None:
                raise self.failure
            await asyncio.Event().wait()
        finally:
            self.ended.set()


async def test_it_runs_until_the_block_ends_and_no_longer(caplog):
    async with Worker() as worker:
        await worker.began.wait()
        assert not worker.ended.is_set()

    assert worker.ended.is_set()
    assert caplog.records == []


async def test_an_unexpected_end_is_logged_with_its_reason(caplog):
    async with Worker(ValueError("no number")) as worker:
        await worker.ended.wait()

    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert "some work" in record.getMessage()
    assert "ValueError" in record.getMessage()
