"""A session as a page: everything in it is there to be read, and nothing of the session becomes part of the page."""

import base64
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skep.export.html_page import POLICY, notebook_page

from .test_export_notebook import BUNDLES, display, finished, notebook, queued, started, text

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
HOSTILE = (
    "</iframe></pre></title></style>\"'><script>alert(1)</script><img src=x onerror=alert(2)><!--\u2028\x00\ud800]]>"
)
TAGS = {
    "html", "head", "meta", "title", "style", "body", "header", "h1", "p", "main", "section", "pre", "span", "iframe", "img",
}  # fmt: skip


class Page(HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self, page):
        super().__init__()
        self.elements = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def all(self, name):
        return [attributes for tag, attributes in self.elements if tag == name]

    def check(self):
        assert {tag for tag, _ in self.elements} <= TAGS
        for _, attributes in self.elements:
            assert not [name for name in attributes if name.startswith("on")]
            assert attributes.get("src", "data:").startswith("data:")
        assert all(attributes["sandbox"] == "" for attributes in self.all("iframe"))


def page_of(*events, **limits):
    page = Page(notebook_page(notebook(queued(1), started(1), *events, finished(1), **limits)))
    page.check()
    return page


def test_a_page_permits_nothing_but_styles_and_images_of_its_own():
    [policy] = [each["content"] for each in page_of().all("meta") if each.get("http-equiv")]

    assert policy == POLICY
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline';")


def test_html_of_a_session_is_in_a_frame_that_may_do_nothing():
    page = page_of(display(1, {"text/html": f"<b>x</b>{HOSTILE}", "text/plain": "p"}))

    [frame] = page.all("iframe")
    assert frame["sandbox"] == ""
    assert f"<b>x</b>{HOSTILE}".replace("\ud800", "\\ud800") in frame["srcdoc"]
    assert "Scripts of this output don't run here." in page.text


def test_an_image_stands_in_for_html_that_needs_scripts():
    page = page_of(display(1, {"text/html": "<script>draw()</script>", "image/png": PIXEL}))

    assert (page.all("iframe"), [each["src"] for each in page.all("img")]) == ([], [f"data:image/png;base64,{PIXEL}"])


def test_svg_is_the_source_of_an_image():
    svg = f"<svg xmlns='http://www.w3.org/2000/svg'>{HOSTILE}</svg>"
    [image] = page_of(display(1, {"image/svg+xml": svg, "text/plain": HOSTILE})).all("img")

    encoded = image["src"].removeprefix("data:image/svg+xml;base64,")
    assert base64.b64decode(encoded).decode() == svg.replace("\ud800", "\\ud800")


@pytest.mark.parametrize("data", ['x" onerror="alert(1)', "%%%", "", [1]])
def test_an_image_that_is_none_is_not_one(data):
    page = page_of(display(1, {"image/png": data, "text/plain": "instead"}))

    assert page.all("img") == []
    assert "instead" in page.text


def test_a_type_that_cannot_be_shown_is_named():
    assert "can't be shown here: application/<x>" in page_of(display(1, {"application/<x>": "y"})).text


def test_text_code_labels_and_ids_of_a_session_are_only_text():
    label = (1, queued(1)[1], {"code": HOSTILE, "labels": {HOSTILE: HOSTILE}})
    document = notebook(label, started(1), text(1, HOSTILE), text(1, HOSTILE, "stderr"), finished(1))
    document["cells"][0]["metadata"]["skep"] |= {"cell_id": HOSTILE, "warnings": [HOSTILE]}
    page = Page(notebook_page(document))

    page.check()
    assert page.all("iframe") == page.all("img") == []
    assert page.text.count("<script>alert(1)</script>") == 7


def test_a_cell_shows_how_it_ended():
    [section] = page_of().all("section")
    assert section == {"id": "cell-1", "aria-label": "cell 1"}

    failed = notebook(queued(1), started(1), finished(1, "failed"))
    assert Page(notebook_page(failed)).all("section")[0]["class"] == "bad"


@given(BUNDLES, st.text(), st.text(), st.sampled_from(["", HOSTILE]))
def test_no_text_becomes_part_of_the_page(bundle, said, code, more):
    shown = {kind: f"{value}{more}" if isinstance(value, str) else value for kind, value in bundle.items()}
    document = notebook((1, queued(1)[1], {"code": code + more, "labels": {}}), display(1, shown), text(1, said + more))

    Page(notebook_page(document)).check()
