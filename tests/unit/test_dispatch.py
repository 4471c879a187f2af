"""What is enqueued by the clock."""

from datetime import UTC, datetime

import pytest
from arq.worker import Worker

from skep_shared.keys import Keys
from skep_workers.host.dispatch import JOB_SECONDS, Dispatcher


@pytest.fixture
def cron_jobs(monkeypatch):
    """Give a function that reads the jobs which the dispatcher of a shard gives to arq."""

    def read(prefix):
        given = {}
        monkeypatch.setattr(Worker, "__init__", lambda _, **options: given.update(options))
        calls = dict.fromkeys(("activate", "submit", "has_room", "wait_for_room", "upkeep"))
        Dispatcher(None, None, Keys(prefix), **calls)._worker()
        return given["cron_jobs"]

    return read


def test_retention_comes_once_a_minute(cron_jobs):
    [job] = cron_jobs("p")
    times = [datetime(2026, 1, 1, 12, 0, 30, tzinfo=UTC)]
    for _ in range(3):
        job.calculate_next(times[-1])
        times.append(job.next_run)

    assert [time.replace(microsecond=0) for time in times[1:]] == [
        datetime(2026, 1, 1, 12, minute, tzinfo=UTC) for minute in (1, 2, 3)
    ]


def test_at_most_one_is_queued_and_each_shard_has_its_own(cron_jobs):
    jobs = [*cron_jobs("p"), *cron_jobs("q")]

    assert [(job.job_id, job.name) for job in jobs] == [("p:upkeep", "p:upkeep"), ("q:upkeep", "q:upkeep")]


def test_its_end_leaves_nothing_that_would_shut_out_the_next(cron_jobs):
    [job] = cron_jobs("p")

    assert (job.keep_result_s, job.timeout_s) == (0, JOB_SECONDS)
    assert job.max_tries > 100
