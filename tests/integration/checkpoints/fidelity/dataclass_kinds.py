"""Dataclasses, named tuples, typed dicts, enumerations."""

from .cases import read

CASES = read(
    "data",
    r"""
== a dataclass with a factory
import dataclasses
@dataclasses.dataclass
class Point:
    x: int
    tags: list = dataclasses.field(default_factory=list)
one = Point(1); two = Point(1, one.tags)
--
two.tags.append("t")
assert one == two and one.tags is two.tags and Point(5) == Point(5, []) and dataclasses.replace(one, x=2).x == 2 and [f.name for f in dataclasses.fields(Point)] == ["x", "tags"]
== a frozen dataclass
import dataclasses
@dataclasses.dataclass(frozen=True, order=True)
class Key:
    a: int
    b: str = "b"
key = Key(1); table = {key: "v"}
--
assert table[Key(1)] == "v" and Key(1) < Key(2) and hash(key) == hash(Key(1))
try: key.a = 2
except dataclasses.FrozenInstanceError: pass
else: raise AssertionError("it was not frozen")
== a dataclass with slots
import dataclasses
@dataclasses.dataclass(slots=True)
class Slotted:
    a: int
    b: list = dataclasses.field(default_factory=list)
one = Slotted(1)
--
one.b.append(2)
assert one == Slotted(1, [2]) and not hasattr(one, "__dict__")
== a frozen dataclass with slots
import dataclasses
@dataclasses.dataclass(frozen=True, slots=True)
class Both:
    a: int
    b: "Both | None" = None
one = Both(1, Both(2)); kept = {one}
--
assert one in kept and one == Both(1, Both(2)) and one.b.a == 2
== keyword-only fields, InitVar, ClassVar, post-init
import dataclasses, typing
@dataclasses.dataclass(kw_only=True)
class Made:
    seed: dataclasses.InitVar[int]
    count: typing.ClassVar[int] = 0
    name: str = "n"
    value: int = dataclasses.field(init=False, repr=False, metadata={"unit": "m"})
    def __post_init__(self, seed): self.value = seed * 2; Made.count += 1
one = Made(seed=4)
--
assert one.value == 8 and Made.count == 1 and Made(seed=1).value == 2 and Made.count == 2 and dataclasses.fields(Made)[1].metadata["unit"] == "m"
== dataclasses that inherit
import dataclasses
@dataclasses.dataclass
class Base:
    a: int = 1
    def who(self): return type(self).__name__
@dataclasses.dataclass
class Child(Base):
    b: list[int] = dataclasses.field(default_factory=lambda: [base])
base = 7; one = Child()
--
assert one.b == [7] and one.who() == "Child" and isinstance(one, Base) and dataclasses.asdict(one) == {"a": 1, "b": [7]}
== a dataclass with a property and super
import dataclasses
@dataclasses.dataclass
class A:
    x: int
    @property
    def twice(self): return self.x * 2
@dataclasses.dataclass
class B(A):
    @property
    def twice(self): return super().twice + 1
one = B(2)
--
assert one.twice == 5 and one == B(2)
== a dataclass made by a call, and a generic one
import dataclasses, typing
Made = dataclasses.make_dataclass("Made", [("a", int), ("b", list, dataclasses.field(default_factory=list))])
T = typing.TypeVar("T")
@dataclasses.dataclass
class Box(typing.Generic[T]):
    item: T
one, two = Made(1), Box[int](3)
--
assert one == Made(1, []) and two == Box(3) and Box[int].__args__ == (int,)
== dataclass fields that refer to one another
import dataclasses
@dataclasses.dataclass
class Node:
    name: str
    up: "Node | None" = None
    below: list["Node"] = dataclasses.field(default_factory=list, repr=False, compare=False)
root = Node("r"); leaf = Node("l", root); root.below.append(leaf)
--
assert leaf.up is root and root.below[0] is leaf and Node.__annotations__["up"] == "Node | None"
== the sentinels of dataclasses
import dataclasses
missing, keyword = dataclasses.MISSING, dataclasses.KW_ONLY
@dataclasses.dataclass
class Only:
    a: int
    _: dataclasses.KW_ONLY
    b: int = 2
--
assert dataclasses.fields(Only)[0].default is dataclasses.MISSING and Only(1, b=3).b == 3 and keyword is dataclasses.KW_ONLY
== NamedTuple classes
import typing
class Point(typing.NamedTuple):
    x: int
    y: int = 5
    def total(self): return self.x + self.y + extra
extra = 1; point = Point(2); kept = [point]
--
extra = 10
assert kept[0] is point and point.total() == 17 and Point._field_defaults == {"y": 5} and type(point) is Point
== TypedDict, NewType and type aliases
import typing
class Movie(typing.TypedDict, total=False):
    title: typing.Required[str]
    year: int
UserId = typing.NewType("UserId", int); Pairs = dict[str, "UserId"]; film: Movie = {"title": "t"}
--
assert Movie.__required_keys__ == {"title"} and Movie(title="a") == {"title": "a"} and UserId(5) == 5 and UserId.__name__ == "UserId" and Pairs.__origin__ is dict
== an enumeration and its members
import enum
class Colour(enum.Enum):
    RED = 1
    BLUE = "b"
    CRIMSON = 1
red = Colour.RED; table = {Colour.BLUE: [1]}
--
assert red is Colour.RED is Colour(1) is Colour.CRIMSON and table[Colour["BLUE"]] == [1] and [m.name for m in Colour] == ["RED", "BLUE"] and red.name == "RED"
== an enumeration with methods, attributes and a constructor
import enum
class Planet(enum.Enum):
    EARTH = (5.9, 6.3)
    MARS = (0.6, 3.3)
    def __init__(self, mass, radius): self.mass, self.radius = mass, radius
    @property
    def density(self): return self.mass / self.radius
    @classmethod
    def heaviest(cls): return max(cls, key=lambda p: p.mass)
    def __str__(self): return f"<{self.name}>"
mars = Planet.MARS
--
assert mars is Planet.MARS and mars.mass == 0.6 and Planet.heaviest() is Planet.EARTH and str(mars) == "<MARS>" and mars.density < 1
== an enumeration with __new__
import enum
class Coord(bytes, enum.Enum):
    def __new__(cls, value, label):
        it = bytes.__new__(cls, [value]); it._value_ = value; it.label = label
        return it
    X = (0, "x axis")
    Y = (1, "y axis")
kept = Coord.Y
--
assert kept is Coord(1) and kept.label == "y axis" and kept == b"\x01"
== flags
import enum
class Right(enum.Flag):
    READ = enum.auto()
    WRITE = enum.auto()
    ALL = READ | WRITE
some = Right.READ | Right.WRITE; none = Right(0); one = Right.WRITE
--
assert some is Right.ALL and not none and one in some and Right.READ in some and ~one == Right.READ and list(some) == [Right.READ, Right.WRITE]
== IntEnum, IntFlag and StrEnum
import enum
class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2
class Bits(enum.IntFlag):
    A = 1
    B = 2
class Name(enum.StrEnum):
    ONE = enum.auto()
kept = [Level.HIGH, Bits.A | Bits.B, Name.ONE, Bits.A | 8]
--
assert kept[0] is Level.HIGH and kept[0] > 1 and kept[1] == 3 and Bits.A in kept[1] and kept[2] is Name.ONE and kept[2] == "one" and int(kept[3]) == 9
== enumerations made by a call, unique, and with auto names
import enum
Made = enum.Enum("Made", "A B"); Other = enum.IntEnum("Other", {"X": 7})
@enum.unique
class Auto(enum.Enum):
    @staticmethod
    def _generate_next_value_(name, start, count, last): return name.lower()
    ONE = enum.auto()
a, x, one = Made.A, Other.X, Auto.ONE
--
assert a is Made.A is Made(1) and x is Other.X and x == 7 and one is Auto("one")
== an enumeration with a missing hook and members that hold functions
import enum
class Op(enum.Enum):
    ADD = enum.member(lambda a, b: a + b)
    SUB = "-"
    @classmethod
    def _missing_(cls, value): return cls.SUB
    def __call__(self, *args): return self.value(*args)
add = Op.ADD
--
assert add is Op.ADD and add(1, 2) == 3 and Op("?") is Op.SUB
== a nested enumeration
import enum
class Job:
    class State(enum.Enum):
        NEW = "new"
        DONE = "done"
    def __init__(self): self.state = Job.State.NEW
job = Job()
--
assert job.state is Job.State.NEW and Job.State("done") is Job.State.DONE and Job.State.__qualname__ == "Job.State"
""",
)
