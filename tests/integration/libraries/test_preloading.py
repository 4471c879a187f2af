"""Preloaded libraries: joblib's and torch's child processes and generators, in sessions forked from one zygote."""

import pytest

pytestmark = pytest.mark.anyio

FILES = """
import os
open("jobs.py", "w").write("import os\\ndef double(x): return 2 * x\\ndef where(_): return os.getcwd()\\n")
import jobs
"""


@pytest.fixture
async def session(request, shard, start_worker):
    """A session of a worker that has preloaded the libraries that the test names."""
    preload = (flag for name in request.param.split() for flag in ("--preload", name))
    await start_worker("--start-seconds", "120", *preload)  # importing them takes as long as the machine is busy
    session = shard.session("s")
    (await session.run(FILES)).raise_for_status()
    return session


def preloading(*libraries):
    return pytest.mark.parametrize("session", libraries, indirect=True)


@preloading("sklearn", "joblib")
@pytest.mark.parametrize("backend", ["loky", "multiprocessing", "threading"])
async def test_joblib_runs_functions_of_the_sessions_modules(session, backend):
    outcome = await session.run(
        "from joblib import Parallel, delayed\n"
        f"run = Parallel(n_jobs=2, backend={backend!r})\n"
        "told = [run(delayed(jobs.double)(i) for i in range(3)), set(run(delayed(jobs.where)(i) for i in range(3)))]\n"
        "told == [[0, 2, 4], {os.getcwd()}]"
    )

    assert outcome.value is True


@preloading("sklearn")
async def test_scikit_learn_fits_in_parallel(session):
    outcome = await session.run(
        "from sklearn.datasets import make_classification\n"
        "from sklearn.ensemble import RandomForestClassifier\n"
        "from sklearn.model_selection import cross_val_score\n"
        "x, y = make_classification(60, random_state=0)\n"
        "len(cross_val_score(RandomForestClassifier(4, random_state=0), x, y, cv=3, n_jobs=2))"
    )

    assert outcome.value == 3


@preloading("torch torch.multiprocessing")
async def test_torch_loads_data_in_child_processes(session):
    outcome = await session.run(
        "import torch\n"
        "from torch.utils.data import DataLoader, TensorDataset\n"
        "data = TensorDataset(torch.arange(8.0))\n"
        "loaded = DataLoader(data, batch_size=4, num_workers=1, multiprocessing_context='spawn')\n"
        "[batch[0].sum().item() for batch in loaded]"
    )

    assert outcome.value == [6.0, 22.0]


@preloading("torch torch.multiprocessing")
async def test_two_sessions_draw_different_numbers_from_torch(session, shard):
    draw = "import torch; [float(torch.rand(1)), torch.initial_seed(), torch.randint(2**40, (1,)).item()]"
    mine, theirs = (await session.run(draw)).value, (await shard.session("other").run(draw)).value

    assert not set(mine) & set(theirs)


@preloading("torch torch.multiprocessing")
async def test_a_seed_that_a_cell_sets_holds_for_what_follows(session, shard):
    draw = "import torch; torch.manual_seed(3); float(torch.rand(1))"

    assert (await session.run(draw)).value == (await shard.session("other").run(draw)).value
