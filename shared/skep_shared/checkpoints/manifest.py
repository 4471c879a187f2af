"""The manifest of a checkpoint: the one schema that client, worker host and session process read it through.

A packed manifest is a msgpack map:

- `format`: 1.
- `blobs`: the names of all chunks, each once.
- `seq`: the cell after which the state was saved.
- `groups`, `definitions`, `ambient`, `sources`: pickled objects, see Group; `definitions` and `sources` may be nil.
- `bindings`, `lost`, `files`, `remade`, `python`: see Manifest.
- `packages`: see Packages; absent without any.
- `stored`: four lists parallel to `blobs`, added by the host: see Chunk in chunks/stored_manifest.py.
- `upload`: true in a manifest that the host made from the one before by changing a file; otherwise absent.

The session process makes a manifest and reads all of it. The host and clients read a few fields only and pass the rest
on as bytes, unknown fields included, so that they can handle manifests of other versions. This module must not import
anything that the session process doesn't have: no compression, no Redis.
"""

import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

import msgpack

FORMAT: Final = 1
BLOBS: Final = "blobs"
LOST: Final = "lost"
STORED: Final = "stored"
PACKAGES: Final = "packages"
UPLOAD: Final = "upload"
LOST_PREFIX: Final = "./"  # of a file's path in `lost`; no variable's name begins like this


class Entry(NamedTuple):
    """One file, directory or link, with its path below the session's directory; `size` in bytes."""

    path: str
    kind: str  # "file", "directory" or "link"
    mode: int
    modified_ns: int
    size: int
    chunks: tuple[bytes, ...]
    target: str  # of a link


@dataclass(frozen=True, slots=True)
class Buffer:
    """A buffer that was pickled out of band: its chunks, and whether it was read-only."""

    chunks: list[bytes]
    readonly: bool


@dataclass(frozen=True, slots=True)
class Group:
    """Variables that were pickled together because they share something that can change.

    named: keys of the definitions that the group needs. is_tolerant: a restore reads it object by object.
    """

    names: list[str]
    chunks: list[bytes]
    buffers: list[Buffer] = field(default_factory=list)
    named: list[str] = field(default_factory=list)
    is_tolerant: bool = False

    def runs(self) -> list[list[bytes]]:
        """Return the names of its chunks, one list for the stream and one for each buffer."""
        return [self.chunks, *(buffer.chunks for buffer in self.buffers)]


@dataclass(frozen=True, slots=True)
class Packages:
    """The packages that a session has installed.

    requirements: with which pip installs each again; ${WORKSPACE} in a URL is the session's directory. archive: the
    chunks of their files, none if they are not saved. has_initial: the packages that the session's options name have
    been installed.
    """

    requirements: list[str] = field(default_factory=list)
    archive: list[bytes] = field(default_factory=list)
    has_initial: bool = False


NO_PACKAGES: Final = Packages()


@dataclass(frozen=True, slots=True)
class Manifest:
    """The content of a checkpoint after the cell of `seq`.

    definitions: the stream of functions and classes, with the variables that share something with them. bindings:
    variable -> key of its definition. lost: variable, or "./" and the path of a file -> why it could not be saved, or
    which part of it could not: a tensor is saved without its autograd graph.
    files: what is below the working directory. is_remade: a restore may produce something different from what was
    saved, because code of cells takes part in saving or restoring an object, or because a cache was left out.
    sizes: of the chunks in bytes, as far as the host has recorded them.
    """

    seq: int
    groups: list[Group]
    definitions: Group | None
    bindings: dict[str, str]
    lost: dict[str, str]
    ambient: Group
    sources: Group | None = None
    files: list[Entry] = field(default_factory=list)
    is_remade: bool = False
    python: str = field(default_factory=platform.python_version)
    sizes: dict[bytes, int] = field(default_factory=dict)
    packages: Packages = NO_PACKAGES

    @property
    def names(self) -> set[str]:
        """The variables that the checkpoint contains."""
        groups = [*self.groups, *([self.definitions] if self.definitions is not None else [])]
        return {name for group in groups for name in group.names}.union(self.bindings)

    @property
    def state_bytes(self) -> int | None:
        """The size of the state, None if it is not known for each chunk."""
        sizes = self.sizes.values()
        is_known = 0 not in sizes and (bool(sizes) or not self.digests())
        return sum(sizes) if is_known else None

    def runs(self) -> list[Sequence[bytes]]:
        """Return the names of all chunks, one list for each stream, buffer and file, and one for the packages."""
        optional = (self.definitions, self.sources)
        groups = [*self.groups, self.ambient, *(group for group in optional if group is not None)]
        in_groups = (run for group in groups for run in group.runs())
        return [*in_groups, *(entry.chunks for entry in self.files), self.packages.archive]

    def digests(self) -> list[bytes]:
        """Return the name of every chunk, each once."""
        return list(dict.fromkeys(name for run in self.runs() for name in run))

    def with_entry(self, path: str, entry: Entry | None, directories: Iterable[Entry] = ()) -> "Manifest":
        """Return the manifest with one file replaced, see `replace_entry`; the file is no longer listed as lost."""
        lost = {key: why for key, why in self.lost.items() if key != LOST_PREFIX + path}
        return replace(self, files=replace_entry(self.files, path, entry, directories), lost=lost)

    def pack(self) -> bytes:
        """Return the manifest's bytes."""
        fields = {
            "format": FORMAT,
            BLOBS: self.digests(),
            "seq": self.seq,
            "groups": [_pack_group(group) for group in self.groups],
            "definitions": None if self.definitions is None else _pack_group(self.definitions),
            "bindings": self.bindings,
            LOST: self.lost,
            "ambient": _pack_group(self.ambient),
            "sources": None if self.sources is None else _pack_group(self.sources),
            "files": pack_entries(self.files),
            "remade": self.is_remade,
            "python": self.python,
        }
        if self.packages != NO_PACKAGES:
            fields[PACKAGES] = _pack_packages(self.packages)
        packed: bytes = msgpack.packb(fields, unicode_errors="surrogatepass")
        return packed

    @classmethod
    def unpack(cls, packed: bytes) -> "Manifest":
        """Read a manifest. Raises ValueError for another format."""
        raw = msgpack.unpackb(packed, unicode_errors="surrogatepass")
        if not isinstance(raw, dict) or raw.get("format") != FORMAT:
            raise ValueError(f"a manifest of format {FORMAT} was expected")
        definitions, sources = raw["definitions"], raw["sources"]
        return cls(
            seq=raw["seq"],
            groups=[_unpack_group(group) for group in raw["groups"]],
            definitions=None if definitions is None else _unpack_group(definitions),
            bindings=raw["bindings"],
            lost=raw[LOST],
            ambient=_unpack_group(raw["ambient"]),
            sources=None if sources is None else _unpack_group(sources),
            files=unpack_entries(raw["files"]),
            is_remade=bool(raw.get("remade")),  # missing in those of version 0.1.0
            python=raw["python"],
            sizes=dict(zip(raw[BLOBS], raw[STORED][0], strict=True)) if STORED in raw else {},
            packages=_unpack_packages(raw[PACKAGES]) if PACKAGES in raw else NO_PACKAGES,
        )


def replace_entry(
    entries: Iterable[Entry], path: str, entry: Entry | None, directories: Iterable[Entry] = ()
) -> list[Entry]:
    """Return entries in the order of a directory walk, with this one at the path, or with none there.

    directories: those above the path; the ones that are missing are added.
    """
    by_path = {each.path: each for each in entries}
    by_path = {directory.path: directory for directory in directories} | by_path
    by_path.pop(path, None)
    if entry is not None:
        by_path[path] = entry
    return [by_path[each] for each in sorted(by_path, key=lambda each: each.split("/"))]


def pack_entries(entries: Iterable[Entry]) -> list[list[Any]]:
    """Return the packed form of files, lists of plain values."""
    return [[*entry] for entry in entries]


def unpack_entries(packed: list[list[Any]]) -> list[Entry]:
    """Read files. Raises TypeError, ValueError for another form."""
    return [
        Entry(path, kind, mode, modified_ns, size, tuple(chunks), target)
        for path, kind, mode, modified_ns, size, chunks, target in packed
    ]


def _pack_group(group: Group) -> dict[str, Any]:
    return {
        "names": group.names,
        "chunks": group.chunks,
        "buffers": [{"chunks": buffer.chunks, "readonly": buffer.readonly} for buffer in group.buffers],
        "named": group.named,
        "tolerant": group.is_tolerant,
    }


def _pack_packages(packages: Packages) -> dict[str, Any]:
    return {
        "requirements": packages.requirements,
        "archive": packages.archive,
        "initial": packages.has_initial,
    }


def _unpack_packages(raw: dict[str, Any]) -> Packages:
    return Packages(raw["requirements"], raw["archive"], raw["initial"])


def _unpack_group(raw: dict[str, Any]) -> Group:
    buffers = [Buffer(buffer["chunks"], buffer["readonly"]) for buffer in raw["buffers"]]
    return Group(raw["names"], raw["chunks"], buffers, raw["named"], raw["tolerant"])
