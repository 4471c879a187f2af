"""What `lines = !command` binds: a list of the output's lines that is also text, as IPython's SList."""

import builtins
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Final

_MOST_LEVELS: Final = 4  # that are looked into for lines


class ShellLines(list[str]):
    """The lines of a command's output. `.l` is the list, `.n` the text, `.s` the lines in a row, `.p` them as paths."""

    __module__ = "builtins"  # what a traceback or a repr shows of it
    are_made: ClassVar[bool] = False  # in this process, so that values may have some in them

    @classmethod
    def of(cls, text: str) -> "ShellLines":
        """Return the lines of a text."""
        return cls.made_of(text.splitlines())

    @classmethod
    def made_of(cls, lines: builtins.list[str]) -> "ShellLines":
        """Return these lines."""
        ShellLines.are_made = True
        return cls(lines)

    def __reduce__(self) -> tuple[Any, ...]:
        return builtins.list, (builtins.list(self),)  # for another process of the user's; a checkpoint keeps the kind

    @property
    def l(self) -> builtins.list[str]:  # noqa: E743 - the name that notebooks use
        """The lines as a plain list."""
        return builtins.list(self)

    list = l

    @property
    def n(self) -> str:
        """The lines as one text, with a line feed between them."""
        return "\n".join(self)

    nlstr = n

    @property
    def s(self) -> str:
        """The lines with a space between them."""
        return " ".join(self)

    spstr = s

    @property
    def p(self) -> builtins.list[Path]:
        """The lines that name files, as paths."""
        return [Path(line) for line in self if Path(line).exists()]

    paths = p

    def grep(self, pattern: str | Callable[[str], object], *, prune: bool = False) -> "ShellLines":
        """Return the lines in which the pattern is found, or the function says yes; with `prune` the others."""
        finds = pattern if callable(pattern) else re.compile(pattern, re.IGNORECASE).search
        return ShellLines(line for line in self if bool(finds(line)) is not prune)

    def fields(self, *numbers: int) -> "ShellLines":
        """Return these fields of each line (from 0), as whitespace separates them; lines without them are left out."""
        split = [line.split() for line in self]
        chosen = [[words[n] for n in numbers if -len(words) <= n < len(words)] if numbers else words for words in split]
        return ShellLines(" ".join(words) for words in chosen if words)


def plain_lines(value: Any, depth: int = 0) -> Any:
    """Return the value with plain lists for the lines in it, so that it travels as data."""
    kind = type(value)
    if kind is ShellLines:
        return builtins.list(value)
    if depth >= _MOST_LEVELS:
        return value
    if kind is list or kind is tuple:
        return kind(plain_lines(item, depth + 1) for item in value)
    if kind is dict:
        return {key: plain_lines(item, depth + 1) for key, item in value.items()}
    return value
