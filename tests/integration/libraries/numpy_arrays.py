"""NumPy: arrays of all kinds, their subclasses, and which of them share memory."""

from .case import read

CASES = read(
    "numpy arrays",
    r"""
== functions, generators, masks, records and polynomials
import numpy as np
f = np.frompyfunc(lambda a: a + 1, 1, 1); v = np.vectorize(lambda a: a * 2); rng = np.random.default_rng(3); a = rng.random(); st = rng.bit_generator.state; ma = np.ma.masked_array([1,2], [0,1]); rec = np.rec.array([(1, 'a')], dtype=[('x', int), ('y', 'U3')]); poly = np.poly1d([1,2])
--
assert f(1) == 2 and v(2) == 4 and rng.bit_generator.state == st and ma.sum() == 1 and rec.x[0] == 1 and poly(1) == 3
== a mapped file, and views
import numpy as np
mm = np.memmap('m.bin', dtype='u1', mode='w+', shape=(10,)); mm[0] = 1; mm.flush()
a = np.zeros(4); r = a.view(np.matrix); ma = np.ma.array(a, copy=False)
--
mm[1] = 7; mm.flush()
assert type(mm) is np.memmap and open('m.bin','rb').read()[1] == 7, 'writes do not reach the file any more'
== views of subclasses
import numpy as np
a = np.zeros(4); m = a.view(np.matrix); ma = np.ma.array(a, copy=False)
st = np.zeros(3, dtype=[('x','f8'),('y','i4')]); rec = st.view(np.recarray)
--
a[0] = 5; st['x'][1] = 8
assert rec.x[1] == 8, 'recarray view is a copy'
assert m[0, 0] == 5 and ma[0] == 5, 'matrix or masked view is a copy'
assert type(rec) is np.recarray and type(m) is np.matrix and type(ma) is np.ma.MaskedArray
== a mask that two arrays share
import numpy as np
data = np.arange(4.0); mask = np.array([0, 1, 0, 0], bool); ma = np.ma.array(data, mask=mask, copy=False, fill_value=-1); part = ma[1:]
--
data[2] = 50
assert ma[2] == 50, "the masked array is a copy now"
assert part[1] == 50, "the view of the masked array is a copy now"
assert ma.mask.tolist() == [False, True, False, False] and ma.fill_value == -1 and ma.filled().tolist() == [0, -1, 50, 3]
== fields of a structured array
import numpy as np
kind = np.dtype([("pos", "f4", (2,)), ("name", "U5")], align=True); st = np.zeros(3, kind); x = st["pos"][:, 0]; one = st[1]; several = st[["name"]]
--
x[2] = 9; one["name"] = "bob"
assert st["pos"][2, 0] == 9, "a view of a part of a field is a copy now"
assert st["name"][1] == "bob", "a record is a copy now"
assert several["name"][1] == "bob", "a view of several fields is a copy now"
assert st.dtype == kind and st.dtype.isalignedstruct
== a subclass of a cell
import numpy as np
class Signal(np.ndarray):
    def __new__(cls, values, rate): obj = np.asarray(values, float).view(cls); obj.rate = rate; return obj
    def __array_finalize__(self, obj): self.rate = getattr(obj, "rate", None)
    def __reduce__(self): made, args, state = super().__reduce__(); return made, args, (*state, self.rate)
    def __setstate__(self, state): self.rate = state[-1]; super().__setstate__(state[:-1])
s = Signal([1, 2, 3], 44.1); part = s[1:]
--
assert type(s) is Signal and s.rate == 44.1 and type(part) is Signal and (s * 2).rate == 44.1
== a subclass of a cell without a way of its own to pickle
import numpy as np
class Named(np.ndarray):
    pass
base = np.zeros(3); n = base.view(Named); n.label = "x"
def helper(): return 5
--
base[1] = 4
assert type(n) is Named and helper() == 5
assert n[1] == 4, "the view is a copy now"
assert n.label == "x", "the attribute is gone"
== arrays of objects
import numpy as np
class O:
    def __init__(self, v): self.v = v
one = O(1); arr = np.array([one, O(2), [3], lambda: 4], dtype=object); same = arr[:2]; ring = np.empty(1, object); ring[0] = ring
--
assert arr[0] is one is same[0] and arr[2] == [3] and arr[3]() == 4 and ring[0] is ring
same[1] = "x"; assert arr[1] == "x"
== read-only, broadcast and strided views
import numpy as np
base = np.arange(12.0).reshape(3, 4); fixed = base.view(); fixed.flags.writeable = False; wide = np.broadcast_to(np.array([1.0, 2.0]), (3, 2)); turned = base.T; step = base[::-1, ::2]; fortran = np.asfortranarray(base); window = np.lib.stride_tricks.sliding_window_view(base[0], 2)
--
base[0, 1] = 50
assert fixed[0, 1] == 50, "the read-only view is a copy now"
assert not fixed.flags.writeable, "the read-only view can be written now"
assert wide.tolist() == [[1.0, 2.0]] * 3 and fortran.flags.f_contiguous
assert turned[1, 0] == 50 and window[0, 1] == 50, "a view is a copy now"
base[2, 0] = 60; assert step[0, 0] == 60, "a view with negative steps is a copy now"
== memory of others
import numpy as np, array
raw = bytearray(8); a = np.frombuffer(raw, "u1"); arr = array.array("d", [1, 2]); b = np.asarray(arr); m = memoryview(raw)
--
raw[3] = 7; arr[0] = 5
assert a[3] == 7, "the view of the bytearray is a copy now"
assert b[0] == 5, "the view of the array.array is a copy now"
assert m[3] == 7, "the memoryview is of another bytearray"
== scalars, times, texts and no dimension
import numpy as np
one = np.float32(1.5); when = np.datetime64("2026-01-02"); many = np.array(["2026-01-01", "NaT"], "M8[s]"); zero = np.array(3); texts = np.array(["a", "bcd"]); raw = np.void(b"12"); strings = np.array(["x", "longer text" * 9], dtype=np.dtypes.StringDType())
--
assert one.dtype == np.float32 and when.astype(int) == 20455 and np.isnat(many[1]) and zero.shape == () and texts.dtype == "U3" and raw.tobytes() == b"12" and strings[1].startswith("longer") and strings.dtype == np.dtypes.StringDType()
== dtypes and functions of the library
import numpy as np
kinds = [np.dtype("i4"), np.dtype([("a", "f8")]), np.float64, np.dtype("M8[ms]")]; table = {np.add: "plus", np.dtype("f4"): 1}; of = np.linalg.norm; total = np.add.reduce
--
assert kinds[0] == np.int32 and kinds[2] is np.float64 and table[np.add] == "plus" and table[np.dtype("f4")] == 1 and of is np.linalg.norm and total([1, 2]) == 3
== polynomials, grids and iterators [or loses: walk]
import numpy as np
p = np.polynomial.Polynomial([1, 2]); grid = np.mgrid[0:2, 0:2]; index = np.s_[1:3, ..., None]; walk = np.nditer(np.arange(3)); enum = np.ndenumerate(np.arange(2)).iter.base
--
assert p(2) == 5 and grid.shape == (2, 2, 2) and index[0] == slice(1, 3) and index[2] is None and sum(int(v) for v in walk) == 3
-- told
assert p(2) == 5 and grid.shape == (2, 2, 2) and index[0] == slice(1, 3)
== an array that two objects hold, changed between cells
import numpy as np
class Holder:
    def __init__(self, a): self.a = a
big = np.zeros(300_000); one, two = Holder(big), Holder(big[10:]); table = {"x": big}
++
big[12] = 3; one.a[0] = 1
--
assert one.a is big is table["x"] and two.a[2] == 3 and big[0] == 1
two.a[5] = 9; assert big[15] == 9
""",
    is_preloaded=True,
)
