"""pandas: frames, indexes, groups, options, accessors, extension types, and memory that is shared with NumPy."""

from .case import read

CASES = read(
    "pandas",
    r"""
== indexes, groups, windows, categories, intervals and periods
import pandas as pd, numpy as np
idx = pd.MultiIndex.from_product([[1,2],['a','b']]); df = pd.DataFrame({'x': range(4)}, index=idx); g = df.groupby(level=0); ro = df.x.rolling(2); c = pd.Categorical(list('aab')); iv = pd.interval_range(0, 3); p = pd.Period('2020-01'); st = df.style
--
assert g.sum().x.tolist() == [1, 5] and ro.sum().iloc[-1] == 5 and c.codes.tolist() == [0,0,1] and iv[0].right == 1 and p.month == 1
assert st.to_html().count("<td") == 4
== an accessor that is defined and not used yet
import pandas as pd
@pd.api.extensions.register_dataframe_accessor('geo')
class G:
    def __init__(self, o): self._o = o
    def n(self): return len(self._o)
df = pd.DataFrame({'a': [1]})
--
assert df.geo.n() == 1
== an accessor that has been used
import pandas as pd
@pd.api.extensions.register_dataframe_accessor('bq')
class Acc:
    def __init__(self, f): self.f = f
    def n(self): return len(self.f)
df = pd.DataFrame({'a': [1, 2]}); df.bq.n();
--
assert df.bq.n() == 2
== accessors of series and indexes
import pandas as pd
@pd.api.extensions.register_series_accessor("own")
class OwnSeries:
    def __init__(self, s): self.s = s
    def total(self): return self.s.sum() * factor
@pd.api.extensions.register_index_accessor("own")
class OwnIndex:
    def __init__(self, i): self.i = i
    def first(self): return self.i[0]
factor = 2; s = pd.Series([1, 2], index=["a", "b"])
--
factor = 3
assert s.own.total() == 9 and s.index.own.first() == "a"
== an option
import pandas as pd
pd.set_option('display.max_rows', 7)
--
assert pd.get_option('display.max_rows') == 7
== several options, one of them only for a while
import pandas as pd
pd.set_option("display.precision", 2, "display.float_format", lambda v: f"<{v:.1f}>"); pd.options.display.max_columns = 5
width = pd.get_option("display.width")
with pd.option_context("display.width", 40): pass
s = pd.Series([1.25])
--
assert "<1.2>" in repr(s) and pd.options.display.max_columns == 5 and pd.get_option("display.precision") == 2 and pd.get_option("display.width") == width
== a method that was added to a class of the library
import pandas as pd
def head1(self): return self.head(1)
pd.DataFrame.head1 = head1
pd.set_option('display.max_rows', 7)
df = pd.DataFrame({'a': [1, 2]})
--
assert len(df.head1()) == 1 and pd.get_option('display.max_rows') == 7
== an extension array of a cell
import pandas as pd, numpy as np
from pandas.api.extensions import ExtensionDtype, ExtensionArray, register_extension_dtype
@register_extension_dtype
class Dt(ExtensionDtype):
    name = 'bqdt'; type = float; kind = 'f'
    @classmethod
    def construct_array_type(cls): return Arr
class Arr(ExtensionArray):
    def __init__(self, v): self.v = np.asarray(v, float)
    dtype = Dt()
    @classmethod
    def _from_sequence(cls, s, dtype=None, copy=False): return cls(list(s))
    def __getitem__(self, i): r = self.v[i]; return r if np.isscalar(r) else Arr(r)
    def __len__(self): return len(self.v)
    def isna(self): return np.isnan(self.v)
    def take(self, i, allow_fill=False, fill_value=None): return Arr(self.v.take(i))
    def copy(self): return Arr(self.v.copy())
    @property
    def nbytes(self): return self.v.nbytes
    @classmethod
    def _concat_same_type(cls, a): return cls(np.concatenate([x.v for x in a]))
s = pd.Series(Arr([1.0, 2.0]))
--
assert s[1] == 2.0 and type(s.dtype) is Dt and type(s.array) is Arr
assert str(pd.array([1.0], dtype='bqdt').dtype) == 'bqdt'
== a series that sees an array, categories with an order, and columns of Arrow
import pandas as pd, numpy as np
arr = np.arange(6.0); ser = pd.Series(arr, copy=False); cat = pd.CategoricalDtype(['lo', 'hi'], ordered=True); c = pd.Series(['hi', 'lo'], dtype=cat); arrow = pd.DataFrame({'s': pd.array(['a', None], dtype='string[pyarrow]'), 'i': pd.array([1, None], dtype='int64[pyarrow]')}); it = pd.interval_range(0, 3)
--
assert c.min() == 'lo' and c.dtype == cat and arrow['s'][0] == 'a' and arrow['i'].dtype == 'int64[pyarrow]' and it[1].mid == 1.5
assert np.shares_memory(arr, ser.to_numpy()), 'the series is a copy now'
== a frame that sees an array
import pandas as pd, numpy as np
arr = np.zeros((3, 2)); df = pd.DataFrame(arr, copy=False, columns=["a", "b"])
--
arr[1, 0] = 5
assert df.loc[1, "a"] == 5, "the frame is a copy now"
== two names of one frame, and a copy on write
import pandas as pd
df = pd.DataFrame({"a": [1, 2, 3]}); same = df; part = df[df.a > 1]; column = df["a"]
--
df.loc[0, "a"] = 100
assert same is df and same.a.tolist() == [100, 2, 3] and part.a.tolist() == [2, 3]
assert column.tolist() == [1, 2, 3], "writing to the frame changes the series"
== groups, resampling and expanding windows
import pandas as pd
days = pd.date_range("2026-01-01", periods=6, freq="D"); df = pd.DataFrame({"k": list("aabbab"), "v": range(6)}, index=days)
by = df.groupby("k")["v"]; weekly = df.resample("2D")["v"]; growing = df["v"].expanding(); own = by.apply(lambda s: s.max() - s.min())
--
assert by.sum().to_dict() == {"a": 5, "b": 10} and weekly.sum().tolist() == [1, 5, 9] and growing.sum().iloc[-1] == 15 and own.to_dict() == {"a": 4, "b": 3}
== a styler with functions of cells
import pandas as pd
def red(v): return "color: red" if v > limit else ""
limit = 1; df = pd.DataFrame({"a": [1, 2]}); styled = df.style.map(red).format(lambda v: f"<{v}>").set_caption("cap")
--
assert styled.to_html().count("color: red") == 1 and "&lt;2&gt;" in styled.to_html() or "<2>" in styled.to_html()
== attributes, flags, and a subclass with metadata
import pandas as pd
class Table(pd.DataFrame):
    _metadata = ["title"]
    @property
    def _constructor(self): return Table
    def shout(self): return self.title.upper()
t = Table({"a": [1]}); t.title = "t"; df = pd.DataFrame({"a": [1]}).set_flags(allows_duplicate_labels=False); df.attrs["source"] = ["s"]
--
assert t.shout() == "T" and type(t[["a"]]) is Table and df.attrs == {"source": ["s"]} and df.flags.allows_duplicate_labels is False
== dates, zones, offsets and calendars
import pandas as pd
from pandas.tseries.holiday import AbstractHolidayCalendar, Holiday
from pandas.tseries.offsets import CustomBusinessDay
class Days(AbstractHolidayCalendar):
    rules = [Holiday("New", month=1, day=1)]
step = CustomBusinessDay(calendar=Days()); stamps = pd.date_range("2026-03-29", periods=3, freq="h", tz="Europe/Berlin"); nat = pd.NaT; na = pd.NA; delta = pd.Timedelta("1D2h")
--
assert pd.Timestamp("2025-12-31") + step == pd.Timestamp("2026-01-02") and str(stamps.tz) == "Europe/Berlin" and stamps[2].hour == 3 and nat is pd.NaT and na is pd.NA and delta.days == 1
== sparse, nullable and object columns
import pandas as pd, numpy as np
class O:
    def __init__(self, v): self.v = v
one = O(1); df = pd.DataFrame({"s": pd.arrays.SparseArray([0, 0, 1]), "i": pd.array([1, None, 3], dtype="Int64"), "b": pd.array([True, None, False], dtype="boolean"), "o": [one, O(2), None]})
--
assert df["o"][0] is one and df["s"].sparse.density == 1 / 3 and df["i"].isna().sum() == 1 and df["b"].dtype == "boolean"
== lists, structs and dates of Arrow
import pandas as pd, pyarrow as pa
df = pd.DataFrame({"l": pd.Series([[1, 2], None], dtype=pd.ArrowDtype(pa.list_(pa.int64()))), "d": pd.Series(["2026-01-02", None], dtype=pd.ArrowDtype(pa.date32()))}); csv = pd.DataFrame({"a": ["x", "y"]}).convert_dtypes(dtype_backend="pyarrow")
--
assert df["l"].list.len()[0] == 2 and df["d"].isna().tolist() == [False, True] and csv["a"].tolist() == ["x", "y"] and str(df["l"].dtype).startswith("list")
== strings as pandas infers them
import pandas as pd
s = pd.Series(["a", "b", None]); idx = pd.Index(["x", "y"]); df = pd.DataFrame({"t": ["p", "q"]}, index=idx); kind = s.dtype
--
assert s.str.upper().tolist()[:2] == ["A", "B"] and s.dtype == kind and df.loc["y", "t"] == "q" and df.index is idx or df.index.equals(idx)
== frames that hold frames, and indexes that are shared
import pandas as pd
idx = pd.RangeIndex(3); a = pd.DataFrame({"x": [1, 2, 3]}, index=idx); b = pd.DataFrame({"y": [4, 5, 6]}, index=idx); box = {"a": a, "both": [a, b]}; cell = pd.Series([a, b])
--
assert box["a"] is a is box["both"][0] is cell[0] and cell[1] is b and pd.concat([a, b], axis=1).shape == (3, 2)
== files of the workspace
import pandas as pd
pd.DataFrame({"a": [1, 2]}).to_csv("t.csv", index=False); pd.DataFrame({"a": [3]}).to_parquet("t.parquet"); path = pd.io.common.Path("t.csv") if hasattr(pd.io.common, "Path") else "t.csv"; back = pd.read_csv("t.csv")
--
assert pd.read_csv("t.csv").a.tolist() == [1, 2] and pd.read_parquet("t.parquet").a.tolist() == [3] and back.a.tolist() == [1, 2]
== a reader of chunks [loses: reader]
import pandas as pd
open("big.csv", "w").write("a\n" + "1\n" * 100); reader = pd.read_csv("big.csv", chunksize=10); first = next(reader); kept = [1]
--
assert kept == [1] and first.a.sum() == 10
== a frame that changes in place between cells
import pandas as pd, numpy as np
df = pd.DataFrame({"a": np.arange(1000)}); view = df["a"]
++
df.loc[5, "a"] = -1; df["b"] = df["a"] * 2; df.drop(index=[0], inplace=True); df.rename(columns={"a": "z"}, inplace=True)
--
assert df.shape == (999, 2) and df.loc[5, "z"] == -1 and df.loc[5, "b"] == -2 and view[5] == 5
""",
    is_preloaded=True,
)
