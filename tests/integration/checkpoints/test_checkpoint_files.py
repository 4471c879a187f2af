"""Files below a session's directory, and recipes: saved with the namespace, and restored by any restore."""

from contextlib import aclosing

import pytest

import skep

pytestmark = pytest.mark.anyio

KILL = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"

TREE = """
import hashlib, os, stat
def tree(top="."):
    found = {}
    for directory, subdirectories, files in os.walk(top):
        for name in subdirectories + files:
            path = os.path.join(directory, name)
            status = os.lstat(path)
            if stat.S_ISLNK(status.st_mode):
                what = os.readlink(path)
            elif stat.S_ISREG(status.st_mode):
                with open(path, "rb") as file:
                    what = (hashlib.sha256(file.read()).hexdigest(), status.st_mtime_ns, stat.S_IMODE(status.st_mode))
            else:
                what = "directory"
            found[path] = what
    return found
"""


async def crash(session):
    assert (await session.run(KILL)).status is skep.CellStatus.CRASHED


async def partial(session):
    """Wait for the event that reports what a checkpoint could not save."""
    async with aclosing(session.events(follow=True)) as events:
        async for event in events:
            if event.kind == "checkpoint.partial":
                return event
    raise AssertionError("the session was closed")


async def test_files_directories_and_links_are_restored(session):
    await session.run(TREE)
    before = await session.run(
        "os.makedirs('a/b/empty')\n"
        "open('a/text', 'w').write('héllo')\n"
        "open('a/b/large', 'wb').write(os.urandom(3_000_000))\n"
        "open('nothing', 'w').close()\n"
        "open('script.sh', 'w').write('exit 3'); os.chmod('script.sh', 0o750); os.utime('script.sh', (1, 2))\n"
        "os.symlink('a/text', 'link'); os.symlink('/etc/passwd', 'outside'); os.symlink('nowhere', 'dangling')\n"
        "tree()"
    )
    await crash(session)

    assert (await session.run("tree()")).value == before.value
    assert (await session.run("os.system('./script.sh') >> 8, open('link').read()")).value == (3, "héllo")


async def test_files_that_a_crashed_cell_wrote_are_undone(session):
    await session.run("open('kept', 'w').write('1'); open('removed', 'w').write('2');")
    await session.run(
        f"open('kept', 'w').write('changed'); open('new', 'w').write('3'); import os; os.remove('removed')\n{KILL}"
    )

    assert (await session.run("import os; sorted(os.listdir()), open('kept').read()")).value == (
        ["kept", "removed"],
        "1",
    )


async def test_a_change_that_keeps_size_and_times_of_a_file_is_noticed(session):
    await session.run("import os; open('f', 'w').write('one'); os.utime('f', ns=(5, 5));")
    await session.run("open('f', 'w').write('two'); os.utime('f', ns=(5, 5));")
    await crash(session)

    assert (await session.run("open('f').read()")).value == "two"


async def test_cells_that_write_in_quick_succession_lose_nothing(session):
    cells = await session.submit_many([f"open('f', 'w').write('{number:03}');" for number in range(50)])
    await cells[-1].outcome()
    await crash(session)

    assert (await session.run("open('f').read()")).value == "049"


async def test_only_the_changed_part_of_a_file_is_stored(session, cluster):
    async def stored_bytes():
        key = cluster._link.keys.blobs(session.id)
        return sum(map(len, (await cluster._link.redis.hgetall(key)).values()))

    await session.run("import os; open('f', 'wb').write(os.urandom(20_000_000));")
    first = await stored_bytes()
    await session.run("f = open('f', 'r+b'); f.seek(11_000_000); f.write(b'x'); f.close(); del f")

    assert 20_000_000 <= first <= 21_000_000
    assert await stored_bytes() - first < 600_000


async def test_files_beyond_the_quota_are_reported_and_the_others_saved(session):
    await session.run(
        "open('small', 'w').write('1'); f = open('large', 'wb'); f.truncate(100 * 1024 * 1024); f.close(); del f"
    )
    lost = (await partial(session)).lost
    assert list(lost) == ["./large"]
    assert "quota of 67108864 bytes" in lost["./large"]
    await crash(session)

    assert (await session.run("import os; os.listdir()")).value == ["small"]


async def test_special_files_are_reported(session):
    await session.run(
        "import os, socket; os.mkfifo('fifo'); s = socket.socket(socket.AF_UNIX); s.bind('s'); s.close(); del s, socket"
    )

    assert set((await partial(session)).lost) == {"./fifo", "./s"}


async def test_undecodable_names_and_disappearing_directories_do_no_harm(session):
    await session.run("import os; os.mkdir('d'); open(b'd/\\xff', 'w').write('odd'); os.chdir('d');")
    await crash(session)
    assert (await session.run("os.path.basename(os.getcwd()), open(b'\\xff').read()")).value == ("d", "odd")

    assert (
        await session.run("import shutil; os.chdir('/'); shutil.rmtree(os.path.expandvars('/nonexistent'), True)")
    ).ok
    assert (await session.run("1")).value == 1


async def test_removing_the_directory_costs_only_the_files(session):
    await session.run("import os, shutil; open('f', 'w').close(); x = 1; shutil.rmtree(os.getcwd())")
    await crash(session)

    assert (await session.run("x, os.listdir()")).value == (1, [])


async def test_forks_and_rollbacks_restore_the_files(session):
    await session.run("open('f', 'w').write('one');")
    first = [checkpoint.id async for checkpoint in session.checkpoints()][-1]
    await session.run("open('f', 'w').write('two');")
    fork = await session.fork(f"{session.id}-fork")
    await session.rollback(first)

    assert (await session.run("open('f').read()")).value == "one"
    assert (await fork.run("open('f').read()")).value == "two"


RECIPE = """
import sqlite3
def connect():
    connection = sqlite3.connect("data.db")
    connection.execute("create table if not exists t (x)")
    return connection
db = connect()
db.execute("insert into t values (42)"); db.commit()
skep_restore("db", connect)
"""


async def test_a_recipe_opens_a_connection_again(session):
    await session.run(RECIPE)
    await crash(session)

    assert (await session.run("db.execute('select x from t').fetchall()")).value == [(42,)]
    assert not [event async for event in session.events() if event.kind == "checkpoint.partial"]


async def test_a_recipe_outlives_several_restores_and_sees_the_other_variables(session):
    await session.run(
        "from threading import Lock\nmade = 0\ndef make():\n    global made\n    made += 1\n    return Lock()"
    )
    await session.run("lock = make(); skep_restore('lock', make)")
    for _ in range(3):
        await crash(session)
        await session.run("lock.acquire()")

    assert (await session.run("made, lock.locked()")).value == (4, True)


async def test_a_recipe_that_fails_costs_its_variable_only_with_the_reason(session):
    await session.run("x = 1; lock = 2; skep_restore('lock', lambda: 1 / 0)")
    await crash(session)

    outcome = await session.run("x, lock")
    assert "its recipe raised ZeroDivisionError" in outcome.error.evalue
    assert (await session.run("x")).value == 1


async def test_a_recipe_can_be_removed_and_a_deleted_variable_needs_none(session):
    await session.run("x = 1; y = 2; skep_restore('x', lambda: 'made'); skep_restore('y', lambda: 'made'); z = 3")
    await session.run("skep_restore('x', None); del y")
    await crash(session)

    assert (await session.run("x, 'y' in globals()")).value == (1, False)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("skep_restore(1, print)", "ValueError"),
        ("skep_restore('a b', print)", "ValueError"),
        ("skep_restore('a', 1)", "TypeError"),
    ],
)
async def test_an_invalid_recipe_is_refused(session, call, error):
    assert (await session.run(call)).error.ename == error
