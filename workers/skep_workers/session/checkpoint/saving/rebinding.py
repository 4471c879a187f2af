"""The next manifest after only numbers and texts were bound to names: all other groups remain as they were saved."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from pickle import dumps  # bound early: user code may patch pickle
from typing import Any

from skep_shared.checkpoints.content_chunks import split
from skep_shared.checkpoints.manifest import Group, Manifest
from skep_workers.session.checkpoint.saving.pickling.snapshot_pickler import PROTOCOL
from skep_workers.session.compilation.plain_cells import SCALARS


def rebind(
    last: Manifest, seq: int, names: Mapping[str, Any], changed: AbstractSet[str]
) -> tuple[Manifest, dict[bytes, bytes]] | None:
    """Return the manifest after these names were bound to scalars, and its new chunks.

    None if one of them was saved together with something else.
    """
    mine = [group for group in last.groups if not changed.isdisjoint(group.names)]
    plain = [group for group in last.groups if _is_plain(group, names)]
    elsewhere = {*last.bindings, *last.lost, *(last.definitions.names if last.definitions is not None else ())}
    if any(group not in plain for group in mine) or not changed.isdisjoint(elsewhere):
        return None
    together = sorted({name for group in plain for name in group.names} | changed)
    blobs: dict[bytes, bytes] = {}
    chunks = []
    for name, part in split(dumps({name: names[name] for name in together}, protocol=PROTOCOL)):
        blobs[name] = bytes(part)
        chunks.append(name)
    kept = [group for group in last.groups if group not in plain]
    return replace(last, seq=seq, groups=[Group(together, chunks), *kept], sizes={}), blobs


def _is_plain(group: Group, names: Mapping[str, Any]) -> bool:
    is_bare = not group.buffers and not group.named and not group.is_tolerant
    return is_bare and all(type(names.get(name)) in SCALARS for name in group.names)
