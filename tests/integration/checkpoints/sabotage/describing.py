"""A namespace as text: values, and which of them are one object. The session runs this.

Objects that can change are numbered in the order of first sight, so that two descriptions are equal exactly if values
and identities are. No method of a cell's class is called.
"""

from typing import Final

DESCRIBE: Final = """
def describe(space, names):
    import array, collections, datetime, decimal, enum, fractions, functools, hashlib, os, pathlib, random, re, sys, types, typing
    import numpy as np
    numbers, keep, lines, arrays = {}, [], [], []
    BY_REPR = (bool, int, float, complex, str, bytes, range, type(None), type(...), decimal.Decimal, fractions.Fraction,
               datetime.date, re.Pattern, pathlib.PurePosixPath, np.dtype)
    def digest(data): return hashlib.sha256(data).hexdigest()[:16]
    def of(value):
        if type(value) in BY_REPR:
            text = repr(value)
            return text if len(text) < 200 else digest(text.encode("utf-8", "surrogatepass"))
        if type(value) is tuple: return "(" + ", ".join(map(see, value)) + ")"
        if type(value) is frozenset: return "frozen{" + ", ".join(sorted(map(see, value))) + "}"
        return None
    def see(value):
        text = of(value)
        if text is not None: return text
        if type(value) is types.ModuleType: return f"module {value.__name__}"
        if id(value) not in numbers:
            numbers[id(value)] = number = len(numbers)
            keep.append(value)
            lines.append(None)
            lines[number] = f"#{number} {look(value)}"
        return f"#{numbers[id(value)]}"
    def pairs(mapping): return "{" + ", ".join(f"{see(k)}: {see(v)}" for k, v in mapping) + "}"
    def attributes(value):
        found = []
        try: found += sorted((k, v) for k, v in object.__getattribute__(value, "__dict__").items())
        except AttributeError: pass
        for kind in type.__getattribute__(type(value), "__mro__"):
            slots = type.__getattribute__(kind, "__dict__").get("__slots__", ())
            for slot in [slots] if isinstance(slots, str) else slots:
                if slot not in ("__dict__", "__weakref__"):
                    try: found.append((slot, type.__getattribute__(kind, "__dict__")[slot].__get__(value)))
                    except AttributeError: pass
        return pairs(found)
    def is_own(kind):
        return type.__getattribute__(kind, "__dict__").get("__module__") == "__main__"
    def cell(c):
        try: return see(c.cell_contents)
        except ValueError: return "empty"
    def look(value):
        kind = type(value)
        if kind is types.FunctionType:
            if value.__globals__ is not space: return f"function {value.__module__}.{value.__qualname__}"
            cells = [(number_of(c), cell(c)) for c in value.__closure__ or ()]
            code = digest(value.__code__.co_code) + repr(value.__code__.co_varnames)
            return f"function {value.__qualname__} {code} {see(value.__defaults__)} {see(value.__kwdefaults__)} {cells} {pairs(sorted(value.__annotations__.items()))} {attributes(value)}"
        if issubclass(kind, type):
            if not is_own(value): return f"class {type.__getattribute__(value, '__module__')}.{type.__getattribute__(value, '__qualname__')}"
            space_of = type.__getattribute__(value, "__dict__")
            shown = sorted((n, v) for n, v in space_of.items() if not n.startswith(("__", "_abc", "_member", "_value2", "_hashable", "_unhashable", "_new_member", "_generate", "_use_args", "_sort_order", "_field_")) and type(v) is not types.MemberDescriptorType and type(v) is not types.GetSetDescriptorType)
            return f"class {type.__getattribute__(value, '__qualname__')} of {see(kind)} {[see(b) for b in type.__getattribute__(value, '__bases__')]} {pairs(shown)}"
        if issubclass(kind, enum.Enum): return f"member {value._name_} {see(kind)} {see(value._value_)}"
        own = f"{see(kind)} " if is_own(kind) else f"{kind.__module__}.{kind.__qualname__} "
        own += attributes(value) if is_own(kind) or kind is types.SimpleNamespace or issubclass(kind, BaseException) else ""
        if issubclass(kind, collections.defaultdict): own += f" by {see(value.default_factory)}"
        if issubclass(kind, dict): return own + pairs(dict.items(value))
        if kind is collections.ChainMap: return own + see(value.maps)
        if kind is types.MappingProxyType: return own + pairs(value.items())
        if issubclass(kind, (set, frozenset)): return own + str(sorted(map(see, set.__iter__(value) if issubclass(kind, set) else frozenset.__iter__(value))))
        if issubclass(kind, collections.deque): return own + str([see(v) for v in collections.deque.__iter__(value)]) + str(value.maxlen)
        if issubclass(kind, list): return own + str([see(v) for v in list.__iter__(value)])
        if issubclass(kind, tuple): return own + str([see(v) for v in tuple.__iter__(value)])
        if issubclass(kind, int): return own + int.__repr__(value)
        if issubclass(kind, BaseException): return own + see(value.args) + see(value.__cause__)
        if kind is np.ndarray:
            arrays.append(value)
            if value.dtype == object: return own + str([see(v) for v in value.flat])
            return own + f"{value.dtype} {value.shape} {value.flags.writeable} {digest(value.tobytes())}"
        if kind in (bytearray, array.array): return own + digest(bytes(value))
        if kind is random.Random: return own + digest(repr(value.getstate()).encode())
        if kind is functools.partial: return own + see(value.func) + see(value.args) + pairs(sorted(value.keywords.items())) + attributes(value)
        if kind is types.MethodType: return own + see(value.__func__) + see(value.__self__)
        if kind is types.BuiltinFunctionType or kind is types.MethodWrapperType or kind.__name__ == "method-wrapper":
            self_ = value.__self__
            return own + value.__name__ + ("" if type(self_) is types.ModuleType else see(self_))
        if kind in (staticmethod, classmethod): return own + see(value.__func__)
        if kind is property: return own + see(value.fget) + see(value.fset)
        if kind is functools.cached_property: return own + see(value.func)
        if kind is slice: return own + see((value.start, value.stop, value.step))
        return own
    def number_of(thing):
        if id(thing) not in numbers:
            numbers[id(thing)] = len(numbers)
            keep.append(thing)
            lines.append("a cell")
        return numbers[id(thing)]
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    try: bound = [f"{name} = {see(space[name])}" for name in sorted(names) if name in space]
    finally: sys.setrecursionlimit(limit)
    shared = [(numbers[id(a)], numbers[id(b)]) for i, a in enumerate(arrays) for b in arrays[:i] if a.dtype != object and b.dtype != object and np.shares_memory(a, b)]
    missing = [name for name in sorted(names) if name not in space]
    return "\\n".join([*bound, *lines, f"memory {shared}", f"missing {missing}"])
"""


def describing_cell(names: frozenset[str]) -> str:
    """Return a cell whose value is the description of these names."""
    return f"(lambda space: (exec({DESCRIBE!r}, space), space['describe'](globals(), {sorted(names)!r}))[1])({{}})"


def bound_cell() -> str:
    """Return a cell whose value is the sorted list of all names."""
    return "sorted(name for name in globals() if isinstance(name, str))"
