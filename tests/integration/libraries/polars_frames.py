"""polars: frames of every origin. A forked child has none of its threads, which its own pickling of a frame waits for."""

from .case import read

CASES = read(
    "polars",
    r"""
== one chunk, after use
import polars as pl
frame = pl.DataFrame({"a": list(range(1000)), "s": ["q"] * 1000}); t = frame.group_by("s").agg(pl.col("a").sum())
--
assert frame.height == 1000 and t["a"].to_list() == [499500] and frame["a"].sum() == 499500
== two chunks, after use
import polars as pl
f = pl.DataFrame({"a": list(range(1000)), "s": ["q"] * 1000}); frame = pl.concat([f, f], rechunk=False); t = frame.group_by("s").agg(pl.col("a").sum()); del f
--
assert frame.height == 2000 and t["a"].to_list() == [999000]
== two chunks, never used
import polars as pl
f = pl.DataFrame({"a": [1, 2], "s": ["q", "r"]}); frame = f.vstack(f); del f
--
assert frame["s"].to_list() == ["q", "r", "q", "r"]
== read from a file
import polars as pl
open("x.csv", "w").write("a,b\n" + "1,2\n" * 200_000)
frame = pl.read_csv("x.csv"); n = frame.filter(pl.col("a") == 1).height
--
assert frame.height == n == 200_000 and frame["b"].sum() == 400_000
== functions of cells in lazy plans and expressions
import polars as pl
k = 2
lf = pl.DataFrame({"a": [1, 2]}).lazy().select(pl.col("a").map_elements(lambda v: v * k, return_dtype=pl.Int64))
ex = pl.col("a").map_elements(lambda v: v * k, return_dtype=pl.Int64)
--
k = 5
assert lf.collect()["a"].to_list() == [5, 10], lf.collect()["a"].to_list()
assert pl.DataFrame({"a": [3]}).select(ex)["a"].to_list() == [15]
== fifty chunks, groups, and objects of cells
import polars as pl
class O:
    def __init__(self, v): self.v = v
frame = pl.concat([pl.DataFrame({"a": list(range(1000)), "s": ["q"] * 1000}) for _ in range(50)], rechunk=False); g = frame.group_by("s").agg(pl.col("a").sum()); objs = pl.Series("o", [O(1), O(2)], dtype=pl.Object)
--
assert frame.height == 50_000 and g["a"][0] == 50 * 499500
assert objs[1].v == 2
== a large frame
import polars as pl, numpy as np
frame = pl.DataFrame({f"c{i}": np.random.rand(500_000) for i in range(8)}).with_columns(pl.lit("text").alias("s")); total = frame.select(pl.all().exclude("s").sum()).row(0)
--
assert frame.select(pl.all().exclude("s").sum()).row(0) == total
== from NumPy, Arrow and pandas
import polars as pl, numpy as np, pyarrow as pa, pandas as pd
of_numpy = pl.from_numpy(np.arange(6.0).reshape(3, 2), schema=["a", "b"]); of_arrow = pl.from_arrow(pa.table({"x": [1, None], "y": ["u", "v"]})); of_pandas = pl.from_pandas(pd.DataFrame({"p": [1.5, None]}))
--
assert of_numpy.row(1) == (2.0, 3.0) and of_arrow["x"].null_count() == 1 and of_arrow["y"].to_list() == ["u", "v"] and of_pandas["p"].to_list() == [1.5, None]
== categories, enumerations and decimals
import polars as pl
from decimal import Decimal
sizes = pl.Enum(["s", "m", "l"]); frame = pl.DataFrame({"c": pl.Series(["x", "y", "x"], dtype=pl.Categorical), "e": pl.Series(["l", "s", None], dtype=sizes), "d": pl.Series([Decimal("1.10"), None, Decimal("2.20")])})
--
assert frame["c"].to_list() == ["x", "y", "x"] and frame["c"].dtype == pl.Categorical and frame["e"].dtype == sizes and frame.sort("e")["e"].to_list() == [None, "s", "l"]
assert frame["d"][2] == Decimal("2.20")
== lists, structs, arrays and binary
import polars as pl
frame = pl.DataFrame({"l": [[1, 2], [], None], "s": [{"a": 1, "b": "x"}, {"a": 2, "b": None}, None], "b": [b"1", None, b"22"]}).with_columns(pl.Series("r", [[1, 2], [3, 4], [5, 6]], dtype=pl.Array(pl.Int8, 2)))
--
assert frame["l"].to_list() == [[1, 2], [], None] and frame["s"].struct.field("a").to_list() == [1, 2, None] and frame["b"].to_list() == [b"1", None, b"22"] and frame["r"][1].to_list() == [3, 4]
assert frame.schema["r"] == pl.Array(pl.Int8, 2)
== times, zones and durations
import polars as pl, datetime as dt
frame = pl.DataFrame({"d": [dt.date(2026, 1, 2)], "t": [dt.datetime(2026, 1, 2, 3, tzinfo=dt.timezone.utc)], "x": [dt.timedelta(hours=2)], "m": [dt.time(4, 5)]}).with_columns(z=pl.col("t").dt.convert_time_zone("Asia/Tokyo")); days = pl.date_range(dt.date(2026, 1, 1), dt.date(2026, 1, 3), eager=True)
--
assert frame["z"][0].hour == 12 and frame["x"][0] == dt.timedelta(hours=2) and frame["m"][0] == dt.time(4, 5) and days.len() == 3 and frame.schema["z"] == pl.Datetime("us", "Asia/Tokyo")
== slices, filters, sorts, joins and windows
import polars as pl
base = pl.DataFrame({"k": ["a", "b"] * 500, "v": range(1000)}); part = base.slice(10, 5); head = base.head(3); odd = base.filter(pl.col("v") % 2 == 1); down = base.sort("v", descending=True); joined = base.join(pl.DataFrame({"k": ["a"], "w": [9]}), on="k"); window = base.with_columns(pl.col("v").sum().over("k").alias("t")); wide = base.with_row_index().pivot("k", index="index", values="v")
--
assert part["v"].to_list() == [10, 11, 12, 13, 14] and head.height == 3 and odd["v"].min() == 1 and down["v"][0] == 999 and joined.height == 500 and window["t"][0] == 249500 and wide.width == 3
== series that are held in containers and objects
import polars as pl
class Report:
    def __init__(self): self.frame = pl.DataFrame({"a": [1, 2]}); self.parts = {"a": self.frame["a"], "all": self.frame}
report = Report(); same = report.frame; both = [same, same]
--
assert report.parts["all"] is report.frame is same is both[0] is both[1] and report.parts["a"].to_list() == [1, 2]
== an empty frame, a schema, nulls and nan
import polars as pl
empty = pl.DataFrame(schema={"a": pl.Int32, "b": pl.List(pl.String)}); nothing = pl.DataFrame(); odd = pl.Series("n", [None, float("nan"), float("inf")]); null = pl.Series([None, None]); types = [pl.Int32, pl.List(pl.String), pl.Datetime("ms")]
--
assert empty.schema == {"a": pl.Int32, "b": pl.List(pl.String)} and nothing.shape == (0, 0) and odd.is_nan().to_list() == [None, True, False] and null.dtype == pl.Null and types[1] == pl.List(pl.String)
== a group that is not aggregated yet
import polars as pl
frame = pl.DataFrame({"k": ["a", "b", "a"], "v": [1, 2, 3]}); groups = frame.group_by("k", maintain_order=True)
--
assert groups.agg(pl.col("v").sum())["v"].to_list() == [4, 2]
== lazy frames and expressions
import polars as pl
lazy = pl.LazyFrame({"a": [1, 2, 3]}).filter(pl.col("a") > 1).with_columns(b=pl.when(pl.col("a") > 2).then(pl.lit("big")).otherwise(pl.lit("small"))); rule = (pl.col("a") * 2).alias("c"); sel = pl.selectors.numeric()
--
assert lazy.collect()["b"].to_list() == ["small", "big"] and lazy.select(rule).collect()["c"].to_list() == [4, 6] and lazy.select(sel).collect().columns == ["a"]
== a scan of a file in the workspace
import polars as pl
pl.DataFrame({"a": [1, 2]}).write_parquet("t.parquet"); scan = pl.scan_parquet("t.parquet").filter(pl.col("a") > 1)
--
assert scan.collect()["a"].to_list() == [2]
== options and registered names
import polars as pl
@pl.api.register_expr_namespace("greet")
class Greet:
    def __init__(self, expr): self._expr = expr
    def hello(self): return pl.concat_str(pl.lit("hello "), self._expr)
@pl.api.register_dataframe_namespace("own")
class Own:
    def __init__(self, frame): self._frame = frame
    def rows(self): return self._frame.height
pl.Config.set_tbl_rows(3); frame = pl.DataFrame({"a": ["x"]})
--
assert frame.select(pl.col("a").greet.hello()).item() == "hello x" and frame.own.rows() == 1
assert "POLARS_FMT_MAX_ROWS" in pl.Config.state() and pl.Config.state()["POLARS_FMT_MAX_ROWS"] == "3", pl.Config.state()
== a string cache, sorted flags and names
import polars as pl
s = pl.Series("t", [1, 2, 3]).set_sorted(); renamed = s.rename("other"); shrunk = s.shrink_dtype(); struct = pl.DataFrame({"a": [1]}).to_struct("st")
--
assert s.flags["SORTED_ASC"] and renamed.name == "other" and struct.struct.field("a").to_list() == [1] and s.name == "t" and shrunk.to_list() == [1, 2, 3]
== a frame changed by the next cell
import polars as pl
frame = pl.DataFrame({"a": [1, 2]}); before = frame
++
frame[0, "a"] = 10; frame = frame.with_columns(b=pl.col("a") + 1); frame.insert_column(0, pl.Series("z", ["p", "q"]))
--
assert frame.to_dict(as_series=False) == {"z": ["p", "q"], "a": [10, 2], "b": [11, 3]} and before["a"].to_list() == [10, 2]
""",
)
