"""Check that a server can hold sessions, and translate the driver's errors into skep's."""

from collections.abc import Awaitable
from typing import Any, Final, cast

from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from skep_shared.broker.keys import Keys
from skep_shared.broker.layout import LAYOUT, layout_mismatch
from skep_shared.broker.redis_client.redis_errors import REDIS_ERRORS, error_code, is_out_of_memory, is_passing
from skep_shared.broker.redis_client.redis_url import redacted
from skep_shared.errors import RedisFull, RedisRefused, RedisUnavailable, RedisUnsuitable, SkepError
from skep_shared.foreign_errors import reason_of
from skep_shared.settings import Settings

OLDEST_REDIS: Final = (6, 2)
ARQ_KEYS: Final = "arq:"  # what arq's own keys begin with, besides its queue


def as_skep_error(settings: Settings, exc: BaseException) -> SkepError:
    """Translate the driver's error: RedisUnavailable for a passing condition, otherwise RedisFull or RedisRefused."""
    reason = reason_of(exc)
    if is_out_of_memory(exc):
        return RedisFull(reason)
    url, code = redacted(settings.redis_url), error_code(exc)
    if code == "" or is_passing(exc):
        return RedisUnavailable(url, reason)
    if code in {"AUTH", "NOAUTH", "WRONGPASS"}:
        remedy = "Check the user name and the password in the URL: redis://USER:PASSWORD@HOST"
    elif code == "NOPERM":
        remedy = (
            f"The user needs the keys ~{settings.prefix}:* and ~{ARQ_KEYS}*, and the commands +@all -@dangerous, "
            "of which docs/operating.md lists those that are used"
        )
    elif "DB index" in reason:
        remedy = "Check the database's number at the end of the URL: the server must have so many"
    else:
        remedy = "This state of the server won't pass by itself: look for the reason in its log and configuration"
    return RedisRefused(url, reason, remedy)


async def check_server(redis: Redis, settings: Settings) -> list[str]:
    """Check that this server can hold sessions; return the settings that this user may not read.

    Raises RedisUnavailable if it doesn't answer, RedisRefused for credentials or permissions that don't suffice,
    RedisUnsuitable for a version below 6.2, for a memory policy that evicts keys (an evicted session hash would be a
    lost session), and for data that another version of skep has written in another layout.
    """
    try:
        version, policy = await _version_and_policy(redis)
    except REDIS_ERRORS as exc:
        raise as_skep_error(settings, exc) from exc
    try:
        numbers = tuple(int(part) for part in version.split(".")[:2])
    except ValueError:
        numbers = (0, 0)
    if numbers < OLDEST_REDIS:
        raise RedisUnsuitable("version", version, "6.2 or newer", "upgrade the server")
    if policy not in {None, "noeviction"}:
        raise RedisUnsuitable(
            "maxmemory-policy",
            str(policy),
            "noeviction",
            "an evicted key is a lost session; set maxmemory-policy noeviction",
        )
    await _probe(redis, settings)
    return ["maxmemory-policy"] if policy is None else []


async def _version_and_policy(redis: Redis) -> tuple[str, str | None]:
    """Return the server's version and memory policy; the latter is None if this user may not read it."""
    try:
        facts = await cast("Awaitable[dict[str, Any]]", redis.info())
    except NoPermissionError:
        reply = await redis.execute_command("HELLO")
        said = dict(zip(reply[::2], reply[1::2], strict=True))
        return said.get(b"version", b"unknown").decode(), None
    return str(facts.get("redis_version", "unknown")), str(facts.get("maxmemory_policy", "noeviction"))


async def _probe(redis: Redis, settings: Settings) -> None:
    """Use the permissions that everything depends on, so that a missing one is reported now and by its name."""
    try:
        async with redis.pipeline(transaction=False) as pipe:
            pipe.hmget(Keys(settings.prefix).shard, ["id", "layout"])
            pipe.type(f"{ARQ_KEYS}job:{settings.prefix}")
            pipe.eval("return 1", 0)
            replies = await pipe.execute(raise_on_error=False)
    except REDIS_ERRORS as exc:
        raise as_skep_error(settings, exc) from exc
    for needed, reply in zip((f"keys {settings.prefix}:*", f"keys {ARQ_KEYS}*", "scripts"), replies, strict=True):
        if isinstance(reply, Exception):
            refusal = as_skep_error(settings, reply)
            if isinstance(refusal, RedisRefused):
                refusal = RedisRefused(refusal.url, f"{needed}: {refusal.reason}", refusal.remedy)
            raise refusal from reply
    shard_id, layout = replies[0]
    if shard_id is not None and layout != b"%d" % LAYOUT:
        raise layout_mismatch(settings.prefix, layout)
