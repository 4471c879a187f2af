"""Random cells, and a text form of a namespace: the oracle of the checkpoint tests.

The same cells run in one process without interruption, and in a session that crashes, hibernates and changes workers
all the time: in the end both must hold the same names, values, identities, functions, classes, files and random state.
"""

import random
from collections.abc import Iterator
from typing import Final

PROLOGUE: Final = """
import asyncio, collections, dataclasses, functools, os, random, threading
random.seed(0)
count = 0
def bump(by=1):
    global count
    count += by
    return count
class Thing:
    made = []
    def __init__(self, value): self.value = value; Thing.made.append(value)
    def grow(self): self.value = [self.value, bump()]; return self
def accumulator():
    total = 0
    def add(n):
        nonlocal total
        total += n
        return total
    def read(): return total
    return add, read
add, read = accumulator()
"""

# The result is text: one line per object in the order it is first reached; mutable objects are named by their number.
DESCRIBE: Final = """
def _describe():
    import hashlib, types
    numbers, lines = {}, []
    def see(value):
        if value is None or isinstance(value, (bool, int, float, complex, str, bytes, range)):
            return repr(value)
        if isinstance(value, types.ModuleType):
            return f"module {value.__name__}"
        if id(value) in numbers:
            return f"#{numbers[id(value)]}"
        number = numbers[id(value)] = len(numbers)
        keep.append(value)
        index = len(lines)
        lines.append(None)
        lines[index] = f"#{number} {look(value)}"
        return f"#{number}"
    keep = []
    def look(value):
        kind = type(value)
        if isinstance(value, types.FunctionType):
            closure = []
            for cell in value.__closure__ or ():
                closure.append(see(cell.cell_contents))
            same = value.__globals__ is globals() or value.__module__ != "__main__"
            return f"function {value.__qualname__} {value.__code__.co_code.hex()[:40]} {see(value.__defaults__)} {closure} {same}"
        if isinstance(value, type):
            if value.__module__ != "__main__":
                return f"class {value.__module__}.{value.__qualname__}"
            names = sorted(name for name in vars(value) if not name.startswith("__") or name == "__init__")
            return f"class {value.__qualname__} {[see(base) for base in value.__bases__]} {[(n, see(vars(value)[n])) for n in names]}"
        if isinstance(value, dict):
            extra = see(value.default_factory) if isinstance(value, collections.defaultdict) else ""
            return f"{kind.__name__} {extra} {[(see(k), see(v)) for k, v in value.items()]}"
        if isinstance(value, (set, frozenset)):
            return f"{kind.__name__} {sorted(see(item) for item in value)}"
        if isinstance(value, (list, tuple, collections.deque)):
            return f"{kind.__name__} {[see(item) for item in value]}"
        if isinstance(value, bytearray):
            return f"bytearray {hashlib.sha256(value).hexdigest()}"
        if isinstance(value, functools.partial):
            return f"partial {see(value.func)} {see(value.args)} {see(value.keywords)}"
        if isinstance(value, types.MethodType):
            return f"method {see(value.__func__)} {see(value.__self__)}"
        if kind.__module__ == "__main__":
            return f"object {see(kind)} {see(vars(value))}"
        return f"{kind.__module__}.{kind.__qualname__}"
    for name, value in sorted(globals().items()):
        if not name.startswith("_"):
            lines.append(f"{name} = {see(value)}")
    files = []
    for directory, _, names in sorted(os.walk(".")):
        for name in sorted(names):
            with open(os.path.join(directory, name), "rb") as file:
                files.append(f"{directory}/{name} {hashlib.sha256(file.read()).hexdigest()}")
    state = hashlib.sha256(repr(random.getstate()).encode()).hexdigest()
    own = ("HOME", "TMPDIR", "PATH", "VIRTUAL_ENV")  # a fork has directories of its own
    environment = {name: value for name, value in os.environ.items() if name not in own}
    return "\\n".join([*lines, *files, state, repr(sorted(environment.items() - _first_environment))])
_first_environment = set(os.environ.items())
"""

_NAMES: Final = [f"v{number}" for number in range(12)]
_FUNCTIONS: Final = [f"f{number}" for number in range(4)]
_CLASSES: Final = [f"C{number}" for number in range(3)]

# {a}, {b}: variables; {f}, {g}: functions; {c}: a class; {n}: a number. A name that isn't bound makes the cell fail,
# which is an effect like any other: what it did before stays.
_TEMPLATES: Final = [
    "{a} = {n}",
    "{a} = [{n}, 'text', None]",
    "{a} = {{'k': {n}, 'l': []}}",
    "{a} = {b}",
    "{a} = [{b}, {b}]",
    "{a} = ({b}, [{n}])",
    "{a} = {{'self': None, 'other': {b}}}; {a}['self'] = {a}",
    "{a}.append({n})",
    "{a}.append({b})",
    "{a}['k'] = {b}",
    "{a}['l'].append({n})",
    "{a} += [{n}]",
    "{a} = set(range({n} % 20)); {b} = {a}",
    "{a} = bytearray({n} % 300_000)",
    "{a}[{n} % 7] = {n} % 250",
    "{a} = collections.deque([{n}, {b}], maxlen=5)",
    "{a} = collections.defaultdict(list); {a}[{n}].append({b})",
    "del {a}",
    "def {f}(x={n}): return (x, count, {n})",
    "def {f}(x={b}): x.append({n}) if isinstance(x, list) else None; return bump()",
    "{a} = {f}()",
    "{f}, {g} = {g}, {f}",
    "{a} = {f}",
    "{f} = lambda y={b}: [y, {n}]",
    "{f} = functools.partial(bump, {n})",
    "class {c}(Thing):\n    tag = [{n}]\n    def twice(self): return [self.value, self.value, {n}]",
    "{a} = {c}({b})",
    "{a} = Thing({n})",
    "{a}.grow()",
    "{a}.value = {b}",
    "{a} = {b}.grow",
    "{a} = {b}.twice()",
    "{c}.tag.append({b})",
    "{c}.extra = {f}",
    "add({n} % 10)",
    "{a} = add",
    "add, read = accumulator()",
    "bump({n})",
    "{a} = random.random()",
    "{a} = random.sample(range(1000), 3)",
    "async def _work():\n    await asyncio.sleep(0)\n    bump()\n    {a}.append({n})\nawait asyncio.create_task(_work())",
    "_t = threading.Thread(target=lambda: globals().__setitem__('{a}', [{n}]))\n_t.start(); _t.join(); del _t",
    "open('{a}.txt', 'w').write('{n}' * ({n} % 50));",
    "open('{a}.txt', 'a').write('more {n}');",
    "os.remove('{a}.txt')",
    "os.makedirs('d{n}/e', exist_ok=True); open('d{n}/e/f', 'w').write('{n}');",
    "os.rename('{a}.txt', '{b}.txt')",
    "os.environ['SKEP_RANDOM_{a}'] = '{n}'",
    "{n}",
    "{a}",
    "[{b}, {n}]",
    "_.append({n})",
]


def cells(seed: int, count: int) -> Iterator[str]:
    """Yield this many cells; a seed always yields the same ones."""
    dice = random.Random(seed)
    yield PROLOGUE + DESCRIBE
    for _ in range(count - 1):
        names = {"a": dice.choice(_NAMES), "b": dice.choice(_NAMES)}
        functions = dict(zip("fg", dice.sample(_FUNCTIONS, 2), strict=True))
        yield dice.choice(_TEMPLATES).format(**names, **functions, c=dice.choice(_CLASSES), n=dice.randrange(1_000_000))
