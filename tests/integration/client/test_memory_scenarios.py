"""The same scenarios on a real cluster and on one in memory: equal outcomes, events and errors."""

import ast
import asyncio
import contextlib
import inspect
import io
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest

import skep
from skep.testing import Answer, MemoryCluster

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

WAIT = "import asyncio\nawait asyncio.sleep(3600)"


async def run_python(code: str, inputs: dict[str, Any], namespace: dict[str, Any]) -> Answer:
    """Answer a cell by running it here, as far as these scenarios need it."""
    namespace.update(inputs)
    tree = ast.parse(code)
    last = ast.Expression(tree.body.pop().value) if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    out, value, error = io.StringIO(), None, None
    with contextlib.redirect_stdout(out):
        try:
            for part, mode in ((tree, "exec"), (last, "eval")):
                if part is not None:
                    compiled = compile(part, "<cell>", mode, ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
                    value = eval(compiled, namespace)
                    if inspect.iscoroutine(value):
                        value = await value
        except Exception as exc:  # noqa: BLE001 - the code of a cell
            error = exc
    return Answer(value=value if error is None and last is not None else None, text=out.getvalue(), error=error)


@pytest.fixture(params=["real", "memory"])
async def any_cluster(request: pytest.FixtureRequest, cluster: skep.EmbeddedCluster) -> AsyncIterator[skep.Cluster]:
    if request.param == "real":
        yield cluster
        return
    namespace: dict[str, Any] = {}
    async with MemoryCluster(lambda code, inputs: run_python(code, inputs, namespace)) as in_memory:
        yield in_memory


@pytest.fixture
def session(any_cluster: skep.Cluster) -> skep.Session:
    return any_cluster.session(f"s-{uuid.uuid4().hex[:8]}")


VARYING = {
    "id",
    "session_id",
    "at",
    "epoch",
    "worker_id",
    "python",
    "queued_ms",
    "run_ms",
    "commit_ms",
    "checkpoint",
    "traceback",
}


def shape(event: skep.BaseEvent) -> dict[str, Any]:
    """Return what an event has in both."""
    fields = event.model_dump(mode="json")
    return {name: value for name, value in fields.items() if name not in VARYING and value not in (None, "", [], {})}


async def log_of(session: skep.Session) -> list[tuple[str, int | None]]:
    return [(event.kind, event.seq) async for event in session.events()]


async def test_a_cell_has_a_value_and_text(session):
    outcome = await session.run("print('said')\nx = 20\nx + y", inputs={"y": 22})

    assert (outcome.ok, outcome.status, outcome.value, outcome.text) == (True, "finished", 42, "said\n")
    assert (outcome.seq, outcome.attempt, outcome.error, outcome.result) == (1, 1, None, {"text/plain": "42"})
    assert (await session.run("x")).value == 20


async def test_a_cell_reports_these_events(session):
    cell = await session.submit("print('said')\n(1, b'2')", cell_id="c", labels={"app": "x"})
    events = [shape(event) async for event in cell.events()]

    common = {"cell_id": "c", "seq": 1, "attempt": 1}
    assert events == [
        {**common, "kind": "cell.queued", "code": "print('said')\n(1, b'2')", "labels": {"app": "x"}},
        {**common, "kind": "cell.started"},
        {**common, "kind": "output", "stream": "stdout", "text": "said\n"},
        {**common, "kind": "result", "bundle": {"text/plain": "(1, b'2')"}, "data": events[3]["data"],
         "value": [1, "Mg=="], "value_is_repr": False},
        {**common, "kind": "cell.finished", "status": "finished"},
    ]  # fmt: skip
    assert (await log_of(session))[0] == ("session.started", None)


async def test_what_the_code_raises_is_in_the_outcome(session):
    outcome = await session.run("print('before')\n1 / 0")

    assert (outcome.status, outcome.text, outcome.error.ename, outcome.error.evalue) == (
        "failed", "before\n", "ZeroDivisionError", "division by zero",
    )  # fmt: skip
    assert outcome.error.traceback.endswith("ZeroDivisionError: division by zero\n")
    with pytest.raises(skep.CellFailed):
        outcome.raise_for_status()
    assert [kind for kind, _ in await log_of(session)][-2:] == ["error", "cell.finished"]


async def test_a_cell_id_is_accepted_once(session):
    first = await session.submit("1", cell_id="same")
    again = await session.submit("2", cell_id="same")
    both = await session.submit_many([{"code": "3", "cell_id": "same"}, {"code": "4", "cell_id": "other"}])

    assert [cell.seq for cell in (first, again, *both)] == [1, 1, 1, 2]
    assert [(await cell.outcome()).value for cell in (first, again, *both)] == [1, 1, 1, 4]
    assert (session.cell("same").id, session.cell("same").seq) == ("same", None)


async def test_cells_run_in_the_order_of_their_submit(session):
    cells = await session.submit_many([f"print({number})\n{number}" for number in range(20)])
    last = await session.submit("'last'")
    await last.outcome()

    assert [(await cell.outcome()).value for cell in cells] == list(range(20))
    assert [cell.outcome().text for cell in await session.transcript()] == [*(f"{n}\n" for n in range(20)), ""]


async def test_a_batch_stops_after_an_error(session):
    batch = await session.submit_many(["1", "1 / 0", "3", "4"], stop_on_error=True)
    outcomes = [await cell.outcome() for cell in batch]

    assert [outcome.status for outcome in outcomes] == ["finished", "failed", "cancelled", "cancelled"]
    assert [outcome.stopped_by for outcome in outcomes] == [None, None, batch[1].id, batch[1].id]
    assert (outcomes[2].error.ename, outcomes[2].error.evalue) == (
        "CellCancelled",
        f"cell {batch[1].id!r} failed, and this cell was to run only if those before it in its batch succeeded",
    )
    assert (await log_of(session))[-3:] == [("cell.queued", 4), ("error", 4), ("cell.finished", 4)]
    with pytest.raises(skep.InvalidArgument, match="it was submitted before, so it can't follow"):
        await session.submit_many(["5", {"code": "1", "cell_id": batch[0].id}], stop_on_error=True)


async def started(cell: skep.Cell) -> None:
    async for event in cell.events():
        if event.kind == "cell.started":
            return


async def test_running_and_waiting_cells_are_interrupted_and_cancelled(session):
    running = await session.submit(WAIT)
    interrupted, cancelled = await session.submit_many(["1", "2"])
    await started(running)

    assert (await interrupted.interrupt(), await cancelled.cancel(), await running.cancel()) == (True, True, True)
    assert await session.interrupt() is True
    outcomes = [await cell.outcome() for cell in (running, interrupted, cancelled)]
    assert [outcome.status for outcome in outcomes] == ["interrupted", "interrupted", "cancelled"]
    names = [outcome.error and outcome.error.ename for outcome in outcomes]
    assert names[0] in {"CancelledError", "KeyboardInterrupt"}  # it awaits, or is about to
    assert names[1:] == ["KeyboardInterrupt", None]
    assert (await session.interrupt(), await running.interrupt(), await cancelled.cancel()) == (False, False, False)
    assert (await session.run("3")).value == 3


async def test_a_timeout_ends_a_cell(session):
    outcome = await session.run(WAIT, timeout=0.05)

    assert (outcome.status, outcome.error.ename in {"CancelledError", "KeyboardInterrupt"}) == ("timed_out", True)
    assert outcome.error.evalue == "the cell ran into its timeout of 0.05 s"
    assert outcome.error.traceback.endswith(f"{outcome.error.evalue}\n")


async def test_only_the_wait_ends_with_its_timeout(session):
    with pytest.raises(skep.WaitTimeout) as caught:
        await session.run(WAIT, wait=0.05, cell_id="c")

    assert isinstance(caught.value, TimeoutError)
    assert await session.interrupt("c") is True
    assert (await session.cell("c").outcome()).status == "interrupted"


async def test_events_are_read_from_any_point(session):
    await session.run("1")
    second = await session.submit("2")
    await second.outcome()
    events = [event async for event in session.events()]
    middle = next(event for event in events if event.seq == 2)

    assert [event.id for event in events] == [f"{number}-0" for number in range(1, len(events) + 1)]
    assert [event.id async for event in session.events(middle.id)] == [
        event.id for event in events[events.index(middle) + 1 :]
    ]
    assert [event.kind async for event in second.events(middle.id)] == ["cell.started", "result", "cell.finished"]
    assert [event async for event in second.events(events[-1].id)] == []
    for events in (session.events, second.events):
        with pytest.raises(skep.InvalidArgument, match="after: 'x' is refused"):
            [event async for event in events("x")]


async def test_a_follower_gets_everything_up_to_the_end_of_the_session(session):
    async def follow() -> list[str]:
        return [event.kind async for event in session.events(follow=True)]

    await session.run("1")
    following = asyncio.create_task(follow())
    await session.run("2")
    await session.close()

    kinds = await following
    assert (kinds[0], kinds[-1], kinds.count("cell.finished")) == ("session.started", "session.closed", 2)


async def test_what_does_not_exist_is_not_found(any_cluster, session):
    for call in (session.info, session.interrupt, session.close, session.files.list):
        with pytest.raises(skep.NotFound, match=f"there is no session '{session.id}'"):
            await call()
    with pytest.raises(skep.NotFound):
        await session.notebook()
    cell = any_cluster.cell(session.id, "unknown")
    for call in (cell.outcome, cell.interrupt, cell.cancel):
        with pytest.raises(skep.NotFound, match="there is no cell 'unknown'"):
            await call()
    with pytest.raises(skep.NotFound):
        [event async for event in cell.events()]
    assert [event async for event in session.events()] == []
    assert await session.transcript() == []


async def test_a_closed_session_accepts_no_more_cells(session):
    running = await session.submit(WAIT, cell_id="known")
    waiting = await session.submit("1")
    await started(running)
    await session.close()

    assert [(await cell.outcome()).status for cell in (running, waiting)] == ["interrupted", "cancelled"]
    assert (await session.info()).state == "closed"
    with pytest.raises(skep.SessionClosed):
        await session.submit("2")
    assert (await session.submit("2", cell_id="known")).seq == 1
    await session.close()
    await session.close(purge=True)
    with pytest.raises(skep.NotFound):
        await session.info()
    assert (await session.run("3")).seq == 1


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"code": 5}, "code"), ({"code": "\ud800"}, "code"), ({"code": "1", "cell_id": ""}, "cell_id"),
        ({"code": "1", "timeout": -1}, "timeout"), ({"code": "1", "inputs": {"x": object()}}, "inputs"),
        ({"code": "1", "inputs": {"1x": 1}}, "inputs"), ({"code": "1", "labels": {"a": 5}}, "labels"),
        ({"code": "1", "max_attempts": 0}, "max_attempts"), ({"code": "1", "on_worker_loss": "x"}, "on_worker_loss"),
    ],
)  # fmt: skip
async def test_bad_input_is_refused_before_anything_is_written(session, arguments, field):
    with pytest.raises(skep.InvalidArgument) as caught:
        await session.submit(**arguments)

    assert caught.value.field.startswith(field)
    with pytest.raises(skep.NotFound):
        await session.info()


async def test_bad_batches_and_ids_are_refused(any_cluster, session):
    for cells in ([], ["1"] * 1001, [5], [{"cell_id": "x"}], [{"code": "1", "more": 1}]):
        with pytest.raises(skep.InvalidArgument):
            await session.submit_many(cells)
    with pytest.raises(skep.InvalidArgument, match="stop_on_error"):
        await session.submit_many(["1"], stop_on_error="yes")
    for session_id in ("", "a/b", 5, "x" * 201):
        with pytest.raises(skep.InvalidArgument, match="session_id"):
            any_cluster.session(session_id)
    with pytest.raises(skep.InvalidArgument, match="cell_id"):
        session.cell("")


async def test_sessions_are_listed_with_their_progress(any_cluster, session):
    before = [info.id async for info in any_cluster.sessions()]
    await session.run("1")
    await session.run("1 / 0")
    found = [info async for info in any_cluster.sessions()]

    assert [info.id for info in found] == [*before, session.id]
    info = await session.info()
    assert (info.state, info.seq, info.cursor, info.pending, info.floor) == ("open", 2, 2, 0, 1)
    assert info.last_event == len(await log_of(session))


async def test_files_are_put_read_listed_and_removed(session, tmp_path):
    local = tmp_path / "local"
    local.write_bytes(b"from a file")
    await session.files.put("data/a.bin", b"\x00\x01")
    await session.files.put("b.txt", local)

    assert await session.files.get("data/a.bin") == b"\x00\x01"
    assert [(file.path, file.bytes) for file in await session.files.list()] == [("b.txt", 11), ("data/a.bin", 2)]
    await session.files.remove("data")
    assert [file.path for file in await session.files.list()] == ["b.txt"]
    with pytest.raises(skep.NotFound, match=r"there is no file 'data/a\.bin'"):
        await session.files.get("data/a.bin")
    for path in ("/absolute", "../up", "", 5):
        with pytest.raises(skep.InvalidArgument, match="path"):
            await session.files.put(path, b"")
    with pytest.raises(skep.CellError):
        await session.files.remove("nothing")


async def test_sessions_have_labels_which_change_and_by_which_they_are_found(any_cluster, session):
    labelled = any_cluster.session(session.id, options=skep.SessionOptions(labels={"app": session.id}, idle_seconds=60))
    await labelled.run("1")
    found = [info.id async for info in any_cluster.sessions(labels={"app": session.id}, state="open", prefix="s-")]

    assert found == [session.id]
    await session.update(skep.SessionOptions(labels={"app": "other"}))
    info = await session.info()
    assert (info.labels, info.idle_seconds) == ({"app": "other"}, 60)
    assert [info.id async for info in any_cluster.sessions(labels={"app": session.id})] == []
    with pytest.raises(skep.InvalidArgument, match=r"sandbox: .* can change after"):
        await session.update(skep.SessionOptions(sandbox="basic"))
    with pytest.raises(skep.InvalidArgument, match="state"):
        any_cluster.sessions(state="ajar")
    with pytest.raises(skep.NotFound):
        await any_cluster.session("s-unknown").update(skep.SessionOptions(labels={}))


async def test_functions_are_called_for_events_and_output(session):
    kinds, texts = [], []
    outcome = await session.run(
        "print('said')\n1",
        on_event=lambda event: kinds.append(event.kind),
        on_output=lambda event: texts.append(event.text),
    )

    assert (outcome.value, texts) == (1, ["said\n"])
    assert kinds == ["cell.queued", "cell.started", "output", "result", "cell.finished"]
    with pytest.raises(skep.InvalidArgument, match="on_event"):
        await session.run("1", on_event=5)
