"""Each service of docs/recipes.md runs as the page shows it: no request is lost, and nothing complains."""

import asyncio
import json
import re
import secrets
import signal

import httpx
import pytest
from redis.asyncio import Redis

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]

AT_ONCE = 48
# What the frameworks complain of themselves: gunicorn of the socket that it was passed, celery of root and of redis-py.
OTHERS = (
    "gunicorn/arbiter.py",
    "Enable tracemalloc",
    "SecurityWarning",
    "_warn_or_raise_security_error",
    "superuser privileges",
    "celery/backends/redis.py",
)
DJANGO = """
SECRET_KEY = "of a test"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "django_views"
USE_TZ = True
"""
WSGI = """
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "django_settings"
from django.core.wsgi import get_wsgi_application
application = get_wsgi_application()
"""


def complaints(log):
    """Return the lines of a log that a reader would have to look at."""
    words = re.compile(r"warning|error|exception|traceback", re.IGNORECASE)
    lines = [line for line in log.splitlines() if words.search(line)]
    return [line for line in lines if not any(source in line for source in OTHERS)]


async def post_many(listening, cluster, count, sessions):
    """Run a cell by each of many requests; return the number of cells that the sessions then have."""
    name = secrets.token_hex(4)
    port = listening.getsockname()[1]
    slots = asyncio.Semaphore(AT_ONCE)
    # A new connection for each: gunicorn may close one that is kept just as the next request is sent on it.
    limits = httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=0)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=120, limits=limits) as http:

        async def post(number):
            body = {"code": f"print({number}); {number} * 2", "cell_id": f"c-{number}"}
            async with slots:
                reply = await http.post(f"/sessions/{name}-{number % sessions}/cells", json=body)
            assert reply.status_code == 200, reply.text
            assert reply.json() == {"status": "finished", "value": number * 2, "text": f"{number}\n"}

        async with asyncio.TaskGroup() as group:
            for number in range(count):
                group.create_task(post(number))
        refused = await http.post(f"/sessions/{name}/cells", json={"code": "1", "cell_id": ""})
        assert (refused.status_code, refused.json()["field"]) == (400, "cell_id")
    infos = [await cluster.session(f"{name}-{number}").info() for number in range(sessions)]
    return sum(info.seq for info in infos), f"{name}-0"


async def events_of(listening, session):
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}", timeout=60) as http:
        reply = await http.get(f"/sessions/{session}/events")
    return [json.loads(line)["kind"] for line in reply.text.splitlines()]


def gunicorn(start, listening, app, *flags):
    bind = f"fd://{listening.fileno()}"
    return start("-m", "gunicorn", "--bind", bind, *flags, app, fds=(listening.fileno(),))


@pytest.mark.parametrize("flags", [("--preload",), ()], ids=["forked after connecting", "connected in each worker"])
async def test_flask_on_four_forked_workers_with_threads_loses_none_of_2000_requests(start, listening, cluster, flags):
    service = gunicorn(
        start, listening, "flask_app:app", "--workers", "4", "--threads", "8", "--timeout", "120", *flags
    )
    count = 2000 if flags else 200
    cells, session = await post_many(listening, cluster, count, sessions=16)
    kinds = await events_of(listening, session)
    log = await asyncio.to_thread(service.stop)

    assert cells == count
    assert kinds.count("cell.finished") == count // 16 + (count % 16 > 0)
    assert log.count("Booting worker") == 4
    assert complaints(log) == []


async def test_django_on_forked_workers(start, listening, cluster, folder):
    (folder / "django_settings.py").write_text(DJANGO)
    (folder / "django_wsgi.py").write_text(WSGI)
    flags = ("--workers", "2", "--threads", "4", "--preload", "--timeout", "120")
    service = gunicorn(start, listening, "django_wsgi:application", *flags)
    cells, _ = await post_many(listening, cluster, 200, sessions=8)
    log = await asyncio.to_thread(service.stop)

    assert cells == 200
    assert [line for line in complaints(log) if "Bad Request" not in line] == []


async def test_celery_tasks_in_forked_processes(start, cluster, folder, monkeypatch):
    broker = cluster.redis_url.replace("unix://", "redis+socket://").replace("?db=0", "?virtual_host=1")
    service = start(
        "-m", "celery", "--app", "celery_tasks", "worker", "--pool", "prefork", "--concurrency", "4",
        CELERY_BROKER_URL=broker,
    )  # fmt: skip
    name = secrets.token_hex(4)

    def send():
        from celery import Celery

        with Celery(broker=broker, backend=broker, set_as_current=False) as app:
            sent = [
                app.send_task("celery_tasks.run", [f"{name}-{number % 8}", f"{number} * 2"]) for number in range(200)
            ]
            return [task.get(timeout=120) for task in sent]

    values = await asyncio.to_thread(send)
    log = await asyncio.to_thread(service.stop)

    assert values == [number * 2 for number in range(200)]
    assert sum([(await cluster.session(f"{name}-{number}").info()).seq for number in range(8)]) == 200
    assert complaints(log) == []


async def test_fastapi(start, listening, cluster):
    service = start("-m", "uvicorn", "--fd", str(listening.fileno()), "fastapi_app:app", fds=(listening.fileno(),))
    cells, session = await post_many(listening, cluster, 200, sessions=8)
    kinds = await events_of(listening, session)
    log = await asyncio.to_thread(service.stop)

    assert cells == 200
    assert kinds.count("cell.finished") == 25
    assert complaints(log) == []


async def test_a_queue_consumer_that_is_killed_loses_no_order_and_runs_none_twice(start, cluster, eventually):
    async with Redis.from_url(cluster.redis_url, decode_responses=True) as redis:
        await redis.xgroup_create("orders", "skep", "0", mkstream=True)
        for number in range(200):
            code = f"runs = globals().get('runs', 0) + 1; {number}"
            await redis.xadd("orders", {"session": f"orders-{number % 8}", "code": code})

        async def some_are_done():
            return await redis.hlen("results") >= 40

        async def all_are_done():
            return (await redis.xpending("orders", "skep"))["pending"] == 0 and await redis.hlen("results") == 200

        first = start("consumer.py", "first")
        await eventually(some_are_done)
        first.process.send_signal(signal.SIGKILL)
        second = start("consumer.py", "second")
        await eventually(all_are_done)
        results = await redis.hgetall("results")
    log = await asyncio.to_thread(second.stop)

    assert sorted(results.values()) == sorted(f"finished {number}" for number in range(200))
    assert sum([(await cluster.session(f"orders-{number}").run("runs")).value for number in range(8)]) == 200
    assert [line for line in complaints(log) if "CancelledError" not in line and "Traceback" not in line] == []
