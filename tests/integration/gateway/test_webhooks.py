"""Webhooks: what is sent to a real receiver, in which order, and what happens when something fails or is killed."""

import asyncio
import contextlib
import json
import ssl
import subprocess
import sys
import time
from pathlib import Path

import pytest

import skep
from skep.gateway.webhooks import sender, senders
from skep.gateway.webhooks.definition import WebhookSpec
from skep.gateway.webhooks.network import Addresses
from skep.gateway.webhooks.senders import WebhookSenders
from skep.gateway.webhooks.settings import WebhookSettings
from skep.gateway.webhooks.store import WebhookStore, read_cursor
from skep_shared import packed_events
from skep_shared.broker.scripts import Scripts
from skep_shared.errors import InvalidArgument, NotFound
from skep_shared.models import SessionOptions

from .receiver import Receiver

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(90)]

QUICK = {
    "internal": ["127.0.0.0/8"], "first_retry_seconds": 0.02, "longest_retry_seconds": 0.1, "poll_seconds": 0.02,
    "lease_seconds": 10.0, "delivery_seconds": 10.0,
}  # fmt: skip


class Author:
    """Writes the events of sessions, as their owner does."""

    def __init__(self, cluster):
        self.scripts = Scripts(cluster._link.redis, cluster._link.keys)
        self.claims = {}

    async def begin(self, *session_ids, labels=None):
        """Make sessions without events."""
        await self.scripts.heartbeat("w", 600_000, b"", patience_ms=600_000)
        for sid in session_ids:
            await self.scripts.open(sid, SessionOptions(labels=labels or {}).pack())
            self.claims[sid] = [await self.scripts.claim(sid, "w", "t"), 0]

    async def write(self, session_id, count=1, text="said"):
        """Write output events."""
        claim, last = self.claims[session_id]
        head = packed_events.cell_head("c", 1, 1, claim.epoch, int(time.time() * 1000))
        events = [packed_events.output(head, stream="stdout", text=f"{text} {last + n + 1}") for n in range(count)]
        self.claims[session_id][1] = await self.scripts.emit(claim, last + 1, events)


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch):
    monkeypatch.setattr(senders, "LOOK_SECONDS", 0.02)


@pytest.fixture
def settings():
    return WebhookSettings.load(**QUICK)


@pytest.fixture
def addresses(settings):
    with Addresses(settings.internal_networks) as addresses:
        yield addresses


@pytest.fixture
def store(shard, addresses):
    return WebhookStore(shard._link, addresses)


@pytest.fixture
def author(shard):
    return Author(shard)


@pytest.fixture
async def receiver():
    receiver = await Receiver().start()
    yield receiver
    await receiver.stop()


@pytest.fixture
def put(store, receiver):
    """Return a function that puts a webhook for the receiver."""

    async def put(name="hook", tenant=None, **spec):
        given = {"url": receiver.url, "events": ["output"], **spec}
        stored = await store.put(tenant, name, WebhookSpec.checked(given))
        receiver.secret = stored.webhook.secret
        return stored

    return put


@pytest.fixture
async def sending(shard, settings, addresses):
    async with WebhookSenders(shard._link, settings, addresses) as running:
        yield running


async def state_of(store, holds, tenant=None, name="hook"):
    """Wait until the state of the webhook is as wanted, and return it."""
    while not holds(state := await store.get(tenant, name)):  # noqa: ASYNC110 - see below
        await asyncio.sleep(0.02)  # nothing signals a change of the state
    return state


def is_disabled(state):
    return state.disabled_at is not None


async def test_events_are_sent_in_order_with_signatures(put, author, receiver, sending):
    stored = await put()
    assert (stored.is_new, stored.secret) == (True, stored.webhook.secret)
    await author.begin("a", "b")
    await author.write("a", 3)
    await author.write("b", 2)

    await receiver.until(lambda r: len(r.accepted) == 5)

    assert (receiver.of("a"), receiver.of("b")) == ([1, 2, 3], [1, 2])
    first = receiver.requests[0]
    assert first.path == "/hook?x=1"
    assert first.headers["content-type"] == "application/json"
    assert first.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert (first.message["type"], first.message["data"]["kind"]) == ("output", "output")
    assert first.message["timestamp"]
    assert abs(int(first.headers["webhook-timestamp"]) - time.time()) < 3600
    assert len({each.headers["webhook-id"] for each in receiver.requests}) == 5


async def test_only_what_happens_after_the_put_is_sent(put, author, receiver, sending):
    await author.begin("a", "b")
    await author.write("a", 3)
    await put()
    await author.write("a", 2)
    await author.write("b")

    await receiver.until(lambda r: len(r.accepted) == 3)

    assert (receiver.of("a"), receiver.of("b")) == ([4, 5], [1])


async def test_only_kinds_and_sessions_that_are_asked_for_are_sent(put, store, author, receiver, sending):
    await put("kinds", events=["cell.finished"])
    await put("some", prefix="user-", labels={"app": "x"})
    await author.begin("user-1", labels={"app": "x", "more": "y"})
    await author.begin("user-2", labels={"app": "z"})
    await author.begin("other", labels={"app": "x"})
    await author.begin("user-3")
    for sid in ("user-2", "other", "user-3", "user-1"):
        await author.write(sid)
    await author.write("user-1")

    await receiver.until(lambda r: len(r.accepted) == 2)
    await sending.__aexit__(None, None, None)

    assert receiver.accepted == [("user-1", 1), ("user-1", 2)]


async def test_a_tenants_webhook_is_about_its_own_sessions_by_their_own_ids(put, author, receiver, sending):
    await put(tenant="acme")
    await author.begin("s", "beta/s", "acme/s")
    for sid in ("s", "beta/s", "acme/s"):
        await author.write(sid)
    await author.write("acme/s")

    await receiver.until(lambda r: len(r.accepted) == 2)
    await sending.__aexit__(None, None, None)

    assert receiver.accepted == [("s", 1), ("s", 2)]


async def test_a_refused_event_is_sent_again_and_those_after_it_wait(put, author, receiver, sending):
    receiver.answers.extend([500, 503, "cut", 429, 302, 404])
    await put()
    await author.begin("a")
    await author.write("a", 4)

    await receiver.until(lambda r: len(r.accepted) == 4)

    assert receiver.of("a") == [1, 2, 3, 4]
    tries = [each for each in receiver.requests if each.place == ("a", 1)]
    assert len(tries) == 7
    assert len({each.headers["webhook-id"] for each in tries}) == 1


async def test_a_failing_session_does_not_hold_up_the_others(put, store, author, receiver, sending):
    receiver.always = 500
    await put()
    await author.begin("a", "b")
    await author.write("a")
    state = await state_of(store, lambda state: "a" in state.failures and state.failures["a"].attempts >= 3)
    record = state.as_record()
    assert (record["state"], record["failing_sessions"]) == ("failing", 1)
    assert (record["failures"][0]["event_id"], record["failures"][0]["reason"]) == ("1-0", "it answered 500")

    receiver.always = 200
    await author.write("b")
    await receiver.until(lambda r: len(r.accepted) == 2)
    await state_of(store, lambda state: state.as_record()["state"] == "active")


@pytest.mark.parametrize(
    "case",
    [
        (500, "it answered 500"),
        (302, "it answered 302, a redirect, which is not followed"),
        ("hang", "it has not answered within 0.2 s"),
        ("cut", "RemoteProtocolError"),
    ],
)
async def test_after_a_bounded_time_the_webhook_is_disabled_with_the_reason(shard, store, put, author, receiver, case):
    answer, reason = case
    target = await Receiver().start()
    receiver.always, receiver.location = answer, target.url
    settings = WebhookSettings.load(**QUICK | {"retry_seconds": 0.3, "delivery_seconds": 0.2})
    await put()
    await author.begin("a")
    await author.write("a", 2)

    async with WebhookSenders(shard._link, settings, store._addresses):
        state = await state_of(store, is_disabled)

    assert "event 1-0 of session 'a' was not accepted for" in state.disabled_because
    assert reason in state.disabled_because
    assert state.as_record()["state"] == "disabled"
    assert len(receiver.requests) > 1
    assert {each.place for each in receiver.requests} == {("a", 1)}
    assert not target.connections
    await target.stop()


async def test_a_put_enables_a_disabled_webhook_which_continues_where_it_was(put, store, author, receiver, sending):
    receiver.answers.append(410)
    await put()
    await author.begin("a")
    await author.write("a", 3)
    state = await state_of(store, is_disabled)
    assert state.disabled_because == "it answered 410 (Gone): it wants no more messages"
    await author.write("a")

    stored = await put()
    assert (stored.is_new, stored.secret) == (False, None)
    await receiver.until(lambda r: len(r.accepted) == 4)

    assert receiver.of("a") == [1, 2, 3, 4]
    assert not is_disabled(await store.get(None, "hook"))


async def test_an_answer_without_end_counts_and_is_not_read(put, author, receiver, sending):
    receiver.answers.append("endless")
    await put()
    await author.begin("a")
    await author.write("a", 2)

    await receiver.until(lambda r: len(r.requests) == 2)

    assert [each.place for each in receiver.requests] == [("a", 1), ("a", 2)]


async def test_a_receiver_that_hangs_holds_up_no_other_webhook(put, store, author, receiver, sending):
    slow = await Receiver(always="hang").start()
    await put("slow", url=slow.url)
    await put("quick")
    await author.begin("a")
    await author.write("a", 2)

    await receiver.until(lambda r: len(r.accepted) == 2)
    await slow.until(lambda r: r.requests)
    await slow.stop()


async def test_a_session_that_waits_for_its_next_try_is_not_looked_at(put, store, author, receiver, shard, monkeypatch):
    looks = []
    find_due = sender.Sender._find_due

    async def count(self, page):
        looks.append(page)
        return await find_due(self, page)

    monkeypatch.setattr(sender.Sender, "_find_due", count)
    receiver.always = 500
    await put()
    await author.begin("a", "b")
    await author.write("a")
    settings = WebhookSettings.load(**QUICK | {"first_retry_seconds": 3600})
    async with WebhookSenders(shard._link, settings, store._addresses):
        await state_of(store, lambda state: state.failing)
        looks.clear()
        receiver.always = 200
        for number in range(1, 6):
            await author.write("b")
            await receiver.until(lambda r, number=number: len(r.accepted) == number)

    assert sum("a" in page for page in looks) <= 3  # after its delivery, and when each of its two changes was noticed
    assert len(receiver.requests) == 6


async def test_a_session_whose_events_hang_holds_up_no_other(put, author, receiver, sending):
    receiver.hangs_for = "a"
    await put()
    await author.begin("a", "b")
    await author.write("a")
    await receiver.until(lambda r: r.requests)
    for _ in range(3):
        await author.write("b")
    await receiver.until(lambda r: len(r.accepted) == 3)

    assert receiver.of("b") == [1, 2, 3]
    assert len([each for each in receiver.requests if each.place[0] == "a"]) == 1


async def test_a_receiver_that_is_killed_gets_every_event_when_it_is_back(put, author, receiver, sending, store):
    await put()
    await author.begin("a", "b")
    await author.write("a", 20)
    await receiver.until(lambda r: len(r.accepted) >= 5)
    await receiver.stop()
    await author.write("a", 5)
    await author.write("b", 5)
    await state_of(store, lambda state: state.failing == 2)
    receiver._release.clear()
    await receiver.start()

    await receiver.until(lambda r: set(r.of("a")) == set(range(1, 26)) and set(r.of("b")) == set(range(1, 6)))
    assert_in_order(receiver, "a", "b")


def assert_in_order(receiver, *session_ids):
    """Check that an event arrives only after all before it; one may arrive again."""
    for sid in session_ids:
        highest = 0
        for number in receiver.of(sid):
            assert number <= highest + 1, receiver.of(sid)
            highest = max(highest, number)


class SenderProcess:
    """A process that sends webhooks."""

    def __init__(self, cluster, lease_seconds):
        settings, options = cluster.settings, QUICK | {"lease_seconds": lease_seconds}
        program = Path(__file__).with_name("sender_program.py")
        self._command = [sys.executable, str(program), settings.redis_url, settings.prefix, json.dumps(options)]

    async def start(self):
        self.process = await asyncio.create_subprocess_exec(*self._command, stdout=subprocess.PIPE)
        assert await self.process.stdout.readline() == b"sending\n"
        return self

    async def kill(self):
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.communicate()


@pytest.fixture
async def start_process(shard):
    processes = []

    async def start(lease_seconds=1.0):
        processes.append(await SenderProcess(shard, lease_seconds).start())
        return processes[-1]

    yield start
    for process in processes:
        await process.kill()


async def test_a_killed_gateway_is_followed_by_another_which_misses_nothing(put, author, receiver, start_process):
    sids = [f"s{number}" for number in range(6)]
    await put()
    await author.begin(*sids)
    first = await start_process()
    for sid in sids:
        await author.write(sid, 200)
    await receiver.until(lambda r: len(r.accepted) >= 40)
    second = await start_process()
    await first.kill()
    at_kill = len(set(receiver.accepted))
    await receiver.until(lambda r: len(set(r.accepted)) >= min(at_kill + 40, 1200))
    await start_process()
    await second.kill()

    await receiver.until(lambda r: len(set(r.accepted)) == 1200)
    assert_in_order(receiver, *sids)


async def test_of_several_gateways_one_sends(put, author, receiver, start_process, shard, store):
    await put()
    await author.begin("a", "b")
    for _ in range(3):
        await start_process(60.0)
    for _ in range(10):
        await author.write("a", 3)
        await author.write("b", 3)

    await receiver.until(lambda r: len(set(r.accepted)) == 60)

    assert (receiver.of("a"), receiver.of("b")) == ([*range(1, 31)], [*range(1, 31)])


async def test_a_gateway_that_ends_orderly_is_followed_at_once(shard, settings, addresses, put, author, receiver):
    await put()
    await author.begin("a")
    async with WebhookSenders(shard._link, settings, addresses):
        await author.write("a")
        await receiver.until(lambda r: r.accepted)
    assert not await shard._link.redis.exists(shard._link.keys.webhook_lease("/hook"))


async def test_redis_may_go_away_in_the_middle(stoppable_server, settings, addresses, receiver):
    async with skep.connect(stoppable_server.url) as cluster:
        author = Author(cluster)
        store = WebhookStore(cluster._link, addresses)
        await store.put(None, "hook", WebhookSpec.checked({"url": receiver.url, "events": ["*"]}))
        await author.begin("a")
        await author.write("a", 50)
        async with WebhookSenders(cluster._link, settings, addresses):
            await receiver.until(lambda r: len(r.accepted) >= 5)
            stoppable_server.kill()
            await stoppable_server.start()
            await receiver.until(lambda r: len(set(r.accepted)) == 50)
    assert_in_order(receiver, "a")


async def test_events_are_sent_again_from_an_id(put, store, author, receiver, sending):
    await put(tenant="acme")
    await author.begin("acme/s")
    await author.write("acme/s", 5)
    await receiver.until(lambda r: len(r.accepted) == 5)
    ids = [each.headers["webhook-id"] for each in receiver.requests]

    await store.replay("acme", "hook", "s", "2-0")

    await receiver.until(lambda r: len(r.accepted) == 8)
    assert receiver.of("s") == [1, 2, 3, 4, 5, 3, 4, 5]
    assert [each.headers["webhook-id"] for each in receiver.requests][5:] == ids[2:]


@pytest.mark.parametrize(
    ("session_id", "after", "error"),
    [
        ("a", "x", InvalidArgument), ("a", "9-0", InvalidArgument), ("a", "-1", InvalidArgument),
        ("unknown", "0-0", NotFound), ("a b", "0-0", InvalidArgument),
    ],
)  # fmt: skip
async def test_a_bad_replay_is_refused(put, store, author, session_id, after, error):
    await put()
    await author.begin("a")
    await author.write("a", 2)

    with pytest.raises(error):
        await store.replay(None, "hook", session_id, after)
    with pytest.raises(NotFound):
        await store.replay(None, "other", "a", "0-0")


async def test_a_webhook_that_is_removed_sends_no_more_and_leaves_nothing(put, store, author, receiver, sending, shard):
    await put()
    await author.begin("a")
    await author.write("a")
    await receiver.until(lambda r: r.accepted)
    task = sending._running["/hook"]

    await store.delete(None, "hook")
    await task

    assert not [key async for key in shard._link.redis.scan_iter(match=f"{shard.settings.prefix}:webhook*")]
    with pytest.raises(NotFound):
        await store.get(None, "hook")
    with pytest.raises(NotFound):
        await store.delete(None, "hook")


async def test_a_changed_webhook_sends_as_it_is_now(put, store, author, receiver, sending):
    other = await Receiver().start()
    await put(prefix="a")
    await author.begin("a1", "b1")
    await author.write("a1", 2)
    await author.write("b1", 2)
    await receiver.until(lambda r: len(r.accepted) == 2)

    stored = await put(url=other.url, prefix="", secret="whsec_" + "QUJD" * 8)
    assert stored.secret == stored.webhook.secret
    other.secret = stored.secret
    await author.write("a1")
    await author.write("b1")
    await other.until(lambda r: len(r.accepted) == 2)

    assert sorted(other.accepted) == [("a1", 3), ("b1", 3)]
    assert len(receiver.requests) == 2
    await other.stop()


async def test_a_replaced_webhook_misses_nothing_of_sessions_that_it_had(
    put, author, receiver, shard, settings, addresses
):
    await put()
    await author.begin("a")
    await author.write("a", 3)
    await put(events=["output", "error"])
    async with WebhookSenders(shard._link, settings, addresses):
        await receiver.until(lambda r: len(r.accepted) == 3)

    assert receiver.of("a") == [1, 2, 3]


async def test_a_session_with_the_id_of_a_purged_one_is_sent_from_its_first_event(
    put, author, receiver, sending, shard
):
    await put()
    await author.begin("a")
    await author.write("a", 3)
    await receiver.until(lambda r: len(r.accepted) == 3)
    claim, _ = author.claims["a"]
    await author.scripts.release(claim, "w")
    await author.scripts.close("a")
    assert await author.scripts.purge("a")
    await asyncio.sleep(0.002)  # the times of creation differ in ms
    await author.begin("a")
    await author.write("a", 2)

    def outputs(r):  # a delivery that the purge has overtaken reports that events are missing
        return [each.place[1] for each in r.requests if each.message["type"] == "output"]

    await receiver.until(lambda r: len(outputs(r)) == 5)
    assert outputs(receiver) == [1, 2, 3, 1, 2]


async def test_events_that_retention_has_removed_are_reported(put, author, receiver, shard, settings, addresses):
    await put()
    await author.begin("a")
    await author.write("a", 5)
    await shard._link.redis.xtrim(shard._link.keys.events("a"), maxlen=2, approximate=False)
    async with WebhookSenders(shard._link, settings, addresses):
        await receiver.until(lambda r: len(r.accepted) == 3)

    kinds = [(each.message["type"], each.place[1]) for each in receiver.requests]
    assert kinds == [("events.trimmed", 3), ("output", 4), ("output", 5)]


async def test_events_that_redis_has_lost_are_reported(put, author, receiver, shard, settings, addresses, store):
    await put()
    await author.begin("a")
    await author.write("a", 2)
    key = shard._link.keys.webhook_cursors("/hook")
    created = await shard._link.redis.hget(shard._link.keys.session("a"), "created_at")
    await shard._link.redis.hset(key, "a", b"7:" + created)
    async with WebhookSenders(shard._link, settings, addresses):
        await receiver.until(lambda r: r.accepted)
        await author.write("a")
        await receiver.until(lambda r: len(r.accepted) == 2)

    assert [(each.message["type"], each.place[1]) for each in receiver.requests] == [("events.reset", 2), ("output", 3)]


async def test_many_events_that_are_not_sent_move_the_cursor(put, author, shard, settings, addresses, eventually):
    await put(events=["error"])
    await author.begin("a")
    for _ in range(3):
        await author.write("a", 1000)
    created = int(await shard._link.redis.hget(shard._link.keys.session("a"), "created_at"))

    async def has_come_to_the_end():
        stored = await shard._link.redis.hget(shard._link.keys.webhook_cursors("/hook"), "a")
        return read_cursor(stored, created) == 3000

    async with WebhookSenders(shard._link, settings, addresses):
        await eventually(has_come_to_the_end)


async def test_cursors_of_purged_sessions_are_removed(put, author, receiver, sending, shard, eventually, monkeypatch):
    monkeypatch.setattr(sender, "SPARE_CURSORS", 2)
    monkeypatch.setattr(sender, "CLEAN_SECONDS", 0)
    await put()
    cursors = shard._link.keys.webhook_cursors("/hook")
    await shard._link.redis.hset(cursors, mapping={f"gone-{number}": "1:1" for number in range(1500)})
    await author.begin("a")
    await author.write("a")
    await receiver.until(lambda r: r.accepted)

    async def are_gone():
        return await shard._link.redis.hkeys(cursors) == [b"a"]

    await eventually(are_gone)


async def test_webhooks_are_bounded_and_listed_by_tenant(put, store, monkeypatch, shard):
    monkeypatch.setattr("skep.gateway.webhooks.store.MOST_OF_TENANT", 2)
    await put("b", tenant="acme")
    await put("a", tenant="acme")
    await put("a", tenant="beta")
    with pytest.raises(InvalidArgument, match="2 webhooks already"):
        await put("c", tenant="acme")
    await put("b", tenant="acme", events=["*"])

    assert [state.webhook.name for state in await store.list("acme")] == ["a", "b"]
    assert [state.webhook.tenant for state in await store.list("beta")] == ["beta"]
    assert await store.list(None) == []
    with pytest.raises(NotFound):
        await store.get("beta", "b")
    with pytest.raises(NotFound):
        await store.delete("beta", "b")
    state = await store.get("acme", "b")
    assert state.webhook.secret not in json.dumps(state.as_record())
    assert state.webhook.secret not in repr(state)


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/", "https://localhost/x", "https://10.1.2.3/", "https://169.254.169.254/latest/meta-data",
        "https://[::1]/", "https://[::ffff:127.0.0.1]/", "https://2130706433/", "https://0x7f.1/", "https://0/",
        "https://[fe80::1]/", "https://100.100.100.200/", "http://1.1.1.1/", "https://name.invalid/",
    ],
)  # fmt: skip
async def test_a_url_that_leads_to_a_private_address_is_refused_and_nothing_is_written(shard, url):
    with Addresses(()) as addresses:
        store = WebhookStore(shard._link, addresses)
        with pytest.raises(InvalidArgument) as caught:
            await store.put(None, "hook", WebhookSpec.checked({"url": url, "events": ["*"]}))

    assert caught.value.field == "url"
    assert not [key async for key in shard._link.redis.scan_iter(match=f"{shard.settings.prefix}:webhook*")]


async def test_a_name_that_leads_elsewhere_when_it_is_connected_to_is_refused(
    put, store, author, receiver, sending, monkeypatch, shard
):
    await put()
    await author.begin("a")
    await author.write("a")
    await receiver.until(lambda r: r.accepted)
    before = receiver.connections
    rebound = await Receiver().start()
    leads_to = iter(["127.0.0.1"])

    def getaddrinfo(host, port, **_):
        assert host == "rebinding.example"
        return [(2, 1, 6, "", (next(leads_to, "192.168.7.7"), port))]

    monkeypatch.setattr("socket.getaddrinfo", getaddrinfo)
    await put(url=f"http://rebinding.example:{rebound.port}/")
    await author.write("a")
    state = await state_of(store, lambda state: state.failing)

    assert state.failures["a"].reason == "AddressRefused: rebinding.example leads to a private address"
    assert (receiver.connections, rebound.connections) == (before, 0)
    await rebound.stop()


CERTIFICATE = Path(__file__).parents[1] / "data" / "localhost.pem"


@pytest.mark.parametrize("is_trusted", [True, False])
async def test_the_certificate_of_a_receiver_is_checked_for_its_name(
    put, store, author, shard, settings, is_trusted, monkeypatch
):
    if is_trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(CERTIFICATE)
    receiver = await Receiver(tls=tls).start()
    receiver.secret = (await put(url=receiver.url)).secret
    await author.begin("a")
    await author.write("a")

    async with WebhookSenders(shard._link, settings, store._addresses):
        if is_trusted:
            await receiver.until(lambda r: r.accepted)
        else:
            state = await state_of(store, lambda state: state.failing)
            assert "certificate verify failed" in state.failures["a"].reason.lower().replace("_", " ")
            assert not receiver.requests
    await receiver.stop()


async def test_cells_of_a_real_worker_arrive(shard, start_worker, put, receiver, sending):
    await start_worker()
    await put(events=["cell.finished"])
    session = shard.session("real")
    for number in range(3):
        assert (await session.run(f"print({number}); {number}")).ok

    await receiver.until(lambda r: len(r.accepted) == 3)

    data = [each.message["data"] for each in receiver.requests]
    assert [(each["kind"], each["seq"], each["status"]) for each in data] == [
        ("cell.finished", seq, "finished") for seq in (1, 2, 3)
    ]
