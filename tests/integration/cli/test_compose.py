"""compose/: what the files promise is true of a real redis-server and a real worker, as far as no Docker is needed."""

import asyncio
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import jsonschema
import pytest
import yaml

from skep.gateway.settings import GatewaySettings
from skep.local.embedded import WorkerProcess
from skep.local.redis_server import RedisServer, find_redis_server
from skep_shared.broker.redis_client.connection import open_redis
from skep_shared.broker.server_check import check_server
from skep_shared.settings import WorkerSettings

from ..gateway.gateway_process import GatewayProcess

TOP = Path(__file__).parents[3]
COMPOSE = TOP / "compose"
SCHEMA = Path(__file__).parents[1] / "data" / "compose-spec.json"
DURATION = re.compile(r"(\d+)s")

# What a worker may need after its grace period: interrupt, kill, commit and release, leave, end the zygote.
LEAVING_SECONDS = 20


def dockerfile() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions with their arguments, continued lines joined."""
    text = (COMPOSE / "Dockerfile").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


@pytest.fixture(scope="module")
def stack():
    return yaml.safe_load((COMPOSE / "compose.yaml").read_text())


def run_check(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a health check as a container would: by /bin/sh, with this environment."""
    return subprocess.run(["/bin/sh", "-c", command], env=environment, capture_output=True, text=True, check=False)


# --- compose.yaml -----------------------------------------------------------------------------------------------------


def test_the_stack_is_valid_by_the_compose_specification(stack):
    jsonschema.Draft7Validator(json.loads(SCHEMA.read_text())).validate(stack)


def test_the_schema_refuses_a_misspelt_key(stack):
    broken = {**stack, "services": {"worker": {**stack["services"]["worker"], "restrat": "always"}}}

    with pytest.raises(jsonschema.ValidationError, match="restrat"):
        jsonschema.Draft7Validator(json.loads(SCHEMA.read_text())).validate(broken)


def test_a_worker_is_given_time_to_drain(stack):
    worker = stack["services"]["worker"]
    grace = float(worker["environment"]["SKEP_GRACE_SECONDS"])
    stop = DURATION.fullmatch(worker["stop_grace_period"])

    assert stop is not None
    assert int(stop[1]) >= grace + LEAVING_SECONDS


def test_every_skep_variable_is_a_setting(stack, monkeypatch):
    environment = stack["services"]["worker"]["environment"]
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    settings = WorkerSettings.load()

    assert {name.removeprefix("SKEP_").lower() for name in environment} <= set(WorkerSettings.model_fields)
    assert (settings.redis_url, settings.sandbox) == ("redis://redis:6379/0", "auto")


def test_the_gateway_is_given_time_to_end_and_reached_from_this_machine_only(stack):
    gateway = stack["services"]["gateway"]
    stop = DURATION.fullmatch(gateway["stop_grace_period"])
    environment = {name.removeprefix("SKEP_GATEWAY_").lower(): value for name, value in gateway["environment"].items()}

    assert stop is not None
    assert int(stop[1]) > float(environment["grace_seconds"])
    assert environment.keys() - {"skep_redis_url"} <= set(GatewaySettings.model_fields)
    assert [port.split(":")[0] for port in gateway["ports"]] == ["127.0.0.1"]


@pytest.mark.parametrize("name", ["redis", "worker", "gateway"])
def test_a_service_is_confined(stack, name):
    service = stack["services"][name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert ("ports" in service) == (name == "gateway")
    assert not service.get("privileged")
    assert "/var/run/docker.sock" not in str(service)


def test_what_the_stack_names_is_there(stack):
    worker, redis = stack["services"]["worker"], stack["services"]["redis"]
    context = (COMPOSE / worker["build"]["context"]).resolve()

    assert context == TOP
    assert (context / worker["build"]["dockerfile"]).is_file()
    sources = [volume.split(":")[0] for volume in redis["volumes"]]
    assert [source for source in sources if source.startswith(".") and not (COMPOSE / source).is_file()] == []
    assert [source for source in sources if not source.startswith(".")] == list(stack["volumes"])


# --- redis.conf -------------------------------------------------------------------------------------------------------


@pytest.fixture
async def configured(tmp_path):
    """A server with compose/redis.conf; before it, the opposite of what it must say, after it, what a test needs."""
    before = ("--maxmemory-policy", "allkeys-lru", "--appendonly", "no")
    after = ("--port", "0", "--dir", str(tmp_path), "--logfile", str(tmp_path / "redis.log"))
    server = RedisServer(options=(*before, "--include", str(COMPOSE / "redis.conf"), *after))
    async with server:
        client = open_redis(WorkerSettings.load(redis_url=server.url))
        yield server, client
        await client.aclose()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("appendonly", "yes"),
        ("appendfsync", "everysec"),
        ("maxmemory-policy", "noeviction"),
        ("save", ""),
        ("timeout", "0"),
        ("tcp-keepalive", "60"),
    ],
)
async def test_redis_takes_the_configuration(configured, name, value):
    _, client = configured

    assert await client.config_get(name) == {name: value}


@pytest.mark.anyio
async def test_skep_finds_that_server_fit(configured):
    server, client = configured

    await check_server(client, WorkerSettings.load(redis_url=server.url))


@pytest.mark.anyio
async def test_what_is_written_there_is_in_the_append_only_file(configured, tmp_path):
    _, client = configured
    await client.set("a-key-of-the-test", "value")
    await client.bgrewriteaof()

    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*aof*") if path.is_file())
    assert b"a-key-of-the-test" in written


# --- health checks, run for real --------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_the_redis_check_follows_the_server(configured, stack, tmp_path):
    server, client = configured
    kind, command = stack["services"]["redis"]["healthcheck"]["test"]
    real = shutil.which("redis-cli") or str(Path(find_redis_server()).with_name("redis-cli"))
    shim = tmp_path / "bin" / "redis-cli"  # in the container the server is where redis-cli looks by itself
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec {shlex.quote(real)} -s {shlex.quote(server.socket_path)} "$@"\n')
    shim.chmod(0o755)
    path = f"{shim.parent}:{os.defpath}"

    assert kind == "CMD-SHELL"
    assert run_check(command, PATH=path).returncode == 0
    await client.config_set("requirepass", "secret")
    assert run_check(command, PATH=path).returncode != 0
    assert run_check(command, PATH=path, REDISCLI_AUTH="secret").returncode == 0
    await server.stop()
    assert run_check(command, PATH=path).returncode != 0


@pytest.mark.anyio
async def test_the_worker_check_follows_the_worker(own_redis_server, tmp_path):
    url = own_redis_server.url
    (check,) = [rest for word, rest in dockerfile() if word == "HEALTHCHECK"]
    command = check.partition("CMD ")[2]
    environment = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "SKEP_REDIS_URL": url}
    worker = WorkerProcess(url, log_path=tmp_path / "worker.log")

    assert run_check(command, **environment).returncode != 0
    await worker.start()
    try:
        healthy = run_check(command, **environment)
        elsewhere = run_check(command.replace("$(hostname)", f"{socket.gethostname()}-2"), **environment)
    finally:
        await worker.stop()
    assert healthy.returncode == 0, healthy.stderr
    assert elsewhere.returncode != 0
    assert run_check(command, **environment).returncode != 0


async def is_healthy(command: list[str]) -> bool:
    process = await asyncio.create_subprocess_exec(*command, stderr=subprocess.DEVNULL)
    return await process.wait() == 0


@pytest.mark.anyio
async def test_the_gateway_check_follows_the_gateway(own_redis_server, stack):
    kind, python, option, code = stack["services"]["gateway"]["healthcheck"]["test"]
    gateway = await GatewayProcess("--redis", own_redis_server.url).start()
    try:
        command = [sys.executable, option, code.replace("http://127.0.0.1:8070", gateway.url)]
        assert (kind, python) == ("CMD", "python")
        assert await is_healthy(command)
        await own_redis_server.stop()
        assert not await is_healthy(command)
    finally:
        await gateway.kill()


# --- Dockerfile -------------------------------------------------------------------------------------------------------


def test_the_image_does_not_run_as_root():
    users = [rest for word, rest in dockerfile() if word == "USER"]

    assert users
    assert all(int(part) > 0 for part in users[-1].split(":"))
    last_user = max(i for i, (word, _) in enumerate(dockerfile()) if word == "USER")
    assert [word for word, _ in dockerfile()[last_user:] if word == "RUN"] == []


def test_everything_that_is_copied_exists_and_is_enough_to_build():
    copies = [shlex.split(rest) for word, rest in dockerfile() if word in {"COPY", "ADD"} and "--from=" not in rest]
    sources = {source for *sources, _ in copies for source in sources}
    project = tomllib.loads((TOP / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    needed = {project["project"]["readme"], *project["project"]["license-files"], "pyproject.toml"}

    assert [source for source in sources if not (TOP / source).exists()] == []
    assert needed | {package.partition("/")[0] for package in packages} == sources


def test_the_build_context_is_what_is_copied_and_no_more():
    lines = (COMPOSE / "Dockerfile.dockerignore").read_text().splitlines()
    allowed = {line.removeprefix("!") for line in lines if line.startswith("!")}
    copies = [shlex.split(rest) for word, rest in dockerfile() if word == "COPY" and "--from=" not in rest]

    assert "*" in lines
    assert allowed == {source for *sources, _ in copies for source in sources}


def test_nothing_is_fetched_or_baked_in_that_should_not_be():
    words = {word for word, _ in dockerfile()}
    assert "ADD" not in words
    for word, rest in dockerfile():
        if word in {"ENV", "ARG"}:
            assert not re.search(r"(?i)password|secret|token|redis_url", rest)
