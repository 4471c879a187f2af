"""`from IPython.display import …` works whether or not IPython is installed, and shows through the session's display."""

import pytest

pytestmark = pytest.mark.anyio

HIDE = "import sys\nsys.path = [place for place in sys.path if 'site-packages' not in place]\n"


@pytest.fixture(params=["IPython's own", "the stand-in"])
async def notebook(session, request):
    """A session with IPython, and one in which it can't be found."""
    if request.param == "the stand-in":
        await session.run(HIDE)
    else:
        pytest.importorskip("IPython")
    return session


def shown(cell):
    assert cell.error is None, cell.error.traceback
    return [display.bundle for display in cell.displays]


async def test_display_shows(notebook):
    cell = await notebook.run(
        "from IPython.display import display, HTML\ndisplay(HTML('<b>bold</b>'), 1)\nHTML('<i>it</i>')"
    )

    assert [bundle.get("text/html") for bundle in shown(cell)] == ["<b>bold</b>", None]
    assert (shown(cell)[1], cell.text) == ({"text/plain": "1"}, "")
    assert cell.result.bundle["text/html"] == "<i>it</i>"


CLASSES = {
    "Markdown('# T')": ("text/markdown", "# T"),
    "Latex('$x$')": ("text/latex", "$x$"),
    "Math('x^2')": ("text/latex", "$\\displaystyle x^2$"),
    "JSON({'a': [1]})": ("application/json", {"a": [1]}),
    "JSON('[1]')": ("application/json", [1]),
    "SVG('<svg xmlns=\"http://www.w3.org/2000/svg\"/>')": (
        "image/svg+xml", '<svg xmlns="http://www.w3.org/2000/svg"/>',
    ),
    "Javascript('alert(1)')": ("application/javascript", "alert(1)"),
    "Image(data=b'\\x89PNG\\r\\n\\x1a\\n')": ("image/png", "iVBORw0KGgo="),
    "Image('picture.png')": ("image/png", "iVBORw0KGgo="),
    "HTML(filename='page.html')": ("text/html", "<p>file</p>"),
}  # fmt: skip


@pytest.mark.parametrize(("made", "bundle"), CLASSES.items())
async def test_every_kind_of_content_is_shown_as_what_it_is(notebook, tmp_path, made, bundle):
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "page.html").write_text("<p>file</p>")
    mime, content = bundle
    cell = await notebook.run(f"from IPython.display import *\ndisplay({made})\n{made}")

    found = shown(cell)[0].get(mime), cell.result.bundle.get(mime)
    assert [each.strip() if isinstance(each, str) else each for each in found] == [content, content]


@pytest.mark.parametrize(
    ("made", "text"),
    [
        ("Image(url='http://x/y.png', width=50)", 'src="http://x/y.png" width="50"'),
        ("IFrame('http://x', 10, 20)", "<iframe"),
        ("YouTubeVideo('abc')", "youtube.com/embed/abc"),
        ("Audio(b'abc', rate=1)", "data:audio/wav;base64"),
        ("Video('http://x/y.mp4')", "<video"),
        ("FileLink('page.html')", "page.html</a>"),
    ],
)
async def test_media_are_shown_as_html(notebook, tmp_path, made, text):
    (tmp_path / "page.html").write_text("<p>file</p>")
    cell = await notebook.run(f"from IPython.display import *\ndisplay({made})")

    assert text in shown(cell)[0]["text/html"]


async def test_outputs_are_cleared(notebook):
    cell = await notebook.run(
        "from IPython.display import clear_output\nprint('x')\nclear_output(wait=True)\nprint('y')"
    )

    assert cell.kinds == ["Output", "Cleared", "Output", "Done"]
    assert cell.text == "x\ny\n"


async def test_displays_are_updated(notebook):
    cell = await notebook.run(
        "from IPython.display import display, HTML, update_display, DisplayHandle\nh = display(HTML('1'), display_id=True)\n"
        "h.update(HTML('2'))\nupdate_display(HTML('3'), display_id=h.display_id)\nDisplayHandle('d').display(HTML('4'))"
    )

    assert [bundle["text/html"] for bundle in shown(cell)] == ["1", "2", "3", "4"]
    assert [display.updates for display in cell.displays] == [False, True, True, False]
    assert len({display.display_id for display in cell.displays}) == 2


async def test_raw_content_is_shown(notebook):
    cell = await notebook.run(
        "import IPython.display\nIPython.display.display_html('<b>raw</b>', raw=True)\n"
        "IPython.display.publish_display_data({'x/y': 'z'})"
    )

    assert [next(iter(bundle.items())) for bundle in shown(cell)] == [("text/html", "<b>raw</b>"), ("x/y", "z")]


async def test_the_import_works_after_a_restore(open_session):
    session = open_session()
    code = "from IPython.display import display, HTML, clear_output, DisplayHandle\nimport IPython\nh = HTML('<b>kept</b>')"
    (await session.run(HIDE + code)).raise_for_status()
    await session.hibernate()
    outcome = await session.run("display(h)\nclear_output, IPython.display.HTML is HTML")

    assert outcome.ok, outcome.error
    assert [bundle["text/html"] for bundle in outcome.display] == ["<b>kept</b>"]
    assert outcome.value.endswith("True)")
    lost = [event.lost async for event in session.events() if event.kind in {"session.restored", "checkpoint.partial"}]
    assert [each for each in lost if each] == []


async def test_a_name_that_the_stand_in_does_not_have_is_reported(session):
    await session.run(HIDE)
    cell = await session.run("from IPython.display import ScribdDocument")
    assert cell.error.ename == "ImportError"
    cell = await session.run("import IPython\nIPython.embed()")

    assert "%pip install ipython" in cell.error.evalue


async def test_other_missing_modules_are_still_missing(session):
    await session.run(HIDE)

    assert (await session.run("import IPython.core.magic")).error.ename == "ModuleNotFoundError"
    assert (await session.run("import no_such_module")).error.ename == "ModuleNotFoundError"


async def test_ipythons_get_ipython_returns_none(notebook):
    assert await notebook.value("import IPython\nIPython.get_ipython() is None") is True
