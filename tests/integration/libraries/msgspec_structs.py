"""msgspec: classes whose metaclass is written in C."""

from .attrs_classes import NEIGHBOURS, THEY_HOLD
from .case import read

CASES = read(
    "msgspec",
    r"""
== a struct
import msgspec
class S(msgspec.Struct):
    x: int
    y: str = "a"
s = S(1)
--
assert S(1) == s and msgspec.json.decode(b'{"x":1}', type=S) == s
== a struct beside others
NEIGHBOURS
import msgspec
class Item(msgspec.Struct):
    a: int
item = Item(3)
--
THEY_HOLD and item.a == 3
== a default that can change
NEIGHBOURS
data = [1, 2]
import msgspec
class Item(msgspec.Struct):
    a: int
    b: list = []
item = Item(3, [1])
--
THEY_HOLD and data == [1, 2]
assert item.a == 3 and Item(1).b == [] and Item(1).b is not Item(2).b and msgspec.json.decode(msgspec.json.encode(item), type=Item) == item
== options of a struct
import msgspec
class Point(msgspec.Struct, frozen=True, order=True, kw_only=True, rename="camel", tag="point", array_like=False):
    first_one: int
    second: int = msgspec.field(default_factory=lambda: 9)
p = Point(first_one=1); table = {p: "v"}
--
assert table[Point(first_one=1)] == "v" and Point(first_one=0) < p and msgspec.json.encode(p) == b'{"type":"point","firstOne":1,"second":9}'
try: p.second = 1
except AttributeError: pass
else: raise AssertionError("a frozen struct was changed")
== a union of tagged structs, and a subclass
import msgspec
class Base(msgspec.Struct, tag=True):
    n: int
class Get(Base):
    def shown(self): return f"get {self.n}"
class Put(Base, tag="put!"):
    value: str = ""
Request = Get | Put
got = msgspec.msgpack.decode(msgspec.msgpack.encode(Put(1, "v")), type=Request)
--
assert got == Put(1, "v") and type(got) is Put and isinstance(got, Base) and Get(2).shown() == "get 2"
assert msgspec.convert({"type": "Get", "n": 5}, Request) == Get(5)
== a struct with methods, a hook and a class variable
import msgspec
from typing import ClassVar
class Account(msgspec.Struct, dict=True, weakref=True):
    balance: int
    opened: ClassVar[list] = []
    def __post_init__(self): Account.opened.append(self.balance)
    @property
    def twice(self): return self.balance * 2
a = Account(4); a.extra = [1]
--
assert Account.opened == [4] and a.twice == 8 and a.extra == [1] and Account(5).twice == 10 and Account.opened == [4, 5]
== a generic struct and one that is made by a call
import msgspec
from typing import Generic, TypeVar
T = TypeVar("T")
class Page(msgspec.Struct, Generic[T]):
    items: list[T]
Made = msgspec.defstruct("Made", [("a", int), ("b", str, "x")])
page = msgspec.json.decode(b'{"items": [1]}', type=Page[int]); made = Made(1)
--
assert page == Page([1]) and made == Made(1, "x") and msgspec.json.decode(b'{"items": ["q"]}', type=Page[str]).items == ["q"]
== structs that refer to each other
import msgspec
class Tree(msgspec.Struct):
    left: "Tree | None" = None
    leaf: object = None
t = Tree(); t.left = Tree(leaf=t); shared = t.left
--
assert t.left is shared and shared.leaf is t and type(shared) is Tree
== encoders and decoders [or loses: decoder, encoder]
import msgspec
class S(msgspec.Struct):
    x: int
decoder = msgspec.json.Decoder(S); encoder = msgspec.json.Encoder(); kept = [S(1)]
--
assert kept[0] == S(1) and decoder.decode(b'{"x": 2}') == S(2) and encoder.encode(S(3)) == b'{"x":3}'
-- told
assert kept[0] == S(1)
""".replace("NEIGHBOURS", NEIGHBOURS).replace("THEY_HOLD", THEY_HOLD),
)
