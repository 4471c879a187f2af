"""The analysis of a cell's source, its cache, and the names that count as blocking."""

import pytest

from skep_workers.session.compilation.analysis import CACHE_SIZE_VARIABLE, DEFAULT_CACHE_SIZE, CodeAnalyzer
from skep_workers.session.compilation.blocking_calls import DetectionPolicy, ExecutionMode
from skep_workers.session.compilation.routing import Router

MODES = {
    "await x": ExecutionMode.TOP_LEVEL_AWAIT,
    "async for a in b: pass": ExecutionMode.TOP_LEVEL_AWAIT,
    "async with a: pass": ExecutionMode.TOP_LEVEL_AWAIT,
    "[a async for a in b]": ExecutionMode.TOP_LEVEL_AWAIT,
    "def f(a=await b): pass": ExecutionMode.TOP_LEVEL_AWAIT,
    "@(await d)\nclass C: pass": ExecutionMode.TOP_LEVEL_AWAIT,
    "async def f(): await x": ExecutionMode.ASYNC_DEF,
    "def f():\n    async def g(): await x": ExecutionMode.SIMPLE_SYNC,
    "lambda: (yield)": ExecutionMode.SIMPLE_SYNC,
    "x = 1": ExecutionMode.SIMPLE_SYNC,
    "": ExecutionMode.SIMPLE_SYNC,
    "def f(:": ExecutionMode.UNKNOWN,
    "a\0b": ExecutionMode.UNKNOWN,
}


@pytest.mark.parametrize(("source", "mode"), MODES.items())
def test_the_mode_is_read_from_the_source(source, mode):
    assert CodeAnalyzer(0).analyze(source).mode is mode


def test_source_that_does_not_parse_comes_with_its_error():
    analysis = CodeAnalyzer(0).analyze("x = 1\ndef f(:")

    assert analysis.tree is None
    assert isinstance(analysis.error, SyntaxError)
    assert analysis.error.lineno == 2


def test_a_known_source_is_not_analysed_again():
    analyzer = CodeAnalyzer(10)

    assert analyzer.analyze("x = 1") is analyzer.analyze("x = 1")
    assert analyzer.hits == 1


@pytest.mark.parametrize("other", [("x = 2", "<cell>", 0), ("x = 1", "<cell>", 0x100000)])
def test_cells_are_distinguished_by_source_and_flags(other):
    analyzer = CodeAnalyzer(10)
    first = analyzer.analyze("x = 1", "<cell>", 0)

    assert analyzer.analyze(*other) is not first
    assert analyzer.analyze("x = 1", "<another cell>", 0) is first


def test_an_error_names_its_cell_and_is_not_cached():
    analyzer = CodeAnalyzer(10)
    names = [analyzer.analyze("x =", f"<cell {number}>").error.filename for number in (1, 2)]

    assert names == ["<cell 1>", "<cell 2>"]


def test_the_least_recently_used_analysis_is_removed():
    analyzer = CodeAnalyzer(2)
    for source in ("1", "2", "1", "3"):
        analyzer.analyze(source)
    assert analyzer.hits == 1
    analyzer.analyze("1")
    assert analyzer.hits == 2
    analyzer.analyze("2")

    assert analyzer.hits == 2


def test_a_cache_size_of_0_caches_nothing():
    analyzer = CodeAnalyzer(0)

    assert analyzer.analyze("x = 1") is not analyzer.analyze("x = 1")
    assert analyzer.hits == 0


def test_the_cache_size_is_read_from_the_environment(monkeypatch):
    monkeypatch.setenv(CACHE_SIZE_VARIABLE, "1")
    analyzer = CodeAnalyzer()
    for source in ("1", "2", "1"):
        analyzer.analyze(source)

    assert analyzer.hits == 0


def test_the_argument_takes_precedence_over_the_environment(monkeypatch):
    monkeypatch.setenv(CACHE_SIZE_VARIABLE, "0")
    analyzer = CodeAnalyzer(5)
    analyzer.analyze("1")
    analyzer.analyze("1")

    assert analyzer.hits == 1


def test_the_default_cache_size_is_100(monkeypatch):
    monkeypatch.delenv(CACHE_SIZE_VARIABLE, raising=False)
    analyzer = CodeAnalyzer()
    for number in range(DEFAULT_CACHE_SIZE + 1):
        analyzer.analyze(str(number))
    analyzer.analyze("1")
    assert analyzer.hits == 1
    analyzer.analyze("0")

    assert (DEFAULT_CACHE_SIZE, analyzer.hits) == (100, 1)


@pytest.mark.parametrize("size", [-1, -100])
def test_a_negative_cache_size_is_refused(size):
    with pytest.raises(ValueError, match=f"must be 0 or more, not {size}"):
        CodeAnalyzer(size)


def test_an_invalid_cache_size_in_the_environment_is_an_error(monkeypatch):
    monkeypatch.setenv(CACHE_SIZE_VARIABLE, "many")

    with pytest.raises(ValueError, match="many"):
        CodeAnalyzer()


def test_source_with_surrogates_can_be_analysed():
    assert CodeAnalyzer(5).analyze("'\ud800'").mode is ExecutionMode.UNKNOWN


BLOCKING = ["time.sleep", "requests.get", "requests.sessions.Session().get", "subprocess.Popen().wait", "socket.socket().recv",
            "socket.socket().anything", "urllib.request.urlopen", "pathlib.Path().read_text", "builtins.open", "builtins.input"]  # fmt: skip
NOT_BLOCKING = ["time.time", "requests_mock.get", "asyncio.sleep", "pathlib.Path().name", "socket.AF_INET", "subprocess", "time",
                "math.sqrt", "builtins.print", "sockets.socket().recv"]  # fmt: skip


@pytest.mark.parametrize("name", BLOCKING)
def test_names_in_the_list_count_as_blocking(name):
    assert DetectionPolicy().is_blocking(name)


@pytest.mark.parametrize("name", NOT_BLOCKING)
def test_other_names_do_not_count_as_blocking(name):
    assert not DetectionPolicy().is_blocking(name)


def test_a_policy_is_changed_into_another_one():
    plain = DetectionPolicy()
    changed = plain.changed({"blocking": ["mine.*"], "not_blocking": ["time.sleep"], "always": None})

    assert changed.is_blocking("mine.deep.call")
    assert not changed.is_blocking("time.sleep")
    assert plain.is_blocking("time.sleep")
    assert changed.always is None


def test_an_unknown_mode_for_every_cell_is_refused():
    with pytest.raises(ValueError, match="sideways"):
        DetectionPolicy().changed({"always": "sideways"})


def routed(source, names=None):
    router = Router(DetectionPolicy(), names or {})
    return router.route(CodeAnalyzer(0).analyze(source)), router.counters


@pytest.mark.parametrize(
    ("source", "mode", "blocks"),
    [
        ("import asyncio\nasyncio.run(f())", ExecutionMode.BLOCKING_SYNC, True),
        ("loop.run_until_complete(f())", ExecutionMode.BLOCKING_SYNC, True),
        ("import time\ntime.sleep(1)", ExecutionMode.BLOCKING_SYNC, True),
        ("import asyncio\nasyncio.create_task(f())", ExecutionMode.SIMPLE_SYNC, False),
        ("import asyncio, time\nasyncio.create_task(f())\ntime.sleep(1)", ExecutionMode.SIMPLE_SYNC, True),
        ("x = 1", ExecutionMode.SIMPLE_SYNC, False),
    ],
)
def test_the_sessions_loop_runs_in_another_thread_while_a_cell_blocks(source, mode, blocks):
    route, _ = routed(source)

    assert (route.mode, route.blocks) == (mode, blocks)


def test_resolving_names_runs_no_user_code():
    class Trap:
        def __getattr__(self, name):
            raise AssertionError(name)

        def __hash__(self):
            raise AssertionError

    route, _ = routed("trap.method()\ntrap()\ntrap.a.b()", {"trap": Trap()})

    assert route.mode is ExecutionMode.SIMPLE_SYNC


def test_functions_that_call_each_other_do_not_loop_forever():
    route, _ = routed("def a(): b()\ndef b(): a()\na()")

    assert route.mode is ExecutionMode.SIMPLE_SYNC


def test_a_name_assigned_from_itself_does_not_loop_forever():
    assert routed("a = b\nb = a\na.c()")[0].mode is ExecutionMode.SIMPLE_SYNC


def test_recognised_calls_and_imports_are_counted():
    _, counters = routed("import socket, time\nfrom subprocess import run\ntime.sleep(1)\nno.such.chain()")

    assert counters == {"blocking_import": 3, "blocking_call": 1, "missed_chain": 1}
