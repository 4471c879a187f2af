"""Libraries that start processes, or use files outside of the session's directory, work in each tier of the sandbox."""

import pytest

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

TIERS = ["none", "basic"]
CELLS = {
    "pandas": """
import pandas as pd
frame = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
frame.to_csv("f.csv", index=False); frame.to_pickle("f.pickle")
pd.read_csv("f.csv").equals(frame) and pd.read_pickle("f.pickle").equals(frame) and frame.groupby("b").a.sum()["y"] == 2
""",
    "matplotlib": """
import matplotlib.pyplot as plt
figure, axes = plt.subplots()
axes.plot([1, 2]); axes.set_title("title"); figure.savefig("f.png"); figure.savefig("f.pdf"); plt.close(figure)
open("f.png", "rb").read(4) == b"\\x89PNG" and open("f.pdf", "rb").read(4) == b"%PDF"
""",
    **{
        f"joblib by {backend}": f"""
import joblib, numpy as np
run = joblib.Parallel(n_jobs=2, backend={backend!r}, max_nbytes=1000)
run(joblib.delayed(np.sum)(np.ones(10_000)) for _ in range(3)) == [10_000] * 3
"""
        for backend in ("loky", "multiprocessing", "threading")
    },
    "joblib's memory": """
import joblib
memory = joblib.Memory("cache", verbose=0)
calls = []
@memory.cache
def double(x):
    calls.append(x)
    return 2 * x
[double(2), double(2), calls] == [4, 4, [2]]
""",
}


@pytest.mark.parametrize("tier", TIERS)
async def test_it_works(shard, start_worker, tier):
    await start_worker("--sandbox", tier)
    found = {}
    for name, code in CELLS.items():
        outcome = await shard.session(name.replace(" ", "-").replace("'", "")).run(code)
        found[name] = outcome.error.traceback if outcome.error else outcome.value

    assert found == dict.fromkeys(CELLS, True)
