"""Representations that misbehave are contained: they raise, exit, hang, are huge, or are no text."""

import pytest

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        ("{'n': 2**70}", "{'n': 1180591620717411303424}"),
        ("{(1, 2): 3}", "{(1, 2): 3}"),
        ("{1: (2, None)}", {"1": [2, None]}),
        ("object", "<class 'object'>"),
        ("[b'x']", "[b'x']"),
    ],
)
async def test_invalid_json_arrives_as_its_repr(session, data, shown):
    cell = await session.run(
        f"class J:\n    def __repr__(self): return 'J'\n    def _repr_json_(self): return {data}\nJ()"
    )

    assert cell.result.bundle == {"text/plain": "J", "application/json": shown}


async def test_mime_types_that_are_no_text_are_left_out(session):
    cell = await session.run(
        "class M:\n    def _repr_mimebundle_(self, **kw): return {5: 'five', 'x/y': 'z'}\n    def __repr__(self): return 'M'\nM()"
    )

    assert cell.result.bundle == {"text/plain": "M", "x/y": "z"}


BAD_REPRS = {
    "raises": ("raise ValueError('no')", "<Bad object whose __repr__ raised ValueError>"),
    "raises SystemExit": ("raise SystemExit", "<Bad object whose __repr__ raised SystemExit>"),
    "raises a BaseException": ("raise BaseException", "<Bad object whose __repr__ raised BaseException>"),
    "gives no text": ("return 5", "<Bad object whose __repr__ raised TypeError>"),
    "never ends recursing": ("return repr(self)", "<Bad object whose __repr__ raised RecursionError>"),
}


@pytest.mark.parametrize(("body", "text"), BAD_REPRS.values(), ids=BAD_REPRS.keys())
async def test_a_repr_is_contained_that(session, body, text):
    await session.run(f"class Bad:\n    def __repr__(self): {body}")
    cell = await session.run("display(Bad())\nBad()")

    assert (cell.status, cell.plain) == ("finished", text)
    assert cell.displays[0].bundle == {"text/plain": text}


@pytest.mark.parametrize("method", ["_repr_html_", "_repr_mimebundle_", "_repr_png_"])
@pytest.mark.parametrize(
    "body", ["raise ValueError", "raise SystemExit", "return 5", "return object()", "return b'\\xff'"]
)
async def test_a_rich_representation_is_contained_whatever_it_does(session, method, body):
    await session.run(f"class Bad:\n    def __repr__(self): return 'plain'\n    def {method}(self, **kw): {body}")
    cell = await session.run("Bad()")

    assert (cell.status, cell.plain) == ("finished", "plain")


async def test_a_huge_repr_is_shortened(session):
    await session.run("class Huge:\n    def __repr__(self): return 'x' * 100_000_000")
    cell = await session.run("Huge()")

    assert cell.plain.startswith("xxx")
    assert "characters left out" in cell.plain
    assert len(cell.plain) < 1_100_000


async def test_a_repr_that_hangs_is_ended_by_an_interrupt(session):
    await session.run(
        "import time\nclass Slow:\n    def __repr__(self):\n        print('in it')\n        time.sleep(3600)"
    )
    cell = await session.submit("Slow()").said("in it")
    session.interrupt(cell)

    assert (await cell.ended()).status == "interrupted"


async def test_attributes_made_by_getattr_are_no_representations(session):
    await session.run(
        "class Anything:\n    def __getattr__(self, name): return lambda *a, **k: 'made up'\n    def __repr__(self): return 'plain'"
    )
    cell = await session.run("Anything()")

    assert cell.result.bundle == {"text/plain": "plain"}


async def test_representations_of_a_bundle_that_are_no_text_arrive_as_their_repr(session):
    cell = await session.run("display({'x/y': {1, }, 'application/json': [1, {'a': None}], 5: 'five'}, raw=True)")

    assert cell.displays[0].bundle == {"x/y": "{1}", "application/json": [1, {"a": None}], "5": "five"}


async def test_a_bundle_is_requested_as_documented(session):
    await session.run(
        "class A:\n    def _repr_mimebundle_(self, include, exclude):\n"
        "        return {'text/html': '<b>A</b>', 'text/plain': 'A', 'x/y': f'{include} {exclude}'}"
    )
    cell = await session.run("display(A(), include=['text/html', 'x/y'])\nA()")

    assert cell.displays[0].bundle == {"text/html": "<b>A</b>", "x/y": "['text/html', 'x/y'] None"}
    assert cell.result.bundle == {"text/html": "<b>A</b>", "text/plain": "A", "x/y": "None None"}


async def test_a_bundle_of_a_method_without_arguments_is_accepted(session):
    await session.run("class A:\n    def _repr_mimebundle_(self): return {'text/plain': 'A'}")

    assert (await session.run("A()")).plain == "A"


async def test_a_value_may_show_itself(session):
    await session.run("class C:\n    def _ipython_display_(self): display({'text/html': '<b>C</b>'}, raw=True)")
    cell = await session.run("display(C(), C)\nC()")

    assert [display.bundle for display in cell.displays] == [
        {"text/html": "<b>C</b>"}, {"text/plain": "<class '__main__.C'>"}, {"text/html": "<b>C</b>"},
    ]  # fmt: skip
    assert cell.result is None


async def test_a_value_that_declines_to_show_itself_is_shown_as_others_are(session):
    await session.run(
        "class C:\n    def _ipython_display_(self): raise NotImplementedError\n    def __repr__(self): return 'C'"
    )
    cell = await session.run("C()")

    assert (cell.plain, cell.notices) == ("C", [])


@pytest.mark.parametrize("method", ["_repr_html_", "_repr_mimebundle_", "_ipython_display_", "_repr_png_"])
@pytest.mark.parametrize("line", ["D()", "display(D())"])
async def test_a_representation_that_fails_is_reported(session, method, line):
    await session.run(
        f"class D:\n    def {method}(self, **_): raise ValueError('broken')\n    def __repr__(self): return 'D'"
    )
    cell = await session.run(line)

    assert [bundle.bundle for bundle in (cell.displays or [cell.result])] == [{"text/plain": "D"}]
    assert [notice.message for notice in cell.notices] == [f"{method} of a D raised ValueError: broken"]


async def test_a_type_error_inside_of_a_bundle_is_reported(session):
    await session.run("class D:\n    def _repr_mimebundle_(self, **_): return len(5)")

    assert "raised TypeError: object of type" in (await session.run("D()")).notices[0].message


async def test_a_representation_may_be_the_objects_own(session):
    cell = await session.run("class F: pass\nf = F()\nf._repr_html_ = lambda: '<b>own</b>'\nf")

    assert cell.result.bundle["text/html"] == "<b>own</b>"


async def test_an_object_that_has_every_attribute_has_no_representation(session):
    cell = await session.run("from unittest.mock import MagicMock\nMagicMock(name='m')")

    assert set(cell.result.bundle) == {"text/plain"}
    assert cell.notices == []


@pytest.mark.parametrize(("levels", "is_shown"), [(99, True), (100, False), (400, False)])
async def test_json_that_readers_could_not_read_arrives_as_its_repr(session, levels, is_shown):
    """With 300 levels no reader could dump its event as JSON, and with 510 its worker could not pack it."""
    await session.run(f"value = 1\nfor _ in range({levels}): value = [value]")
    cell = await session.run("display({'application/json': value}, raw=True)")

    shown = cell.displays[0].bundle["application/json"]
    assert isinstance(shown, list) is is_shown
    assert str(shown) == "[" * levels + "1" + "]" * levels
