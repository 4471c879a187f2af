"""docs/reference is what its tool makes of today's docstrings, and its links lead somewhere."""

import re

import pytest
from tests.tooling.api_reference import names, prose, sources
from tests.tooling.api_reference.__main__ import FOLDER, outdated

import skep

PAGES = sorted(FOLDER.glob("*.md"))
_LINK = re.compile(r"\]\(([^)#]*)(?:#([^)]*))?\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def anchors_of(text):
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in _HEADING.findall(text)}


def test_the_pages_are_what_is_generated():
    assert outdated() == [], "run python -m tests.tooling.api_reference"


def test_every_name_that_is_exported_has_a_place():
    found = {entry.name for entry in names.entries() if entry.module == "skep"}

    assert found == {*skep.__all__} - names.UNDOCUMENTED


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_to_headings(page):
    for target, anchor in _LINK.findall(page.read_text()):
        other = (FOLDER / target) if target else page
        assert other.exists(), target
        assert not anchor or anchor in anchors_of(other.read_text()), (target, anchor)


def test_a_docstring_is_taken_apart():
    text = """Return the text. Nothing else happens.

    Also this.
    one: of a kind. It goes on. two, three: others; None: that too.
    Raises InvalidArgument, also for `two`.
    """
    doc = prose.read(text, ["one", "two", "three"])

    assert doc.summary == "Return the text."
    assert doc.paragraphs == ["Return the text. Nothing else happens.", "Also this."]
    assert doc.meanings == {"one": "of a kind. It goes on.", "two, three": "others; None: that too."}
    assert doc.raises == ["InvalidArgument, also for `two`."]


def test_links_and_marks_of_markdown():
    links = prose.Links({"SkepError": "errors.md#skeperror", "Session.run": "#sessionrun"}, "Session")

    assert links.to_markdown("SkepError, `run`, `x*`, *.py, a Session") == (
        "[SkepError](errors.md#skeperror), [`run`](#sessionrun), `x*`, \\*.py, a Session"
    )


def example(one: "int", *rest: str, two: float | None = None, **other: object) -> "list[str]":
    """Do nothing."""


def test_a_signature_is_written_as_users_call_it():
    found = sources.callable_of(sources.function_node(example), {})

    assert found.signature == (
        "def example(one: int, *rest: str, two: float | None = None, **other: object) -> list[str]"
    )
    assert found.parameters == ("one", "two", "other")
