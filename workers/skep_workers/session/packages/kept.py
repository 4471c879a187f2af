"""The packages of a session in its checkpoints: read after a cell if they have changed, restored before any variable.

With the mode "saved" a checkpoint has the files, up to a quota. It always has the names and versions of what is
installed: with the mode "recorded", beyond the quota, and for an interpreter of another version, the packages are
installed again from the index.
"""

import platform
from dataclasses import replace
from time import time_ns  # bound early: user code may patch time
from typing import Final

from skep_shared.checkpoints.content_chunks import Digest, split
from skep_shared.checkpoints.manifest import NO_PACKAGES, Packages
from skep_shared.originals import os
from skep_shared.packages import PackageMode
from skep_workers.session.packages.archive import TooLarge, pack, unpack
from skep_workers.session.packages.directory import PackageDirectory
from skep_workers.session.packages.distributions import (
    installed_in,
    name_of,
    placed,
    requirement_of,
    signature_of,
)
from skep_workers.session.packages.pip_runs import PackagesNotInstalled, QuietPip, check_pip

RACY_NS: Final = 20_000_000  # as for files: a later change within this time may have left the same time
MOST_SHOWN: Final = 10
_NO_DIRECTORY: Final = "the directory of the session's packages could not be made"


class KeptPackages:
    """Reads and restores the packages of one session."""

    def __init__(self) -> None:
        self._directory: PackageDirectory | None = None
        self._workspace = ""
        self._mode = PackageMode.SAVED
        self._quota_bytes = 0
        self._restore_seconds = 0.0
        self._seen: tuple[int, ...] | None = None  # the state of the directory, None if it has to be looked at
        self._signature: tuple[tuple[str, int], ...] | None = None  # of `_latest`
        self._latest = NO_PACKAGES
        self._missing: list[str] = []  # requirements of a checkpoint that could not be installed
        self._carried = NO_PACKAGES  # of a checkpoint, where nothing is installed: for a worker that installs
        self._stored: frozenset[Digest] = frozenset()
        self.unstored: dict[Digest, bytes] = {}  # content that no stored checkpoint has yet
        self.problem = ""  # why the latest packages are not saved as they are
        self._reported = ""
        self.failure = ""  # why the packages of a checkpoint could not be installed again
        self.has_initial = False  # the packages that the session's options name have been installed

    def begin(
        self, directory: PackageDirectory, workspace: str, mode: PackageMode, quota_bytes: int, restore_seconds: float
    ) -> None:
        """Start with this directory. workspace: the session's own one. restore_seconds: for installing again."""
        self._directory = directory
        self._workspace, self._mode = workspace, mode
        self._quota_bytes, self._restore_seconds = quota_bytes, restore_seconds
        self._seen = self._signature = None

    def read(self) -> Packages:
        """Return the present packages. Cheap if no installer has run since the last call."""
        directory = self._directory
        if directory is None or self._mode is PackageMode.OFF:
            return self._carried
        state = _state_of(directory.site)
        if state is None or state != self._seen:
            self._seen = state  # before reading: a change during that is noticed by the next call
            if (signature := signature_of(directory.site)) != self._signature:
                self._signature = signature
                self._latest = self._read(directory)
        if self._latest.has_initial != self.has_initial:
            self._latest = replace(self._latest, has_initial=self.has_initial)
        return self._latest

    def _read(self, directory: PackageDirectory) -> Packages:
        installed = installed_in(directory.site)
        self.problem = ""
        self._missing = [each for each in self._missing if name_of(each) not in installed]
        found = [requirement_of(each, directory.site, self._workspace) for each in installed.values()]
        archive: list[Digest] = []
        if installed and self._mode is PackageMode.SAVED:
            try:
                pack(directory, self._quota_bytes, lambda view: archive.extend(self._add(view)))
            except TooLarge as exc:
                self.problem = f"{exc}: their names and versions are saved, and the next process installs them again"
            except OSError as exc:
                archive.clear()
                self.problem = f"they can't be read ({exc}): the next process installs them again"
        self.unstored = {name: self.unstored[name] for name in archive if name in self.unstored}
        return Packages([*found, *self._missing], archive, self.has_initial)

    def _add(self, view: memoryview) -> list[Digest]:
        names = []
        for name, part in split(view):
            if name not in self._stored and name not in self.unstored:
                self.unstored[name] = bytes(part)
            part.release()
            names.append(name)
        return names

    def new_problem(self) -> str:
        """Return why the packages are not saved as they are, once; otherwise ''."""
        problem, self._reported = self.problem if self.problem != self._reported else "", self.problem
        return problem

    def forget_saved(self, digests: frozenset[Digest]) -> None:
        """Forget content that a checkpoint has saved; if there is none, everything is read again."""
        self._stored = digests
        if not digests:
            self._seen = self._signature = None
            self._carried = replace(self._carried, archive=[])
        if self.unstored:
            self.unstored = {name: data for name, data in self.unstored.items() if name not in digests}

    def restore(self, packages: Packages, stored: bytearray, python: str) -> list[str]:
        """Restore the packages of a checkpoint that was made by this version of Python; return what went wrong."""
        self.has_initial = packages.has_initial
        self.failure, self._missing = "", []
        directory = self._directory
        if not packages.requirements:
            return []
        if directory is None or self._mode is PackageMode.OFF:
            self._carried = packages
            is_off = self._mode is PackageMode.OFF
            self.failure = "installing packages is off on this worker (SKEP_PACKAGES=off)" if is_off else _NO_DIRECTORY
            return [f"packages: {_shown(packages.requirements)} not restored: {self.failure}"]
        missing = [*packages.requirements]
        notes = []
        try:
            directory.make_own()
        except OSError as exc:
            self._missing, self.failure = missing, f"the directory of the session's packages can't be made: {exc}"
            return [f"packages: {_shown(missing)} not installed: {self.failure}"]
        if packages.archive and _minor(python) == _minor(platform.python_version()):
            try:
                with memoryview(stored) as view:
                    unpack(directory, view)
                installed = installed_in(directory.site)
                missing = [each for each in missing if name_of(each) not in installed]
                if not missing and self._mode is PackageMode.SAVED:  # they needn't be read again to be saved
                    self._latest, self._signature = packages, signature_of(directory.site)
            except (OSError, ValueError, TypeError) as exc:
                directory.clear()  # pip would take a package of which only the metadata is there for installed
                notes.append(f"packages: the saved files can't be restored ({exc}), and are installed again")
        if missing:
            self._install_again(directory, missing)
        if self._missing:
            notes.append(f"packages: {_shown(self._missing)} not installed: {self.failure}")
        return notes

    def _install_again(self, directory: PackageDirectory, requirements: list[str]) -> None:
        """Install these within the time limit; those that can't be are `_missing`, for the reason in `failure`."""
        try:
            check_pip()
        except PackagesNotInstalled as exc:
            self._missing, self.failure = requirements, str(exc)
            return
        pip = QuietPip(directory, self._restore_seconds)
        failures: dict[str, str] = {}
        left = [requirements]
        while left:
            some = left.pop()
            if pip.install([placed(each, self._workspace) for each in some]):
                continue
            if len(some) == 1 or pip.is_over_time:
                failures |= dict.fromkeys(some, pip.reason)
            else:  # halves, so that one that the index doesn't have any more costs only what needs it
                left += [some[len(some) // 2 :], some[: len(some) // 2]]
        self._missing = [*failures]
        self.failure = next(iter(failures.values()), "")

    @property
    def is_used(self) -> bool:
        """Return whether packages are installed, or belong to the session and are missing."""
        return bool(self.read().requirements)


def _state_of(site: str) -> tuple[int, ...] | None:
    """Return a value that changes when something appears in the directory or is removed; None if that is uncertain."""
    try:
        status = os.stat(site)
    except OSError:
        return None
    if max(status.st_mtime_ns, status.st_ctime_ns) > time_ns() - RACY_NS:
        return None
    return (status.st_ino, status.st_mtime_ns, status.st_ctime_ns)


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]


def _shown(requirements: list[str]) -> str:
    more = len(requirements) - MOST_SHOWN
    return ", ".join(requirements[:MOST_SHOWN]) + (f" and {more} more" if more > 0 else "")
