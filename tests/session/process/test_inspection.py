"""Inspection of a session: complete, inspect and variables, while a cell runs and without running user code."""

import pytest

import skep

pytestmark = pytest.mark.anyio

TRAPS = """
calls = []
class Trap:
    @property
    def prop(self): calls.append("property"); return 1
    def __getattr__(self, name): calls.append("__getattr__"); return 1
    def __len__(self): calls.append("__len__"); return 5
    def __repr__(self): calls.append("__repr__"); return "Trap()"
    def __str__(self): calls.append("__str__"); return "Trap()"
    def __dir__(self): calls.append("__dir__"); return ["made_up"]
    def __iter__(self): calls.append("__iter__"); return iter([])
    def __bool__(self): calls.append("__bool__"); return True
    def __sizeof__(self): calls.append("__sizeof__"); return 1
    def __hash__(self): calls.append("__hash__"); return 1
    def __eq__(self, other): calls.append("__eq__"); return True
    def __getitem__(self, item): calls.append("__getitem__"); return 1
    def __call__(self): calls.append("__call__")
    @property
    def __class__(self): calls.append("__class__"); return int
    @property
    def __dict__(self): calls.append("__dict__"); return {}
    @property
    def shape(self): calls.append("shape"); return (1,)
class Meta(type):
    def __getattr__(cls, name): calls.append("Meta.__getattr__"); return 1
    def __repr__(cls): calls.append("Meta.__repr__"); return "X"
    def __instancecheck__(cls, value): calls.append("Meta.__instancecheck__"); return True
class Odd(metaclass=Meta): pass
class Sub(list):
    def __len__(self): calls.append("Sub.__len__"); return 1
    def __iter__(self): calls.append("Sub.__iter__"); return iter([])
    def __repr__(self): calls.append("Sub.__repr__"); return "Sub"
class Text(str):
    def __repr__(self): calls.append("Text.__repr__"); return "Text"
trap, odd, sub, text = Trap(), Odd(), Sub([1]), Text("t")
held = [trap, odd, sub, text]
keyed = {"k": trap, 1: sub}
"""


@pytest.fixture(params=["idle", "waiting", "spinning", "awaiting"])
async def busy_session(session, request):
    """A session with some names, in which a cell may be running."""
    await session.run(
        "import math\nnumber, words = 5, ['a', 'b']\ndef area(r: float, *, scale: int = 1) -> float:\n    '''Give the area.'''\n    return math.pi * r * r * scale"
    )
    code = {"waiting": "print('on')\nimport time\ntime.sleep(3600)", "spinning": "print('on')\nwhile True: pass", "awaiting": "import asyncio\nprint('on')\nawait asyncio.sleep(3600)"}.get(request.param)  # fmt: skip
    if code is not None:
        await session.submit(code).said("on")
    return session


async def test_variables_are_listed_whatever_a_cell_is_doing(busy_session):
    found = {variable["name"]: variable for variable in await busy_session.ask("variables")}

    assert (found["number"]["type"], found["number"]["repr"]) == ("int", "5")
    assert (found["words"]["type"], found["words"]["length"], found["words"]["repr"]) == ("list", 2, "['a', 'b']")
    assert found["area"]["type"] == "function"


async def test_a_function_is_inspected_whatever_a_cell_is_doing(busy_session):
    found = await busy_session.ask("inspect", name="area")

    assert (found["found"], found["type"], found["doc"]) == (True, "function", "Give the area.")
    assert found["signature"] == "(r: float, *, scale: int = 1) -> float"
    assert found["source"].startswith("def area(r: float")


async def test_names_are_completed_whatever_a_cell_is_doing(busy_session):
    found = await busy_session.ask("complete", code="ar", cursor=2)

    assert "area" in found["matches"]
    assert (found["start"], found["end"]) == (0, 2)


async def test_variables_run_no_user_code(session):
    await session.run(TRAPS)
    found = {variable["name"]: variable for variable in await session.ask("variables")}

    assert await session.value("calls") == []
    assert (found["trap"]["type"], found["trap"]["repr"], found["trap"]["length"]) == (
        "__main__.Trap",
        "<__main__.Trap>",
        None,
    )
    assert found["held"]["repr"] == "[<__main__.Trap>, <__main__.Odd>, <__main__.Sub>, <__main__.Text>]"
    assert found["Odd"]["repr"] == "<class Odd>"


@pytest.mark.parametrize(
    "name", ["trap", "trap.prop", "trap.anything", "odd", "Odd", "Odd.nothing", "sub", "text", "held", "Trap"]
)
async def test_inspect_runs_no_user_code(session, name):
    await session.run(TRAPS)
    await session.ask("inspect", name=name)

    assert await session.value("calls") == []


@pytest.mark.parametrize(
    "code", ["tra", "trap.", "trap.pr", "odd.", "Odd.", "sub.app", "held[0].", "keyed['k'].", "trap[0]."]
)
async def test_complete_runs_no_user_code(session, code):
    await session.run(TRAPS)
    await session.ask("complete", code=code, cursor=len(code))

    assert await session.value("calls") == []


@pytest.mark.parametrize(
    ("code", "cursor", "match"),
    [
        ("import math\nmath.sq", 19, "sqrt"),
        ("wor", 3, "words"),
        ("x = wor + 1", 7, "words"),
        ("words.app", 9, "append"),
        ("prin", 4, "print"),
        ("whi", 3, "while"),
    ],
)
async def test_completions_are_found(busy_session, code, cursor, match):
    found = await busy_session.ask("complete", code=code, cursor=cursor)

    assert match in found["matches"]
    assert found["end"] == cursor
    assert match.startswith(code[found["start"] : cursor])


async def test_an_unbound_name_is_not_found(session):
    assert await session.ask("inspect", name="nothing_here") == {"found": False, "name": "nothing_here"}


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("len", True),
        ("math.pi", True),
        ("C.method", True),
        ("c.method", True),
        ("c.attribute", True),
        ("math.nothing", False),
        ("", False),
        ("1 +", False),
    ],
)
async def test_dotted_names_and_builtins_are_found(session, name, found):
    await session.run("import math\nclass C:\n    def method(self): pass\nc = C()\nc.attribute = 5")

    assert (await session.ask("inspect", name=name))["found"] is found


async def test_sizes_of_variables_are_reported_if_that_is_safe(session):
    await session.run(
        "import numpy\narray = numpy.zeros((3, 4))\ntext = 'x' * 1000\nmapping = {1: 2}\nbig = 1 << 100_000"
    )
    found = {variable["name"]: variable for variable in await session.ask("variables")}

    assert (found["array"]["shape"], found["array"]["bytes"], found["array"]["type"]) == ([3, 4], 96, "numpy.ndarray")
    assert (found["text"]["length"], len(found["text"]["repr"])) == (1000, 120)
    assert (found["mapping"]["length"], found["mapping"]["repr"]) == (1, "{1: 2}")
    assert found["big"]["repr"] == "<int of 100001 bits>"


async def test_results_and_names_of_the_engine_are_no_variables(session):
    await session.run("x = 1\nx")

    assert [variable["name"] for variable in await session.ask("variables")] == ["x"]


async def test_variables_are_listed_while_a_cell_binds_and_deletes_names(session):
    cell = await session.submit(
        "print('on')\ni = 0\nwhile True:\n    i += 1\n    globals()[f'n{i}'] = [i]\n    globals().pop(f'n{i - 5}', None)"
    ).said("on")
    for _ in range(20):
        assert await session.ask("variables") is not None
    session.interrupt(cell)

    assert (await cell.ended()).status == "interrupted"


async def test_a_container_that_changes_during_the_listing_is_no_failure(session):
    cell = await session.submit(
        "d = {}\nprint('on')\ni = 0\nwhile True:\n    i += 1\n    d[i] = i\n    d.pop(i - 5, None)"
    ).said("on")
    for _ in range(50):
        found = [variable["name"] for variable in await session.ask("variables")]
        assert "d" in found
    session.interrupt(cell)
    await cell.ended()


async def test_a_huge_doc_string_is_answered(session):
    await session.run("def f(): pass\nf.__doc__ = 'x' * 20_000_000")
    found = await session.ask("inspect", name="f")

    assert len(found["doc"]) < 1_000_000
    assert await session.ask("variables") != []


JEDI = """
from types import SimpleNamespace
class Interpreter:
    def __init__(self, code, namespaces): self.code, self.names = code, sorted(namespaces[0])
    def complete(self, line, column): return [SimpleNamespace(name=f"found_by_jedi_at_{line}_{column}")]
"""


async def test_jedi_completes_if_the_sessions_environment_has_it(session, tmp_path):
    (tmp_path / "jedi.py").write_text(JEDI)
    code = "x = 1\nfou"
    found = await session.ask("complete", code=code, cursor=len(code))

    assert "found_by_jedi_at_2_3" in found["matches"]


async def test_completeness_of_code_is_reported_whatever_a_cell_is_doing(busy_session):
    assert await busy_session.ask("is_complete", code="for x in y:") == {"status": "incomplete", "indent": 4}


async def test_clients_can_check_whether_code_is_complete(open_session):
    session = open_session()
    await session.run("1")

    assert await session.is_complete("a = 1") == skep.Completeness("complete", None)
    assert await session.is_complete("a = [") == skep.Completeness("incomplete", 0)
    assert (await session.is_complete("a b")).status == "invalid"
