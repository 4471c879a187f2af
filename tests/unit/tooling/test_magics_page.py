"""docs/magics.md has every magic with its exact arguments, and none that doesn't exist."""

import re
from collections.abc import Iterator
from pathlib import Path

from skep_workers.session.magics import syntax
from skep_workers.session.magics.calls import MagicCalls
from skep_workers.session.magics.table import CELL_MAGICS, LINE_MAGICS, Magic

PAGE = (Path(__file__).parents[3] / "docs" / "magics.md").read_text()


def section(title: str) -> str:
    """Return the text of one section of the page."""
    [text] = re.findall(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    return text


def first_cells(title: str) -> list[str]:
    """Return what is written as code in the first column of a section's table."""
    rows = [line for line in section(title).splitlines() if line.startswith("| `")]
    return [
        each.replace("\\|", "|") for row in rows for each in re.findall(r"`([^`]+)`", re.split(r"(?<!\\)\|", row)[1])
    ]


def with_arguments(magics: dict[str, Magic], mark: str) -> Iterator[str]:
    """Yield each magic as it is written, with the arguments that its documentation begins with."""
    for name, magic in magics.items():
        arguments, colon, _ = magic.doc.partition(": ")
        yield f"{mark}{name} {arguments}" if colon else f"{mark}{name}"


def test_the_tables_have_every_magic_with_its_arguments_and_no_other_one():
    assert sorted(first_cells("Line magics")) == sorted(with_arguments(LINE_MAGICS, "%"))
    assert sorted(first_cells("Cell magics")) == sorted(with_arguments(CELL_MAGICS, "%%"))


def test_magics_that_the_page_says_are_missing_are_missing():
    missing = first_cells("What is not there")

    assert missing
    assert not [each for each in missing if each.lstrip("%") in (CELL_MAGICS if each.startswith("%%") else LINE_MAGICS)]


def test_the_calls_of_get_ipython_are_those_that_are_translated():
    documented = [re.match(r"get_ipython\(\)\.(\w+)\(", each) for each in first_cells("get_ipython")]
    names = {found[1] for found in documented if found is not None}

    for name in names:
        assert callable(getattr(MagicCalls, name))
        assert "get_ipython" not in syntax.translate(f"x = get_ipython().{name}('a')").source
    undocumented = [name for name in vars(MagicCalls) if name not in names and not name.startswith("_")]
    assert all("get_ipython" in syntax.translate(f"get_ipython().{name}('a')").source for name in undocumented)
