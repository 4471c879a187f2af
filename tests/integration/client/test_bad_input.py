"""Bad input: a typed error that names the field, the value and the limit, before anything is written."""

import asyncio
import contextlib
from datetime import UTC, datetime

import pytest

import skep
from skep_shared.settings import Settings

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024


@pytest.fixture
async def keys_before(shard):
    """Check at the end that no key has come or gone."""

    async def keys():
        return {key async for key in shard._link.redis.scan_iter(match=f"{shard.settings.prefix}*", count=1000)}

    before = await keys()
    yield before
    assert await keys() == before


@pytest.mark.parametrize(
    ("session_id", "limit"),
    [
        ("", "1 to 200 bytes"),
        ("x" * 201, "1 to 200 bytes, this has 201"),
        ("é" * 101, "1 to 200 bytes, this has 202"),
        ("a\nb", "control"),
        ("a\0b", "control"),
        ("a\x1b[0m", "control"),
        ("a b", "letters, digits"),
        ("a{b}", "letters, digits"),
        ("../etc", "letters, digits"),
        ("a:b", "letters, digits"),
        ("-a", "the first must be a letter"),
        (7, "a str is needed, not int"),
        (None, "a str is needed"),
        (b"bytes", "a str is needed, not bytes"),
    ],
)
async def test_a_bad_session_id_is_refused(shard, keys_before, session_id, limit):
    with pytest.raises(skep.InvalidArgument) as caught:
        shard.session(session_id)

    assert (caught.value.field, caught.value.value) == ("session_id", session_id)
    assert limit in caught.value.limit
    assert caught.value.limit in str(caught.value)


@pytest.mark.parametrize("session_id", ["x" * 200, "A", "_a", "user-42", "a@b.c", "0"])
async def test_a_good_session_id_is_accepted(shard, session_id):
    await shard.session(session_id).submit("1")

    assert (await shard.session(session_id).info()).id == session_id


@pytest.mark.parametrize("cell_id", ["", "x" * 201, "a\nb", "a\0b", 7, b"x"])
async def test_a_bad_cell_id_is_refused(shard, keys_before, cell_id):
    with pytest.raises(skep.InvalidArgument) as caught:
        await shard.session("s").submit("1", cell_id=cell_id)
    assert (caught.value.field, caught.value.value) == ("cell_id", cell_id)

    with pytest.raises(skep.InvalidArgument):
        shard.cell("s", cell_id)


@pytest.mark.parametrize(
    ("code", "limit"),
    [
        ("x" * (MIB + 1), f"at most {MIB} bytes, this has {MIB + 1}"),
        ("é" * (MIB // 2 + 1), f"at most {MIB} bytes"),
        ("a = '\ud800'", "valid Unicode"),
        (b"1", "a str is needed, not bytes"),
        (None, "a str is needed"),
    ],
    ids=["long", "long in UTF-8", "surrogate", "bytes", "None"],
)
async def test_bad_code_is_refused(shard, keys_before, code, limit):
    with pytest.raises(skep.InvalidArgument) as caught:
        await shard.session("s").submit(code)

    assert caught.value.field == "code"
    assert caught.value.value is code
    assert limit in caught.value.limit
    assert len(str(caught.value)) < 300


async def test_code_of_one_mebibyte_is_accepted(shard):
    cell = await shard.session("s").submit("#" * MIB)

    assert cell.seq == 1


@pytest.mark.parametrize(
    ("options", "field", "limit"),
    [
        ({"timeuot": 3}, "option", "timeout"),
        ({"timeout": 0}, "timeout", "0.001"),
        ({"timeout": -1}, "timeout", "0.001"),
        ({"timeout": float("nan")}, "timeout", "number"),
        ({"timeout": float("inf")}, "timeout", "number"),
        ({"timeout": "soon"}, "timeout", "number"),
        ({"timeout": True}, "timeout", "number"),
        ({"max_attempts": 0}, "max_attempts", "1"),
        ({"max_attempts": 101}, "max_attempts", "100"),
        ({"max_attempts": 1.5}, "max_attempts", "whole"),
        ({"on_worker_loss": "shrug"}, "on_worker_loss", "retry, fail"),
        ({"on_worker_loss": []}, "on_worker_loss", "retry, fail"),
        ({"labels": {"a": 1}}, "labels", "str"),
        ({"labels": {"a": "x" * 201}}, "labels", "200 bytes"),
        ({"labels": {f"l{number}": "" for number in range(33)}}, "labels", "at most 32"),
        ({"labels": ["a"]}, "labels", "mapping"),
        ({"inputs": [1]}, "inputs", "mapping"),
        ({"inputs": {"not a name": 1}}, "inputs", "identifier"),
        ({"inputs": {1: 1}}, "inputs", "identifier"),
        ({"inputs": {"x": "y" * MIB}}, "inputs", f"at most {MIB} bytes"),
    ],
)
async def test_a_bad_option_is_refused(shard, keys_before, options, field, limit):
    with pytest.raises(skep.InvalidArgument) as caught:
        await shard.session("s").submit("1", **options)

    assert caught.value.field == field
    assert limit in caught.value.limit
    assert field in str(caught.value)


def _cycle():
    loop = []
    loop.append(loop)
    return loop


@pytest.mark.parametrize(
    "value",
    [object(), {1, 2}, range(3), 1j, datetime(2020, 1, 1), _cycle(), skep.CellStatus.LOST, [[object()]], lambda: 0],  # noqa: DTZ001
    ids=["object", "set", "range", "complex", "datetime", "cycle", "enum", "nested", "function"],
)
async def test_an_input_that_can_not_travel_is_named(shard, keys_before, value):
    with pytest.raises(skep.InvalidArgument) as caught:
        await shard.session("s").submit("1", inputs={"fine": 1, "culprit": value})

    assert caught.value.field == "inputs['culprit']"
    assert caught.value.value is value


@pytest.mark.parametrize(
    ("times", "field"),
    [
        ({"defer_by": 1, "defer_until": datetime.now(UTC)}, "defer_until"),
        ({"defer_until": datetime(2030, 1, 1)}, "defer_until"),  # noqa: DTZ001
        ({"defer_by": "soon"}, "defer_by"),
        ({"defer_by": float("nan")}, "defer_by"),
        ({"defer_by": -1}, "defer_by"),
    ],
)
async def test_a_bad_time_is_refused(shard, keys_before, times, field):
    with pytest.raises(skep.InvalidArgument) as caught:
        await shard.session("s").submit("1", **times)

    assert caught.value.field == field


@pytest.mark.parametrize("bad", ["", "x", "1-1", "-1", "1-0-0", 7, None, "٣"])
async def test_a_bad_event_id_is_refused(shard, keys_before, bad):
    with pytest.raises(skep.InvalidArgument) as caught:
        [event async for event in shard.session("s").events(after=bad)]

    assert (caught.value.field, caught.value.value) == ("after", bad)


@pytest.mark.parametrize("cells", [[], ["1"] * 1001])
async def test_an_empty_or_too_large_batch_is_refused(shard, keys_before, cells):
    with pytest.raises(skep.InvalidArgument) as caught:
        await shard.session("s").submit_many(cells)

    assert (caught.value.field, caught.value.value) == ("cells", len(cells))


@pytest.mark.parametrize("cell", [7, None, {"cod": "1"}, {}, {"code": "1", "bogus": 1}])
async def test_a_bad_cell_in_a_batch_is_refused(shard, keys_before, cell):
    with pytest.raises(skep.InvalidArgument):
        await shard.session("s").submit_many(["1", cell])


@pytest.mark.parametrize(
    "url",
    ["", "localhost", "http://localhost", "redis://localhost:port", "redis+sentinel://", "redis://h?bogus=1", 7],
)
async def test_a_bad_url_is_refused(url):
    with pytest.raises(skep.InvalidArgument) as caught:
        async with skep.connect(url):
            pass

    assert "url" in caught.value.field


@pytest.mark.parametrize("number", [0, -1, 65, "two", 1.5])
async def test_a_bad_number_of_workers_is_refused(number):
    with pytest.raises(skep.InvalidArgument) as caught:
        async with skep.embedded(workers=number):
            pass

    assert (caught.value.field, caught.value.value) == ("workers", number)


async def test_a_redis_that_can_not_be_reached_is_unavailable(tmp_path):
    with pytest.raises(skep.RedisUnavailable) as caught:
        async with skep.connect(f"unix://user:secret@{tmp_path}/none.sock"):
            pass

    assert f"{tmp_path}/none.sock" in str(caught.value)
    assert "secret" not in str(caught.value)


async def test_a_redis_that_never_answers_is_unavailable():
    async def be_silent(reader, writer):
        with contextlib.closing(writer):
            await reader.read()

    async with await asyncio.start_server(be_silent, "127.0.0.1", 0) as server:
        url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        settings = Settings.load(redis_url=url, command_timeout_seconds=0.1, outage_seconds=0)
        with pytest.raises(skep.RedisUnavailable):
            async with skep.connect(settings=settings):
                pass


async def test_an_evicting_redis_is_unsuitable(own_redis_server, own_redis):
    await own_redis.config_set("maxmemory-policy", "allkeys-lru")

    with pytest.raises(skep.RedisUnsuitable) as caught:
        async with skep.connect(own_redis_server.url):
            pass
    assert (caught.value.what, caught.value.actual) == ("maxmemory-policy", "allkeys-lru")
    assert "noeviction" in str(caught.value)
    assert await own_redis.dbsize() == 0


async def test_a_redis_of_an_old_version_is_unsuitable():
    commands = []

    async def answer(reader, writer):
        """Speak as much of the protocol as a client needs to ask for the version."""
        with contextlib.closing(writer), contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                count = int((await reader.readuntil(b"\r\n"))[1:])
                words = []
                for _ in range(count):
                    size = int((await reader.readuntil(b"\r\n"))[1:])
                    words.append((await reader.readexactly(size + 2))[:-2].decode())
                commands.append(words[0].upper())
                facts = b"redis_version:6.0.16\r\nmaxmemory_policy:noeviction\r\n"
                writer.write(b"$%d\r\n%s\r\n" % (len(facts), facts) if commands[-1] == "INFO" else b"+OK\r\n")

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        with pytest.raises(skep.RedisUnsuitable) as caught:
            async with skep.connect(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"):
                pass

    assert (caught.value.what, caught.value.actual) == ("version", "6.0.16")
    assert "6.2" in str(caught.value)
    assert set(commands) <= {"CLIENT", "SELECT", "INFO", "DEL"}


async def test_unknown_frames_in_the_mailbox_and_queue_harm_no_worker(shard, start_worker):
    worker = await start_worker()
    keys, redis = shard._link.keys, shard._link.redis
    for fields in (
        {"k": "bogus", "s": "s"},
        {"x": "y"},
        {"k": "cell", "s": "s", "q": "no number"},
        {"k": b"\xff", "s": b"\xff"},
    ):
        await shard.session("s").run("1")
        await redis.xadd(keys.mailbox(worker.worker_id), fields)
    await redis.zadd(keys.arq_queue, {"no such job": 1})
    await redis.set("arq:job:garbage", b"\xc1\xc1")
    await redis.zadd(keys.arq_queue, {"garbage": 1})

    assert (await shard.session("other").run("6 * 7")).value == 42
    assert worker.worker_id in {info.id async for info in shard.workers()}


async def test_errors_of_the_caller_are_value_errors_too(shard):
    with pytest.raises(ValueError, match="session_id"):
        shard.session("")


@pytest.mark.parametrize(
    ("options", "field", "value"),
    [
        ({"labels": {str(number): "x" for number in range(33)}}, "labels", None),
        ({"labels": {"a": "x" * 201}}, "labels", "x" * 201),
        ({"labels": {"a": 1}}, "labels.a", 1),
        ({"env": {"1A": "x"}}, "env", "1A"),
        ({"env": {"": "x"}}, "env", ""),
        ({"env": {"É": "x"}}, "env", "É"),
        ({"env": {"A=b": "x"}}, "env", "A"),
        ({"env": {"A": "x\0"}}, "env", "A"),
        ({"env": {"A": "\ud800"}}, "env", "A"),
        ({"env": {"A": 7}}, "env", "A"),
        ({"env": {"A": "x" * 32768}}, "env", ["A"]),
        ({"cwd": "/work"}, "cwd", "/work"),
        ({"cwd": "a/../b"}, "cwd", "a/../b"),
        ({"cwd": "a//b"}, "cwd", "a//b"),
        ({"cwd": "a\0"}, "cwd", "a\0"),
        ({"cwd": "x" * 256}, "cwd", "x" * 256),
        ({"cwd": "x/" * 600 + "x"}, "cwd", "x/" * 600 + "x"),
        ({"cwd": 7}, "cwd", 7),
        ({"idle_seconds": 0}, "idle_seconds", 0),
        ({"idle_seconds": 30 * 86_400 + 1}, "idle_seconds", 30 * 86_400 + 1),
        ({"expires_in": 0.5}, "expires_in", 0.5),
        ({"expires_in": "soon"}, "expires_in", "soon"),
        ({"colour": "red"}, "colour", "red"),
    ],
)
async def test_a_bad_option_of_a_session_is_refused(shard, keys_before, options, field, value):
    with pytest.raises(skep.InvalidArgument) as caught:
        shard.session("s", options=skep.SessionOptions(**options))

    assert caught.value.field == field
    assert value is None or caught.value.value == value
    assert caught.value.limit in str(caught.value)


@pytest.mark.parametrize("env", [{"A": "x" * 32767}, {"_a1": ""}, {}])
async def test_variables_within_their_bounds_are_accepted(shard, env):
    await shard.session("s", options=skep.SessionOptions(env=env)).submit("1")

    assert (await shard.session("s").info()).env == tuple(env)
