"""Control groups: which of this process's groups it may divide further, to limit memory and processor time."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

WANTED: Final = ("memory", "pids", "cpu")
_INITIAL_NAMESPACE: Final = 0xEFFFFFFB  # PROC_CGROUP_INIT_INO of the kernel


@dataclass(frozen=True, slots=True)
class ControlGroup:
    """A group of this process. controllers: those of WANTED that its children could have."""

    directory: Path
    controllers: tuple[str, ...]

    @property
    def is_writable(self) -> bool:
        """Return whether groups can be made in it."""
        return os.access(self.directory, os.W_OK)


def own_groups(version: int) -> list[ControlGroup]:
    """Return this process's groups in version 1 or 2 of the interface; only those with a controller that is wanted."""
    mounts = _mounts("cgroup2" if version == 2 else "cgroup")
    groups = []
    for line in _lines("/proc/self/cgroup"):
        number, names, path = line.split(":", 2)
        if (number == "0") != (version == 2):
            continue
        for mounted, options in mounts:
            if version == 1 and not set(names.split(",")) & set(options):
                continue
            directory = mounted / path.lstrip("/")
            found = _controllers(directory) if version == 2 else set(names.split(","))
            if wanted := tuple(name for name in WANTED if name in found):
                groups.append(ControlGroup(directory if directory.exists() else mounted, wanted))
            break
    return groups


def is_in_root_group() -> bool:
    """Return whether no control group divides processor time of this process yet; only then the kernel's autogroups do.

    In a control group namespace, as in a container, the root is not visible, and the answer is False.
    """
    for line in _lines("/proc/self/cgroup"):
        _, names, path = line.split(":", 2)
        if "cpu" in names.split(","):
            return path == "/" and not _is_namespaced()
    mounted = [target for target, _ in _mounts("cgroup2")]
    # Every group but the root of the hierarchy has this file.
    is_root = bool(mounted) and not any((target / "cgroup.type").exists() for target in mounted)
    return is_root and any(line == "0::/" for line in _lines("/proc/self/cgroup"))


def _is_namespaced() -> bool:
    """Return whether this process has a control group namespace of its own."""
    try:
        return os.readlink("/proc/self/ns/cgroup") != f"cgroup:[{_INITIAL_NAMESPACE}]"  # noqa: PTH115 - no path
    except OSError:
        return False


def _controllers(directory: Path) -> set[str]:
    return {name for line in _lines(str(directory / "cgroup.controllers")) for name in line.split()}


def _mounts(kind: str) -> list[tuple[Path, tuple[str, ...]]]:
    """Return where file systems of this kind are mounted, with their options."""
    found = []
    for line in _lines("/proc/self/mounts"):
        _, target, mounted_kind, options, *_ = line.split()
        if mounted_kind == kind:
            found.append((Path(target), tuple(options.split(","))))
    return found


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
