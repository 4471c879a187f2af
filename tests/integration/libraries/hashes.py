"""Objects hashed by their own state, in cycles through sets and dicts, and hashes that are kept in objects."""

from .case import read

CASES = read(
    "hashes",
    r"""
== friends in each other's sets
class P:
    def __init__(self, n): self.n, self.friends = n, set()
    def __hash__(self): return hash(self.n)
    def __eq__(self, o): return type(o) is P and self.n == o.n
a, b = P("a"), P("b"); a.friends.add(b); b.friends.add(a); other = [1]
--
assert a in b.friends and b in a.friends and other == [1]
== a node before its graph
class Graph:
    def __init__(self): self.nodes = {}
class Node:
    def __init__(self, g, name): self.g, self.name = g, name; g.nodes[self] = len(g.nodes)
    def __hash__(self): return hash(self.name)
    def __eq__(self, o): return self.name == o.name
entry = Node(Graph(), "n0"); second = Node(entry.g, "n1")
--
assert entry.g.nodes[entry] == 0 and second in entry.g.nodes
== a tree of frozen leaves
import dataclasses
@dataclasses.dataclass(frozen=True)
class Leaf:
    key: str
    owner: object = dataclasses.field(compare=False, repr=False, default=None)
class Owner:
    def __init__(self): self.leaves = {Leaf("x", self), Leaf("y", self)}
leaf = next(iter(sorted(Owner().leaves, key=lambda l: l.key)))
--
assert leaf in leaf.owner.leaves and len(leaf.owner.leaves) == 2
== a set before its members
members = set()
class M:
    def __init__(self, n): self.n, self.club = n, members; members.add(self)
    def __hash__(self): return hash(self.n)
    def __eq__(self, o): return self.n == o.n
m = M(1); z = M(2)
--
assert m in members and z.club is members and len(members) == 2
== a key that holds its own dictionary, in slots
class K:
    __slots__ = ("name", "table")
    def __init__(self, name): self.name = name; self.table = {self: name}
    def __hash__(self): return hash(self.name)
    def __eq__(self, o): return self.name == o.name
k = K("k"); also = K("l"); k.table[also] = 2; also.table[k] = 3
--
assert k.table[k] == "k" and k.table[also] == 2 and also.table[k] == 3
== instances as keys of ordered, default and counting dictionaries
import collections
class N:
    def __init__(self, v): self.v = v; self.seen = collections.Counter([self]); self.by = collections.defaultdict(list); self.by[self].append(self); self.order = collections.OrderedDict([(self, 1)])
    def __hash__(self): return hash(self.v)
    def __eq__(self, o): return isinstance(o, N) and self.v == o.v
n = N("a")
--
assert n.seen[n] == 1 and n.by[n] == [n] and n.order[n] == 1 and n.by["new"] == []
== a frozen set in a cycle of what is hashed by its state [loses: f, g]
class F:
    def __init__(self, tag): self.tag = tag; self.peers = frozenset()
    def __hash__(self): return hash(self.tag)
    def __eq__(self, o): return self.tag == o.tag
f, g = F("f"), F("g"); f.peers = frozenset([g, f]); g.peers = frozenset([f])
h = F("h"); h.peers = frozenset([F("i")]); kept = [1]
--
assert kept == [1] and F("i") in h.peers
== a hash that is kept
class Key:
    def __init__(self, *parts): self.parts = parts; self._hash = None
    def __hash__(self):
        if self._hash is None: self._hash = hash(self.parts)
        return self._hash
    def __eq__(self, o): return self.parts == o.parts
table = {Key("a", "b"): 1}; key = next(iter(table))
--
assert table[key] == 1
assert Key('a', 'b') in table, 'an equal key is not found'
== a hash that attrs keeps
import attrs
@attrs.frozen(cache_hash=True)
class K:
    a: str
k = K('x'); t = {k: 1}; hash(k);
--
assert K('x') in t and t[k] == 1
== a hash in a cached property
import dataclasses, functools
@dataclasses.dataclass(frozen=True)
class K:
    a: str
    @functools.cached_property
    def h(self): return hash(self.a)
    def __hash__(self): return self.h
t = {K("x"): 1}
--
assert K('x') in t, 'an equal key is not found'
== the order of a large set that has shrunk
words = {"k%d" % i for i in range(2000)}
for i in range(0, 2000, 3): words.discard("k%d" % i)
first = sorted(words)[:3]; kept = len(words)
--
assert len(words) == kept and sorted(words)[:3] == first and hash("k1") == hash("k1")
== hashes in variables
seen = {hash('url-1'): 'page'}; bucket = hash('user-42') % 8
--
assert seen[hash('url-1')] == 'page' and bucket == hash('user-42') % 8
== hashes of texts, bytes, times and tuples
import datetime
kept = {kind: hash(value) for kind, value in {"s": "text", "b": b"bytes", "t": ("a", 1), "d": datetime.date(2026, 1, 2), "f": frozenset(["x", "y"])}.items()}
--
assert kept == {kind: hash(value) for kind, value in {"s": "text", "b": b"bytes", "t": ("a", 1), "d": datetime.date(2026, 1, 2), "f": frozenset(["x", "y"])}.items()}
== classes as keys
class A: pass
class B(A): pass
by_type = {A: 1, B: [B]}; weak = {}; weak[A] = B
--
assert by_type[A] == 1 and by_type[B] == [B] and weak[A] is B  # addresses as keys can't be kept by any new process
""",
)
