"""NumPy: kinds of arrays, and arrays that share memory."""

from .cases import read

CASES = read(
    "numpy",
    r"""
== arrays of each dtype [needs: numpy]
import numpy as np
kinds = {code: np.arange(5).astype(code) for code in ("?", "i1", "u2", "i4", ">i8", "f2", "f4", "f8", "c8", "c16", "S3", "U4", "M8[ns]", "m8[s]")}
--
assert all(kinds[code].dtype == np.dtype(code) and (kinds[code] == np.arange(5).astype(code)).all() for code in kinds)
kinds["f8"][0] = 9
== dtypes and scalars [needs: numpy]
import numpy as np
kinds = [np.dtype("f4"), np.dtype([("a", "i4"), ("b", "U3")])]; values = [np.float32(1.5), np.int64(-3), np.bool_(True), np.datetime64("2026-01-01"), np.str_("x"), np.complex64(1j)]
--
assert kinds[1].names == ("a", "b") and [type(v).__name__.removesuffix("_") for v in values] == ["float32", "int64", "bool", "datetime64", "str", "complex64"] and values[0] == 1.5
== structured and record arrays [needs: numpy]
import numpy as np
table = np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]); rec = np.rec.array([(1, "x")], names="n,s"); column = table["a"]
--
column[0] = 7
assert table[0]["a"] == 7 and rec.n[0] == 1 and type(rec) is np.recarray
== a large array can be written to [needs: numpy]
import numpy as np
big = np.arange(200_000.0); alias = big
--
big[3] = -1
assert alias is big and alias[3] == -1 and big.flags.writeable and big.flags.owndata in (True, False)
== order and strides [needs: numpy]
import numpy as np
fortran = np.asfortranarray(np.arange(6).reshape(2, 3)); stepped = np.arange(10)[::-2]; empty = np.empty((0, 3)); scalar = np.array(5)
--
assert fortran.flags.f_contiguous and fortran.tolist() == [[0, 1, 2], [3, 4, 5]] and stepped.tolist() == [9, 7, 5, 3, 1] and empty.shape == (0, 3) and scalar.shape == ()
== a read-only array stays so [needs: numpy]
import numpy as np
fixed = np.arange(3); fixed.flags.writeable = False; large = np.arange(50_000); large.flags.writeable = False
--
assert not fixed.flags.writeable and not large.flags.writeable and fixed.sum() == 3
== a view shares memory with its array [needs: numpy]
import numpy as np
whole = np.zeros(10); part = whole[2:5]
--
part[0] = 1; whole[3] = 2
assert whole[2] == 1 and part[1] == 2 and np.shares_memory(whole, part)
== views of one array in several variables and containers [needs: numpy]
import numpy as np
rows = np.arange(12).reshape(3, 4); first, columns, turned = rows[0], rows[:, 1], rows.T; kept = {"d": np.diagonal(rows), "r": rows[::-1]}
--
rows[0, 1] = 50
assert first[1] == 50 and columns[0] == 50 and turned[1, 0] == 50 and kept["r"][2, 1] == 50 and turned.shape == (4, 3)
rows[1, 1] = 60
assert kept["d"][1] == 60
== a view as another dtype [needs: numpy]
import numpy as np
floats = np.zeros(4); bits = floats.view("u8"); wide = np.broadcast_to(np.arange(3), (2, 3))
--
bits[0] = 1
assert floats[0] > 0 and wide.tolist() == [[0, 1, 2], [0, 1, 2]]
== views of an array that no variable has [needs: numpy]
import numpy as np
left, right = np.split(np.arange(8), 2); tail = left[2:]
--
tail[0] = 99
assert left[2] == 99 and right.tolist() == [4, 5, 6, 7]
== an array over a bytearray [needs: numpy]
import numpy as np
room = bytearray(8); over = np.frombuffer(room, dtype="u1")
--
over[0] = 7
assert room[0] == 7
== object arrays hold the same objects [needs: numpy]
import numpy as np
shared = [1]; cells = np.array([shared, None, {"a": shared}], dtype=object)
--
shared.append(2)
assert cells[0] is shared and cells[2]["a"] is shared
== masked arrays [needs: numpy]
import numpy as np
masked = np.ma.array([1, 2, 3], mask=[0, 1, 0], fill_value=9)
--
assert masked.sum() == 4 and masked.fill_value == 9 and masked.mask.tolist() == [False, True, False] and masked[1] is np.ma.masked
== np.matrix and subclasses of a cell [needs: numpy]
import numpy as np
class Tagged(np.ndarray):
    def __array_finalize__(self, other): self.tag = getattr(other, "tag", None)
one = np.arange(3).view(Tagged); one.tag = "t"
--
assert type(one) is Tagged and one.tolist() == [0, 1, 2] and type(one[1:]) is Tagged
== generators of random numbers [needs: numpy]
import numpy as np
rng = np.random.default_rng(7); rng.normal(); expected = np.random.default_rng(7); expected.normal(); expected = expected.normal(size=3).tolist(); old = np.random.RandomState(3)
--
assert rng.normal(size=3).tolist() == expected and old.randint(1000) == np.random.RandomState(3).randint(1000)
== two names of one random generator [needs: numpy]
import numpy as np
rng = np.random.default_rng(1); alias = {"rng": rng}; bits = rng.bit_generator
--
assert alias["rng"] is rng and rng.bit_generator is bits
a = rng.random(); assert a != alias["rng"].random()
== the global random state [needs: numpy]
import numpy as np
np.random.seed(5); state = np.random.get_state()[1].copy(); expected = np.random.RandomState(5).random_sample()
--
assert np.random.random_sample() == expected
== ufuncs, made and found [needs: numpy]
import numpy as np
found, spread = np.add, np.vectorize(lambda x: x + 1)
--
assert found is np.add and spread([1, 2]).tolist() == [2, 3]
== polynomials, memory order of nothing, constants [needs: numpy]
import numpy as np
poly = np.polynomial.Polynomial([1, 2]); old = np.poly1d([1, 0]); axis = np.newaxis; cut = np.s_[1:, ::2]; grid = np.ix_([0], [1])
--
assert poly(2) == 5 and old(3) == 3 and axis is None and cut == (slice(1, None), slice(None, None, 2)) and grid[1].shape == (1, 1)
== strings of variable width [needs: numpy]
import numpy as np
kind = np.dtypes.StringDType() if np.lib.NumpyVersion(np.__version__) >= "2.0.0" else object
words = np.array(["a", "longer text"], dtype=kind)
--
assert words.tolist() == ["a", "longer text"] and words.dtype == kind
== arrays inside of objects [needs: numpy]
import numpy as np
class Model:
    def __init__(self): self.weights = np.ones((2, 2)); self.flat = self.weights.ravel()
model = Model(); weights = model.weights
--
weights[0, 0] = 5
assert model.weights is weights and model.flat[0] == 5
== iterators over arrays that can be kept [needs: numpy]
import numpy as np
shape = np.ndindex(2, 2); seed = np.random.SeedSequence(5)
--
assert seed.generate_state(1)[0] == np.random.SeedSequence(5).generate_state(1)[0]
== views of other classes [needs: numpy]
import numpy as np
a = np.zeros(4); matrix = a.view(np.matrix); masked = np.ma.array(a, copy=False, mask=[0, 0, 1, 0], fill_value=7); part = masked[1:]
table = np.zeros(3, dtype=[("x", "f8"), ("y", "i4")]); rec = table.view(np.recarray); one = table[1]; texts = np.char.array(["ab", "cd"]); kept = np.rec.array([(1, "x")]); m = np.matrix([[1, 2], [3, 4]]); row = m[0]
--
a[0] = 5; a[1] = 6; table["x"][1] = 8; m[0, 0] = 9
assert matrix[0, 0] == 5 and masked[0] == 5 and part[0] == 6 and part.mask[1] and masked.fill_value == 7 and rec.x[1] == 8 and one["x"] == 8 and row[0, 0] == 9
assert [type(each) for each in (matrix, masked, rec, texts, row)] == [np.matrix, np.ma.MaskedArray, np.recarray, np.char.chararray, np.matrix] and rec.dtype.type is np.record and texts[1] == "cd"
== subclasses of cells [needs: numpy]
import numpy as np
class Noted(np.ndarray):
    def __new__(cls, values, note=None):
        made = np.asarray(values).view(cls); made.note = note; return made
    def __array_finalize__(self, other): self.note = getattr(other, "note", None)
class Table(np.ndarray): pass
noted = Noted(np.arange(200_000.0), "n"); part = noted[2:]; plain = np.asarray(noted); own = Table((2, 3)); own[:] = 4; turned = own.T; objects = np.array([[1], None], dtype=object).view(Noted); same = objects[0]
--
plain[3] = 44; own[0, 1] = 5
assert noted[3] == 44 and part[1] == 44 and (noted.note, part.note) == ("n", "n") and type(part) is Noted and type(plain) is np.ndarray and turned[1, 0] == 5 and type(turned) is Table and objects[0] is same
== maps of files [needs: numpy]
import numpy as np
whole = np.memmap("m.bin", dtype="u1", mode="w+", shape=(10,)); whole[0] = 1; whole.flush(); part = whole[2:5]; plain = np.asarray(whole); read = np.memmap("m.bin", dtype="u2", mode="r", offset=2, shape=(2, 2)); private = np.memmap("m.bin", mode="c"); private[3] = 99
--
whole[1] = 7; whole[2] = 3; whole.flush()
assert open("m.bin", "rb").read()[:3] == bytes([1, 7, 3]) and part[0] == 3 and plain[2] == 3 and read[0, 0] == 3 and private[3] == 99 and whole[3] == 0
assert type(whole) is type(part) is np.memmap and type(plain) is np.ndarray and not read.flags.writeable and private.mode == "c"
== what repeats its memory, and memory of others [needs: numpy]
import array, ctypes, numpy as np
wide = np.broadcast_to(np.array([1.0, 2.0]), (100_000, 2)); base = np.arange(5.0); window = np.lib.stride_tricks.sliding_window_view(base, 2); source = array.array("d", [1, 2]); seen = np.asarray(source)
numbers = np.arange(3, dtype="i4"); for_c = np.ctypeslib.as_ctypes(numbers)
class Pair(ctypes.Structure): _fields_ = [("x", ctypes.c_int), ("y", ctypes.c_int)]
pairs = (Pair * 2)(Pair(1, 2), Pair(3, 4)); second = pairs[1]
--
base[1] = 50; source[0] = 5; numbers[1] = 9; pairs[1].x = 77
assert wide.strides[0] == 0 and wide.shape == (100_000, 2) and window[0, 1] == 50 and seen[0] == 5 and for_c[1] == 9 and second.x == 77
== functions on arrays [needs: numpy]
import numpy as np
step = 1
add = np.frompyfunc(lambda a: a + step, 1, 1); twice = np.vectorize(lambda a: a * 2); kept = [np.add, np.linalg.norm]
--
step = 5
assert add(1) == 6 and twice([1])[0] == 2 and kept[0] is np.add
""",
)
