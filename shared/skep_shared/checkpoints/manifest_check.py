"""Read all of a manifest that a session process has made, whatever its bytes are.

A session process reads its own manifests, in its sandbox. The host and clients read those of sessions that they don't
trust, so they check the type of every field before they use one.
"""

from collections.abc import Iterable
from typing import Any

from skep_shared.checkpoints.manifest import Buffer, Entry, Group, Manifest
from skep_shared.foreign_errors import describe_error


def unpack_checked(packed: bytes) -> Manifest:
    """Return the manifest of these bytes. Raises ValueError for any other bytes."""
    try:
        manifest = Manifest.unpack(packed)
        is_valid = _is_valid(manifest)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as exc:
        raise ValueError(f"a manifest was expected: {describe_error(exc)}") from exc
    if not is_valid:
        raise ValueError("a manifest was expected: a field has another type")
    return manifest


def _is_valid(manifest: Manifest) -> bool:
    optional = (manifest.definitions, manifest.sources)
    groups = [*manifest.groups, manifest.ambient, *(group for group in optional if group is not None)]
    texts = [*_pairs(manifest.bindings), *_pairs(manifest.lost), manifest.python]
    return (
        _are([manifest.seq, *manifest.sizes.values()], int)
        and _are(texts, str)
        and _are(manifest.sizes, bytes)
        and all(map(_is_valid_group, groups))
        and all(map(_is_valid_entry, manifest.files))
        and _are(_items(manifest.packages.requirements), str)
        and _are(_items(manifest.packages.archive), bytes)
        and type(manifest.packages.has_initial) is bool
    )


def _is_valid_group(group: Group) -> bool:
    buffers: list[Buffer] = group.buffers
    chunks = [name for run in group.runs() for name in _items(run)]
    return (
        _are([*_items(group.names), *_items(group.named)], str)
        and _are(chunks, bytes)
        and _are([group.is_tolerant, *(buffer.readonly for buffer in buffers)], bool)
    )


def _is_valid_entry(entry: Entry) -> bool:
    return (
        _are([entry.path, entry.kind, entry.target], str)
        and _are([entry.mode, entry.modified_ns, entry.size], int)
        and _are(entry.chunks, bytes)
    )


def _pairs(mapping: Any) -> list[Any]:
    if not isinstance(mapping, dict):
        raise TypeError(f"a map is needed, not {type(mapping).__name__}")
    return [*mapping, *mapping.values()]


def _items(items: Any) -> list[Any]:
    if not isinstance(items, list):
        raise TypeError(f"a list is needed, not {type(items).__name__}")
    return items


def _are(values: Iterable[Any], kind: type) -> bool:
    return set(map(type, values)) <= {kind}
