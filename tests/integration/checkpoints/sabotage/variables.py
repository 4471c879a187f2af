"""Variables of random kinds: each is the code that binds it, and the names that it needs.

A name needs another one if the other's object is reached from its own: by holding it, as a class, a base, a default, a
closure, an attribute, an annotation or the object of a method. What a function looks up by its name it doesn't need.
"""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

PROLOGUE: Final = """import array, collections, dataclasses, datetime, decimal, enum, fractions, functools, os, pathlib, random, re, sys, threading, types, typing
import numpy as np
HOME = os.getpid()"""
# The names that the prologue binds; they need nothing.
PROLOGUE_NAMES: Final = frozenset(re.findall(r"\w+", PROLOGUE.replace("import ", "").replace("numpy as ", ""))) - {
    "getpid"
}


@dataclass(frozen=True, slots=True)
class Variable:
    """A name with the code that binds it. traits: what later variables and links may do with it."""

    name: str
    code: str
    needs: frozenset[str] = frozenset()
    traits: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Link:
    """A statement that makes `owner` reach `target` after both were bound."""

    owner: str
    target: str
    code: str


class Maker:
    """Makes variables for one namespace, from those that were made before."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self.made: list[Variable] = []

    def make(self) -> list[Variable]:
        """Return another variable, or a few that belong together."""
        new = self._dice.choice(_KINDS)(self)
        self.made += new
        return new

    def new_name(self, prefix: str = "v") -> str:
        """Return an unused name."""
        return f"{prefix}{len(self.made)}"

    def any(self, trait: str = "", count: int = 1) -> list[str]:
        """Return different names of earlier variables with the trait; none if there are too few."""
        having = [each.name for each in self.made if not trait or trait in each.traits]
        return self._dice.sample(having, count) if len(having) >= count else []

    def link(self) -> Link | None:
        """Return a statement that joins two variables, perhaps in a cycle."""
        target, owners = self.any()[0], self.any("changes")
        if not owners:
            return None
        owner = owners[0]
        traits = next(each.traits for each in self.made if each.name == owner)
        if "list" in traits:
            code = f"{owner}.append({target})"
        elif "dict" in traits:
            code = f"{owner}['link{self.number()}'] = {target}"
        else:
            code = f"{owner}.link{self.number()} = {target}"
        return Link(owner, target, code)

    def number(self) -> int:
        """Return a number for a value."""
        return self._dice.randrange(1_000_000)

    def choice(self, *options: str) -> str:
        """Return one of these."""
        return self._dice.choice(options)


def _one(name: str, code: str, needs: list[str] | tuple[str, ...] = (), traits: str = "") -> list[Variable]:
    return [Variable(name, code, frozenset(needs), frozenset(traits.split()))]


def _atom(maker: Maker) -> list[Variable]:
    name, n = maker.new_name(), maker.number()
    value = maker.choice(
        f"{n}", f"{n} / 7", f"'text {n}'", "None", "True", f"b'{n}'", f"({n}, 'two', (3.5, None))", f"'long {n} ' * 9000",
        f"decimal.Decimal({n}) / 8", f"datetime.date(2026, 1, 1 + {n % 28})", f"pathlib.PurePath('a/{n}')", f"re.compile('a+{n}')",
        f"range({n})", f"complex({n}, 1)", f"fractions.Fraction({n}, 7)", f"frozenset([{n}, 'f'])", f"10 ** 40 + {n}", "...", "int",
    )  # fmt: skip
    return _one(name, f"{name} = {value}")


def _container(maker: Maker) -> list[Variable]:
    name, n, held = maker.new_name(), maker.number(), maker.any(count=2) or maker.any()
    if not held:
        return _one(name, f"{name} = [{n}]", traits="changes list")
    code, traits = maker._dice.choice([
        (f"[{', '.join(held)}, {n}]", "changes list"),
        (f"{{'k': {held[0]}, {n}: [{held[-1]}]}}", "changes dict"),
        (f"({', '.join(held)}, [{n}])", ""),
        (f"[[{held[0]}], {{'deep': ({held[-1]}, {n})}}]", "changes list"),
        (f"collections.deque([{', '.join(held)}], maxlen=99)", "changes list"),
        (f"collections.OrderedDict(a={held[0]}, b={held[-1]})", "changes dict"),
        (f"types.SimpleNamespace(a={held[0]}, b={held[-1]}, n={n})", "changes object"),
        (f"collections.defaultdict(list, {{{n}: [{held[0]}, {held[-1]}]}})", "changes dict"),
        (f"collections.ChainMap({{'a': {held[0]}}}, {{'b': {held[-1]}}})", ""),
        (f"ValueError('no', {held[0]}, {held[-1]})", "changes object"),
    ])  # fmt: skip
    return _one(name, f"{name} = {code}", held, traits)


def _alias(maker: Maker) -> list[Variable]:
    """Bind a second name to an object; an atom, since the two would otherwise need each other."""
    name, held = maker.new_name(), maker.any()
    return _one(name, f"{name} = {held[0]}", held) if held else _atom(maker)


def _recursive(maker: Maker) -> list[Variable]:
    name, n = maker.new_name(), maker.number()
    code, traits = maker._dice.choice([
        (f"{name} = [{n}]; {name}.append({name})", "changes list"),
        (f"{name} = {{'n': {n}}}; {name}['self'] = ({name}, [{name}])", "changes dict"),
        (f"{name} = types.SimpleNamespace(n={n}); {name}.me = [{name}]", "changes object"),
    ])  # fmt: skip
    return _one(name, code, traits=traits)


def _function(maker: Maker) -> list[Variable]:
    name, n, held = maker.new_name("f"), maker.number(), maker.any(count=2) or maker.any()
    if not held:
        return _one(name, f"def {name}(a={n}): return a", traits="changes object callable")
    first, last = held[0], held[-1]
    plain = "changes object callable"
    code, needs, traits = maker._dice.choice([
        (f"def {name}(a={first}): return a, {n}", [first], plain),
        (f"{name} = lambda a, *, b={first}: (a, b, {n})", [first], plain),
        (f"def {name}(): return {first}, {n}  # by its name", [], plain),
        (f"def {name}(a: {{'of': {first}}}): return a", [first], plain),
        (f"def {name}(): pass\n{name}.kept = [{first}, {last}]", [first, last], plain),
        (f"def _make(held):\n    count = {n}\n    def {name}():\n        nonlocal count\n        count += 1\n        return count, held\n    return {name}\n{name} = _make({first}); del _make", [first], plain),
        (f"async def {name}(a={first}): return a", [first], plain),
        (f"def {name}(a={first}): yield a, {n}", [first], plain),
        (f"{name} = functools.partial(dict, a={first}, n={n})", [first], "changes object callable"),
        (f"@functools.wraps(len)\ndef {name}(*a, _kept={first}): return {n}", [first], plain),
    ])  # fmt: skip
    return _one(name, code, needs, traits)


def _closures(maker: Maker) -> list[Variable]:
    """Make two functions that share a variable: each holds what it has."""
    one, n, held = maker.new_name("f"), maker.number(), maker.any()
    other, kept = f"{one}b", held[0] if held else str(n)
    code = (
        f"def _make(held):\n    total = [{n}]\n    def {one}(): return total, held\n    def {other}(): return total\n"
        f"    return {one}, {other}\n{one}, {other} = _make({kept}); del _make"
    )
    callable_ = frozenset({"changes", "object", "callable"})
    return [
        Variable(one, code, frozenset(held), callable_),
        Variable(other, "", frozenset(), callable_),
    ]


def _class(maker: Maker) -> list[Variable]:
    name, n, held, bases = maker.new_name("C"), maker.number(), maker.any(), maker.any("base")
    base = bases[0] if bases and maker.number() % 2 else ""
    field = held[0] if held and maker.number() % 3 else ""
    needs = [each for each in (base, field) if each]
    body = f"    field = {field or n}\n    def __init__(self, x=None): self.x = x\n"
    body += maker.choice(
        f"    def grow(self): self.x = [self.x, {n}]; return self\n",
        "    @property\n    def twice(self): return [self.x, self.x]\n",
        "    @classmethod\n    def made(cls): return cls\n    @staticmethod\n    def plain(): return 1\n",
        "    def up(self): return super().__hash__()\n",
        "    @functools.cached_property\n    def once(self): return [self.x]\n",
    )
    return _one(name, f"class {name}({base}):\n{body}", needs, "changes object class base callable")


def _special_class(maker: Maker) -> list[Variable]:
    """Make a class of another kind, and an instance of it."""
    name, n, held = maker.new_name("C"), maker.number(), maker.any()
    value = held[0] if held else str(n)
    instance = f"i{name}"
    code, make, needs, traits = maker._dice.choice([
        (f"@dataclasses.dataclass\nclass {name}:\n    a: int\n    b: object = None", f"{name}({n}, {value})", held, "changes object"),
        (f"class {name}:\n    __slots__ = ('a', 'b')", f"{name}(); {instance}.a = {value}", held, ""),
        (f"class {name}(list):\n    tag = {n}", f"{name}([{value}]); {instance}.own = {n}", held, "changes list"),
        (f"class {name}(dict):\n    def total(self): return len(self)", f"{name}(k={value})", held, "changes dict"),
        (f"class {name}(enum.Enum):\n    A = {n}\n    B = 'b'\n    def m(self): return self.value", f"{name}.A", [], ""),
        (f"{name} = collections.namedtuple('{name}', 'a b')", f"{name}({n}, {value})", held, ""),
        (f"class {name}(typing.NamedTuple):\n    a: int\n    b: object = None", f"{name}({n}, {value})", held, ""),
        (f"class {name}(Exception):\n    def __init__(self, code): super().__init__('text'); self.code = code", f"{name}({value})", held, "changes object"),
        (f"class {name}(type):\n    tag = {n}\n    def made(cls): return cls.__name__", f"{name}('{instance}', (), {{'n': {n}}})", [], "changes object class"),
        (f"T = typing.TypeVar('T')\nclass {name}(typing.Generic[T]):\n    def __init__(self, x): self.x = x\ndel T", f"{name}({value})", held, "changes object"),
        (f"class {name}:\n    def __init__(self, x): self.x = x\n    def __getstate__(self): return {{'x': self.x, 'n': {n}}}\n    def __setstate__(self, state): self.__dict__.update(state)", f"{name}({value}); {instance}.n = {n}", held, "object"),
        (f"class {name}:\n    def __init__(self, x): self.x = x\n    def __reduce__(self): return {name}, (self.x,)", f"{name}({value})", held, "object"),
    ])  # fmt: skip
    return [
        Variable(name, code, frozenset(), frozenset({"class"})),
        Variable(instance, f"{instance} = {make}", frozenset([*needs, name]), frozenset(traits.split())),
    ]


def _instance(maker: Maker) -> list[Variable]:
    name, kinds, held = maker.new_name("i"), maker.any("base"), maker.any()
    if not kinds:
        return _class(maker)
    return _one(name, f"{name} = {kinds[0]}({held[0]})", [kinds[0], *held], "changes object instance")


def _method(maker: Maker) -> list[Variable]:
    name, instances, lists = maker.new_name("m"), maker.any("instance"), maker.any("list")
    if instances and maker.number() % 2:
        return _one(name, f"{name} = {instances[0]}.__init__", instances)
    if lists:
        return _one(name, f"{name} = {lists[0]}.append", lists)
    return _container(maker)


def _array(maker: Maker) -> list[Variable]:
    name, n, held = maker.new_name("a"), maker.number(), maker.any()
    if held and maker.number() % 4 == 0:
        return _one(name, f"{name} = np.empty(2, object); {name}[0] = {held[0]}; {name}[1] = [{n}]", held)
    size = 40 if n % 5 else 40_000
    view = maker.choice(
        f"{name}[3:20]", f"{name}[::2]", f"{name}.reshape(4, -1)", f"{name}[::-1]", f"{name}.view('u8')"
    )
    return [
        Variable(name, f"{name} = np.arange({size}.0) + {n}"),
        Variable(f"{name}v", f"{name}v = {view}"),
    ]


def _other(maker: Maker) -> list[Variable]:
    name, n, held = maker.new_name("o"), maker.number(), maker.any()
    value = held[0] if held else str(n)
    code, needs = maker._dice.choice([
        (f"bytearray(b'{n}' * 50)", []),
        (f"random.Random({n})", []),
        (f"array.array('d', [{n}])", []),
        ("threading.Lock()", []),
        (f"collections.Counter('{n}')", []),
        (f"types.MappingProxyType({{'k': {value}}})", held),
        (f"property(lambda self: {n})", []),
        (f"[len, print, os.path.join, {value}]", held),
        (f"{{int: {value}, len: {n}}}", held),
        (f"slice({value}, {n})", held),
    ])  # fmt: skip
    return _one(name, f"{name} = {code}", needs)


def _module(maker: Maker) -> list[Variable]:
    name, n = maker.new_name("w"), maker.number()
    if n % 3:
        module = maker.choice(
            "json", "xml.dom.minidom", "urllib.request", "collections.abc", "email.mime.text", "os.path"
        )
        return _one(name, f"import {module} as {name}")
    code = (
        f"open('{name}.py', 'w').write('X = [{n}]\\nclass K:\\n    v = {n}\\ndef g(): return X\\n'); import {name}\n"
        f"{name}k = {name}.K(); {name}g = {name}.g"
    )
    return [
        Variable(name, code),
        Variable(f"{name}k", "", frozenset({name})),
        Variable(f"{name}g", "", frozenset({name})),
    ]


_KINDS: Final[list[Callable[[Maker], list[Variable]]]] = [
    _atom, _atom, _container, _container, _container, _alias, _recursive, _function, _function, _closures, _class, _class,
    _special_class, _special_class, _instance, _instance, _method, _array, _other, _module,
]  # fmt: skip
