"""The value of `lines = !command`: a list of the output's lines that also has text forms, like IPython's SList."""

import builtins
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Final

_MOST_LEVELS: Final = 4  # of nesting that are searched for lines


class ShellLines(list[str]):
    """The lines of a command's output: `.l` as a list, `.n` as text, `.s` joined by spaces, `.p` as paths."""

    __module__ = "builtins"  # which tracebacks and reprs show
    are_made: ClassVar[bool] = False  # whether this process has made any, so that values may contain them

    @classmethod
    def of(cls, text: str) -> "ShellLines":
        """Return the lines of a text as ShellLines."""
        return cls.made_of(text.splitlines())

    @classmethod
    def made_of(cls, lines: builtins.list[str]) -> "ShellLines":
        """Return these lines as ShellLines."""
        ShellLines.are_made = True
        return cls(lines)

    def __reduce__(self) -> tuple[Any, ...]:
        return builtins.list, (builtins.list(self),)  # for other processes of the user; checkpoints keep the type

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
        """Return the lines that match the pattern, or for which the function returns true; with `prune` the others."""
        finds = pattern if callable(pattern) else re.compile(pattern, re.IGNORECASE).search
        return ShellLines(line for line in self if bool(finds(line)) is not prune)

    def fields(self, *numbers: int) -> "ShellLines":
        """Return the whitespace-separated fields with these numbers (from 0) of each line that has any of them."""
        split = [line.split() for line in self]
        chosen = [[words[n] for n in numbers if -len(words) <= n < len(words)] if numbers else words for words in split]
        return ShellLines(" ".join(words) for words in chosen if words)


def plain_lines(value: Any, depth: int = 0) -> Any:
    """Return the value with each ShellLines in it replaced by a plain list, so that it can travel as data."""
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
