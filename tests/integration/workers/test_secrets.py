"""Nothing secret is where a session's code, a log, an event or an error text could show it.

The secrets of these tests share a form, so that memory can be searched for them by a pattern that is none of them.
"""

import secrets

import pytest

import skep
from skep_shared.settings import Settings

pytestmark = [pytest.mark.anyio, pytest.mark.real_start, pytest.mark.timeout(90)]

NAMES = ("redis", "signing", "s3-key", "s3-secret")
SEARCH = r"""
import os, re
form = re.compile(rb"[q]z[0-9a-f]{48}z[q]")
def found_in_memory(pid):
    found = set()
    try:
        open(f"/proc/{pid}/mem", "rb", buffering=0).close()
    except OSError:  # in a sandbox
        return []
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            place, mode, *rest = line.split()
            if "r" not in mode or rest[-1] in ("[vvar]", "[vsyscall]", "[vvar_vclock]"):
                continue
            start, end = (int(part, 16) for part in place.split("-"))
            try:
                memory.seek(start)
                found.update(form.findall(memory.read(end - start)))
            except (OSError, ValueError):
                continue
    return sorted(found)
"""


@pytest.fixture
def marked():
    """The secrets, by name."""
    return {name: f"qz{secrets.token_hex(24)}zq" for name in NAMES}


@pytest.fixture
async def site(own_redis_server, own_redis, marked, run_logged, tmp_path):
    """A worker that has all the secrets, and the settings of a client of it."""
    await own_redis.execute_command("ACL", "SETUSER", "u", "on", f">{marked['redis']}", "~*", "&*", "+@all")
    place = own_redis_server.url.partition("?")[0]
    url = f"{place}?username=u&password={marked['redis']}"
    settings = Settings.load(redis_url=url, signing_key=marked["signing"])
    worker = await run_logged(
        "-m", "skep_workers", SKEP_REDIS_URL=url, SKEP_SIGNING_KEY=marked["signing"],
        SKEP_CHECKPOINT_STORE=f"file://{tmp_path}/store", AWS_ACCESS_KEY_ID=marked["s3-key"],
        AWS_SECRET_ACCESS_KEY=marked["s3-secret"],
    )  # fmt: skip
    await worker.says("worker.ready")
    return worker, settings


def any_of(marked, text):
    """Return the names of the secrets that occur in a text."""
    return [name for name, secret in marked.items() if secret in str(text)]


async def test_a_session_finds_no_secret_in_its_processes(site, marked):
    _, settings = site
    async with skep.connect(settings=settings) as cluster:
        session = cluster.session("s")
        await session.run(SEARCH)
        shown = """
shown = []
for pid in (os.getpid(), os.getppid()):
    try:
        shown += [open(f"/proc/{pid}/{name}", "rb").read() for name in ("cmdline", "environ")]
        shown += [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd") if os.path.lexists(f"/proc/{pid}/fd/{fd}")]
    except OSError:  # in a sandbox
        shown.append(f"process {pid} is hidden")
repr(shown)
"""
        told = (await session.run(shown)).value
        assert told
        assert not any_of(marked, told)
        assert (await session.run("found_in_memory(os.getpid())")).value == []
        assert (await session.run("found_in_memory(os.getppid())")).value == []
        # The search does find one that is there.
        kept = "kept = ('q' + 'z' + 'ab' * 24 + 'z' + 'q').encode(); len(found_in_memory(os.getpid()))"
        assert (await session.run(kept)).value == 1


async def test_no_log_event_or_error_shows_a_secret(site, marked):
    worker, settings = site
    texts = []
    async with skep.connect(settings=settings) as cluster:
        session = cluster.session("s")
        await session.run("x = 1 / 0")
        await session.run("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
        await session.run("1")
        texts += [event.model_dump_json() async for event in session.events()]
        texts += [repr(cluster.settings), repr(session), repr(cluster)]
    wrong = settings.model_copy(update={"signing_key": Settings.load(signing_key="w" * 32).signing_key})
    async with skep.connect(settings=wrong) as cluster:
        refused = await cluster.session("s").run("1")
        texts.append(refused.model_dump_json() if hasattr(refused, "model_dump_json") else repr(refused))
        with pytest.raises(skep.SignatureRefused) as caught:
            await cluster.session("s").variables()
        texts += [str(caught.value), repr(caught.value)]
    gone = settings.model_copy(update={"redis_url": settings.redis_url.replace("redis.sock", "no.sock")})
    with pytest.raises(skep.RedisUnavailable) as unreachable:
        async with skep.connect(settings=gone):
            pass
    texts += [str(unreachable.value), repr(unreachable.value.args)]
    texts += worker.lines

    assert [text for text in texts if any_of(marked, text)] == []
    assert any("signature.refused" in line for line in worker.lines)


async def test_a_secret_setting_is_no_flag(run_logged):
    worker = await run_logged("-m", "skep_workers", "--signing-key", "k" * 40)

    assert await worker.exit_status() == 2
