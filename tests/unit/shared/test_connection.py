"""Clients are set up the one safe way, for every kind of URL; a URL that can't be read is refused without its secrets."""

import asyncio
import re
import socket
import traceback
from urllib.parse import urlsplit

import pytest
from redis.asyncio import Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import ConnectionError as RedisConnectionError

from skep_shared.broker.redis_client import redis_url
from skep_shared.broker.redis_client.connection import BLOCK_MARGIN_SECONDS, open_redis
from skep_shared.broker.redis_client.redis_url import redacted
from skep_shared.broker.server_check import as_skep_error
from skep_shared.errors import InvalidArgument
from skep_shared.settings import Settings


def pool_of(url: str, *, blocking: bool = False, **options):
    return open_redis(Settings.load(redis_url=url, **options), blocking=blocking).connection_pool


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://:secret@h:1/0", "redis://:***@h:1/0"),
        ("rediss://user:secret@h:1/0", "rediss://user:***@h:1/0"),
        ("redis://user:sec:ret@h", "redis://user:***@h"),
        ("redis://user:sec@ret@h", "redis://user:***@h"),
        ("redis://:sec/ret@h/0", "redis://:***@h/0"),
        ("redis://:sec?ret@h/0", "redis://:***@h/0"),
        ("redis://:sec#ret@h/0", "redis://:***@h/0"),
        ("redis://:sec://ret@h", "redis://:***@h"),
        ("user:secret@h", "user:***@h"),
        ("redis://:secret@[::1", "redis://:***@[::1"),
        ("unix:///run/redis.sock?db=1&password=secret", "unix:///run/redis.sock?db=1&password=***"),
        ("redis://h/0?password=secret&db=1", "redis://h/0?password=***&db=1"),
        (
            "redis+sentinel://u:secret@a:1,b:2/svc?sentinel_password=secret",
            "redis+sentinel://u:***@a:1,b:2/svc?sentinel_password=***",
        ),
        ("", ""),
    ],
)
def test_a_url_is_shown_without_its_secrets(url, shown):
    assert redacted(url) == shown


@pytest.mark.parametrize(
    ("url", "kind", "where"),
    [
        ("redis://h:1/2", Connection, {"host": "h", "port": 1, "db": 2}),
        ("redis://u:p%40@h", Connection, {"host": "h", "username": "u", "password": "p@"}),
        ("rediss://h:1", SSLConnection, {"host": "h", "port": 1}),
        ("unix:///run/redis.sock?db=3", UnixDomainSocketConnection, {"path": "/run/redis.sock", "db": 3}),
    ],
)
def test_a_url_leads_to_its_server(url, kind, where):
    pool = pool_of(url)

    assert issubclass(pool.connection_class, kind)
    assert {name: pool.connection_kwargs[name] for name in where} == where


def test_a_sentinel_url_leads_to_the_master_of_its_service():
    pool = pool_of("redis+sentinel://u:p%40@a:1,b,[::1]:3/svc/2?sentinel_password=q%26")

    sentinels = [client.connection_pool.connection_kwargs for client in pool.sentinel_manager.sentinels]
    assert [(kwargs["host"], kwargs["port"]) for kwargs in sentinels] == [("a", 1), ("b", 26379), ("::1", 3)]
    assert {kwargs["password"] for kwargs in sentinels} == {"q&"}
    assert (pool.service_name, pool.is_master) == ("svc", True)
    options = pool.connection_kwargs
    assert (options["username"], options["password"], options["db"]) == ("u", "p@", 2)


def test_a_sentinel_url_is_read_where_urlsplit_wants_brackets_to_be_all_of_the_host(monkeypatch):
    def strict_urlsplit(url):
        parts = urlsplit(url)
        if re.search(r"[^@]\[|\][^:]", parts.netloc):
            raise ValueError("Invalid IPv6 URL")
        return parts

    monkeypatch.setattr(redis_url, "urlsplit", strict_urlsplit)

    sentinels = pool_of("redis+sentinel://u:p@a:1,[::1]:3,[::2]/svc?sentinel_password=q").sentinel_manager.sentinels

    where = [client.connection_pool.connection_kwargs for client in sentinels]
    assert [(kwargs["host"], kwargs["port"]) for kwargs in where] == [("a", 1), ("::1", 3), ("::2", 26379)]


def test_a_sentinel_url_needs_no_database_and_no_password():
    options = pool_of("redis+sentinel://a:1/svc").connection_kwargs

    assert options["db"] == 0
    assert {"username", "password"}.isdisjoint(options)


@pytest.mark.anyio
async def test_a_task_that_was_cancelled_as_its_command_starts_is_cancelled(redis):
    await redis.ping()  # there is a connection now, so that nothing waits before the look at it

    async def cancelled_by_a_signal_handler_say():
        asyncio.current_task().cancel()
        await redis.ping()

    task = asyncio.create_task(cancelled_by_a_signal_handler_say())
    await asyncio.wait([task])

    assert task.cancelled()


@pytest.mark.anyio
async def test_a_task_that_cleans_up_after_its_cancellation_uses_redis(redis):
    answers = []

    async def clean_up():
        try:
            await asyncio.Event().wait()
        finally:
            answers.append(await redis.ping())

    task = asyncio.create_task(clean_up())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])

    assert (answers, task.cancelled()) == ([True], True)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "h:6379",
        "http://h",
        "REDIS://h",
        "redis:/h",
        "redis://h:port",
        "redis://[::1",
        "redis://h?db=x",
        "redis://h?no_such_option=1",
        "rediss://h?ssl_cert_reqs=maybe",
        "redis+sentinel://",
        "redis+sentinel://a:1",
        "redis+sentinel:///svc",
        "redis+sentinel://a:port/svc",
        "redis+sentinel://:26379/svc",
        "redis+sentinel://a,,b/svc",
        "redis+sentinel://a/svc/x",
    ],
)
def test_a_url_that_can_not_be_read_is_refused(url):
    with pytest.raises(InvalidArgument) as caught:
        pool_of(url)

    assert (caught.value.field, caught.value.value) == ("redis_url", url)
    assert caught.value.limit


@pytest.mark.parametrize(
    "url",
    [
        "http://u:hunter2@h",
        "u:hunter2@h",
        "redis://:hunter2@h:port",
        "redis://:hunter2/x@h",
        "redis://:hunter2?x@h",
        "redis://:hunter2#x@h",
        "redis://:hunter2@[::1",
        "redis://h?db=x&password=hunter2",
        "redis+sentinel://:hunter2@a:port/svc?sentinel_password=hunter2",
        "redis+sentinel://:hunter2/x@a/svc",
    ],
)
def test_a_refusal_contains_no_secret(url):
    with pytest.raises(InvalidArgument) as caught:
        pool_of(url)

    assert "hunter2" not in "".join(traceback.format_exception(caught.value)).replace(repr(url), "")
    assert "hunter2" not in repr(caught.value)


@pytest.mark.parametrize("url", ["redis://h", "rediss://h", "unix:///h", "redis+sentinel://h/svc"])
def test_every_connection_has_a_deadline_and_no_retry(url):
    kwargs = pool_of(url, command_timeout_seconds=4, connect_timeout_seconds=3).connection_kwargs

    assert (kwargs["socket_timeout"], kwargs["socket_connect_timeout"]) == (4, 3)
    assert kwargs["retry"]._retries == 0
    assert kwargs["protocol"] == 2


@pytest.mark.parametrize("url", ["redis://h", "redis+sentinel://h/svc"])
def test_a_blocking_client_waits_longer_than_its_reads(url):
    kwargs = pool_of(url, blocking=True, block_seconds=7).connection_kwargs

    assert kwargs["socket_timeout"] == 7 + BLOCK_MARGIN_SECONDS


@pytest.mark.parametrize("url", ["redis://h", "redis+sentinel://h/svc"])
def test_the_number_of_connections_is_bounded(url):
    assert pool_of(url, max_connections=5).max_connections == 5


def test_the_drivers_error_becomes_ours_with_the_address_and_the_reason():
    error = as_skep_error(Settings.load(redis_url="redis://:secret@h:1"), RedisConnectionError("refused"))

    assert (error.url, error.reason) == ("redis://:***@h:1", "refused")


def test_the_reason_of_a_driver_error_without_text_is_its_name():
    assert as_skep_error(Settings.load(), TimeoutError()).reason == "TimeoutError"


@pytest.mark.parametrize(
    ("url", "option"),
    [
        ("redis://:hunter2@h?decode_responses=true", "decode_responses"),
        ("redis://h?protocol=3", "protocol"),
        ("redis://h?encoding=latin-1", "encoding"),
        ("redis://h?encoding_errors=ignore", "encoding_errors"),
        ("redis://h?retry_on_timeout=true", "retry_on_timeout"),
        ("redis://h?single_connection_client=true", "single_connection_client"),
        ("redis://h?DB=1", "DB"),
        ("redis://h?db=1&ssl_ca_certs=x", "ssl_ca_certs"),
        ("redis://h?no_such_option", "no_such_option"),
        ("rediss://h?decode_responses=", "decode_responses"),
        ("unix:///h?socket_keepalive=1", "socket_keepalive"),
        ("redis+sentinel://h/svc?decode_responses=1", "decode_responses"),
        ("redis+sentinel://h/svc?sentinel_quorum=1", "sentinel_quorum"),
    ],
)
def test_an_option_that_would_break_the_client_is_refused_by_name(url, option):
    with pytest.raises(InvalidArgument, match=f"'{option}' is refused") as caught:
        pool_of(url)

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("option", "setting"),
    [
        ("socket_timeout", "SKEP_COMMAND_TIMEOUT_SECONDS"),
        ("socket_connect_timeout", "SKEP_CONNECT_TIMEOUT_SECONDS"),
        ("max_connections", "SKEP_MAX_CONNECTIONS"),
    ],
)
def test_an_option_that_is_a_setting_here_names_it(option, setting):
    with pytest.raises(InvalidArgument, match=setting):
        pool_of(f"redis://h?{option}=1")


@pytest.mark.parametrize(
    "url",
    [
        "redis://h/1?health_check_interval=10&socket_keepalive=True&client_name=me",
        "rediss://h?ssl_cert_reqs=none&ssl_check_hostname=false",
        "unix:///h?db=3&password=p%40s%20s",
        "redis+sentinel://h/svc?client_name=me&sentinel_username=u&sentinel_password=p",
    ],
)
def test_harmless_options_are_accepted(url):
    assert pool_of(url).make_connection()


@pytest.mark.parametrize("url", ["redis://h", "rediss://h", "redis+sentinel://h/svc"])
def test_idle_tcp_connections_are_probed(url):
    kwargs = pool_of(url).connection_kwargs

    assert kwargs["socket_keepalive"]
    assert kwargs["socket_keepalive_options"][socket.TCP_KEEPIDLE] == 30


def test_a_sentinels_user_is_the_sentinels():
    pool = pool_of("redis+sentinel://u:p@a/svc?sentinel_username=su&sentinel_password=sp")
    [sentinel] = pool.sentinel_manager.sentinels

    kwargs = sentinel.connection_pool.connection_kwargs
    assert (kwargs["username"], kwargs["password"]) == ("su", "sp")
    assert (pool.connection_kwargs["username"], pool.connection_kwargs["password"]) == ("u", "p")
