"""pandas, polars, scikit-learn, networkx, Pillow, SymPy."""

from .cases import read

CASES = read(
    "libraries",
    r"""
== a data frame of mixed columns [needs: pandas]
import pandas as pd
frame = pd.DataFrame({"a": [1, 2], "b": ["x", None], "c": pd.to_datetime(["2026-01-01", "2026-01-02"]), "d": pd.Categorical(["u", "v"])}); frame.attrs["note"] = "n"; same = frame
--
frame.loc[0, "a"] = 10
assert same is frame and frame["a"].tolist() == [10, 2] and frame["d"].cat.categories.tolist() == ["u", "v"] and str(frame["c"].dtype).startswith("datetime64") and frame.attrs == {"note": "n"}
== series, indexes and scalars [needs: pandas]
import pandas as pd
series = pd.Series([1.5, None], index=["a", "b"], name="s"); index = pd.MultiIndex.from_product([[1, 2], ["x"]], names=["n", "t"]); kept = [pd.Timestamp("2026-01-01", tz="UTC"), pd.Timedelta("1h"), pd.Period("2026-01", "M"), pd.Interval(0, 1), pd.NA, pd.NaT]
--
assert series.name == "s" and series["a"] == 1.5 and index.names == ["n", "t"] and kept[0].tzinfo is not None and kept[4] is pd.NA and kept[5] is pd.NaT and kept[3].mid == 0.5
== dtypes of extensions [needs: pandas]
import pandas as pd
frame = pd.DataFrame({"i": pd.array([1, None], dtype="Int64"), "s": pd.array(["a", None], dtype="string"), "b": pd.array([True, None], dtype="boolean")}); sparse = pd.arrays.SparseArray([0, 0, 1])
--
assert str(frame.dtypes["i"]) == "Int64" and frame["i"].isna().tolist() == [False, True] and sparse.sum() == 1
== groups and rolling windows [needs: pandas]
import pandas as pd
frame = pd.DataFrame({"k": ["a", "b", "a"], "v": [1, 2, 3]}); groups = frame.groupby("k"); rolling = frame["v"].rolling(2)
--
assert groups["v"].sum().to_dict() == {"a": 4, "b": 2} and rolling.sum().tolist()[1:] == [3.0, 5.0]
== a frame that holds the session's own objects [needs: pandas]
import pandas as pd
class Own:
    def __init__(self, v): self.v = v
one = Own(1); frame = pd.DataFrame({"o": [one, Own(2)], "f": [len, lambda x: x + 1]})
--
assert frame["o"][0] is one and type(frame["o"][1]) is Own and frame["f"][1](1) == 2
== a subclass of a data frame [needs: pandas]
import pandas as pd
class Table(pd.DataFrame):
    _metadata = ["title"]
    @property
    def _constructor(self): return Table
table = Table({"a": [1]}); table.title = "t"
--
assert type(table) is Table and table.title == "t" and type(table[["a"]]) is Table
== offsets and timezones of pandas [needs: pandas]
import pandas as pd
days = pd.date_range("2026-01-01", periods=3, freq="B", tz="Europe/Berlin"); step = pd.offsets.MonthEnd(2)
--
assert days.freqstr == "B" and str(days.tz) == "Europe/Berlin" and (pd.Timestamp("2026-01-15") + step).month == 2
== a large frame [needs: pandas]
import pandas as pd, numpy as np
frame = pd.DataFrame(np.arange(60_000.0).reshape(10_000, 6), columns=list("abcdef")); column = frame["a"]
--
frame["g"] = frame["a"] * 2
assert frame.shape == (10_000, 7) and frame["g"].iloc[-1] == 2 * column.iloc[-1]
== polars frames, lazy ones and series [needs: polars]
import polars as pl
frame = pl.DataFrame({"a": [1, 2], "b": ["x", None]}); lazy = frame.lazy().filter(pl.col("a") > 1); series = pl.Series("s", [[1], [2, 3]])
--
assert frame["b"].to_list() == ["x", None] and lazy.collect().rows() == [(2, None)] and series.to_list() == [[1], [2, 3]]
== polars expressions, dtypes and schemas [needs: polars]
import polars as pl
expression = (pl.col("a") * 2).alias("d"); kinds = [pl.Int8, pl.Datetime("us"), pl.List(pl.Utf8), pl.Categorical()]; schema = pl.Schema({"a": pl.Int64})
--
assert pl.DataFrame({"a": [3]}).select(expression)["d"].to_list() == [6] and kinds[0] is pl.Int8 and kinds[2] == pl.List(pl.Utf8) and schema["a"] == pl.Int64
== polars dates and categories [needs: polars]
import polars as pl, datetime as dt
frame = pl.DataFrame({"d": [dt.date(2026, 1, 1)], "c": pl.Series(["u"], dtype=pl.Categorical), "t": [dt.datetime(2026, 1, 1)]}); same = {"f": frame}
--
assert same["f"] is frame and frame.row(0) == (dt.date(2026, 1, 1), "u", dt.datetime(2026, 1, 1)) and frame.schema["c"] == pl.Categorical
== linear models [needs: sklearn]
import numpy as np
from sklearn.linear_model import LinearRegression, LogisticRegression
x = np.arange(20.0).reshape(-1, 1); line = LinearRegression().fit(x, 2 * x.ravel() + 1); chosen = LogisticRegression().fit(x, x.ravel() > 9)
--
assert abs(line.predict([[3.0]])[0] - 7) < 1e-9 and chosen.predict([[19.0]])[0]
== forests and gradient boosting [needs: sklearn]
import numpy as np
from sklearn.ensemble import RandomForestClassifier, HistGradientBoostingRegressor
x = np.random.default_rng(0).normal(size=(80, 3)); y = x[:, 0] > 0; forest = RandomForestClassifier(5, random_state=0).fit(x, y); boosted = HistGradientBoostingRegressor(max_iter=3).fit(x, x[:, 1]); expected = forest.predict(x).tolist(), boosted.predict(x).tolist()
--
assert forest.predict(x).tolist() == expected[0] and boosted.predict(x).tolist() == expected[1]
== a pipeline with a function of a cell [needs: sklearn]
import numpy as np
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC
def shifted(x): return x + shift
shift = 1; x = np.random.default_rng(0).normal(size=(30, 2)); pipe = make_pipeline(FunctionTransformer(shifted), StandardScaler(), SVC()).fit(x, x[:, 0] > 0); before = pipe.predict(x).tolist()
--
assert pipe.predict(x).tolist() == before and pipe.steps[0][1].func is shifted
== a transformer class of a cell [needs: sklearn]
from sklearn.base import BaseEstimator, TransformerMixin, clone
class Times(BaseEstimator, TransformerMixin):
    def __init__(self, by=2): self.by = by
    def fit(self, x, y=None): return self
    def transform(self, x): return [v * self.by for v in x]
times = Times(3).fit([])
--
assert clone(times).by == 3 and times.transform([2]) == [6] and times.get_params() == {"by": 3}
== clusters, trees, text features, searches [needs: sklearn]
import numpy as np
from sklearn.cluster import KMeans
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import GridSearchCV
from sklearn.tree import DecisionTreeRegressor
words = TfidfVectorizer().fit(["a bee", "the bee hive"]); means = KMeans(2, n_init=1, random_state=0).fit(np.array([[0.0], [0.1], [9.0]])); x = np.arange(12.0).reshape(-1, 1); search = GridSearchCV(DecisionTreeRegressor(), {"max_depth": [1, 2]}, cv=2).fit(x, x.ravel())
--
assert "hive" in words.vocabulary_ and means.predict([[9.1]])[0] == means.labels_[2] and search.best_estimator_.predict([[0.0]])[0] < 6
== neighbours and decompositions [needs: sklearn]
import numpy as np
from sklearn.neighbors import KNeighborsClassifier
from sklearn.decomposition import PCA
x = np.random.default_rng(1).normal(size=(20, 3)); near = KNeighborsClassifier(1).fit(x, np.arange(20)); flat = PCA(2).fit(x); down = flat.transform(x)
--
assert near.predict(x).tolist() == list(range(20)) and np.allclose(flat.transform(x), down)
== sparse matrices [needs: scipy]
import scipy.sparse as sp
kept = [getattr(sp, f"{kind}_array")([[0, 1], [2, 0]]) for kind in ("csr", "csc", "coo", "lil", "dok")]
--
assert all(each.toarray().tolist() == [[0, 1], [2, 0]] for each in kept)
== distributions, splines and trees of SciPy [needs: scipy]
from scipy import stats, interpolate, spatial
normal, curve, tree = stats.norm(1, 2), interpolate.CubicSpline([0, 1, 2], [0, 1, 4]), spatial.cKDTree([[0.0], [5.0]])
--
assert normal.mean() == 1 and abs(curve(1.0) - 1) < 1e-9 and tree.query([4.0])[1] == 1
== graphs with attributes that are shared [needs: networkx]
import networkx as nx
mark = ["m"]; graph = nx.Graph(); graph.add_edge("a", "b", weight=2, mark=mark); graph.add_node(("t", 1)); graph.graph["mark"] = mark; view = graph.nodes; alias = graph
--
graph.add_edge("b", "c")
assert alias is graph and graph["a"]["b"]["mark"] is mark is graph.graph["mark"] and nx.shortest_path(graph, "a", "c") == ["a", "b", "c"] and "c" in view
== directed and multiple graphs of own nodes [needs: networkx]
import networkx as nx
class Node: pass
one, two = Node(), Node(); graph = nx.DiGraph([(one, two)]); many = nx.MultiDiGraph([(1, 2), (1, 2)]); part = graph.subgraph([one])
--
assert two in graph[one] and many.number_of_edges(1, 2) == 2 and list(graph.successors(one)) == [two] and list(part) == [one]
== images [needs: PIL]
from PIL import Image
image = Image.new("RGBA", (4, 3), (1, 2, 3, 4)); image.info["note"] = "n"; palette = Image.new("P", (2, 2)); palette.putpalette(list(range(256)) * 3); same = image
--
image.putpixel((0, 0), (9, 9, 9, 9))
assert same is image and image.getpixel((0, 0)) == (9, 9, 9, 9) and image.getpixel((1, 1)) == (1, 2, 3, 4) and image.info["note"] == "n" and palette.mode == "P" and palette.getpalette()[:3] == [0, 1, 2]
== an image that a file was decoded to [needs: PIL]
import io
from PIL import Image, ImageFilter
room = io.BytesIO(); Image.new("RGB", (5, 5), "red").save(room, "png"); image = Image.open(io.BytesIO(room.getvalue())); image.load(); blur = ImageFilter.GaussianBlur(2)
--
assert image.getpixel((2, 2)) == (255, 0, 0) and image.filter(blur).size == (5, 5)
== symbols and expressions [needs: sympy]
import sympy as sp
x, y = sp.symbols("x y", positive=True); z = sp.Symbol("z"); term = sp.sin(x) ** 2 + sp.cos(x) ** 2 + y / 3; kept = [sp.pi, sp.oo, sp.Rational(1, 3), sp.S.true]
--
assert sp.simplify(term) == 1 + y / 3 and x.is_positive and z.is_positive is None and kept[0] is sp.pi and x in term.free_symbols and sp.Symbol("x", positive=True) == x
== matrices, equations and functions of SymPy [needs: sympy]
import sympy as sp
x = sp.Symbol("x"); f = sp.Function("f"); matrix = sp.Matrix([[1, x], [0, 1]]); equation = sp.Eq(f(x).diff(x), f(x)); dummy = sp.Dummy("d"); used = dummy + 1
--
matrix[0, 0] = x
assert matrix.det() == x and sp.dsolve(equation).lhs == f(x) and (used - 1) == dummy
== a function made by lambdify [needs: sympy]
import sympy as sp
x = sp.Symbol("x"); fast = sp.lambdify(x, x ** 2 + 1, "math")
--
assert fast(3) == 10
""",
)
