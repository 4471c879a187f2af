"""A manifest: what a checkpoint consists of, as the session process writes and reads it.

The host looks at `blobs` and `lost` only; the rest is between session processes. Format 1, a msgpack map.
"""

import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgpack

from skep_workers.session.checkpoint.surroundings.workspace import Entry, pack_entries, unpack_entries

FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class Buffer:
    """A buffer that went out of band: its chunks, and whether it was read-only."""

    chunks: list[bytes]
    readonly: bool


@dataclass(frozen=True, slots=True)
class Group:
    """Variables that were pickled together, since they share something that can change.

    named: keys of the definitions that it needs. is_tolerant: read it object by object, see restoring/loading.py.
    """

    names: list[str]
    chunks: list[bytes]
    buffers: list[Buffer] = field(default_factory=list)
    named: list[str] = field(default_factory=list)
    is_tolerant: bool = False

    def runs(self) -> list[list[bytes]]:
        """Give the names of its chunks, those of each stream and buffer by themselves."""
        return [self.chunks, *(buffer.chunks for buffer in self.buffers)]

    def pack(self) -> dict[str, Any]:
        """Give the form that a manifest holds."""
        buffers = [{"chunks": buffer.chunks, "readonly": buffer.readonly} for buffer in self.buffers]
        return {
            "names": self.names,
            "chunks": self.chunks,
            "buffers": buffers,
            "named": self.named,
            "tolerant": self.is_tolerant,
        }


@dataclass(frozen=True, slots=True)
class Manifest:
    """A checkpoint after the cell of `seq`.

    definitions: the stream of functions and classes (with the variables that share something with them). bindings:
    variable -> key of its definition. lost: variable, or "./" and the path of a file -> why it could not be saved, or
    which part of it: a tensor is there without its autograd graph.
    files: what is below the working directory. is_remade: what a restore gives may be something else than what was
    there, since code of cells has a say in what is saved of an object, or made of that, or a cache was left out.
    sizes: of the chunks, as far as the host has noted them, in bytes.
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

    @property
    def names(self) -> set[str]:
        """Give the variables that it has."""
        groups = [*self.groups, *([self.definitions] if self.definitions is not None else [])]
        return {name for group in groups for name in group.names}.union(self.bindings)

    def runs(self) -> list[Sequence[bytes]]:
        """Give the names of all chunks, those of each stream, buffer and file by themselves."""
        optional = (self.definitions, self.sources)
        groups = [*self.groups, self.ambient, *(group for group in optional if group is not None)]
        return [*(run for group in groups for run in group.runs()), *(entry.chunks for entry in self.files)]

    def digests(self) -> list[bytes]:
        """Give the name of every chunk, each once."""
        return list(dict.fromkeys(name for run in self.runs() for name in run))

    def pack(self) -> bytes:
        """Give the manifest's bytes."""
        fields = {
            "format": FORMAT,
            "blobs": self.digests(),
            "seq": self.seq,
            "groups": [group.pack() for group in self.groups],
            "definitions": None if self.definitions is None else self.definitions.pack(),
            "bindings": self.bindings,
            "lost": self.lost,
            "ambient": self.ambient.pack(),
            "sources": None if self.sources is None else self.sources.pack(),
            "files": pack_entries(self.files),
            "remade": self.is_remade,
            "python": self.python,
        }
        packed: bytes = msgpack.packb(fields, unicode_errors="surrogatepass")
        return packed

    @classmethod
    def unpack(cls, packed: bytes) -> "Manifest":
        """Give the manifest back. Raises ValueError for another format."""
        raw = msgpack.unpackb(packed, unicode_errors="surrogatepass")
        if not isinstance(raw, dict) or raw.get("format") != FORMAT:
            raise ValueError(f"a manifest of format {FORMAT} was expected")
        definitions, sources = raw["definitions"], raw["sources"]
        return cls(
            seq=raw["seq"],
            groups=[_group(group) for group in raw["groups"]],
            definitions=None if definitions is None else _group(definitions),
            bindings=raw["bindings"],
            lost=raw["lost"],
            ambient=_group(raw["ambient"]),
            sources=None if sources is None else _group(sources),
            files=unpack_entries(raw["files"]),
            is_remade=bool(raw.get("remade")),  # those of version 0.1.0 don't say
            python=raw["python"],
            sizes=dict(zip(raw["blobs"], raw["stored"][0], strict=True)) if "stored" in raw else {},
        )


def _group(raw: dict[str, Any]) -> Group:
    buffers = [Buffer(buffer["chunks"], buffer["readonly"]) for buffer in raw["buffers"]]
    return Group(raw["names"], raw["chunks"], buffers, raw["named"], raw["tolerant"])
