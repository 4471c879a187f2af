"""The cron job that a dispatcher enqueues, and the end of its jobs."""

from datetime import UTC, datetime

import pytest
from arq.connections import ArqRedis
from arq.worker import Worker

from skep_shared.broker.keys import Keys
from skep_workers.host.broker.dispatch import JOB_SECONDS, Dispatcher


@pytest.fixture
def cron_jobs(monkeypatch):
    """Return a function that reads the cron jobs which the dispatcher of a shard registers with arq."""

    def read(prefix):
        given = {}
        monkeypatch.setattr(Worker, "__init__", lambda _, **options: given.update(options))
        Dispatcher(None, None, Keys(prefix), None, submit=None, upkeep=None)._worker()
        return given["cron_jobs"]

    return read


def test_upkeep_is_due_once_a_minute(cron_jobs):
    [job] = cron_jobs("p")
    times = [datetime(2026, 1, 1, 12, 0, 30, tzinfo=UTC)]
    for _ in range(3):
        job.calculate_next(times[-1])
        times.append(job.next_run)

    assert [time.replace(microsecond=0) for time in times[1:]] == [
        datetime(2026, 1, 1, 12, minute, tzinfo=UTC) for minute in (1, 2, 3)
    ]


def test_each_shard_has_its_own_job_of_which_at_most_one_is_queued(cron_jobs):
    jobs = [*cron_jobs("p"), *cron_jobs("q")]

    assert [(job.job_id, job.name) for job in jobs] == [("p:upkeep", "p:upkeep"), ("q:upkeep", "q:upkeep")]


def test_a_finished_job_does_not_block_the_next_one(cron_jobs):
    [job] = cron_jobs("p")

    assert (job.keep_result_s, job.timeout_s) == (0, JOB_SECONDS)
    assert job.max_tries > 100


@pytest.mark.anyio
async def test_a_job_whose_end_can_not_be_written_is_logged_and_raises_nothing(tmp_path, capsys):
    """arq shields the call: after a restart of the dispatcher the error had no task that awaited it."""
    arq = ArqRedis(unix_socket_path=str(tmp_path / "no-server"))
    worker = Dispatcher(arq, None, Keys("p"), None, submit=None, upkeep=None)._worker()

    await worker.finish_job("p:activate:s", True, None, None, False, None, None)

    assert "job.not_finished" in capsys.readouterr().out
    await arq.aclose()
