"""Small sessions as people have them: the code that makes each, cells that change it, and its value."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SessionState:
    """One session's state.

    make: a cell that makes it. changes: cells that each change it a little. value: an expression of plain data that
    every change changes, by which a restored session is compared; '' if nothing has to be restored. modules: what has
    to be installed.
    """

    name: str
    what: str
    make: str
    changes: tuple[str, ...] = ()
    value: str = ""
    modules: tuple[str, ...] = ()


EMPTY = SessionState("empty", "nothing", "pass")

_ARRAY = """
import numpy as np
array = np.arange(1000.0)
"""

_INSTANCE = """
class Account:
    def __init__(self, owner):
        self.owner, self.balance = owner, 0

account = Account("ann")
rates = [0.5, 1.5, 2.5]
stock = {"apples": 3, "pears": 5}
tags = {"new", "open"}
"""

_DATACLASS = """
from dataclasses import dataclass

@dataclass
class Point:
    x: int
    y: int = 0

point = Point(3)
"""

_THREAD = """
import threading
thread = threading.Thread(target=len, args=("done",))
thread.start()
thread.join()
"""

_MODEL = """
import numpy as np
from sklearn.linear_model import LinearRegression
model = LinearRegression().fit(np.arange(200.0).reshape(100, 2), np.arange(100.0))
"""

_PANDAS = """
import numpy as np
import pandas as pd
df = pd.DataFrame({"a": np.arange(1000), "b": np.linspace(0, 1, 1000), "c": [f"name {n}" for n in range(1000)]})
"""

_POLARS = """
import polars as pl
frame = pl.DataFrame({"a": list(range(1000)), "b": [n / 1000 for n in range(1000)], "c": [f"name {n}" for n in range(1000)]})
"""

_TORCH = """
import torch
net = torch.nn.Sequential(torch.nn.Linear(10, 20), torch.nn.ReLU(), torch.nn.Linear(20, 2))
"""

_GRAPH = """
import networkx as nx
graph = nx.cycle_graph(100)
nx.set_node_attributes(graph, 0, "visits")
"""

_VARIABLES = """
for n in range(100):
    globals()[f"v{n}"], globals()[f"s{n}"] = n * 1.5, f"string number {n}"
"""

_FIGURE = """
import matplotlib.pyplot as plt
figure, axes = plt.subplots()
axes.plot(range(100))
"""

STATES = (
    EMPTY,
    SessionState("array", "a NumPy array", _ARRAY, ("array[7] += 1",), "array.tolist()", ("numpy",)),
    SessionState(
        "instance", "a class, an instance and three containers", _INSTANCE,
        ("account.balance += 1", "stock['pears'] += 1", "rates[1] += 1"),
        "[account.owner, account.balance, stock, rates, sorted(tags)]",
    ),
    SessionState("dataclass", "a dataclass and its instance", _DATACLASS, ("point.x += 1",), "repr(point)"),
    SessionState("thread", "a thread that has ended", _THREAD),
    SessionState(
        "model", "a fitted scikit-learn model", _MODEL, ("model.coef_[0] += 1",), "model.coef_.tolist()",
        ("numpy", "sklearn"),
    ),
    SessionState(
        "pandas", "a pandas DataFrame of 1,000 rows", _PANDAS, ("df.loc[7, 'a'] += 1",), "df.to_csv()",
        ("numpy", "pandas"),
    ),
    SessionState(
        "polars", "a polars frame of 1,000 rows", _POLARS, ("frame[7, 'a'] += 1",), "frame.write_csv()", ("polars",)
    ),
    SessionState(
        "torch", "a torch module", _TORCH, ("with torch.no_grad(): net[0].weight[0, 0] += 1",),
        "[part.tolist() for part in net.parameters()]", ("torch",),
    ),
    SessionState(
        "graph", "a networkx graph of 100 nodes", _GRAPH, ("graph.nodes[7]['visits'] += 1",),
        "[list(graph.nodes(data='visits')), list(graph.edges)]", ("networkx",),
    ),
    SessionState(
        "variables", "200 small variables", _VARIABLES, ("v7 += 1",),
        "[globals()[f'{kind}{n}'] for kind in 'vs' for n in range(100)]",
    ),
    SessionState(
        "nested", "nested lists", "nested = [[[i + j + k for k in range(10)] for j in range(10)] for i in range(10)]",
        ("nested[1][2][3] += 1",), "nested",
    ),
    SessionState(
        "figure", "an open matplotlib figure", _FIGURE, value="axes.lines[0].get_ydata().tolist()",
        modules=("matplotlib",),
    ),
)  # fmt: skip
