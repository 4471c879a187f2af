"""Text for a terminal as HTML: colours, overwritten lines, and nothing that a browser would take for markup."""

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skep.export import terminal_text
from skep.export.terminal_text import terminal_html

TAG = re.compile(r'<span(?: class="[a-z0-9 ]+")?(?: style="[a-z0-9:(),;-]+")?>|</span>')


def shown(text):
    """Return the text that a browser would show."""
    return html.unescape(TAG.sub("", terminal_html(text)))


def test_text_is_escaped():
    assert terminal_html("<b>&\"'") == "&lt;b&gt;&amp;&quot;&#x27;"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[31mred\x1b[0m plain", '<span class="f1">red</span> plain'),
        ("\x1b[1;94;40mx", '<span class="bold f12 b0">x</span>'),
        ("\x1b[38;5;9mx", '<span class="f9">x</span>'),
        ("\x1b[38;5;196mx", '<span style="color:rgb(255,0,0)">x</span>'),
        ("\x1b[48;5;244mx", '<span style="background:rgb(128,128,128)">x</span>'),
        ("\x1b[38;2;1;2;999mx", '<span style="color:rgb(1,2,255)">x</span>'),
        ("\x1b[38:2::1:2:3mx", '<span style="color:rgb(1,2,3)">x</span>'),
        ("\x1b[3;4;9mx\x1b[23;24;29my", '<span class="italic strike underline">x</span>y'),
        ("\x1b[7mx\x1b[27my", '<span class="inverse">x</span>y'),
        ("\x1b[31;7mx", '<span class="b1">x</span>'),
        ("\x1b[31;42mx\x1b[39my\x1b[49mz", '<span class="f1 b2">x</span><span class="b2">y</span>z'),
        ("\x1b[mx", "x"),
        ("\x1b[31m<\x1b[32m>", '<span class="f1">&lt;</span><span class="f2">&gt;</span>'),
    ],
)
def test_colours_and_emphasis_become_classes(text, expected):
    assert terminal_html(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10%\r20%", "20%"),
        ("long line\rab", "abng line"),
        ("long line\r\x1b[Kab", "ab"),
        ("abc\r\x1b[2Cd", "abd"),
        ("abc\x1b[2K!", "   !"),
        ("abc\x1b[1K!", "   !"),
        ("abc\bd", "abd"),
        ("\b\bx", "x"),
        ("one\ntwo\x1b[A\rONE", "ONE\ntwo"),
        ("one\ntwo\x1b[A\r\x1b[B2", "one\n2wo"),
        ("a\r\nb", "a\nb"),
        ("ab\x1b[5Dx\x1b[6Gy", "xb   y"),
        ("\x1b[999999999999Cx", " " * terminal_text.MAX_COLUMNS + "x"),
        ("\x1b[999A\x1b[999Bx", "x"),
    ],
)
def test_a_line_is_as_it_was_in_the_end(text, expected):
    assert shown(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\x1b]0;title\x07b", "ab"),
        ("a\x1b]8;;https://x\x1b\\link\x1b]8;;\x1b\\b", "alinkb"),
        ("a\x1b[?25lb\x1b[2Jc", "abc"),
        ("a\x1bPq#0\x1b\\b", "ab"),
        ("a\x00b\x07c\x7f\x9b", "a␀b␇c␡\\x9b"),
        ("a\x1b[31", "a␛[31"),
        ("a\x1b", "a␛"),
        ("\ud800", "\\ud800"),
        ("\u2028\u202e", "\u2028\u202e"),
    ],
)
def test_other_control_characters_are_left_out_or_visible(text, expected):
    assert shown(text) == expected


PARTS = st.sampled_from([
    "\x1b[31m", "\x1b[0;1;7m", "\x1b[38;5;300m", "\x1b[2K", "\x1b[3A", "\x1b[9C", "\x1b[1K", "\r", "\b", "\n", "\x1b]0;",
    "<script>", "</span>", '"', "&", "\x1b", "text", "\ud800", "\x00", "\x1b[48;2;1;1m", "\x1b[;;m", "\x1b[99999999999m",
])  # fmt: skip


@given(st.lists(PARTS | st.text(max_size=6)).map("".join))
def test_any_text_becomes_spans_and_escaped_text(text):
    rest = TAG.sub("", terminal_html(text))

    assert not set("<>\"'") & set(rest)
    assert not re.search(r"&(?!lt;|gt;|amp;|quot;|#x27;)", rest)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]", rest)


@pytest.mark.parametrize(
    "text",
    ["x" * 100_000 + "\ra" * 1000, "".join(f"\x1b[3{n % 8}mxy\b" for n in range(1000))],
    ids=["long line", "line of many parts"],
)
def test_what_would_be_copied_again_and_again_is_appended_instead(text, monkeypatch):
    copied = []
    piece = terminal_text._piece
    monkeypatch.setattr(terminal_text, "_piece", lambda line, *rest: copied.append(len(line)) or piece(line, *rest))
    shown(text)

    assert max(copied, default=0) <= terminal_text.MAX_EDITED_PARTS
    assert len(copied) < 500


def test_after_many_edits_text_is_appended(monkeypatch):
    monkeypatch.setattr(terminal_text, "MAX_EDITS", 2)

    assert shown("a\rb\rc\rd") == "cd"
