"""NumPy: what it keeps for the process, and random numbers."""

from .case import read

CASES = read(
    "numpy state",
    r"""
== errors and options of printing
import numpy as np
np.seterr(all='raise'); np.set_printoptions(precision=2); sys = 1
--
try: np.array([1.0]) / 0
except FloatingPointError: pass
else: raise AssertionError('np.seterr is undone')
assert repr(np.array([1.23456])) == "array([1.23])", repr(np.array([1.23456]))
== a function for errors
import numpy as np
seen = []
np.seterrcall(lambda kind, flag: seen.append(kind)); np.seterr(divide="call")
--
np.array([1.0]) / 0
assert seen == ["divide by zero"], seen
== options of printing with functions of cells
import numpy as np
np.set_printoptions(formatter={"int": lambda v: f"<{v}>"}, threshold=5, linewidth=40)
--
assert str(np.array([1])) == "[<1>]" and np.get_printoptions()["threshold"] == 5 and np.get_printoptions()["linewidth"] == 40
== another bit generator
import numpy as np
np.random.set_bit_generator(np.random.PCG64(3))
x = np.random.rand()
++
y = [1]
--
assert y == [1]
== another bit generator goes on where it was
import numpy as np
np.random.set_bit_generator(np.random.Philox(7)); first = np.random.rand()
twin = np.random.RandomState(np.random.Philox(7)); twin.rand(); want = twin.rand(3).tolist()
--
assert np.random.rand(3).tolist() == want, "the generator does not go on where it was"
== the legacy generator goes on where it was
import numpy as np
np.random.seed(5); np.random.standard_normal(); state = np.random.get_state()
twin = np.random.RandomState(); twin.set_state(state); want = twin.standard_normal(3).tolist()
--
assert np.random.standard_normal(3).tolist() == want
== generators of one's own, of every kind
import numpy as np
kinds = [np.random.MT19937, np.random.PCG64, np.random.PCG64DXSM, np.random.Philox, np.random.SFC64]
own = [np.random.Generator(kind(3)) for kind in kinds]; twins = [np.random.Generator(kind(3)) for kind in kinds]
for g in own + twins: g.integers(0, 2**32, dtype="u4")
want = [g.random(2).tolist() for g in twins]; del twins, g
--
assert [g.random(2).tolist() for g in own] == want
== generators that share a bit generator, and seeds
import numpy as np
bits = np.random.PCG64(1); a, b = np.random.Generator(bits), np.random.Generator(bits); seeds = np.random.SeedSequence(42); children = seeds.spawn(2); old = np.random.RandomState(9)
--
before = bits.state["state"]["state"]; a.random()
assert bits.state["state"]["state"] != before and a.bit_generator is b.bit_generator is bits, "the generators have bits of their own now"
assert seeds.n_children_spawned == 2 and seeds.spawn(1)[0].spawn_key == (2,) and children[1].spawn_key == (1,) and old.randint(10) == np.random.RandomState(9).randint(10)
== functions of the module's own generator
import numpy as np
from numpy.random import seed, randint
--
np.random.seed(7); a = randint(0, 10**6); np.random.seed(7); b = randint(0, 10**6)
assert a == b, "randint does not follow np.random.seed"
== methods of a generator
import numpy as np
rng = np.random.default_rng(3); draw = rng.integers; old = np.random.RandomState(4); normal = old.normal
--
twin = np.random.default_rng(3); twin.random(); rng.random()
assert draw(10**9) == twin.integers(10**9), "the method is another generator's"
again = np.random.RandomState(4); again.rand(); old.rand(); assert normal() == again.normal()
""",
    is_preloaded=True,
)
