"""Docstrings as Markdown: paragraphs, the meanings of names, and what is raised, with links.

The docstrings of the project are plain text. A sentence that begins with the name of an argument or a field and a colon
describes it, and goes on to the next one; one that begins with "Raises" names errors.
"""

import inspect
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

MAIN: Final = "Session"  # the class whose methods other docstrings name
_CODE: Final = re.compile(r"(`[^`]+`)")
_HUMPS: Final = re.compile(r"\b[A-Z][a-z]+(?:[A-Z][a-z]*)+\b")  # one hump may be a word of English: Cell, Session
_NAMES: Final = re.compile(r"(?:^|(?<=[.;:)] ))(`?\w+`?(?:(?:, | and )`?\w+`?)*): ")
_RAISES: Final = re.compile(r"(?:^|(?<=\. )|(?<=; ))Raises ")
_QUALIFIED: Final = re.compile(r"skep\.(?=[A-Z])")


@dataclass(slots=True)
class Doc:
    """A docstring in its parts. meanings: by the name, or names, that are described."""

    paragraphs: list[str] = field(default_factory=list)
    meanings: dict[str, str] = field(default_factory=dict)
    raises: list[str] = field(default_factory=list)

    @property
    def summary(self) -> str:
        """Return the first sentence."""
        first = self.paragraphs[0] if self.paragraphs else ""
        return re.split(r"(?<=\.) (?=[A-Z`(])", first, maxsplit=1)[0]


@dataclass(frozen=True, slots=True)
class Links:
    """Where names lead. targets: address by name. own: the class whose methods are named without it."""

    targets: Mapping[str, str]
    own: str = ""

    def to_markdown(self, text: str) -> str:
        """Return plain text with links, and without what Markdown would read as its own."""
        return "".join(self._code(part) if part.startswith("`") else self._plain(part) for part in _CODE.split(text))

    def _code(self, code: str) -> str:
        name = _QUALIFIED.sub("", code.strip("`"))
        own = self.targets.get(f"{self.own}.{name}", "")
        if not own.startswith("#"):  # of a class of the same name on another page
            own = self.targets.get(f"{MAIN}.{name}", "")
        target = self.targets.get(name) or own
        return f"[{code}]({target})" if target else code

    def _plain(self, text: str) -> str:
        escaped = text.replace("*", r"\*").replace("<", "&lt;").replace("__", r"\_\_")
        return _HUMPS.sub(lambda found: self._link(found[0]), escaped)

    def _link(self, name: str) -> str:
        target = self.targets.get(name)
        return f"[{name}]({target})" if target else name


def read(docstring: str, names: Collection[str] = ()) -> Doc:
    """Return the parts of a docstring. names: the arguments or fields that it may describe."""
    doc = Doc()
    for block in re.split(r"\n\s*\n", inspect.cleandoc(docstring)):
        if block.startswith(("    ", "├", "async with ", "with ")) or "\n├" in block:
            doc.paragraphs.append(f"```\n{inspect.cleandoc(block)}\n```")
            continue
        for described, text in _described(" ".join(block.split()), names):
            said, raised = _without_raises(text)
            if raised:
                doc.raises.append(raised)
            if not said:
                continue
            if described:
                doc.meanings[described] = said.rstrip(";")
            else:
                doc.paragraphs.append(said)
    return doc


def _described(text: str, names: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield the parts of a paragraph, each with the names that it describes, '' for none."""
    places = [found for found in _NAMES.finditer(text) if {*_words(found[1])} <= {*names}]
    ends = [*(found.start() for found in places[1:]), len(text)]
    yield "", text[: places[0].start()].strip() if places else text
    for found, end in zip(places, ends, strict=True) if places else ():
        yield ", ".join(_words(found[1])), text[found.end() : end].strip()


def _words(listed: str) -> list[str]:
    return [word.strip("`") for word in re.split(r", | and ", listed)]


def _without_raises(text: str) -> tuple[str, str]:
    found = _RAISES.search(text)
    return (text, "") if found is None else (text[: found.start()].strip(), text[found.end() :].strip())
