"""Ways to sabotage one variable: saving or loading it fails, and nothing else of the namespace does.

`HOME` is the number of the session's first process: what compares it fails in every other one, so also where the
checkpoint is tried. A sabotage that is not certain may be got round by a restore, which then has lost nothing at all;
but it may not lose a part of what needs the variable.
"""

import random
from dataclasses import dataclass
from typing import Final

from .variables import Maker, Variable

_CLASS: Final = "class {c}:\n    def __init__(self, x=None): self.x = x\n"
_RAISES: Final = (
    "raise ValueError('sabotage')",
    "raise SystemExit(3)",
    "raise KeyboardInterrupt",
    "raise GeneratorExit",
    "raise MemoryError",
    "raise StopIteration",
    "raise type('Odd', (BaseException,), {'__str__': lambda e: 1 / 0})()",
    "raise ExceptionGroup('many', [ValueError(1)])",
    "raise UnicodeError('lone \\udcff')",
    "Bad.nothing",
    "return self.__setstate__(state)",
    "from nothing_of_this_name import anything",
)
_ENDS: Final = (
    "os._exit(0)",
    "os._exit(83)",
    "os.kill(os.getpid(), 9)",
    "os.kill(os.getpid(), 15)",
    "import ctypes; ctypes.string_at(0)",
)
_HANGS: Final = ("threading.Event().wait()", "while True: pass", "__import__('signal').pause()")
HANGS_IN: Final = 150  # one of so many sabotages hangs; each costs the time of a trial


@dataclass(frozen=True, slots=True)
class Sabotage:
    """The variables of a sabotage; `bad` is the one that fails."""

    kind: str
    variables: list[Variable]
    bad: str
    is_certain: bool = True


def sabotage(dice: random.Random, maker: Maker) -> Sabotage:
    """Return a sabotage of a random kind, under unused names."""
    held = (maker.any() or ["None"])[0]
    if dice.randrange(HANGS_IN) == 0:
        return _by_method("hangs", "__setstate__(self, state)", dice.choice(_HANGS), held)
    kind = dice.choice(_KINDS)
    return kind(dice, held)


def _needs(*names: str) -> frozenset[str]:
    return frozenset(names) - {"None"}


def _by_method(kind: str, method: str, body: str, held: str) -> Sabotage:
    code = _CLASS.format(c="Bad") + f"    def {method}:\n        {body}\n"
    return Sabotage(
        f"{method} {kind}: {body}",
        [
            Variable("Bad", code, traits=frozenset({"class"})),
            Variable("bad", f"bad = Bad({held})", _needs(held, "Bad"), frozenset({"bad"})),
        ],
        "bad",
    )


def _loading_raises(dice: random.Random, held: str) -> Sabotage:
    return _by_method("raises", "__setstate__(self, state)", dice.choice(_RAISES), held)


def _loading_ends(dice: random.Random, held: str) -> Sabotage:
    return _by_method("ends the process", "__setstate__(self, state)", dice.choice(_ENDS), held)


def _saving_fails(dice: random.Random, held: str) -> Sabotage:
    method = dice.choice(["__getstate__(self)", "__reduce__(self)", "__reduce_ex__(self, protocol)"])
    bodies = [
        "raise ValueError('sabotage')",
        "raise SystemExit(3)",
        "raise KeyboardInterrupt",
        "os._exit(0)",
        "os._exit(83)",
    ]
    return _by_method("fails", method, dice.choice(bodies), held)


def _reduced_to_a_function(dice: random.Random, held: str) -> Sabotage:
    body = dice.choice(["raise ValueError('sabotage')", "os._exit(0)", "raise SystemExit", "return made(*args)"])
    code = _CLASS.format(c="Bad") + "    def __reduce__(self): return made, (self.x,)\n"
    return Sabotage(
        f"made by a function: {body}",
        [
            Variable("made", f"def made(*args): {body}"),
            Variable("Bad", code, traits=frozenset({"class"})),
            Variable("bad", f"bad = Bad({held})", _needs(held, "made"), frozenset({"bad"})),
        ],
        "bad",
    )


def _reduced_to_nonsense(dice: random.Random, held: str) -> Sabotage:
    answer = dice.choice(
        ["5", "(5,)", "(print,)", "(int, ('x',))", "(dict, (1, 2, 3))", "(getattr, (os, 'nothing'))", "'nothing'"]
    )
    is_name = answer == "'nothing'"
    code = _CLASS.format(c="Bad") + f"    def __reduce__(self): return {answer}\n"
    return Sabotage(
        f"reduced to {answer}",
        [
            Variable("Bad", code, traits=frozenset({"class"})),
            Variable("bad", f"bad = Bad({held})", _needs(held, "Bad"), frozenset({"bad"})),
        ],
        "bad",
        is_certain=not is_name,  # treated like an object that defines no reduction
    )


def _key(dice: random.Random, held: str) -> Sabotage:
    """Make a container whose keys can no longer be hashed or compared; the keys alone can be saved."""
    method, keys = dice.choice([("__hash__", 1), ("__eq__", 2)])
    code = (
        "class Key:\n    is_bad = False\n    def __init__(self, n): self.n = n\n"
        f"    def __hash__(self):\n        if self.is_bad and {method == '__hash__'}: raise ValueError('sabotage')\n        return 7\n"
        f"    def __eq__(self, other):\n        if self.is_bad and {method == '__eq__'}: raise ValueError('sabotage')\n        return self is other\n"
    )
    names = ["key", "key2"][:keys]
    made = "; ".join(f"{name} = Key({number})" for number, name in enumerate(names))
    whole = dice.choice(
        [
            "{{{}}}".format(", ".join(f"{name}: {held}" for name in names)),
            "set([{}])".format(", ".join(names)),
            "frozenset([{}])".format(", ".join(names)),
            "collections.OrderedDict([{}])".format(", ".join(f"({name}, 1)" for name in names)),
            "collections.Counter([{}])".format(", ".join(names)),
        ]
    )
    code2 = f"bad = {whole}\n" + "; ".join(f"{name}.is_bad = True" for name in names)
    return Sabotage(
        f"{method} of keys raises in {whole}",
        [
            Variable("Key", code, traits=frozenset({"class"})),
            Variable("key", made, frozenset({"Key"})),
            *([Variable("key2", "", frozenset({"Key"}))] if keys > 1 else []),
            Variable("bad", code2, _needs(*names, *([held] if held in whole else [])), frozenset({"bad"})),
        ],
        "bad",
    )


def _unsaved(dice: random.Random, held: str) -> Sabotage:
    code = dice.choice(
        [
            "bad = (i for i in [{h}])",
            "bad = __import__('socket').socketpair()[0]",
            "bad = threading.Lock(); bad.acquire()",
            "async def _work(): return {h}\nbad = _work(); del _work",
            "bad = open('/etc/hosts')",
        ]
    )
    needs = _needs(held) if "{h}" in code else frozenset()
    return Sabotage(f"unsaved: {code}", [Variable("bad", code.format(h=held), needs, frozenset({"bad"}))], "bad")


def _class_that_is_made(dice: random.Random, held: str) -> Sabotage:
    """Make a class whose creation runs code of cells that fails elsewhere."""
    fails = "if os.getpid() != HOME: raise ValueError('sabotage')"
    before, code = dice.choice(
        [
            (f"class Before:\n    def __init_subclass__(cls, **k):\n        {fails}", "class Bad(Before):\n    field = {h}"),
            (f"class Before(type):\n    def __new__(m, *a, **k):\n        {fails}\n        return super().__new__(m, *a, **k)", "class Bad(metaclass=Before):\n    field = {h}"),
            (f"class Before(type):\n    def __init__(c, *a, **k):\n        {fails}", "class Bad(metaclass=Before):\n    field = {h}"),
            (f"class Before:\n    def __set_name__(self, owner, name):\n        {fails}", "class Bad:\n    field = {h}\n    d = Before()"),
            (f"class Before(type):\n    def __setattr__(c, n, v):\n        {fails}\n        super().__setattr__(n, v)", "class Bad(metaclass=Before):\n    field = {h}"),
        ]
    )  # fmt: skip
    return Sabotage(
        f"a class whose making fails: {before}",
        [
            Variable("Before", before),
            Variable("Bad", code.format(h=held), _needs(held, "Before"), frozenset({"bad"})),
            Variable("one", "one = object.__new__(Bad)", frozenset({"Bad"})),
        ],
        "Bad",
        is_certain=False,
    )


def _instance_that_is_made(dice: random.Random, held: str) -> Sabotage:
    """Make an object whose creation runs code that fails elsewhere, unless a restore avoids that code."""
    fails = "if os.getpid() != HOME: raise ValueError('sabotage')"
    code, made = dice.choice(
        [
            (f"class Bad:\n    def __new__(cls, *a):\n        {fails}\n        return super().__new__(cls)", "Bad()"),
            (f"class Bad:\n    __slots__ = ('x',)\n    def __setattr__(self, n, v):\n        {fails}\n        object.__setattr__(self, n, v)", "Bad(); bad.x = 1"),
            (f"class Bad(list):\n    def append(self, v):\n        {fails}\n        super().append(v)\n    extend = append", "Bad([1])"),
            (f"class Bad(dict):\n    def __setitem__(self, k, v):\n        {fails}\n        super().__setitem__(k, v)", "Bad(k=1)"),
            ("class Bad:\n    def __getattr__(self, n): return getattr(self._of, n)", "Bad(); bad._of = [1]"),
            (f"class Bad:\n    def __getattribute__(self, n):\n        {fails}\n        return object.__getattribute__(self, n)", "Bad()"),
            (f"class Bad(int):\n    def __new__(cls, v=0):\n        {fails}\n        return super().__new__(cls, v)", "Bad(3)"),
        ]
    )  # fmt: skip
    return Sabotage(
        f"an instance whose making fails: {code}",
        [
            Variable("Bad", code, traits=frozenset({"class"})),
            Variable("bad", f"bad = {made}", frozenset({"Bad"}), frozenset({"bad"})),
        ],
        "bad",
        is_certain=False,
    )


def _module(dice: random.Random, held: str) -> Sabotage:
    """Make a module that can't be imported again."""
    text = "X = [1]\\nclass K:\\n    v = 1\\ndef g(): return X\\n"
    after = dice.choice(
        [
            "os.remove('gone.py')",
            "open('gone.py', 'w').write('X = (1\\n')",
            "open('gone.py', 'w').write('raise ValueError(1)\\n')",
            "open('gone.py', 'w').write('import os; os._exit(4)\\n')",
            "open('gone.py', 'w').write('import nothing_of_this_name\\n')",
        ]
    )
    return Sabotage(
        f"a module: {after}",
        [
            Variable(
                "gone", f"open('gone.py', 'w').write('{text}'); import gone as gone\n{after}", traits=frozenset({"bad"})
            ),
            Variable("gone_k", "gone_k = gone.K()", frozenset({"gone"})),
            Variable("gone_g", "gone_g = gone.g", frozenset({"gone"})),
            Variable("gone_c", "gone_c = gone.K", frozenset({"gone"})),
        ],
        "gone",
        is_certain=False,
    )


_KINDS: Final = (
    _loading_raises, _loading_raises, _loading_raises, _loading_ends, _saving_fails, _reduced_to_a_function,
    _reduced_to_nonsense, _key, _key, _unsaved, _class_that_is_made, _class_that_is_made, _instance_that_is_made, _module,
)  # fmt: skip
