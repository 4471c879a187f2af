"""A session's code finds nothing of the worker's Redis connection, secrets or libraries in its process."""

import pytest

import skep

pytestmark = [pytest.mark.anyio, pytest.mark.real_start]

SECRETS = {"AWS_SECRET_ACCESS_KEY": "aws-0f3c", "DATABASE_URL": "postgres://u:db-77aa@h/x", "TOKEN": "token-5e5e"}


@pytest.fixture
async def session(shard, run_logged):
    """A session on a worker whose environment is full of secrets."""
    settings = shard.settings
    worker = await run_logged(
        "-m", "skep_workers", SKEP_REDIS_URL=settings.redis_url, SKEP_PREFIX=settings.prefix, **SECRETS
    )
    await worker.says("worker.ready")
    return shard.session("s")


def secrets_of(shard):
    """Return the texts that must not be found."""
    return [
        *SECRETS.values(),
        shard.settings.redis_url,
        shard.settings.redis_url.removeprefix("unix://").partition("?")[0],
    ]


@pytest.mark.parametrize(
    "code",
    [
        "import os; sorted(os.environ.items())",
        "[line.decode() for line in open('/proc/self/environ', 'rb').read().split(b'\\0')]",
        "import os; [line.decode() for line in open(f'/proc/{os.getppid()}/environ', 'rb').read().split(b'\\0')]",
        "import subprocess; subprocess.run('env', capture_output=True, text=True).stdout",
        "[open(f'/proc/{pid}/cmdline').read() for pid in ('self', __import__('os').getppid())]",
    ],
    ids=["os.environ", "own process", "zygote", "child", "command lines"],
)
async def test_no_secret_is_found_in(shard, session, code):
    found = str((await session.run(code)).value)

    assert found
    assert "SKEP_" not in found
    assert not [secret for secret in secrets_of(shard) if secret in found]


async def test_the_environment_is_an_allow_list(session):
    names = (await session.run("import os; set(os.environ) and sorted(os.environ)")).value

    allowed = {"PATH", "HOME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "USER", "LOGNAME", "MPLBACKEND", "PYTHONUTF8"}
    allowed.add("VIRTUAL_ENV")  # the directory of the session's packages
    assert {name for name in names if not name.startswith("LC_")} <= allowed
    assert "PATH" in names


async def test_a_variable_that_the_operator_passes_is_in_the_environment(shard, run_logged):
    settings = shard.settings
    worker = await run_logged(
        "-m", "skep_workers", "--redis", settings.redis_url, "--prefix", settings.prefix, "--pass-env", "WANTED",
        WANTED="yes", TOKEN="no",
    )  # fmt: skip
    await worker.says("worker.ready")

    code = "import os; (os.environ.get('WANTED'), os.environ.get('TOKEN'))"
    assert (await shard.session("s").run(code)).value == ("yes", None)


async def test_no_connection_of_the_worker_is_among_the_open_files(shard, session):
    code = """
import os, socket, stat
found = []
for name in os.listdir("/proc/self/fd"):
    try:
        target, mode = os.readlink(f"/proc/self/fd/{name}"), os.fstat(int(name)).st_mode
    except OSError:
        continue  # the descriptor that listdir had
    if stat.S_ISSOCK(mode):
        with socket.socket(fileno=os.dup(int(name))) as sock:
            target = f"socket of {sock.getpeername()!r}, {sock.getsockname()!r}"
    found.append(target)
sorted(found)
"""
    files = (await session.run(code)).value

    unnamed = ("socket of '', ''", "socket of b'', b''")  # both ends of a socketpair
    own = [
        name
        for name in files
        if name in unnamed or name.startswith(("pipe:", "anon_inode:", "/dev/null", "/memfd:skep-"))
    ]
    assert files == own


async def test_no_object_holds_the_redis_url(shard, session):
    code = """
import gc
wanted = [text[::-1] for text in reversed_texts]
own = {id(text) for text in wanted}
found = set()
for holder in gc.get_objects():
    for thing in gc.get_referents(holder):
        if isinstance(thing, (str, bytes)) and id(thing) not in own:
            text = thing if isinstance(thing, str) else thing.decode("latin-1")
            found.update(each for each in wanted if each in text)
sorted(found)
"""
    outcome = await session.run(code, inputs={"reversed_texts": [secret[::-1] for secret in secrets_of(shard)]})

    assert outcome.value == []


async def test_a_fresh_session_has_none_of_the_hosts_libraries(session):
    code = "import sys; sorted({name.partition('.')[0] for name in sys.modules})"
    modules = (await session.run(code)).value

    assert not {"redis", "arq", "pydantic", "pydantic_settings", "structlog", "typer", "rich", "uvloop", "skep"} & set(
        modules
    )


async def test_a_preloaded_library_is_there_at_once(shard, start_worker):
    await start_worker("--preload", "colorsys")

    assert (await shard.session("s").run("import sys; 'colorsys' in sys.modules")).value is True


async def test_a_library_that_can_not_be_preloaded_stops_the_worker(run_logged, shard):
    worker = await run_logged("-m", "skep_workers", "--redis", shard.settings.redis_url, "--preload", "no_such_library")

    assert await worker.exit_status() == 1
    assert "no_such_library" in "\n".join(worker.lines)


async def test_sessions_have_directories_of_their_own(shard, session):
    other = shard.session("other")
    first = (await session.run("import os; open('mine', 'w').close(); os.getcwd()")).value

    assert (await other.run("import os; (os.getcwd(), os.listdir())")).value == (f"{first.removesuffix('s')}other", [])


async def test_sessions_share_no_names(shard, session):
    await session.run("mine = 1")

    assert (await shard.session("other").run("'mine' in globals()")).value is False


async def test_the_namespace_is_that_of_the_main_module(session):
    outcome = await session.run("import sys; x = 5; (sys.modules['__main__'].x, __name__, sys.argv)")

    assert outcome.value == (5, "__main__", [""])
    assert outcome.status is skep.CellStatus.FINISHED
