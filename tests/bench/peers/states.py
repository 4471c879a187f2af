"""The six states whose checkpoints are measured, as code; for us and for the peers. Standard library only.

Sizes are divided by `part`: 1 as wanted, more in a quick run.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class State:
    """`make` makes it, `change` changes it a little; each is a cell."""

    name: str
    what: str
    make: str
    change: str


def states(part: int) -> list[State]:
    """Return them, the largest ones last."""
    return [
        State(
            "i", "200 scalars, one changed",
            "for n in range(100):\n    globals()[f'v{n}'] = n * 1.5\n    globals()[f's{n}'] = f'string number {n}'",
            "v7 += 1",
        ),
        State(
            "ii", f"{200 // part} MB array untouched, a small variable changed",
            f"import numpy as np\narr = np.random.default_rng(0).random(({25_000 // part}, 1000))\nx = 0",
            "x += 1",
        ),
        State(
            "iii", f"one row of a {200 // part} MB array changed",
            f"import numpy as np\narr = np.random.default_rng(0).random(({25_000 // part}, 1000))",
            "arr[7] += 1",
        ),
        State("iv", f"a DataFrame of {1_000_000 // part:,} rows, 6 mixed columns, one value changed", _FRAME.format(n=1_000_000 // part),
              "df.iloc[7, 1] += 1"),
        State(
            "v", f"{1_000_000 // part:,} small dicts, one changed",
            f"rows = [{{'id': i, 'name': 'n%d' % i, 'v': i * 0.5}} for i in range({1_000_000 // part})]",
            "rows[7]['v'] += 1",
        ),
        State("vi", f"{50 // part} MB of nested structures with classes, one changed",
              _NESTED.format(n=200_000 // part, m=100_000 // part), "data['k7']['id'] += 1"),
    ]  # fmt: skip


_FRAME = """
import numpy as np
import pandas as pd
def make_frame(n):
    r = np.random.default_rng(0)
    return pd.DataFrame({{
        "i": r.integers(0, 1 << 40, n),
        "f": r.random(n),
        "b": r.random(n) > 0.5,
        "t": pd.Timestamp("2024-01-01") + pd.to_timedelta(r.integers(0, 10**7, n), unit="s"),
        "c": pd.Categorical(r.choice(["red", "green", "blue"], n)),
        "s": ["name_%d" % x for x in r.integers(0, 200_000, n)],
    }})
df = make_frame({n})
"""

_NESTED = """
class Point:
    def __init__(self, x, y, tag):
        self.x, self.y, self.tag = x, y, tag
    def norm(self):
        return (self.x ** 2 + self.y ** 2) ** 0.5

class Named(Point):
    pass

def make(i):
    return {{"id": i, "name": "item-%d" % i, "tags": ["t%d" % (i % 97), "u%d" % (i % 89)],
            "pos": (i * 0.5, i * 0.25), "meta": {{"a": i, "b": [i, i + 1, {{"c": str(i) * 3}}]}}, "set": {{i, i + 1}}}}

data = {{"k%d" % i: make(i) for i in range({n})}}
points = [Named(i, i + 1, "p%d" % i) for i in range({m})]
index = {{p.tag: p for p in points}}
counter = (lambda start: (lambda: start + len(points)))(5)
"""
