"""Text as it comes from elsewhere: Windows' line ends, the prompts of a terminal, an indent that all lines share.

Every function keeps the number of lines, so that line numbers stay those of the cell.
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
    """Return the source with a line feed at each line's end; Python reads it so, a shell and a file would not."""
    return source.replace("\r\n", "\n").replace("\r", "\n") if "\r" in source else source


def may_be_pasted(source: str) -> bool:
    """Return whether it can have a prompt or an indent to take off; costs next to nothing."""
    return source.lstrip("\n").startswith(_MARKS) or "\n>>>" in source or "\nIn [" in source


def without_prompts(source: str) -> str:
    """Return the source without its indent and prompts; the caller knows that Python refuses it as it is.

    Prompts are taken off if one of the first two lines with text has one: what a pasted text begins with is often lost.
    """
    lines = textwrap.dedent(source).split("\n")
    first_two = [line for line in lines if line.strip()][:2]
    for first, prompt in ((_CLASSIC_FIRST, _CLASSIC), (_IPYTHON_FIRST, _IPYTHON)):
        if any(first.match(line) for line in first_two):
            return "\n".join(prompt.sub("", line, count=1) for line in lines)
    return "\n".join(lines)
