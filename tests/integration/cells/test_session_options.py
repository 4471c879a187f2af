"""`env` and `cwd` of a session: its cells have them, whatever process they run in, and nothing shows a value."""

import secrets

import pytest

import skep

pytestmark = pytest.mark.anyio

TELL = "import os; (os.environ.get('APP_TOKEN'), os.environ.get('APP_MODE'), os.path.basename(os.getcwd()))"
TOKEN = f"a secret token ({secrets.token_hex(16)})"
OPTIONS = skep.SessionOptions(env={"APP_TOKEN": TOKEN, "APP_MODE": "test"}, cwd="work", labels={"app": "x"})
AS_GIVEN = (TOKEN, "test", "work")


@pytest.fixture
def session(cluster, log_watch):
    log_watch.note(TOKEN)
    return cluster.session(f"s-{secrets.token_hex(6)}", options=OPTIONS)


async def told(session):
    return (await session.run(TELL)).value


async def restores(session):
    return [event async for event in session.events() if event.kind == "session.restored"]


async def test_the_first_cell_has_them(session):
    assert await told(session) == AS_GIVEN


async def test_they_survive_hibernation(session):
    await session.run("x = 1")
    await session.hibernate()

    assert await told(session) == AS_GIVEN
    assert [(event.lost, event.notes) for event in await restores(session)] == [({}, [])]


async def test_they_survive_a_crash_of_the_process_before_any_checkpoint(session):
    await session.run("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", max_attempts=1)

    assert await told(session) == AS_GIVEN


async def test_they_survive_a_takeover(shard, start_worker):
    first = await start_worker()
    session = shard.session("s", options=OPTIONS)
    await session.run("x = 1")
    await first.kill()
    await start_worker()

    assert await told(session) == AS_GIVEN


async def test_they_survive_a_rollback_also_one_to_another_directory(session):
    await session.run("x = 1")
    await session.run("import os; os.chdir('..'); os.rmdir('work'); os.environ['APP_MODE'] = 'changed'")
    await session.rollback("1-0")
    assert await told(session) == AS_GIVEN

    await session.rollback("2-0")
    token, mode, directory = await told(session)
    assert (token, mode) == (TOKEN, "changed")
    assert directory != "work"


async def test_a_fork_has_them_live_or_restored(session):
    await session.run("x = 1")
    live = await session.fork(f"{session.id}-live")
    assert await told(live) == AS_GIVEN
    other = await session.fork(f"{session.id}-restored")
    await session.hibernate()
    await live.hibernate()

    assert await told(other) == AS_GIVEN
    assert await told(live) == AS_GIVEN


async def test_what_cells_change_in_them_survives_as_ever_also_in_a_fork(session):
    change = (
        "import os; os.environ['APP_MODE'] = 'changed'; del os.environ['APP_TOKEN']; os.makedirs('a'); os.chdir('a')"
    )
    await session.run(change)
    live = await session.fork(f"{session.id}-live")
    other = await session.fork(f"{session.id}-restored")

    assert await told(live) == (None, "changed", "a")
    await session.hibernate()
    assert await told(session) == (None, "changed", "a")
    await session.hibernate()
    assert await told(other) == (None, "changed", "a")


async def test_files_in_the_directory_survive_a_restore_without_a_remark(session):
    await session.run("open('data.txt', 'w').write('abc')")
    await session.hibernate()

    assert (await session.run("open('data.txt').read()")).value == "abc"
    assert (await session.files.get("work/data.txt")) == b"abc"
    assert [(event.lost, event.notes) for event in await restores(session)] == [({}, [])]


async def test_a_link_in_the_place_of_the_directory_survives_a_restore(session):
    await session.run("import os; os.mkdir('../other'); os.chdir('..'); os.rmdir('work'); os.symlink('other', 'work')")
    await session.hibernate()

    assert (await session.run("import os; os.readlink('work')")).value == "other"
    assert [(event.lost, event.notes) for event in await restores(session)] == [({}, [])]


async def test_a_file_in_the_place_of_the_directory_is_noted_and_cells_run(session):
    await session.run(
        "import os; home = os.path.dirname(os.getcwd()); os.rmdir(f'{home}/work'); open(f'{home}/work', 'w').close()"
    )
    await session.hibernate()

    assert (await session.run("os.getcwd() == home")).value is True
    [event] = await restores(session)
    assert event.lost == {}
    assert [note.partition(":")[0] for note in event.notes] == ["directory"]


async def test_a_file_that_a_service_puts_first_leads_to_the_directory(cluster):
    session = cluster.session(f"s-{secrets.token_hex(6)}", options=OPTIONS)
    await session.files.put("work/data.txt", b"abc")

    assert (await session.run("open('data.txt').read()")).value == "abc"


async def test_info_shows_names_and_no_value(session):
    await session.run("1")
    info = await session.info()

    assert (info.env, info.cwd, info.labels) == (("APP_MODE", "APP_TOKEN"), "work", {"app": "x"})
    assert TOKEN not in repr(info)
    assert TOKEN not in info.model_dump_json()


async def test_no_event_and_no_checkpoint_has_a_value(session, cluster):
    await session.run("import os; x = 1; os.environ['ADDED'] = 'y'")
    await session.hibernate()
    await session.run("x")

    redis, prefix = cluster._link.redis, cluster._link.keys.session(session.id)
    events = [event.model_dump_json() async for event in session.events()]
    assert not [text for text in events if TOKEN in text]
    for name in (":events", ":checkpoints", ":blobs"):
        assert TOKEN.encode() not in (await redis.dump(prefix + name) or b"")
    assert not [1 async for checkpoint in session.checkpoints() if TOKEN in str(checkpoint)]


async def test_no_error_has_a_value(cluster):
    bad = [
        {"env": {"APP_TOKEN": TOKEN.encode()}},
        {"env": {"APP TOKEN": TOKEN}},
        {"env": {f"APP_TOKEN={TOKEN}": ""}},
        {"env": {"APP_TOKEN": f"{TOKEN}\0"}},
        {"env": {"APP_TOKEN": TOKEN * 2000}},
        {"env": TOKEN},
        {"env": {"APP_TOKEN": TOKEN}, "colour": "red"},
    ]
    for options in bad:
        with pytest.raises(skep.InvalidArgument) as caught:
            cluster.session("s", options=skep.SessionOptions(**options))
        assert TOKEN not in f"{caught.value} {caught.value.args}", options
        assert caught.value.__cause__ is None
    assert TOKEN not in repr(OPTIONS)
