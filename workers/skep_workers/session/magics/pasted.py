"""Cleans up pasted text: Windows line ends, the prompts of a terminal, an indent that all lines share.

No function changes the number of lines, so that line numbers remain valid.
"""

import re
import textwrap
from typing import Final

_CLASSIC_FIRST: Final = re.compile(r"\s*>>>( |$)")
_CLASSIC: Final = re.compile(r"\s*(>>>|\.\.\.)( |$)")
_IPYTHON_FIRST: Final = re.compile(r"\s*(\[(ins|nav)\] ?)?In \[\d+\]:")
_IPYTHON: Final = re.compile(r"\s*((\[(ins|nav)\] ?)?In \[\d+\]:|\.{3,}:) ?")
_MARKS: Final = (" ", "\t", "\f", ">>>", "In [", "[ins]", "[nav]")


def with_plain_line_ends(source: str) -> str:
    """Return the source with line feeds as line ends. Python accepts other line ends; a shell or a file would not."""
    return source.replace("\r\n", "\n").replace("\r", "\n") if "\r" in source else source


def may_be_pasted(source: str) -> bool:
    """Return whether the source may have prompts or an indent to remove; this check is very fast."""
    return source.lstrip("\n").startswith(_MARKS) or "\n>>>" in source or "\nIn [" in source


def begins_with_prompt(source: str) -> bool:
    """Return whether the first line has IPython's prompt. Python would take `In [1]: x` for an annotation."""
    return _IPYTHON_FIRST.match(source) is not None


def without_prompts(source: str) -> str:
    """Return the source without its indent and prompts. Only for source that is not valid Python, or begins with one.

    Prompts are removed if one of the first two non-blank lines has one, because pasted text often lacks its beginning.
    """
    lines = textwrap.dedent(source).split("\n")
    first_two = [line for line in lines if line.strip()][:2]
    for first, prompt in ((_CLASSIC_FIRST, _CLASSIC), (_IPYTHON_FIRST, _IPYTHON)):
        if any(first.match(line) for line in first_two):
            return "\n".join(prompt.sub("", line, count=1) for line in lines)
    return "\n".join(lines)
