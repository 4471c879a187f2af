"""Features of Python that the oldest supported version doesn't have."""

from .cases import read

CASES = read(
    "newer",
    """
== type parameters of a class and a method [python: 3.12]
class Box[A]:
    def __init__(self, held: A): self.held = held
    def swap[B: (int, str)](self, other: B, mine: A) -> B: return other
class Special[A: "Box"](Box[A]): pass
box = Special[int](3)
--
[A] = Box.__type_params__
[B] = Box.swap.__type_params__
assert Box.swap.__annotations__ == {"other": B, "mine": A, "return": B} and A.__infer_variance__ and B.__infer_variance__
assert B.__constraints__ == (int, str) and box.__orig_class__.__args__ == (int,) and type(box) is Special
[own] = Special.__type_params__
bound = own.__bound__  # a string in early versions of 3.12, as long as its code has not been restored
assert own is not A and getattr(bound, "__forward_arg__", bound) == "Box" and Box[int].__args__ == (int,)
== type parameters of a function [python: 3.12]
def first[T, *Ts, **P](x: T, *rest: *Ts) -> T: return x
--
T, Ts, P = first.__type_params__
assert first.__annotations__["x"] is T and [T.__name__, Ts.__name__, P.__name__] == ["T", "Ts", "P"] and first(1) == 1
== a bound that can't be evaluated yet [python: 3.12] [loses: Early]
class Early[T: NotDefinedYet]: pass
kept = 1
--
assert kept == 1
== type aliases [python: 3.12]
type Number = int | float
type Pairs[K] = list[tuple[K, Number]]
import dataclasses
@dataclasses.dataclass
class Sum:
    of: Number
def add(one: Number, other: Pairs) -> Number: return one
held = [Number, Pairs]; total = Sum(2)
--
import typing
assert type(Number) is typing.TypeAliasType and Number.__value__ == int | float and Number.__module__ == "__main__"
assert held[0] is Number and held[1] is Pairs and add.__annotations__ == {"one": Number, "other": Pairs, "return": Number}
[K] = Pairs.__type_params__
assert Pairs.__value__ == list[tuple[K, Number]] and Pairs[str].__args__ == (str,)
assert dataclasses.fields(Sum)[0].type is Number and total == Sum(2)
== an alias that is a part of itself [python: 3.12] [loses: Nested]
type Nested = list[Nested] | int
kept = 1
--
assert kept == 1
== defaults of type variables [python: 3.13]
import typing
T = typing.TypeVar("T", default=int); P = typing.ParamSpec("P", default=[int, str])
Ts = typing.TypeVarTuple("Ts", default=typing.Unpack[tuple[int, str]])
class Box[A = str]: pass
--
assert T.__default__ is int and P.__default__ == [int, str] and Ts.__default__ == typing.Unpack[tuple[int, str]]
assert Box.__type_params__[0].__default__ is str
""",
)
