"""A cluster in memory: what its function answers becomes outcomes and events; what it lacks, it refuses by name."""

import asyncio
import inspect
import io
from datetime import timedelta

import nbformat
import pytest

import skep
import skep.testing
from skep.outcome import CellFault
from skep.testing import Answer, MemoryCell, MemoryCluster, MemoryFiles, MemorySession, NotInMemory

pytestmark = pytest.mark.anyio

PAIRS = [
    (skep.Cluster, MemoryCluster), (skep.Session, MemorySession), (skep.Cell, MemoryCell), (skep.SessionFiles, MemoryFiles),
]  # fmt: skip
ABSENT = {
    "workers", "why", "answer", "complete", "is_complete", "inspect", "variables", "checkpoints", "name_checkpoint",
    "rollback", "fork", "fork_many", "hibernate",
}  # fmt: skip


def public(base):
    return {name: method for name, method in vars(base).items() if not name.startswith("_")}


def shape(method):
    """Return kinds, names and defaults of the parameters; a method in memory may return a subclass."""
    return [(each.name, each.kind, each.default) for each in inspect.signature(method).parameters.values()]


@pytest.mark.parametrize(("real", "memory"), PAIRS, ids=lambda each: each.__name__)
def test_every_public_name_of_the_client_is_there_with_the_same_parameters(real, memory):
    for name, method in public(real).items():
        found = inspect.getattr_static(memory, name)
        assert isinstance(found, property) == isinstance(method, property)
        if not isinstance(method, property):
            assert shape(found) == shape(method), f"{memory.__name__}.{name} differs from {real.__name__}.{name}"
            assert inspect.iscoroutinefunction(found) == inspect.iscoroutinefunction(method)


def test_the_exported_names_are_there_and_sorted():
    assert skep.testing.__all__ == sorted(skep.testing.__all__)
    assert all(hasattr(skep.testing, name) for name in skep.testing.__all__)


def test_what_is_absent_is_known():
    found = {name: inspect.getattr_static(memory, name) for real, memory in PAIRS for name in public(real)}
    refused = {name for name, method in found.items() if hasattr(method, "__wrapped__")}

    assert refused == ABSENT, "describe a new one in docs/testing.md, or implement it"


@pytest.mark.parametrize("name", sorted(ABSENT))
async def test_what_is_absent_is_refused_by_its_name(name):
    async with MemoryCluster(lambda *_: None) as cluster:
        owner = cluster if hasattr(skep.Cluster, name) else cluster.session("s")
        method = getattr(owner, name)
        needed = [
            "x" for each in inspect.signature(method).parameters.values()
            if each.default is each.empty and each.kind is each.POSITIONAL_OR_KEYWORD
        ]  # fmt: skip
        called = anext(method(*needed)) if inspect.isasyncgenfunction(method) else method(*needed)
        with pytest.raises(NotInMemory, match=rf"has no \w+\.{name}: .* skep_cluster") as caught:
            await called

    assert isinstance(caught.value, skep.SkepError)
    assert isinstance(caught.value, NotImplementedError)


async def test_a_deferred_cell_is_refused():
    async with MemoryCluster(lambda *_: None) as cluster:
        with pytest.raises(NotInMemory, match="defer_by"):
            await cluster.session("s").submit("1", defer_by=1)


async def test_a_function_gets_code_and_inputs_and_returns_the_value():
    async with MemoryCluster(lambda code, inputs: (code, inputs)) as cluster:
        outcome = await cluster.session("s").run("x + 1", inputs={"x": (1, [2])})

    assert outcome.value == ("x + 1", {"x": (1, [2])})
    assert outcome.result == {"text/plain": "('x + 1', {'x': (1, [2])})"}


async def test_a_coroutine_function_is_awaited():
    async def answer(code, inputs):
        await asyncio.sleep(0)
        return code.upper()

    async with MemoryCluster(answer) as cluster:
        assert (await cluster.session("s").run("abc")).value == "ABC"


@pytest.mark.parametrize("is_raised", [True, False])
async def test_an_exception_fails_the_cell(is_raised):
    def answer(code, inputs):
        error = ValueError("wrong")
        if is_raised:
            raise error
        return error

    async with MemoryCluster(answer) as cluster:
        outcome = await cluster.session("s").run("1")

    assert (outcome.status, outcome.error.ename, outcome.error.evalue) == ("failed", "ValueError", "wrong")
    assert outcome.error.traceback.endswith("ValueError: wrong\n")
    assert "memory_record" not in outcome.error.traceback
    with pytest.raises(skep.CellFailed, match="ValueError: wrong"):
        outcome.raise_for_status()


async def test_an_answer_has_the_parts_of_an_outcome():
    answer = Answer(value=5, text="out\n", stderr="err\n", display=({"text/html": "<b>"},), warnings=("careful",))
    async with MemoryCluster(lambda *_: answer) as cluster:
        session = cluster.session("s")
        outcome = await session.run("1")
        kinds = [event.kind async for event in session.events()]

    assert (outcome.value, outcome.text, outcome.display, outcome.warnings) == (
        5, "out\nerr\n", ({"text/html": "<b>"},), ("careful",),
    )  # fmt: skip
    assert kinds == [
        "session.started", "cell.queued", "cell.started", "output", "output", "display", "warning", "result", "cell.finished",
    ]  # fmt: skip


async def test_an_outcome_can_be_an_answer():
    first = Answer(value=1, text="said", error=CellFault("E", "v", "E: v\n"), status="crashed")
    async with MemoryCluster(lambda *_: first) as cluster:
        recorded = await cluster.session("s").run("1")
    async with MemoryCluster(lambda *_: recorded) as cluster:
        again = await cluster.session("s").run("1")

    assert (again.status, again.text, again.error) == ("crashed", "said", first.error)


async def test_a_value_that_cannot_travel_is_its_repr():
    async with MemoryCluster(lambda *_: {1, 2}) as cluster:
        outcome = await cluster.session("s").run("1")

    assert (outcome.value, outcome.value_is_repr) == ("{1, 2}", True)


async def test_text_with_a_lone_surrogate_is_escaped_as_in_a_session():
    async with MemoryCluster(lambda *_: Answer(text="\ud800", error=ValueError("\udfff"))) as cluster:
        outcome = await cluster.session("s").run("1")

    assert (outcome.text, outcome.error.evalue) == ("\\ud800", "\\udfff")


@pytest.mark.parametrize("given", [{"status": "done"}, {"status": "finished", "error": ValueError()}])
async def test_an_answer_that_cannot_be_is_refused(given):
    with pytest.raises(skep.InvalidArgument, match="status: "):
        Answer(**given)


async def test_a_cell_that_awaits_ends_with_its_timeout():
    async def answer(code, inputs):
        await asyncio.Event().wait()

    async with MemoryCluster(answer) as cluster:
        outcome = await cluster.session("s").run("1", timeout=0.01)

    assert outcome.status == "timed_out"


async def test_the_wait_for_an_outcome_has_a_timeout_and_the_cell_continues():
    gate = asyncio.Event()

    async def answer(code, inputs):
        await gate.wait()
        return 1

    async with MemoryCluster(answer) as cluster:
        cell = await cluster.session("s").submit("1")
        with pytest.raises(skep.WaitTimeout):
            await cell.outcome(timeout=timedelta(seconds=0.01))
        gate.set()
        assert (await cell.outcome(5)).value == 1


def failing_answer(code, inputs):
    pytest.fail("unexpected code")


async def test_pytest_fail_in_the_function_ends_the_wait_for_the_cell():
    cluster = await MemoryCluster(failing_answer).__aenter__()
    session = cluster.session("s")
    with pytest.raises(pytest.fail.Exception, match="unexpected code"):
        await session.run("1")
    with pytest.raises(pytest.fail.Exception, match="unexpected code"):
        [event async for event in session.events(follow=True)]
    with pytest.raises(pytest.fail.Exception, match="unexpected code"):
        await cluster.__aexit__(None, None, None)


async def test_leaving_ends_cells_that_run():
    ended = []

    async def answer(code, inputs):
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(code)

    async with MemoryCluster(answer) as cluster:
        cell = await cluster.session("s").submit("1")
        async for event in cell.events():
            if event.kind == "cell.started":
                break
        await asyncio.sleep(0)

    assert ended == ["1"]


async def test_a_cluster_is_used_within_its_block():
    cluster = MemoryCluster(lambda *_: None)
    with pytest.raises(skep.ClientUnusable, match="not open yet"):
        await cluster.session("s").submit("1")
    async with cluster:
        session = cluster.session("s")
        with pytest.raises(skep.ClientUnusable, match="opened before"):
            await cluster.__aenter__()
    with pytest.raises(skep.ClientUnusable, match="has been closed"):
        await session.submit("1")


@pytest.mark.parametrize("answer", [None, "6 * 7"])
def test_an_answer_that_is_no_function_is_refused(answer):
    with pytest.raises(skep.InvalidArgument, match=r"answer: .* a function of code and inputs is needed"):
        MemoryCluster(answer)


async def test_the_backlog_is_bounded_as_in_a_cluster():
    settings = skep.Settings(max_pending_cells=2)
    async with MemoryCluster(lambda *_: None, settings=settings) as cluster:
        with pytest.raises(skep.BacklogFull):
            await cluster.session("s").submit_many(["1", "2", "3"])
        with pytest.raises(skep.NotFound):
            await cluster.session("s").cell("x").outcome()
        with pytest.raises(skep.NotFound):
            await cluster.session("s").cell("x").deferred_until()
        assert cluster.settings is settings


async def test_the_environment_sets_nothing(monkeypatch):
    monkeypatch.setenv("SKEP_MAX_PENDING_CELLS", "1")
    async with MemoryCluster(lambda *_: None) as cluster:
        assert len(await cluster.session("s").submit_many(["1", "2"])) == 2


async def test_a_session_in_memory_is_a_notebook_too():
    async with MemoryCluster(lambda *_: Answer(value=1, text="said")) as cluster:
        session = cluster.session("s")
        await session.run("1")
        document, page = await session.notebook(), await session.html()

    nbformat.validate(document)
    assert [output["output_type"] for output in document["cells"][0]["outputs"]] == ["stream", "execute_result"]
    assert "said" in page


async def test_a_file_is_written_from_an_open_one_and_read_in_pieces():
    async with MemoryCluster(lambda *_: None) as cluster:
        files = cluster.session("s").files
        await files.put_from("f", io.BytesIO(b"hello"))

        piece = await files.read_from("f", 2)

    assert (piece.data, piece.bytes) == (b"llo", 5)


async def test_an_outcome_is_known_once_the_cell_has_ended():
    async with MemoryCluster(lambda *_: None) as cluster:
        cell = await cluster.session("s").submit("1")
        outcome = await cell.outcome()

        assert await cell.outcome_now() == outcome
