"""Display: MIME bundles in their place among the output, contained representations, figures."""

import base64

import pytest

pytestmark = pytest.mark.anyio

RICH = """
class Rich:
    def __repr__(self): return "plain"
    def _repr_html_(self): return "<b>rich</b>"
    def _repr_markdown_(self): return None
    def _repr_latex_(self): raise ValueError("no latex")
    def _repr_svg_(self): return "<svg/>"
    def _repr_png_(self): return b"png bytes"
    def _repr_json_(self): return {"a": [1]}
"""
RICH_BUNDLE = {
    "text/plain": "plain",
    "text/html": "<b>rich</b>",
    "image/svg+xml": "<svg/>",
    "image/png": base64.b64encode(b"png bytes").decode(),
    "application/json": {"a": [1]},
}


async def test_the_last_expression_shows_every_representation_it_has(session):
    await session.run(RICH)
    cell = await session.run("Rich()")

    assert cell.result.bundle == RICH_BUNDLE


async def test_display_shows_every_representation_too(session):
    await session.run(RICH)
    cell = await session.run("display(Rich())")

    assert [display.bundle for display in cell.displays] == [RICH_BUNDLE]
    assert cell.result is None


async def test_repr_mimebundle_comes_first(session):
    await session.run(
        RICH
        + "    def _repr_mimebundle_(self, include=None, exclude=None):\n        return {'text/html': 'own', 'x/y': 'z'}"
    )
    cell = await session.run("Rich()")

    assert cell.result.bundle == RICH_BUNDLE | {"text/html": "own", "x/y": "z"}


async def test_repr_mimebundle_may_come_with_metadata(session):
    await session.run(
        "class M:\n    def _repr_mimebundle_(self, **kw): return {'text/html': 'h'}, {'text/html': {'w': 1}}"
    )
    cell = await session.run("M()\nM()")

    assert cell.result.bundle["text/html"] == "h"
    assert [notice.message for notice in cell.notices] == ["the metadata of a M is ignored: text/html"]
    assert (await session.run("M()")).notices == []


async def test_a_class_shows_its_repr_and_not_its_instances_representations(session):
    await session.run(RICH)
    cell = await session.run("Rich")

    assert cell.result.bundle == {"text/plain": "<class '__main__.Rich'>"}


async def test_displays_are_in_their_place_among_the_output(session):
    cell = await session.run(
        "print('a')\ndisplay(1)\nprint('b')\ndisplay(2, 3)\nimport sys\nprint('c', file=sys.stderr)\n4"
    )
    shown = [getattr(frame, "text", None) or frame.bundle["text/plain"] for frame in cell.frames[:-1]]

    assert shown == ["a\n", "1", "b\n", "2", "3", "c\n", "4"]


async def test_display_of_plain_values_is_their_repr(session):
    cell = await session.run("display('text', [1], None)")

    assert [display.bundle for display in cell.displays] == [{"text/plain": text} for text in ("'text'", "[1]", "None")]


async def test_display_accepts_raw_bundles(session):
    cell = await session.run("display({'text/html': '<i>x</i>', 'application/json': {'k': 1}}, raw=True)")

    assert cell.displays[0].bundle == {"text/html": "<i>x</i>", "application/json": {"k": 1}}


async def test_a_display_can_be_updated_through_its_handle(session):
    await session.run("handle = display('first', display_id='d')")
    cell = await session.run("handle.update('second')")

    assert [(display.bundle["text/plain"], display.display_id, display.updates) for display in cell.displays] == [
        ("'second'", "d", True)
    ]


async def test_a_display_can_be_updated_by_its_id(session):
    cell = await session.run("display('first', display_id='d')\nupdate_display('second', display_id='d')")

    assert [(display.display_id, display.updates) for display in cell.displays] == [("d", False), ("d", True)]


async def test_display_makes_ids_that_differ(session):
    cell = await session.run(
        "a, b = display(1, display_id=True), display(2, display_id=True)\n(a.display_id, b.display_id)"
    )

    first, second = cell.value
    assert first != second
    assert [display.display_id for display in cell.displays] == [first, second]


async def test_a_handle_has_a_short_repr(session):
    cell = await session.run("display(1, display_id='d')")

    assert cell.plain == "<DisplayHandle display_id=d>"


@pytest.mark.parametrize("wait", [True, False])
async def test_clear_output_is_in_its_place_among_the_output(session, wait):
    cell = await session.run(f"print('hidden')\nclear_output({wait})\nprint('shown')")

    assert cell.kinds == ["Output", "Cleared", "Output", "Done"]
    assert cell.clearings[0].waits is wait


async def test_displays_of_tasks_belong_to_their_cell(session):
    first = await session.run("import asyncio\nasync def work():\n    await go.wait()\n    display('late')\ngo = asyncio.Event()\ntask = asyncio.create_task(work())")  # fmt: skip
    later = await session.run("go.set()\nawait task")

    await first.until(lambda cell: cell.displays)
    assert later.displays == []


async def test_the_names_can_be_bound_to_something_else(session):
    assert await session.value("display = 5\ndisplay") == 5


async def test_a_representation_that_makes_a_display_too_large_is_replaced_by_a_note_of_its_size(session):
    cell = await session.run("display({'text/html': 'x' * 10_000_000, 'text/plain': 'small', 'x/y': 'z'}, raw=True)")
    note = "<text/html of 10000000 bytes left out, over the limit of 8388608>"

    assert cell.displays[0].bundle == {"text/plain": f"small\n{note}", "x/y": "z"}


async def test_a_picture_over_the_size_limit_is_replaced_by_a_note_of_its_size(session):
    cell = await session.run("display({'image/png': b'x' * 10_000_000}, raw=True)")

    assert cell.displays[0].bundle == {
        "text/plain": "<image/png of 13333336 bytes left out, over the limit of 8388608>"
    }


@pytest.mark.parametrize(
    "bundle",
    [
        "{f'x/{i}': 'x' * 7_000_000 for i in range(6)}",
        "{'text/html': '😀' * 5_000_000}",
        "{'application/json': ['x' * 1000] * 20_000}",
    ],
    ids=["many", "in bytes, not characters", "data"],
)
async def test_the_size_limit_is_that_of_the_whole_display_in_bytes(session, bundle):
    cell = await session.run(f"display({bundle}, raw=True)\n'went on'")

    assert cell.value == "went on"
    assert "left out, over the limit" in cell.displays[0].bundle["text/plain"]


@pytest.mark.parametrize(
    "code",
    ["update_display(1, display_id='x' * 20_000_000)", "display({'x' * 20_000_000: 1}, raw=True)"],
    ids=["id", "type"],
)
async def test_any_other_frame_that_is_too_large_is_left_out_with_a_warning(session, code):
    cell = await session.run(f"{code}\n'went on'")

    assert cell.value == "went on"
    assert [notice.category for notice in cell.notices] == ["left_out"] or "left out" in cell.displays[0].bundle[
        "text/plain"
    ]


async def test_updates_and_clearings_reach_the_transcript(open_session):
    session = open_session()
    await session.run("h = display('first', display_id=True)\ng = display('other', display_id='g')")
    await session.hibernate()
    await session.run("h.update('second')\nupdate_display('third', display_id='g')")
    last = await session.run("for i in range(3):\n    clear_output(wait=True); print('step', i); display(i)")
    cells = [cell.outcome() for cell in await session.transcript()]

    assert [[bundle["text/plain"] for bundle in cell.display] for cell in cells] == [["'second'", "'third'"], [], ["2"]]
    assert (last.text, cells[2].text) == ("step 2\n", "step 2\n")


async def test_an_update_without_an_id_is_refused(session):
    assert (await session.run("display(1, update=True)")).error.ename == "TypeError"


async def test_an_unknown_option_is_refused_and_metadata_is_reported(session):
    assert (await session.run("display(1, colour='red')")).error.ename == "TypeError"
    cell = await session.run("display({'text/html': 'h'}, raw=True, metadata={'isolated': True})")

    assert [notice.message for notice in cell.notices] == ["metadata of a display is ignored: isolated"]


async def test_only_the_types_that_are_wanted_are_shown(session):
    await session.run(RICH)
    cell = await session.run(
        "display(5, Rich(), include=['x/y'])\ndisplay(5, Rich(), include=['text/html'])\ndisplay(Rich(), exclude=['image/png', 'image/svg+xml'])"
    )

    assert [set(display.bundle) for display in cell.displays] == [
        {"text/html"}, {"text/plain", "text/html", "application/json"},
    ]  # fmt: skip


async def test_a_display_may_clear_earlier_displays(session):
    cell = await session.run("print('x')\ndisplay(1, clear=True)")

    assert cell.kinds == ["Output", "Cleared", "Display", "Done"]
    assert cell.clearings[0].waits is True
