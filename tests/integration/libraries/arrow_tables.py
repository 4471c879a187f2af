"""pyarrow: slices, schemas, dictionaries, chunks, extension types, expressions and data sets."""

from .case import read

CASES = read(
    "pyarrow",
    r"""
== a table and its schema
import pyarrow as pa
t = pa.table({'a': [1,2]}); sch = t.schema
--
assert t.num_rows == 2 and t.schema == sch
== a small slice of a large table
import pyarrow as pa, numpy as np
big = pa.table({'a': np.arange(2_000_000), 's': pa.array(['x' * 10] * 2_000_000)}); small = big.slice(5, 3); del big
++
n = 1
--
assert small['a'].to_pylist() == [5, 6, 7]
== metadata, nested types and nulls
import pyarrow as pa
schema = pa.schema([pa.field("a", pa.int32(), nullable=False, metadata={"unit": "m"}), pa.field("l", pa.list_(pa.string())), pa.field("s", pa.struct([("x", pa.float64())])), pa.field("m", pa.map_(pa.string(), pa.int8()))], metadata={"source": "test"})
t = pa.Table.from_pylist([{"a": 1, "l": ["p", None], "s": {"x": 1.5}, "m": [("k", 1)]}, {"a": 2, "l": None, "s": None, "m": []}], schema=schema)
--
assert t.schema.metadata == {b"source": b"test"} and t.schema.field("a").metadata == {b"unit": b"m"} and not t.schema.field("a").nullable and t["l"].to_pylist() == [["p", None], None] and t["m"].to_pylist()[0] == [("k", 1)]
== dictionary arrays
import pyarrow as pa
d = pa.array(["x", "y", "x", None]).dictionary_encode(); table = pa.table({"d": d}); ordered = pa.DictionaryArray.from_arrays(pa.array([0, 1]), pa.array(["lo", "hi"]), ordered=True)
--
assert d.indices.to_pylist() == [0, 1, 0, None] and d.dictionary.to_pylist() == ["x", "y"] and table["d"].type == d.type and ordered.type.ordered
== chunked arrays, batches and scalars
import pyarrow as pa
chunks = pa.chunked_array([[1, 2], [3]]); batch = pa.record_batch({"a": [1, 2]}); table = pa.Table.from_batches([batch, batch]); one = pa.scalar(5, pa.int16()); when = pa.scalar(1, pa.timestamp("s", tz="UTC"))
--
assert chunks.num_chunks == 2 and chunks.to_pylist() == [1, 2, 3] and table.num_rows == 4 and one.as_py() == 5 and one.type == pa.int16() and when.type.tz == "UTC" and batch.num_columns == 1
== an array over NumPy's memory
import pyarrow as pa, numpy as np
a = np.arange(4.0); arr = pa.array(a); back = arr.to_numpy(); total = a.sum()
--
assert arr.to_pylist() == [0, 1, 2, 3] and back.sum() == total
== buffers and bit maps
import pyarrow as pa
buf = pa.py_buffer(b"hello"); sub = buf.slice(1, 3); arr = pa.array([True, None, False]); sliced = pa.array(range(100)).slice(10, 5)
--
assert buf.to_pybytes() == b"hello" and sub.to_pybytes() == b"ell" and arr.null_count == 1 and sliced.to_pylist() == [10, 11, 12, 13, 14]
== an extension type of a cell
import pyarrow as pa
class Angle(pa.ExtensionType):
    def __init__(self, unit): self.unit = unit; super().__init__(pa.float64(), "test.angle")
    def __arrow_ext_serialize__(self): return self.unit.encode()
    @classmethod
    def __arrow_ext_deserialize__(cls, storage, data): return cls(data.decode())
pa.register_extension_type(Angle("deg")); arr = pa.ExtensionArray.from_storage(Angle("rad"), pa.array([1.0, 2.0]))
--
assert type(arr.type) is Angle and arr.type.unit == "rad" and arr.storage.to_pylist() == [1, 2] and Angle("x").unit == "x"
== expressions of compute [or loses: rule]
import pyarrow as pa, pyarrow.compute as pc
rule = (pc.field("a") > 1) & pc.field("b").is_valid(); t = pa.table({"a": [1, 2, 3], "b": [None, "x", "y"]})
--
assert t.filter(rule)["a"].to_pylist() == [2, 3]
-- told
assert t.filter(pc.greater(t["a"], 1))["a"].to_pylist() == [2, 3]
== a data set of files in the workspace [or loses: data]
import pyarrow as pa, pyarrow.parquet as pq, pyarrow.dataset as ds
pq.write_table(pa.table({"a": [1, 2]}), "one.parquet"); data = ds.dataset("one.parquet"); kept = [1]
--
assert data.to_table()["a"].to_pylist() == [1, 2] and kept == [1]
-- told
assert ds.dataset("one.parquet").to_table().num_rows == 2 and kept == [1]
== types as keys, and options
import pyarrow as pa, pyarrow.csv as pc
names = {pa.int8(): "small", pa.list_(pa.string()): "texts"}; union = pa.union([pa.field("i", pa.int8()), pa.field("s", pa.string())], mode="dense"); read = pc.ReadOptions(skip_rows=1)
--
assert names[pa.int8()] == "small" and names[pa.list_(pa.string())] == "texts" and union.num_fields == 2 and read.skip_rows == 1
== a file that is mapped [loses: file]
import pyarrow as pa
open("raw.bin", "wb").write(b"12345"); file = pa.memory_map("raw.bin"); kept = [1]
--
assert kept == [1] and pa.memory_map("raw.bin").read() == b"12345"
""",
    is_preloaded=True,
)
