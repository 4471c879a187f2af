"""`skep update`: the options of a session that may change."""

import asyncio
import os
import subprocess

import pytest

import skep

from .commands import skep_command

pytestmark = pytest.mark.anyio


@pytest.fixture
def update(shard):
    """Return a function that runs the command for a session of the test's shard: its exit status, stdout and stderr."""

    async def call(session_id, *flags):
        settings = shard.settings
        place = ["--redis", settings.redis_url, "--prefix", settings.prefix]
        env = {name: value for name, value in os.environ.items() if not name.startswith("SKEP_")}
        process = await asyncio.create_subprocess_exec(
            *skep_command("update", session_id, *flags, *place), env=env,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate()
        return process.returncode, out.decode(), err.decode()

    return call


@pytest.fixture
async def session(shard):
    """A session with some options."""
    options = skep.SessionOptions(idle_seconds=30, labels={"app": "x", "old": "y"}, cwd="work")
    session = shard.session("s", options=options)
    await session.submit("1")
    return session


async def test_what_is_given_changes_and_the_rest_remains(session, update):
    assert await update("s", "--expires-in", "3600") == (
        0,
        "session s is closed after 3600 s without a cell\n",
        "",
    )

    info = await session.info()
    assert (info.idle_seconds, info.expires_in, info.labels, info.cwd) == (30, 3600, {"app": "x", "old": "y"}, "work")


async def test_all_of_them_change_at_once(session, update):
    flags = ("--idle-seconds", "1.5", "--expires-in", "60", "--label", "app=z", "--label", "plan=a=b")

    assert (await update("s", *flags))[1] == (
        "session s hibernates after 1.5 s without a cell; is closed after 60 s without a cell; "
        "has the labels app=z,plan=a=b\n"
    )
    info = await session.info()
    assert (info.idle_seconds, info.expires_in, info.labels) == (1.5, 60, {"app": "z", "plan": "a=b"})


async def test_zero_and_no_labels_mean_the_default_again(session, update):
    assert (await update("s", "--idle-seconds", "0", "--expires-in", "0", "--no-labels"))[1] == (
        "session s hibernates as its worker says; does not expire; has no labels\n"
    )
    info = await session.info()
    assert (info.idle_seconds, info.expires_in, info.labels) == (None, None, {})


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "what is to change is needed"),
        (("--label", "app"), "NAME=VALUE is needed"),
        (("--label", "app=x", "--no-labels"), "either --label or --no-labels, not both"),
        (("--idle-seconds", "0.01"), "idle_seconds: 0.01 is refused"),
        (("--expires-in", "-1"), "expires_in: -1.0 is refused"),
        (("--expires-in", "nan"), "expires_in: nan is refused"),
        (("--label", f"app={'x' * 201}"), "labels: "),
    ],
)
async def test_a_bad_value_is_refused(session, update, flags, message):
    status, out, err = await update("s", *flags)

    assert (status, out) == (2, "")
    assert message in err
    assert err.startswith("skep: ")
    assert (await session.info()).labels == {"app": "x", "old": "y"}


async def test_a_session_that_does_not_exist_is_not_made(update):
    status, out, err = await update("missing", "--idle-seconds", "60")

    assert (status, out) == (2, "")
    assert "missing" in err
