"""pydantic: models, generics, dataclasses, validated calls, adapters and settings; their cores are written in Rust."""

from .attrs_classes import NEIGHBOURS, THEY_HOLD
from .case import read

CASES = read(
    "pydantic",
    r"""
== a model with a validator
from pydantic import BaseModel, field_validator
class M(BaseModel):
    x: int
    tags: list[str] = []
    @field_validator("x")
    @classmethod
    def pos(cls, v):
        assert v > 0
        return v
m = M(x=3, tags=["a"])
--
assert M(x="4").x == 4 and m == M(x=3, tags=["a"]) and type(m) is M
try: M(x=-1)
except ValueError: pass
else: raise AssertionError("not validated")
== a generic model in a model
from pydantic import BaseModel
from typing import Generic, TypeVar
T = TypeVar("T")
class Box(BaseModel, Generic[T]):
    v: T
class Outer(BaseModel):
    b: Box[int]
o = Outer(b=Box[int](v=3))
--
assert Outer(b={"v": "5"}).b.v == 5 and o.b.v == 3 and type(o.b) is Box[int]
== a dataclass
NEIGHBOURS
from pydantic.dataclasses import dataclass
@dataclass
class D:
    a: int
d = D("5")
--
THEY_HOLD and d.a == 5 and D("6").a == 6
== a validated call
NEIGHBOURS
from pydantic import validate_call
@validate_call
def add(a: int, b: int = 2): return a + b
--
THEY_HOLD and add("1") == 3
== a model with all kinds of fields, in a hierarchy
NEIGHBOURS
from pydantic import BaseModel, Field, field_validator, computed_field, PrivateAttr
from typing import Optional
class A(BaseModel):
    x: int = Field(gt=0)
    kid: Optional["A"] = None
    _n: int = PrivateAttr(default=7)
    @field_validator("x")
    @classmethod
    def up(cls, v): return v + helper()
    @computed_field
    @property
    def twice(self) -> int: return self.x * 2
class B(A): pass
a = A(x=1, kid={"x": 2}); a._n = 9; b = B(x=3)
--
THEY_HOLD and a.x == 43 and a.kid.x == 44 and a._n == 9 and a.twice == 86 and type(b) is B and isinstance(b, A)
assert A(x=1).x == 43 and a.model_dump()["kid"]["x"] == 44 and a.model_copy(update={"x": 5}).x == 5
class C(A):
    y: int = 0
assert C(x=1).y == 0
def helper(): return 100
assert A(x=1).x == 101
== a validated call with fields, a return type and a method
from pydantic import Field, validate_call
from typing import Annotated
@validate_call(validate_return=True)
def half(n: Annotated[int, Field(ge=0)], *rest: str, scale: float = 1) -> int: return n // 2
class Service:
    def __init__(self): self.calls = []
    @validate_call
    def call(self, n: int): self.calls.append(n); return n
service = Service(); bound = service.call; bound("3")
--
assert half("9") == 4 and service.calls == [3] and bound("4") == 4 and service.calls == [3, 4]
try: half(-1)
except ValueError: pass
else: raise AssertionError("not validated")
== type adapters
from pydantic import BaseModel, TypeAdapter
class M(BaseModel):
    x: int
many = TypeAdapter(list[M]); mapping = TypeAdapter(dict[str, int]); found = many.validate_python([{"x": "1"}])
--
assert found == [M(x=1)] and many.validate_json(b'[{"x": 2}]')[0].x == 2 and mapping.validate_python({"a": "3"}) == {"a": 3}
== settings of the environment
import os
os.environ["APP_LIMIT"] = "7"; os.environ["APP_DB__HOST"] = "h"
from pydantic import BaseModel
from pydantic_settings import BaseSettings, SettingsConfigDict
class Db(BaseModel):
    host: str = "none"
class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="APP_", env_nested_delimiter="__")
    limit: int = 1
    db: Db = Db()
settings = Settings()
--
assert settings.limit == 7 and settings.db.host == "h" and Settings() == settings
os.environ["APP_LIMIT"] = "8"
assert Settings().limit == 8
== a discriminated union and a root model
from typing import Annotated, Literal, Union
from pydantic import BaseModel, Field, RootModel
class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int = 9
class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
Pet = Annotated[Union[Cat, Dog], Field(discriminator="kind")]
class Pets(RootModel[list[Pet]]):
    def __len__(self): return len(self.root)
pets = Pets([{"kind": "cat"}, {"kind": "dog"}])
--
assert type(pets.root[0]) is Cat and type(pets.root[1]) is Dog and len(pets) == 2
assert type(Pets.model_validate_json('[{"kind": "dog"}]').root[0]) is Dog
== validators and serializers of models
from pydantic import BaseModel, ConfigDict, SecretStr, field_serializer, model_serializer, model_validator
class Order(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow", str_strip_whitespace=True)
    name: str
    key: SecretStr = SecretStr("k")
    @model_validator(mode="before")
    @classmethod
    def fill(cls, data): return {"name": " anon ", **data}
    @model_validator(mode="after")
    def seen(self): log.append(self.name); return self
    @field_serializer("name")
    def shout(self, v): return v.upper()
log = []
order = Order(more=[1])
--
assert order.name == "anon" and order.more == [1] and log == ["anon"] and order.model_dump()["name"] == "ANON" and order.key.get_secret_value() == "k"
assert Order(name="b").name == "b" and log == ["anon", "b"] and hash(Order(name="b", key="x")) is not None
== a model that is made by a call, and an error
from pydantic import ValidationError, create_model, field_validator
Made = create_model("Made", a=(int, ...), b=(str, "x"))
made = Made(a=1)
try: Made(a="no")
except ValidationError as exc: errors = exc.errors()
--
assert made == Made(a=1, b="x") and errors[0]["loc"] == ("a",) and Made.model_json_schema()["required"] == ["a"]
== types of cells' own
from typing import Annotated
from pydantic import AfterValidator, BaseModel, BeforeValidator, PlainSerializer
class Celsius:
    def __init__(self, v): self.v = v
    @classmethod
    def __get_pydantic_core_schema__(cls, source, handler):
        from pydantic_core import core_schema
        return core_schema.no_info_plain_validator_function(lambda v: v if isinstance(v, cls) else cls(float(v)))
Even = Annotated[int, AfterValidator(lambda v: v * 2), BeforeValidator(lambda v: int(v) + 1), PlainSerializer(str)]
class Reading(BaseModel):
    t: Celsius
    n: Even = 2
r = Reading(t="3", n="4")
--
assert r.t.v == 3.0 and type(r.t) is Celsius and r.n == 10 and Reading(t=Celsius(1), n=1).model_dump()["n"] == "4"
== a model whose reference is resolved later
from pydantic import BaseModel
class Parent(BaseModel):
    kids: "list[Child]" = []
++
class Child(BaseModel):
    n: int = 1
Parent.model_rebuild(); p = Parent(kids=[{}])
--
assert p.kids == [Child()] and type(p.kids[0]) is Child and Parent(kids=[{"n": "5"}]).kids[0].n == 5
== a model that holds others' objects
import dataclasses, enum
from pydantic import BaseModel, ConfigDict
class Color(enum.Enum): RED = 1
@dataclasses.dataclass
class Raw:
    n: int
class Any_:
    pass
class Holder(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    color: Color
    raw: Raw
    any_: Any_
thing = Any_(); h = Holder(color=1, raw={"n": 2}, any_=thing)
--
assert h.color is Color.RED and h.raw == Raw(2) and h.any_ is thing and Holder(color=Color.RED, raw=Raw(1), any_=Any_()).raw.n == 1
== generics that were parametrized in several ways
from typing import Generic, TypeVar
from pydantic import BaseModel
K = TypeVar("K"); V = TypeVar("V")
class Pair(BaseModel, Generic[K, V]):
    k: K
    v: V
class Named(Pair[str, V], Generic[V]):
    pass
a = Pair[int, str](k="1", v="x"); b = Named[float](k="n", v="2"); cls = Pair[int, str]
--
assert type(a) is cls and cls is Pair[int, str] and b.v == 2.0 and isinstance(b, Named) and Named[int](k="q", v="3").v == 3
""".replace("NEIGHBOURS", NEIGHBOURS).replace("THEY_HOLD", THEY_HOLD),
)
