"""Lines for machines: one object each, whatever is in it; and many of them at once as they would be one by one."""

import asyncio
import io
import json
import logging
import sys

import pytest
import structlog
from redis.asyncio import Redis

from skep_shared.logs import configure_logging, log_each, report_unhandled

CELLS = [{"cell_id": "a", "run_ms": 0.5}, {"cell_id": "é\n", "run_ms": 2, "event_of": None}]


@pytest.fixture
def written(monkeypatch):
    """Configure logging as a worker does, and give what was written since, a line each."""
    stream = io.StringIO()
    config, handlers = structlog.get_config(), logging.getLogger().handlers[:]

    def start(*arguments):
        monkeypatch.setattr(sys, "stderr", stream)  # here: pytest takes it back between a fixture and its test
        configure_logging("json", *arguments)
        return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]

    yield start
    structlog.configure(**config)
    logging.getLogger().handlers[:] = handlers


def without_times(lines):
    return [{name: value for name, value in line.items() if name != "timestamp"} for line in lines]


def test_each_is_logged_as_if_alone(written):
    lines = written()
    logger = structlog.get_logger()
    for cell in CELLS:
        logger.info("cell.finished", **cell)
    log_each(logger, "cell.finished", CELLS)

    one_by_one, together = lines()[:2], lines()[2:]
    assert without_times(together) == without_times(one_by_one)
    assert [line["cell_id"] for line in together] == ["a", "é\n"]
    assert all(line["timestamp"].endswith("Z") for line in together)


def test_what_is_bound_to_the_logger_and_the_context_is_there_too(written):
    lines = written()
    with structlog.contextvars.bound_contextvars(worker="w"):
        log_each(structlog.get_logger().bind(shard="p"), "cell.finished", CELLS)

    assert [(line["worker"], line["shard"]) for line in lines()] == [("w", "p")] * 2


def test_below_the_level_nothing_is_written(written):
    lines = written("warning")
    log_each(structlog.get_logger(), "cell.finished", CELLS)

    assert lines() == []


def test_nothing_to_log_is_no_line(written):
    lines = written()
    log_each(structlog.get_logger(), "cell.finished", [])

    assert lines() == []


@pytest.mark.parametrize(
    ("value", "shown"),
    [("a\ud800", "a\ud800"), (ValueError("no"), "ValueError('no')"), ({1: "one"}, {"1": "one"}), (10**30, 10**30)],
)
def test_whatever_is_logged_is_a_line_of_json(written, value, shown):
    lines = written()
    structlog.get_logger().info("odd", value=value)

    [line] = lines()
    assert line["value"] == shown


@pytest.mark.anyio
async def test_a_task_that_nobody_awaited_is_named_by_its_code_and_its_error_without_words_of_users(written):
    async def fail():
        raise ValueError("a user's words")

    lines = written()
    task = asyncio.get_running_loop().create_task(fail(), name="keep")
    await asyncio.wait([task])
    report_unhandled(task.get_loop(), {"message": "never retrieved", "exception": task.exception(), "future": task})

    [line] = lines()
    assert (line["level"], line["event"], line["task"]) == ("error", "loop.unhandled", "keep")
    assert line["code"].endswith("fail")


@pytest.mark.anyio
async def test_a_connection_that_the_driver_closes_late_is_a_warning(written):
    lines = written()
    pipeline = Redis(port=1).pipeline()
    report_unhandled(asyncio.get_running_loop(), {"client": pipeline, "message": "Unclosed Pipeline client"})

    [line] = lines()
    assert (line["level"], line["event"]) == ("warning", "redis.connection_closed")
