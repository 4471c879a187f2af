"""The pages, as Markdown."""

import inspect
from collections.abc import Iterable, Iterator
from typing import Any, Final

from . import sources
from .names import (
    ERRORS,
    EVENTS,
    INTRODUCTIONS,
    SYNC,
    TITLES,
    Entry,
    entries,
    is_enumeration,
    slug,
)
from .prose import Doc, Links, read
from .sources import Callable, Field

INDEX: Final = "README"
NOTE: Final = "<!-- Made by `python -m tests.tooling.api_reference` from docstrings: don't edit. -->"
_UNION: Final = (
    "Any event: the union of all classes on this page, which `match` and type checkers can tell apart by `kind`."
)


def pages() -> dict[str, str]:
    """Return the text of each page, by its name without a suffix."""
    found = entries()
    targets = _targets(found)
    made = {page: _page(page, [each for each in found if each.page == page], targets) for page in TITLES}
    return {INDEX: _index(found), **made}


def _targets(found: Iterable[Entry]) -> dict[str, str]:
    """Return the address of every name, from a page to another; those of `skep` have precedence."""
    targets: dict[str, str] = {}
    for entry in found:
        address = f"{entry.page}.md#{entry.anchor}"
        targets.setdefault(entry.name, address)
        if inspect.isclass(entry.value) and _has_members(entry):
            for member in sources.members_of(entry.value):
                name = f"{entry.name}.{member.name}"
                targets.setdefault(name, f"{entry.page}.md#{slug(name)}")
    return targets


def _has_members(entry: Entry) -> bool:
    return not is_enumeration(entry.value) and entry.page not in {ERRORS, EVENTS}


def _index(found: list[Entry]) -> str:
    lines = [NOTE, "", "# API reference", "", "Every name that users import, with the first sentence about it.", ""]
    for page, title in TITLES.items():
        lines += [f"## [{title}]({page}.md)", "", "| name | |", "|---|---|"]
        for entry in found:
            if entry.page == page:
                summary = _UNION if entry.name == "Event" else _summary(entry)
                text = Links({}).to_markdown(summary).replace("|", r"\|")
                lines.append(f"| [`{entry.module}.{entry.name}`]({page}.md#{entry.anchor}) | {text} |")
        lines.append("")
    return "\n".join(lines)


def _summary(entry: Entry) -> str:
    names = [each.name for each in sources.fields_of(entry.value)] if inspect.isclass(entry.value) else ()
    return read(_doc_of(entry.value), names).summary


def _page(page: str, found: list[Entry], targets: dict[str, str]) -> str:
    own = targets | {each.name: f"#{each.anchor}" for each in found}
    own = {name: address.removeprefix(f"{page}.md") for name, address in own.items()}
    lines = [NOTE, "", f"# {TITLES[page]}", "", INTRODUCTIONS[page], ""]
    names = [f"[`{each.name}`](#{each.anchor})" for each in found]
    lines += [" · ".join(names), "", f"[All names]({INDEX}.md)", ""]
    for entry in found:
        lines += _entry(entry, own)
    return "\n".join(lines).rstrip() + "\n"


def _entry(entry: Entry, targets: dict[str, str]) -> Iterator[str]:
    yield from (f"## {entry.name}", "")
    links = Links(targets, entry.name)
    if entry.name == "Event":
        yield from (_UNION, "")
    elif inspect.isfunction(entry.value):
        constants = inspect.unwrap(entry.value).__globals__
        node = sources.function_node(entry.value)
        yield from _callable(sources.callable_of(node, constants), links)
    elif entry.page == ERRORS:
        yield from _error(entry.value, links)
    else:
        yield from _class(entry, links)


def _error(value: type, links: Links) -> Iterator[str]:
    base = ", ".join(f"`{each.__name__}`" for each in value.__bases__)
    arguments = sources.arguments_of(value)
    yield from (f"A subclass of {links.to_markdown(base)}.", "")
    yield from _paragraphs(read(_doc_of(value)), links)
    if arguments:
        yield from (f"Attributes: {', '.join(f'`{each}`' for each in arguments)}.", "")


def _class(entry: Entry, links: Links) -> Iterator[str]:
    value = entry.value
    base = next((each.__name__ for each in value.__bases__ if each.__name__ in links.targets), "")
    if base and base != entry.name and entry.page != EVENTS:  # its introduction says it
        yield from (f"It also has everything of {links.to_markdown(f'`{base}`')}.", "")
    kinds = [value, *_unnamed_bases(value, links)]
    fields = [*(each for kind in reversed(kinds) for each in sources.fields_of(kind)), *sources.attributes_of(value)]
    doc = read(_doc_of(value), [each.name for each in fields])
    for kind in kinds[1:]:
        doc.meanings = read(_doc_of(kind), [each.name for each in fields]).meanings | doc.meanings
    if entry.page == SYNC and doc.paragraphs and _is_described_elsewhere(entry):
        yield from (f"{links.to_markdown(doc.summary)} See [`skep.{entry.name}`](client.md#{entry.anchor}).", "")
    else:
        yield from _paragraphs(doc, links)
    yield from _fields(fields, doc, links)
    if entry.page == EVENTS:
        return
    for member in sources.members_of(value) if not is_enumeration(value) else ():
        yield from (f"### {entry.name}.{member.name}", "")
        yield from _callable(member, links, is_brief=entry.page == SYNC and _is_described_elsewhere(entry))


def _unnamed_bases(value: type, links: Links) -> list[type]:
    """Return the classes of skep that a class derives from, and that have no place in the reference."""
    bases = value.__mro__[1:]
    return [each for each in bases if each.__module__.startswith("skep_shared") and each.__name__ not in links.targets]


def _is_described_elsewhere(entry: Entry) -> bool:
    """Return whether a class of `skep.sync` is one of `skep` that blocks."""
    return entry.page == SYNC and entry.value.__module__.endswith("blocking_classes") and entry.name != "WorkerProcess"


def _callable(found: Callable, links: Links, *, is_brief: bool = False) -> Iterator[str]:
    yield from ("```python", found.signature, "```", "")
    doc = read(found.docstring, found.parameters)
    if is_brief:
        # An attribute of the asynchronous class may be a property here.
        address = links.targets[f"{links.own}.{found.name}"]
        more = address if address.startswith("client.md") else f"client.md#{slug(links.own)}"
        yield from (f"{links.to_markdown(doc.summary)} [More]({more})", "")
        return
    yield from _paragraphs(doc, links)
    for names, meaning in doc.meanings.items():
        yield f"- {', '.join(f'`{name}`' for name in names.split(', '))}: {links.to_markdown(meaning)}"
    if doc.meanings:
        yield ""
    if doc.raises:
        yield from (f"**Raises** {links.to_markdown('; '.join(doc.raises))}", "")
    types = [links.to_markdown(f"`{name}`") for name in found.types if name in links.targets and name != links.own]
    if types:
        yield from (f"See also: {', '.join(types)}", "")


def _paragraphs(doc: Doc, links: Links) -> Iterator[str]:
    for paragraph in doc.paragraphs:
        yield from (paragraph if paragraph.startswith("```") else links.to_markdown(paragraph), "")


def _fields(fields: list[Field], doc: Doc, links: Links) -> Iterator[str]:
    grouped = {name: names for names in doc.meanings for name in names.split(", ")}
    said: set[str] = set()
    for each in fields:
        kind = f": {each.type}" if each.type else ""
        default = f" = {each.default}" if each.default else ""
        names = grouped.get(each.name, "")
        meaning = each.comment or ("" if names in said else doc.meanings.get(names, ""))
        said.add(names)
        if names and "," in names and meaning:
            meaning = f"({names}) {meaning}"
        yield f"- `{each.name}{kind}{default}`" + (f": {links.to_markdown(meaning)}" if meaning else "")
    if fields:
        yield ""
    if doc.raises:
        yield from (f"**Raises** {links.to_markdown('; '.join(doc.raises))}", "")


def _doc_of(value: Any) -> str:
    return inspect.getdoc(value) or "" if inspect.isclass(value) or inspect.isfunction(value) else ""
