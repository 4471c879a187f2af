"""Tables of the command line on terminals of several widths."""

import pytest

from skep.cli.output.screen import Screen, plain_text
from skep.cli.output.tables import Column, print_table

COLUMNS = [Column("SESSION", may_shrink=True), Column("STATE"), Column("DONE"), Column("EVENTS"), Column("ACTIVE")]
ROWS = [["a-session-with-a-long-name", "open", "2/2", "10", "55 s ago"], ["b", "closed", "0/0", "3", "1 min ago"]]


@pytest.fixture
def shown(monkeypatch, capsys):
    """Return a function that returns the lines of the table on a terminal of this width."""

    def lines(width: int) -> list[str]:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", str(width))
        print_table(Screen(), COLUMNS, ROWS)
        return [line.rstrip() for line in plain_text(capsys.readouterr().out).splitlines()]

    return lines


def test_a_table_that_fits_is_shown_whole(shown):
    assert shown(80)[1].split() == ["a-session-with-a-long-name", "open", "2/2", "10", "55", "s", "ago"]


def test_columns_that_give_way_are_cut_to_fit(shown):
    assert shown(50)[1] == "a-session-with-a…  open    2/2   10      55 s ago"


def test_a_terminal_that_is_too_narrow_for_a_table_gets_a_line_for_each_field(shown):
    assert shown(38) == [
        "SESSION  a-session-with-a-long-name",
        "STATE    open",
        "DONE     2/2",
        "EVENTS   10",
        "ACTIVE   55 s ago",
        "",
        "SESSION  b",
        "STATE    closed",
        "DONE     0/0",
        "EVENTS   3",
        "ACTIVE   1 min ago",
    ]
