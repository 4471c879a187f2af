"""Workers with a signing key run, carry out and restore only what a holder of the key has signed."""

import contextlib
import secrets

import pytest
from arq import create_pool
from arq.connections import RedisSettings

import skep
from skep_shared.broker.activation import pack_job, unpack_job
from skep_shared.chunks.stored_manifest import MANIFEST_FIELD
from skep_shared.settings import Settings, WorkerSettings
from skep_shared.signing import SEAL, SEAL_BYTES, Signer
from skep_workers.host.maintenance.sessions import SessionUpkeep

pytestmark = [pytest.mark.anyio, pytest.mark.real_start]

KEY, OLDER, OTHER = (name * 16 for name in ("key1", "key2", "key3"))
KILL = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"


@pytest.fixture
def client_settings():
    """The test's own client signs with the first of the workers' keys."""
    return {"signing_key": KEY}


@pytest.fixture
async def start_signed(shard, run_logged):
    """Return a function that starts a worker with these keys, from the environment."""

    async def start(keys=f"{KEY},{OLDER}"):
        settings = shard.settings
        worker = await run_logged(
            "-m", "skep_workers", "--lease-seconds", "1", SKEP_REDIS_URL=settings.redis_url,
            SKEP_PREFIX=settings.prefix, **({"SKEP_SIGNING_KEY": keys} if keys else {}),
        )  # fmt: skip
        await worker.says("worker.ready")
        return worker

    return start


@pytest.fixture
async def client_with(shard):
    """Return a function that opens another client of the shard, with another key."""
    async with contextlib.AsyncExitStack() as stack:

        async def connect(key):
            settings = Settings.load(
                redis_url=shard.settings.redis_url, prefix=shard.settings.prefix, signing_key=key or None
            )
            return await stack.enter_async_context(skep.connect(settings=settings))

        yield connect


async def test_everything_works_with_a_key(shard, start_signed, first_output, gate):
    worker = await start_signed()
    session = shard.session("s")

    assert (await session.run("x = 41; x + 1")).value == 42
    assert [cell.id for cell in await session.submit_many(["1", "2"])]
    assert (await (await session.submit("x", defer_by=0.01, labels={"a": "b"}, timeout=9.5)).outcome()).value == 41
    assert (await (await session.submit("y", defer_by=0.01, inputs={"y": (1, [2], 2**70)})).outcome()).value == (
        1,
        [2],
        2**70,
    )
    for data in (b"d" * 3_000_000, SEAL + b"d" * 3_000_000):  # a file may begin like a signature
        await session.files.put("f", data)
        assert await session.files.get("f") == data
    assert "x" in {variable.name for variable in await session.variables()}
    running = await session.submit(f"print('on', flush=True); {gate.wait}")
    await first_output(running)
    later = await session.submit("z = 1")
    assert await later.cancel()
    assert await session.interrupt()
    assert (await running.outcome()).status == "interrupted"
    assert (await later.outcome()).status == "cancelled"
    asking = await session.submit("print('on', flush=True); input()")
    async with contextlib.aclosing(asking.events()) as events:
        async for event in events:
            if event.kind == "input.requested":
                assert await session.answer("yes")
                break
    assert (await asking.outcome()).value == "yes"
    [*checkpoints] = [checkpoint async for checkpoint in session.checkpoints()]
    await session.name_checkpoint(checkpoints[0].id, "first")
    fork = await session.fork("t", at="first")
    assert (await fork.run("x")).value == 41
    await session.rollback("first")
    await session.run(KILL)
    assert (await session.run("x")).value == 41
    await session.hibernate()
    assert (await session.run("x")).value == 41
    await session.close(purge=True)
    assert (await fork.run(KILL)).status == "crashed"
    assert (await fork.run("x")).value == 41
    await fork.close(purge=True)
    assert not [line for line in worker.lines if "signature.refused" in line]


@pytest.mark.parametrize("key", ["", OTHER], ids=["without a key", "with another key"])
async def test_a_client(shard, start_signed, client_with, key, first_output, gate):
    await start_signed()
    theirs = (await client_with(key)).session("s")
    assert (await shard.session("s").run("x = 1; x")).value == 1

    outcome = await theirs.run("x = 2")
    assert (outcome.status, outcome.error.ename) == ("failed", "SignatureRefused")
    assert "SKEP_SIGNING_KEY" in outcome.error.evalue
    later = await theirs.submit("x = 3", defer_by=0.01)
    assert (await later.outcome()).error.ename == "SignatureRefused"
    [checkpoint, *_] = [checkpoint async for checkpoint in theirs.checkpoints()]
    running = await shard.session("s").submit(f"print('on', flush=True); {gate.wait}; x")
    await first_output(running)
    for call in (
        theirs.variables, theirs.hibernate, theirs.interrupt, theirs.close, lambda: theirs.answer("y"),
        theirs.cell(running.id).interrupt, theirs.cell(running.id).cancel,
        lambda: theirs.rollback(checkpoint.id), lambda: theirs.files.put("f", b"x"),
    ):  # fmt: skip
        with pytest.raises(skep.SignatureRefused, match="SKEP_SIGNING_KEY"):
            await call()
    gate.open()

    assert (await running.outcome()).value == 1
    assert (await shard.session("s").info()).state == "open"


async def test_workers_without_a_key_ignore_signatures(shard, start_signed, client_with):
    signed, plain = shard.session("s"), (await client_with("")).session("s")
    worker = await start_signed(keys="")

    assert (await signed.run("x = 1; x")).value == 1
    assert (await plain.run("x")).value == 1
    for data in (b"data", SEAL + b"data"):  # a file may begin like a signature
        await signed.files.put("f", data)
        assert await plain.files.get("f") == data
    with pytest.raises(skep.SignatureRefused, match="it is not signed"):
        await signed.fork("t")  # a client with a key signs no checkpoint for a worker without one
    fork = await plain.fork("t")
    await worker.kill()
    await start_signed(keys="")
    assert (await fork.run("x")).value == 1
    await signed.close()


async def test_a_key_is_rotated_without_a_pause(shard, start_signed, client_with):
    first = await start_signed(keys=KEY)
    session = shard.session("s")
    await session.run("x = 1")
    await first.kill()
    await start_signed(keys=f"{OLDER},{KEY}")

    assert (await session.run("x")).value == 1
    assert (await (await client_with(f"{OLDER},{KEY}")).session("s").run("x = x + 1; x")).value == 2


async def replace_manifest(shard, session, change):
    """Change the stored manifest of the session's latest checkpoint."""
    redis, key = shard._link.redis, shard._link.keys.checkpoints(session.id)
    [*_, (entry_id, fields)] = await redis.xrange(key)
    before = [(other, stored) for other, stored in await redis.xrange(key) if other != entry_id]
    await redis.delete(key)
    for other, stored in before:
        await redis.xadd(key, stored, id=other)
    await redis.xadd(key, {MANIFEST_FIELD: change(fields[MANIFEST_FIELD])}, id=entry_id)


@pytest.mark.parametrize(
    "change",
    [
        lambda stored: stored[SEAL_BYTES:],
        lambda stored: stored[:-1] + bytes([stored[-1] ^ 1]),
        lambda stored: Signer([OTHER], "t").seal("manifest", "s", "1-0", stored[SEAL_BYTES:]),
    ],
    ids=["unsigned", "changed", "by another key"],
)
async def test_a_manifest_whose_signature_fails_is_not_restored(shard, start_signed, change):
    worker = await start_signed()
    session = shard.session("s")
    await session.run("x = 1")
    await session.hibernate()
    await replace_manifest(shard, session, change)

    assert (await session.run("'x' in globals()")).value is False
    [told] = [event async for event in session.events() if getattr(event, "category", "") == "checkpoint.damaged"]
    assert "manifest '1-0' of session 's' is refused" in told.message
    with pytest.raises(skep.SignatureRefused, match="manifest '1-0'"):
        await session.fork("t", at="1-0")
    assert [line for line in worker.lines if "checkpoint.unreadable" in line]


async def test_a_chunk_that_was_replaced_is_not_unpickled(shard, start_signed):
    await start_signed()
    session = shard.session("s")
    await session.run("x = 1")
    await session.hibernate()
    key = shard._link.keys.blobs("s")
    for name, stored in (await shard._link.redis.hgetall(key)).items():
        await shard._link.redis.hset(key, name, stored[:-1] + bytes([stored[-1] ^ 1]))

    assert (await session.run("'x' in globals()")).value is False
    assert [event async for event in session.events() if getattr(event, "category", "") == "checkpoint.damaged"]


async def test_a_name_that_was_moved_leads_nowhere(shard, start_signed):
    await start_signed()
    session = shard.session("s")
    await session.run("x = 1")
    await session.run("x = 2")
    await session.name_checkpoint("2-0", "good")
    await shard._link.redis.hset(shard._link.keys.names("s"), "good", "1")

    for call in (lambda: session.rollback("good"), lambda: session.fork("t", at="good")):
        with pytest.raises(skep.SignatureRefused, match="name 'good' of session 's'"):
            await call()


async def test_a_cell_of_one_session_does_not_run_in_another(shard, start_signed):
    await start_signed()
    redis, keys = shard._link.redis, shard._link.keys
    await (await shard.session("s").submit("x = 1", cell_id="c")).outcome()
    stolen = Signer([KEY], shard.settings.prefix).seal("cell", "s", "c", b"\x81\xa4code\xa91 / 0 * 99")
    await shard.session("t").run("1")
    scripts = shard._link.scripts
    scripts.signer, signer = None, scripts.signer
    await scripts.submit("t", [("c", stolen)], max_pending=9)
    scripts.signer = signer

    outcome = await shard.cell("t", "c").outcome()
    assert (outcome.status, outcome.error.ename) == ("failed", "SignatureRefused")
    assert await redis.exists(keys.session("t"))


async def test_a_session_that_someone_marks_as_closing_continues(shard, start_signed, eventually):
    worker = await start_signed()
    session = shard.session("s")
    await session.run("x = 1")
    redis, key = shard._link.redis, shard._link.keys.session("s")
    owner = (await redis.hget(key, "owner")).decode()
    await redis.hset(key, "state", "closing")
    await redis.xadd(shard._link.keys.mailbox(owner), {"k": "close", "s": "s", "q": "0"})

    async def is_open():
        return await redis.hget(key, "state") == b"open"

    await eventually(is_open)
    assert (await session.run("x")).value == 1
    [told] = [event async for event in session.events() if getattr(event, "category", "") == "signature.refused"]
    assert "close of session 's'" in told.message
    assert [line for line in worker.lines if "signature.refused" in line]


async def test_an_unsigned_close_and_interrupt_that_wait_for_an_owner_are_refused(shard, start_signed, client_with):
    theirs = (await client_with("")).session("s")
    cell = await shard.session("s").submit("6 * 7")
    assert await theirs.cell(cell.id).interrupt()
    with pytest.raises(skep.WaitTimeout):
        await theirs.close(timeout=0.01)
    await start_signed()

    assert (await cell.outcome()).value == 42
    assert (await shard.session("s").run("6 * 7")).value == 42


async def test_a_job_of_plain_arq_is_signed_by_a_function(shard, start_signed):
    await start_signed()
    path = shard.settings.redis_url.removeprefix("unix://").partition("?")[0]
    pool = await create_pool(
        RedisSettings(unix_socket_path=path), job_serializer=pack_job, job_deserializer=unpack_job,
        default_queue_name=f"{shard.settings.prefix}:arq",
    )  # fmt: skip
    options = {"inputs": {"x": (1, "a")}, "timeout": 5}
    signature = skep.sign_job("s", "x", cell_id="mine", settings=shard.settings, **options)
    signed = await pool.enqueue_job("submit_cell", "s", "x", cell_id="mine", signature=signature, **options)
    unsigned = await pool.enqueue_job("submit_cell", "s", "x", cell_id="other", **options)
    changed = await pool.enqueue_job("submit_cell", "s", "1", cell_id="mine2", signature=signature, **options)
    for job in (signed, unsigned, changed):
        await job.result(timeout=30, poll_delay=0.02)
    await pool.aclose()

    assert (await shard.cell("s", "mine").outcome()).value == [1, "a"]
    assert (await shard.cell("s", "other").outcome()).error.ename == "SignatureRefused"
    assert (await shard.cell("s", "mine2").outcome()).error.ename == "SignatureRefused"


def test_a_job_can_not_be_signed_without_a_key():
    with pytest.raises(skep.InvalidArgument, match="SKEP_SIGNING_KEY"):
        skep.sign_job("s", "1", cell_id=f"c-{secrets.token_hex(4)}")


async def test_cells_of_a_tenant_are_signed_for_the_tenant(shard, start_signed):
    await start_signed()
    settings = shard.settings.model_copy(update={"tenant": "acme"})
    async with skep.connect(settings=settings) as tenant:
        session = tenant.session("s")
        assert (await session.run("x = 1; x")).value == 1
        assert (await (await session.submit("x", defer_by=0.01)).outcome()).value == 1
        await session.name_checkpoint("1-0", "first")
        fork = await session.fork("t", at="first")
        assert (await fork.run("x")).value == 1
        await session.rollback("first")
        await session.hibernate()
        await session.close(purge=True)


async def test_options_are_changed_by_holders_of_the_key_only(shard, start_signed, client_with):
    await start_signed()
    session = shard.session("s")
    await session.run("x = 1")
    theirs = (await client_with("")).session("s")
    with pytest.raises(skep.SignatureRefused, match="update of session 's'"):
        await theirs.update(skep.SessionOptions(idle_seconds=0.1))
    assert (await session.info()).idle_seconds is None

    async with contextlib.aclosing(session.events(follow=True)) as events:
        await session.update(skep.SessionOptions(idle_seconds=0.2))
        async for event in events:
            if event.kind == "session.hibernated":
                break
    assert event.reason == "it was idle for 0.2 s"


async def test_an_update_that_someone_puts_into_the_mailbox_is_refused(shard, start_signed):
    worker = await start_signed()
    session = shard.session("s")
    await session.run("x = 1")
    redis, keys = shard._link.redis, shard._link.keys
    owner = (await redis.hget(keys.session("s"), "owner")).decode()
    await redis.xadd(keys.mailbox(owner), {"k": "update", "s": "s", "q": "0", "d": "0.1"})

    await worker.says("signature.refused", what="update of session 's'")


OPTIONS = skep.SessionOptions(env={"APP_TOKEN": "t"}, cwd="work")
TELL = "import os; (os.environ.get('APP_TOKEN'), os.path.basename(os.getcwd()))"


async def test_signed_variables_apply_also_after_an_update_and_in_forks(shard, start_signed):
    worker = await start_signed()
    session = shard.session("s", options=OPTIONS)
    assert (await session.run(TELL)).value == ("t", "work")

    await session.update(skep.SessionOptions(labels={"a": "b"}))
    await session.hibernate()
    assert (await session.run(TELL)).value == ("t", "work")
    fork = await session.fork("f")
    await session.hibernate()
    assert (await fork.run(TELL)).value == ("t", "work")
    assert not [line for line in worker.lines if "signature.refused" in line]


@pytest.mark.parametrize(
    "changes", [{"env": {"BASH_ENV": "x"}}, {"cwd": "other"}, {"packages": ("attrs",)}], ids=["env", "cwd", "packages"]
)
async def test_options_that_can_run_code_run_nothing_if_someone_else_writes_them(shard, start_signed, changes):
    await start_signed()
    session = shard.session("s")
    await session.run("x = 1")
    await session.hibernate()
    forged = skep.SessionOptions(**changes).pack()
    await shard._link.redis.hset(shard._link.keys.session("s"), "options", forged)

    outcome = await session.run("x")
    assert (outcome.status, outcome.error.ename) == ("failed", "SignatureRefused")
    assert "options of session 's' is refused" in outcome.error.evalue
    with pytest.raises(skep.OperationFailed, match="options of session 's'"):
        await session.variables()


async def test_variables_of_a_client_without_the_key_run_nothing(shard, start_signed, client_with):
    await start_signed()
    await (await client_with("")).session("s", options=OPTIONS).files._create()

    assert (await shard.session("s").run("1")).error.ename == "SignatureRefused"


async def test_an_unused_session_is_closed_by_the_upkeep_of_a_worker_with_the_key(shard, start_signed):
    await start_signed()
    session = shard.session("s", options=skep.SessionOptions(expires_in=1))
    await session.run("x = 1")
    link = shard._link
    await link.redis.hset(link.keys.session("s"), "active_at", 1)
    settings = WorkerSettings.load(redis_url=shard.settings.redis_url, prefix=shard.settings.prefix)
    await SessionUpkeep(link.redis, link.scripts, settings).run()

    kinds = [event.kind async for event in session.events(follow=True)]  # until it is closed
    assert kinds[-1] == "session.closed"
