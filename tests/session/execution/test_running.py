"""Running: every kind of cell, function and class uses the same namespace, which is `__main__`."""

import os
import time

import pytest

pytestmark = pytest.mark.anyio

# For each mode, a cell that binds `x`.
BINDING_CELLS = {
    "simple_sync": "x = 5",
    "async_def": "async def f(): pass\nx = 5",
    "top_level_await": "import asyncio\nawait asyncio.sleep(0)\nx = 5",
    "blocking_sync": "import time\ntime.sleep(0)\nx = 5",
}


@pytest.mark.parametrize("mode", BINDING_CELLS)
async def test_every_mode_binds_names_in_the_same_namespace(session, mode):
    cell = await session.run(BINDING_CELLS[mode])

    assert cell.mode == mode
    assert await session.value("(x, globals()['x'], __import__('__main__').x, locals() is globals())") == (
        5,
        5,
        5,
        True,
    )


@pytest.mark.parametrize("mode", BINDING_CELLS)
async def test_every_mode_has_the_same_globals_dict(session, mode):
    await session.run("first = id(globals())")

    assert (await session.run(f"{BINDING_CELLS[mode]}\nid(globals()) == first")).value is True


@pytest.mark.parametrize("mode", BINDING_CELLS)
async def test_a_function_of_cell_1_sees_a_name_bound_in_cell_3(session, mode):
    await session.run("def show(): return x")
    await session.run("pass")
    await session.run(BINDING_CELLS[mode])

    assert await session.value("show()") == 5


@pytest.mark.parametrize("mode", BINDING_CELLS)
async def test_a_function_of_every_mode_sees_later_bindings(session, mode):
    await session.run(f"{BINDING_CELLS[mode]}\ndef show(): return later")
    await session.run("later = 'bound'")

    assert await session.value("show()") == "bound"


async def test_a_name_that_a_cell_deletes_is_gone(session):
    await session.run("x = 1\ny = 2")
    await session.run("del x")

    assert await session.value("('x' in globals(), y)") == (False, 2)


async def test_names_bound_before_an_error_remain_bound(session):
    await session.run("kept = 1\n1 / 0\nlost = 2")

    assert await session.value("(kept, 'lost' in globals())") == (1, False)


async def test_names_bound_before_an_error_in_an_awaiting_cell_remain_bound(session):
    await session.run("import asyncio\nkept = 1\nawait asyncio.sleep(0)\n1 / 0")

    assert await session.value("kept") == 1


async def test_global_in_a_function_binds_in_the_namespace(session):
    await session.run("def bind():\n    global g\n    g = 'global'\nbind()")

    assert await session.value("g") == "global"


async def test_global_at_top_level_is_allowed(session):
    await session.run("global h\nh = 1")

    assert await session.value("h") == 1


async def test_a_closure_with_nonlocal_works_across_cells(session):
    await session.run(
        "def counter():\n    n = 0\n    def step():\n        nonlocal n\n        n += 1\n        return n\n    return step"
    )
    await session.run("step = counter()\nstep()")

    assert await session.value("step()") == 2


async def test_a_comprehension_sees_names_of_its_cell(session):
    assert await session.value("a = 3\n[[a * i for i in range(a)] for a in range(a)]") == [[], [0], [0, 2]]


async def test_a_class_body_sees_names_of_its_cell(session):
    assert await session.value("a = 3\nclass C:\n    b = a\n    c = [b]\n(C.b, C.c)") == (3, [3])


async def test_the_main_module_is_what_scripts_expect(session):
    assert await session.value("import sys\n(__name__, sys.modules['__main__'].__name__, sys.argv)") == (
        "__main__",
        "__main__",
        [""],
    )


async def test_the_main_guard_of_scripts_is_true(session):
    assert await session.text("if __name__ == '__main__': print('main')") == "main\n"


async def test_annotations_of_a_cell_are_kept(session):
    await session.run("x: int = 1\ny: str")

    assert await session.value("sorted(__annotations__)") == ["x", "y"]


async def test_builtins_can_be_shadowed_and_return_when_the_name_is_deleted(session):
    await session.run("len = 5")
    assert await session.value("len") == 5

    assert await session.value("del len\nlen('abc')") == 3


CLASSES = {
    "dataclass": (
        "from dataclasses import dataclass, field, replace\n@dataclass(order=True, slots=True)\nclass P:\n"
        "    x: int\n    y: list = field(default_factory=list)",
        "(repr(P(1)), replace(P(1), x=2) > P(1), P(1) == P(1))",
        ("P(x=1, y=[])", True, True),
    ),
    "enum": (
        "import enum\nclass Colour(enum.Enum):\n    RED = 1\n    BLUE = enum.auto()",
        "(repr(Colour.RED), Colour(2).name, Colour['BLUE'] is Colour.BLUE)",
        ("<Colour.RED: 1>", "BLUE", True),
    ),
    "protocol": (
        "from typing import Protocol, runtime_checkable\n@runtime_checkable\nclass Quacks(Protocol):\n"
        "    def quack(self) -> str: ...\nclass Duck:\n    def quack(self): return 'q'",
        "(isinstance(Duck(), Quacks), isinstance(5, Quacks))",
        (True, False),
    ),
    "generic": (
        "from typing import Generic, TypeVar, get_type_hints\nT = TypeVar('T')\nclass Box(Generic[T]):\n"
        "    item: T\n    def __init__(self, item: T) -> None: self.item = item",
        "(Box[int](3).item, str(Box[int]), str(get_type_hints(Box)['item']))",
        (3, "__main__.Box[int]", "~T"),
    ),
    "recursive": (
        "from __future__ import annotations\nfrom dataclasses import dataclass\nfrom typing import get_type_hints\n"
        "@dataclass\nclass Node:\n    value: int\n    next: Node | None = None",
        "(repr(Node(1, Node(2))), get_type_hints(Node)['next'] == (Node | None))",
        ("Node(value=1, next=Node(value=2, next=None))", True),
    ),
    "named tuple": (
        "from typing import NamedTuple\nclass Pair(NamedTuple):\n    a: int\n    b: int = 2",
        "(repr(Pair(1)), str(Pair(1)._replace(a=3)))",
        ("Pair(a=1, b=2)", "Pair(a=3, b=2)"),
    ),
    "abstract": (
        "import abc\nclass Shape(abc.ABC):\n    @abc.abstractmethod\n    def area(self): ...\n"
        "class Square(Shape):\n    def area(self): return super().area() or 4",
        "(Square().area(), Shape.__abstractmethods__ == {'area'})",
        (4, True),
    ),
    "metaclass": (
        "class Meta(type):\n    def __new__(m, name, bases, body, **kw): return super().__new__(m, name, bases, body | kw)\n"
        "class Made(metaclass=Meta, flag=7): pass",
        "(Made.flag, type(Made).__name__, Made.__module__)",
        (7, "Meta", "__main__"),
    ),
    "property and slots": (
        "class S:\n    __slots__ = ('_v',)\n    @property\n    def v(self): return self._v\n"
        "    @v.setter\n    def v(self, value): self._v = value * 2",
        "s = S(); s.v = 4; s.v",
        8,
    ),
}


@pytest.mark.parametrize(("define", "use", "value"), CLASSES.values(), ids=CLASSES.keys())
async def test_a_class_of_one_cell_works_in_the_next(session, define, use, value):
    assert (await session.run(define)).error is None

    assert await session.value(use) == value


@pytest.mark.parametrize("tool", ["pickle", "copy.deepcopy", "cloudpickle"])
async def test_an_instance_of_a_class_of_main_can_be_pickled_and_unpickled(session, tool):
    await session.run("import pickle, copy, cloudpickle\nclass C:\n    def __init__(self, v): self.v = v")
    trip = "copy.deepcopy(C(5))" if tool == "copy.deepcopy" else f"pickle.loads({tool}.dumps(C(5)))"

    assert await session.value(f"c = {trip}\n(c.v, type(c) is C)") == (5, True)


async def test_a_function_of_main_is_pickled_by_name(session):
    await session.run("import pickle\ndef f(): return 'f'")

    assert await session.value("pickle.loads(pickle.dumps(f)) is f") is True


async def test_super_and_class_cells_work_in_an_awaiting_cell(session):
    code = "import asyncio\nawait asyncio.sleep(0)\nclass A:\n    def f(self): return __class__.__name__\nclass B(A):\n    def f(self): return super().f() + 'B'\nB().f()"

    assert await session.value(code) == "AB"


async def test_imports_find_modules_of_the_working_directory(session, tmp_path):
    (tmp_path / "local_module.py").write_text("answer = 42")

    assert await session.value("import local_module\nlocal_module.answer") == 42


async def test_importlib_reload_works(session, tmp_path):
    (tmp_path / "changing.py").write_text("answer = 1")
    await session.run("import sys, importlib, changing\nsys.dont_write_bytecode = True")
    (tmp_path / "changing.py").write_text("answer = 'two'")

    assert await session.value("importlib.reload(changing).answer") == "two"


async def test_a_module_edited_to_the_same_size_within_a_second_is_read_again(session, tmp_path):
    """The times are set, since a second may begin between two writes: Python compares whole seconds."""
    changing, second = tmp_path / "changing.py", 10**9

    def write(text, nanoseconds):
        changing.write_text(text)
        os.utime(changing, ns=(nanoseconds, nanoseconds))

    edited = time.time_ns() // second * second + second // 2
    write("answer = 1", edited - 2)
    await session.run("import importlib, os, changing")
    await session.run(f"os.utime(changing.__cached__, ns=({edited - 1}, {edited - 1}))")
    write("answer = 2", edited)

    assert await session.value("importlib.reload(changing).answer") == 2
    assert await session.value("os.path.exists(changing.__cached__)") is True


async def test_the_bytecode_of_a_module_that_was_not_edited_is_used_again(session, tmp_path):
    (tmp_path / "constant.py").write_text("answer = 1")
    await session.run("import importlib, os, constant\nos.utime(constant.__cached__, ns=(2**62, 2**62))")

    assert await session.value("importlib.reload(constant)\nos.stat(constant.__cached__).st_mtime_ns == 2**62") is True


async def test_context_variables_set_in_one_cell_are_set_in_the_next(session):
    await session.run("import contextvars, time\nvar = contextvars.ContextVar('var', default=0)\nvar.set(1)")
    assert await session.value("import asyncio\nawait asyncio.sleep(0)\nvar.get()") == 1
    await session.run("var.set(2)\ntime.sleep(0)")

    assert await session.value("var.get()") == 2


async def test_cells_sent_together_run_in_order(session):
    cells = session.submit_all("x = [1]", "import time; time.sleep(0); x.append(2)", "await __import__('asyncio').sleep(0); x.append(3)", "x")  # fmt: skip

    assert (await cells[-1].ended()).value == [1, 2, 3]


async def test_the_session_continues_after_every_kind_of_exception(session):
    for raised in ("ValueError", "KeyboardInterrupt", "SystemExit", "GeneratorExit", "BaseException", "StopIteration"):
        assert (await session.run(f"raise {raised}('x')")).error.ename == raised
        cell = await session.run(f"await __import__('asyncio').sleep(0)\nraise {raised}('x')")
        assert cell.status == "failed"

    assert await session.value("'alive'") == "alive"
