"""Classes that cells define."""

from .cases import read

CASES = read(
    "classes",
    r"""
== class identity holds
class Base:
    def hi(self): return "base"
class Child(Base):
    def hi(self): return "child " + super().hi()
one = Child(); kept = [Base, {"c": Child}]
--
assert type(one) is Child is kept[1]["c"] and isinstance(one, Base) and kept[0] is Base and one.hi() == "child base" and Child.__mro__ == (Child, Base, object)
== attributes of a class changed later
class Config:
    level = 1
    items = []
one = Config()
++
Config.level = 2; Config.items.append(1); Config.added = lambda self: self.level
--
assert one.level == 2 and one.items == [1] and one.added() == 2 and Config.items is one.items
Config.level = 3
assert one.level == 3
== a method replaced later, and removed
class A:
    def f(self): return 1
    def g(self): return 2
one = A()
++
def f(self): return 10
A.f = f; del A.g
--
assert one.f() == 10 and A.f is f and not hasattr(one, "g")
== objects of a class that was defined again
class A:
    def who(self): return "old"
old = A()
++
class A:
    def who(self): return "new"
new = A()
--
assert old.who() == "old" and new.who() == "new" and type(old) is not A and type(new) is A and not isinstance(old, A)
== abstract classes
import abc
class Shape(abc.ABC):
    @abc.abstractmethod
    def area(self): ...
    @property
    @abc.abstractmethod
    def name(self): ...
class Square(Shape):
    def area(self): return 4
    name = "square"
@Shape.register
class Other: pass
one = Square()
--
assert one.area() == 4 and isinstance(one, Shape) and issubclass(Other, Shape) and isinstance(Other(), Shape) and Shape.__abstractmethods__ == {"area", "name"}
try: Shape()
except TypeError: pass
else: raise AssertionError("it was made")
== a class of a collection's kind
import collections.abc
class Words(collections.abc.MutableMapping):
    def __init__(self): self.d = {}
    def __getitem__(self, k): return self.d[k]
    def __setitem__(self, k, v): self.d[k] = v
    def __delitem__(self, k): del self.d[k]
    def __iter__(self): return iter(self.d)
    def __len__(self): return len(self.d)
words = Words(); words["a"] = 1
--
words.update(b=2)
assert dict(words) == {"a": 1, "b": 2} and isinstance(words, collections.abc.Mapping) and words.pop("a") == 1
== a metaclass
class Meta(type):
    made = []
    def __new__(meta, name, bases, space, **options): cls = super().__new__(meta, name, bases, space); cls.options = options; return cls
    def __init__(cls, name, bases, space, **options): super().__init__(name, bases, space); Meta.made.append(name)
    def __call__(cls, *args): made = super().__call__(*args); made.by = "meta"; return made
    def __len__(cls): return 42
    @property
    def shout(cls): return cls.__name__.upper()
class Made(metaclass=Meta, colour="red"): pass
one = Made()
--
assert type(Made) is Meta and Made.options == {"colour": "red"} and one.by == "meta" and len(Made) == 42 and Made.shout == "MADE" and Meta.made == ["Made"]
class Second(Made): pass
assert Meta.made == ["Made", "Second"]
== a metaclass with prepare and a registry
class Registry(type):
    known = {}
    @classmethod
    def __prepare__(meta, name, bases): return {"prepared": True}
    def __init__(cls, name, bases, space): Registry.known[name] = cls
class One(metaclass=Registry): pass
class Two(One): pass
--
assert Registry.known == {"One": One, "Two": Two} and One.prepared and Registry.known["Two"] is Two
== __init_subclass__ and __set_name__
class Named:
    def __set_name__(self, owner, name): self.owner, self.name = owner, name
class Plugin:
    known = []
    def __init_subclass__(cls, /, tag="none", **rest): super().__init_subclass__(**rest); cls.tag = tag; Plugin.known.append(cls)
class First(Plugin, tag="one"):
    field = Named()
--
assert Plugin.known == [First] and First.tag == "one" and First.field.name == "field" and First.field.owner is First
class Second(Plugin): pass
assert Plugin.known == [First, Second]
== slots
class Slotted:
    __slots__ = ("a", "b", "__weakref__")
class Child(Slotted):
    __slots__ = ("c",)
class Loose(Slotted): pass
one, two = Child(), Loose(); one.a, one.c, two.b, two.extra = 1, [2], 3, 4
--
assert one.a == 1 and one.c == [2] and not hasattr(one, "b") and not hasattr(one, "__dict__") and two.b == 3 and two.extra == 4
one.b = 5
try: one.zzz = 1
except AttributeError: pass
else: raise AssertionError("it has a dict")
== slots as a dict, and private ones
class Doc:
    __slots__ = {"x": "the x"}
class Hidden:
    __slots__ = ("__secret",)
    def __init__(self): self.__secret = 7
    def get(self): return self.__secret
one = Hidden(); two = Doc(); two.x = 1
--
assert one.get() == 7 and two.x == 1 and Doc.__slots__ == {"x": "the x"}
== properties, class methods and static methods
class Celsius:
    def __init__(self): self._t = 0
    @property
    def t(self):
        "The temperature."
        return self._t
    @t.setter
    def t(self, v): self._t = v
    @t.deleter
    def t(self): self._t = None
    @classmethod
    def named(cls): return cls.__name__
    @staticmethod
    def zero(): return zero
zero = -273; one = Celsius(); one.t = 5
--
one.t += 1
assert one.t == 6 and Celsius.named() == "Celsius" and one.zero() == -273 and Celsius.t.__doc__ == "The temperature."
del one.t
assert one.t is None
== descriptors
class Positive:
    def __set_name__(self, owner, name): self.name = "_" + name
    def __get__(self, obj, kind=None): return self if obj is None else getattr(obj, self.name)
    def __set__(self, obj, value):
        if value < 0: raise ValueError(value)
        setattr(obj, self.name, value)
class Account:
    money = Positive()
one = Account(); one.money = 3
--
assert one.money == 3 and type(Account.money) is Positive and Account.money.name == "_money"
try: one.money = -1
except ValueError: pass
else: raise AssertionError("it was set")
== protocols
import typing
@typing.runtime_checkable
class Closes(typing.Protocol):
    def close(self) -> None: ...
class File:
    def close(self): return "closed"
class Other: pass
one = File()
--
assert isinstance(one, Closes) and not isinstance(Other(), Closes) and Closes._is_protocol
== generics
import typing
T = typing.TypeVar("T"); K = typing.TypeVar("K", int, str); P = typing.ParamSpec("P"); Ts = typing.TypeVarTuple("Ts")
class Box(typing.Generic[T, K]):
    def __init__(self, item: T): self.item = item
class IntBox(Box[int, str]): pass
box = Box[int, str](3); alias = Box[str, int]; small = IntBox(4); call = typing.Callable[P, T]
--
assert box.item == 3 and alias.__origin__ is Box and alias.__args__ == (str, int) and IntBox.__orig_bases__ == (Box[int, str],) and Box.__parameters__ == (T, K) and isinstance(small, Box) and K.__constraints__ == (int, str)
assert box.__orig_class__ == Box[int, str] and call.__parameters__ == (P, T)
== type variables are themselves everywhere
import typing
T = typing.TypeVar("T", covariant=True); P = typing.ParamSpec("P"); Ts = typing.TypeVarTuple("Ts"); kept = [T, P, Ts]
class Uses(typing.Generic[T]): pass
def f(x: T, *args: P.args) -> T: return x
--
assert kept[0] is T and kept[1] is P and kept[2] is Ts and Uses.__parameters__ == (T,) and Uses.__parameters__[0] is T and f.__annotations__["x"] is T and T.__covariant__
== nested classes
class Outer:
    class Inner:
        class Deep:
            def hi(self): return Outer.Inner.value
        value = 3
    def make(self): return self.Inner()
inner = Outer().make(); deep = Outer.Inner.Deep()
--
assert type(inner) is Outer.Inner and deep.hi() == 3 and Outer.Inner.Deep.__qualname__ == "Outer.Inner.Deep"
== classes of a function
def make(n):
    class Local:
        def get(self): return n
        def me(self): return Local
    return Local
A, B = make(1), make(2); a = A()
--
assert a.get() == 1 and B().get() == 2 and a.me() is A and type(a) is A is not B
== an object of a class that no variable has
def build():
    class Hidden:
        def __init__(self): self.v = 1
        def __eq__(self, other): return type(self) is type(other)
    return Hidden(), Hidden()
one, two = build(); kept = [one]
--
assert type(one) is type(two) and kept[0] is one and one == two and type(one).__name__ == "Hidden"
== multiple inheritance
class A:
    def go(self): return ["A"]
class B(A):
    def go(self): return ["B", *super().go()]
class C(A):
    def go(self): return ["C", *super().go()]
class D(B, C):
    def go(self): return ["D", *super().go()]
d = D(); go = super(D, d).go
--
assert d.go() == ["D", "B", "C", "A"] and go() == ["B", "C", "A"] and D.__mro__ == (D, B, C, A, object)
== a class that refers to itself and to its objects
class Node:
    root = None
    kinds = {}
Node.me = Node; Node.root = Node(); Node.kinds["n"] = Node; Node.root.up = Node
--
assert Node.me is Node and type(Node.root) is Node and Node.kinds["n"] is Node and Node.root.up is Node
== a class made by type()
def greet(self): return "hi " + self.name
Made = type("Made", (dict,), {"greet": greet, "name": "m", "__slots__": ()}); one = Made(a=1)
--
assert type(one) is Made and one == {"a": 1} and one.greet() == "hi m" and Made.greet is greet and issubclass(Made, dict)
== classes with one name but two variables
class A: pass
B = A
class A: pass
b, a = B(), A()
--
assert type(b) is B and type(a) is A and A is not B and A.__name__ == B.__name__ == "A"
""",
)
