"""The connection that many callers share: every reply finds its caller, and every caller hears of a broken connection."""

import asyncio
import contextlib
import os
import secrets
import signal
import ssl
from pathlib import Path

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, ReadOnlyError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from skep_shared.broker.lane import MAX_COMMAND_BYTES, Lane
from skep_shared.broker.redis_client.connection import open_redis

pytestmark = pytest.mark.anyio
CERTIFICATE = Path(__file__).parents[1] / "data" / "localhost.pem"


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request):
    """Clients run on whatever loop their service has, workers on uvloop."""
    return "asyncio", {"use_uvloop": request.param}


@pytest.fixture
async def lane(redis):
    """A lane to the shared server."""
    lane = Lane(redis, 10.0)
    yield lane
    await lane.aclose()


async def connections_of(redis, name):
    """Return the ids of the connections that call themselves so."""
    return [client["id"] for client in await redis.client_list() if client["name"] == name]


async def test_every_caller_gets_its_own_reply(lane):
    replies = await asyncio.gather(*(lane.execute_command("ECHO", f"{i}" * (i % 50 + 1)) for i in range(500)))

    assert replies == [(f"{i}" * (i % 50 + 1)).encode() for i in range(500)]


async def test_all_commands_go_through_one_connection(lane):
    ids = await asyncio.gather(*(lane.execute_command("CLIENT", "ID") for _ in range(50)))

    assert len(set(ids)) == 1


async def test_the_reply_of_a_cancelled_caller_reaches_no_other_caller(lane, settings):
    key = f"{settings.prefix}:list"
    popping = asyncio.ensure_future(lane.execute_command("BLPOP", key, 5))
    after = asyncio.ensure_future(lane.execute_command("ECHO", "after"))
    await asyncio.sleep(0)
    popping.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await popping
    other = open_redis(settings)
    await other.rpush(key, "x")
    await other.aclose()

    assert await after == b"after"


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (("EVALSHA", "0" * 40, 0), NoScriptError),
        (("EVAL", "return redis.error_reply('READONLY no more')", 0), ReadOnlyError),
        (("NOSUCH",), ResponseError),
        (("EVAL", "return redis.error_reply('OOM full')", 0), ResponseError),
    ],
)
async def test_an_error_is_the_drivers_own_and_its_callers_only(lane, command, error):
    before, refused, after = await asyncio.gather(
        lane.execute_command("ECHO", "before"),
        lane.execute_command(*command),
        lane.execute_command("ECHO", "after"),
        return_exceptions=True,
    )

    assert before == b"before"
    assert isinstance(refused, error)
    assert after == b"after" or error is ReadOnlyError  # whose connection is given up
    assert await lane.execute_command("ECHO", "again") == b"again"


async def test_a_lost_connection_ends_its_waiting_commands_and_the_next_command_succeeds(lane, redis):
    own_id = await lane.execute_command("CLIENT", "ID")
    waiting = [asyncio.ensure_future(lane.execute_command("BLPOP", secrets.token_hex(), 5)) for _ in range(3)]
    await asyncio.sleep(0)
    await redis.client_kill_filter(_id=own_id)

    for outcome in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(outcome, RedisConnectionError)
    assert await lane.execute_command("ECHO", "x") == b"x"


async def test_a_connection_that_was_lost_while_unused_costs_one_error_at_most(lane, redis):
    own_id = await lane.execute_command("CLIENT", "ID")
    await redis.client_kill_filter(_id=own_id)
    with contextlib.suppress(RedisConnectionError):
        await lane.execute_command("ECHO", "x")

    assert await lane.execute_command("ECHO", "x") == b"x"


async def test_a_connection_whose_end_is_known_but_not_yet_reported_is_opened_again(lane):
    await lane.execute_command("PING")
    lane._replies._transport.close()  # `connection_lost` follows in a later step of the loop

    assert lane.post("PING") is None
    assert await lane.execute_command("ECHO", "x") == b"x"


async def test_a_frozen_server_is_given_up_after_the_timeout(own_redis_server, own_redis):
    lane = Lane(own_redis, 0.2)
    assert await lane.execute_command("ECHO", "x") == b"x"
    process = (await own_redis.info("server"))["process_id"]
    os.kill(process, signal.SIGSTOP)
    try:
        outcomes = await asyncio.gather(*(lane.execute_command("PING") for _ in range(3)), return_exceptions=True)
    finally:
        os.kill(process, signal.SIGCONT)

    assert [type(outcome) for outcome in outcomes] == [RedisTimeoutError] * 3
    assert await lane.execute_command("ECHO", "x") == b"x"
    await lane.aclose()


async def test_an_unreachable_server_raises_an_error_that_says_so(own_redis_server, own_redis):
    lane = Lane(own_redis, 10.0)
    await lane.execute_command("PING")
    await own_redis_server.stop()

    for _ in range(2):
        with pytest.raises((RedisConnectionError, OSError)):
            await lane.execute_command("PING")
    await lane.aclose()


async def test_a_long_command_does_not_hold_up_the_others(lane, redis):
    own_id = await lane.execute_command("CLIENT", "ID")

    assert await lane.execute_command("EVAL", "return #ARGV[1]", 0, "x" * MAX_COMMAND_BYTES) == MAX_COMMAND_BYTES
    assert await lane.execute_command("CLIENT", "ID") == own_id


async def test_a_lane_that_was_given_up_ends_its_callers_and_opens_again(lane):
    await lane.execute_command("PING")
    waiting = asyncio.ensure_future(lane.execute_command("BLPOP", secrets.token_hex(), 5))
    await asyncio.sleep(0)
    lane.abort()

    with pytest.raises(RedisConnectionError):
        await waiting
    assert await lane.execute_command("ECHO", "x") == b"x"


async def test_nothing_is_left_of_a_lane_that_was_closed(lane, redis):
    own_id = await lane.execute_command("CLIENT", "ID")
    await lane.aclose()
    for _ in range(1000):  # the server sees the end in its own time
        if own_id not in [int(client["id"]) for client in await redis.client_list()]:
            return
    raise AssertionError(f"connection {own_id} is still there")


async def test_first_commands_that_come_together_open_one_connection(redis, lane):
    name = f"lane-{secrets.token_hex(4)}"
    await asyncio.gather(*(lane.execute_command("CLIENT", "SETNAME", name) for _ in range(20)))

    assert len(await connections_of(redis, name)) == 1


async def test_a_lane_works_over_tls(own_redis_server, own_settings):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    path = own_redis_server.url.removeprefix("unix://").partition("?")[0]

    async def forward(reader, writer):
        server_reader, server_writer = await asyncio.open_unix_connection(path)

        async def copy(source, sink):
            with contextlib.suppress(OSError):
                while data := await source.read(65536):
                    sink.write(data)
                sink.close()

        await asyncio.gather(copy(reader, server_writer), copy(server_reader, writer))

    front = await asyncio.start_server(forward, "127.0.0.1", 0, ssl=context)
    port = front.sockets[0].getsockname()[1]
    url = f"rediss://127.0.0.1:{port}/3?ssl_ca_certs={CERTIFICATE}"
    client = open_redis(own_settings.model_copy(update={"redis_url": url}))
    lane = Lane(client, 10.0)
    replies = await asyncio.gather(*(lane.execute_command("ECHO", "y" * 20_000) for _ in range(50)))
    database = (await lane.execute_command("CLIENT", "LIST")).count(b"db=3")
    await lane.aclose()
    await client.aclose()
    front.close()

    assert replies == [b"y" * 20_000] * 50
    assert database == 1
