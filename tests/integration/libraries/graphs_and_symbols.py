"""networkx and sympy: objects that are known by their identity, or by a cache of the library."""

from .case import read

CASES = read(
    "graphs and symbols",
    r"""
== a graph of the session's own objects
import networkx as nx
class Town:
    def __init__(self, name): self.name = name
a, b = Town("a"), Town("b"); g = nx.Graph(); g.add_edge(a, b, road={"km": 3}); g.graph["maker"] = lambda: "me"
--
assert g[a][b]["road"]["km"] == 3 and a in g and set(g.nodes) == {a, b} and g.graph["maker"]() == "me" and nx.shortest_path(g, a, b) == [a, b]
== views and subgraphs
import networkx as nx
g = nx.path_graph(5); sub = g.subgraph([1, 2, 3]); rev = nx.DiGraph([(1, 2)]).reverse(copy=False); edges = g.edges; degree = g.degree; only = nx.subgraph_view(g, filter_node=lambda n: n < limit); limit = 3
--
g.add_edge(1, 3)
assert sub.has_edge(1, 3), "the subgraph is a copy now"
assert len(edges) == 5 and degree[1] == 3 and list(rev.edges) == [(2, 1)]
limit = 2; assert sorted(only.nodes) == [0, 1]
== a subclass with factories of a cell
import networkx as nx
class Own(nx.MultiDiGraph):
    node_attr_dict_factory = lambda self: {"weight": default}
default = 5; g = Own(); g.add_node("n"); g.add_edge("n", "m", key="k", tag="t")
--
default = 6; g.add_node("q")
assert type(g) is Own and g.nodes["n"]["weight"] == 5 and g.nodes["q"]["weight"] == 6 and g["n"]["m"]["k"]["tag"] == "t"
== a graph that is changed by its cached properties
import networkx as nx
g = nx.Graph([(1, 2)]); adj = g.adj; nodes = g.nodes; copied = g.copy(); frozen = nx.freeze(nx.Graph([(3, 4)]))
--
g.add_edge(2, 3)
assert 3 in nodes and 3 in adj and adj is g.adj and 3 not in copied and nx.is_frozen(frozen)
try: frozen.add_edge(5, 6)
except nx.NetworkXError: pass
else: raise AssertionError("a frozen graph was changed")
== symbols and what is assumed of them
import sympy as sp
x = sp.Symbol("x"); p = sp.Symbol("p", positive=True); n = sp.symbols("n", integer=True); d = sp.Dummy("d"); also = d; expr = sp.sqrt(p**2) + x
--
assert x == sp.Symbol("x") and x is sp.Symbol("x"), "symbols of a name are two objects now"
assert expr == p + x and n.is_integer and d is also and p != sp.Symbol("p") and p.is_positive
assert all(d != sp.Dummy("d") for _ in range(100)), "a new dummy is equal to the one that was saved"
== functions, derivatives and equations
import sympy as sp
x = sp.Symbol("x"); f = sp.Function("f"); g = f(x).diff(x) + x; eq = sp.Eq(f(x), x**2); solved = sp.solve(x**2 - 4, x); total = sp.Sum(x, (x, 1, 10)); lam = sp.Lambda(x, x + 1)
--
assert g == f(x).diff(x) + x and eq.lhs.func == sp.Function("f") and solved == [-2, 2] and total.doit() == 55 and lam(3) == 4 and f(x) == sp.Function("f")(x)
== a function of a cell, and one that is compiled
import sympy as sp
x = sp.Symbol("x")
class Twice(sp.Function):
    @classmethod
    def eval(cls, v):
        if v.is_Number: return v * 2
compiled = sp.lambdify(x, sp.sin(x) + x, "math"); t = Twice(x) + 1
--
assert Twice(3) == 6 and t.subs(x, 2) == 5 and t == Twice(x) + 1 and compiled(0) == 0
== singletons, matrices, sets and units
import sympy as sp
from sympy.physics.units import meter, second
half = sp.Rational(1, 2); zero = sp.S.Zero; m = sp.Matrix([[1, half], [0, 1]]); fixed = sp.ImmutableMatrix(m); real = sp.S.Reals; speed = 3 * meter / second; inf = sp.oo; i = sp.I; poly = sp.Poly(sp.Symbol("x") ** 2 + 1)
--
assert half is sp.S.Half and zero is sp.S.Zero and m.det() == 1 and fixed == m and real is sp.S.Reals and inf is sp.oo and i**2 == -1 and poly.degree() == 2 and speed.subs(second, 1) == 3 * meter
m[0, 0] = 5; assert m.det() == 5
== wild patterns, sequences and a permutation
import sympy as sp
from sympy.combinatorics import Permutation
x = sp.Symbol("x"); w = sp.Wild("w", exclude=[x]); found = (3 * x).match(w * x); perm = Permutation([1, 0, 2]); piece = sp.Piecewise((x, x > 0), (0, True))
--
assert found[w] == 3 and (5 * x).match(w * x)[w] == 5 and perm(0) == 1 and piece.subs(x, -1) == 0
== numbers of mpmath, and a field
import sympy as sp, mpmath
third = mpmath.mpf(1) / 3; x = sp.Symbol("x"); K = sp.QQ.algebraic_field(sp.sqrt(2)); domain = sp.ZZ
--
assert str(third).startswith("0.333333") and domain is sp.ZZ and K == sp.QQ.algebraic_field(sp.sqrt(2))
== the precision of mpmath
import mpmath
mpmath.mp.dps = 30; third = mpmath.mpf(1) / 3
--
assert mpmath.mp.dps == 30, "the precision is the default one again"
assert str(third).startswith("0.33333333333333333333333333333")
""",
    is_preloaded=True,
)
