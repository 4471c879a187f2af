"""Foreign errors are told without what they quote: no command, no argument, no value of a user."""

import asyncio
import io
import logging
import sys

import msgpack
import pydantic
import pytest
import structlog
from redis.exceptions import OutOfMemoryError, ResponseError

from skep_shared.errors import CellFailed, InvalidArgument, RedisUnavailable
from skep_shared.foreign_errors import MAX_TEXT_CHARS, describe_error, format_error
from skep_shared.logs import configure_logging, report_unhandled

MARK = "SECRETMARK-hunter2"


class _Model(pydantic.BaseModel):
    number: int


def raised(make):
    """Return what calling this raises."""
    try:
        make()
    except Exception as exc:  # noqa: BLE001 - whatever it is
        return exc
    raise AssertionError("nothing was raised")


def raise_grouped():
    raise ExceptionGroup("two", [KeyError(MARK), ValueError(MARK)])


FOREIGN = {
    "a pipeline's": lambda: OutOfMemoryError(
        f"Command # 1 (HSET skep:x {MARK} ({MARK}) ) of pipeline caused error: OOM no"
    ),
    "an unknown command's": lambda: ResponseError(f"unknown command 'EVALSHA', with args beginning with: '{MARK}' "),
    "a key's": lambda: raised(lambda: {}[MARK]),
    "a number's": lambda: raised(lambda: int(MARK)),
    "bytes that are no text": lambda: raised((MARK.encode() + b"\xff").decode),
    "text that is no bytes": lambda: raised((MARK + "\udc80").encode),
    "pydantic's": lambda: raised(lambda: _Model.model_validate({"number": MARK})),
    "msgpack's": lambda: raised(lambda: msgpack.unpackb(msgpack.packb(MARK) + b"x")),
    "a file's": lambda: raised(lambda: open(f"/no/{MARK}")),  # noqa: PTH123, SIM115
    "a refused value's": lambda: InvalidArgument("code", MARK, "at most 3 bytes"),
    "a cell's": lambda: CellFailed("s", "c", "failed", "ValueError", MARK, MARK),
    "a group's": lambda: raised(raise_grouped),
}


@pytest.mark.parametrize("make", FOREIGN.values(), ids=FOREIGN)
def test_an_error_is_reported_without_quoted_data(make):
    error = make()

    told = describe_error(error)

    assert told.startswith(type(error).__name__)
    assert MARK not in told
    assert "\n" not in told
    assert MARK not in format_error(error)


def test_the_servers_message_is_reported():
    error = OutOfMemoryError("Command # 3 (HSET k v) of pipeline caused error: command not allowed")

    assert describe_error(error) == "OutOfMemoryError: command 3 of a pipeline: command not allowed"


def test_our_own_errors_are_told_in_their_words():
    assert describe_error(RedisUnavailable("redis://h", "refused")).startswith(
        "RedisUnavailable: Redis at redis://h is"
    )


def test_long_words_are_cut():
    told = describe_error(ResponseError("x" * 100_000))

    assert len(told) < MAX_TEXT_CHARS + 60
    assert "100000 characters" in told


def test_a_traceback_shows_where_and_what_led_to_it_without_quotes():
    def outer():
        try:
            int(MARK)
        except ValueError as exc:
            raise ResponseError(f"unknown command, with args beginning with: {MARK}") from exc

    told = format_error(raised(outer))

    assert MARK not in told
    assert "in outer" in told
    assert told.index("ValueError") < told.index("ResponseError")


@pytest.fixture(params=["json", "console"])
def start_log(request, monkeypatch):
    """Yield a function that sets logging up as a worker does, and returns one that gives what was logged."""
    stream = io.StringIO()
    config, handlers = structlog.get_config(), logging.getLogger().handlers[:]

    def start():
        monkeypatch.setattr(sys, "stderr", stream)  # here: pytest takes it back between a fixture and its test
        configure_logging(request.param)
        return stream.getvalue

    yield start
    structlog.configure(**config)
    logging.getLogger().handlers[:] = handlers


def fail_with_a_local(value):
    """Raise something that quotes the value, which is a local variable as well."""
    raise KeyError(value)


@pytest.mark.parametrize("name", ["structlog", "logging", "arq"])
def test_a_log_shows_no_foreign_words(start_log, name):
    logged = start_log()
    error = raised(lambda: fail_with_a_local(MARK))
    if name == "structlog":
        structlog.get_logger().error("session.failed", exc_info=error)
    elif name == "logging":
        logging.getLogger("asyncio").error("Task exception was never retrieved", exc_info=error)
    else:
        logging.getLogger("arq.worker").error("! %s failed, %s: %s", "job", type(error).__name__, error)

    said = logged()

    assert "KeyError" in said
    assert MARK not in said


def test_reports_of_asyncio_are_logged_without_quoted_data(start_log):
    logged = start_log()

    async def main():
        asyncio.get_running_loop().set_exception_handler(report_unhandled)

        async def fail():
            fail_with_a_local(MARK)

        asyncio.create_task(fail(), name="the one")  # noqa: RUF006 - nobody is to look at it
        for _ in range(3):
            await asyncio.sleep(0)

    asyncio.run(main())
    said = logged()

    assert "the one" in said
    assert "KeyError" in said
    assert MARK not in said
