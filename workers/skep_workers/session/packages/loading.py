"""What a change of a session's packages means in its running process.

The interpreter reads `.pth` files at its start only, so new ones are read here. A module that was imported before stays
as it was: only another process imports it again.
"""

import importlib
import sys
from collections.abc import Iterable, Mapping
from typing import Final

from skep_shared.originals import open_file, os
from skep_workers.session.packages.distributions import Distribution, modules_of
from skep_workers.session.packages.environment import PATH_FILES

MOST_SHOWN: Final = 5


class PathFiles:
    """The `.pth` files of a directory that this process has read."""

    def __init__(self) -> None:
        self._read: dict[str, str] = {}

    def read_new(self, site: str) -> list[str]:
        """Read the files that are new or have changed; return what went wrong, as the interpreter would print it.

        Directories in them are added to `sys.path` after `site`, and lines that begin with `import` are run.
        """
        problems = []
        for name in sorted(_path_files(site)):
            text = _text(os.path.join(site, name))
            if self._read.get(name) == text:
                continue
            self._read[name] = text
            problems += [f"{name}: {problem}" for problem in _apply(text, site)]
        return problems


def _path_files(site: str) -> list[str]:
    try:
        names = os.listdir(site)
    except OSError:
        return []
    return [name for name in names if name.endswith(".pth") and not name.startswith(".") and name not in PATH_FILES]


def _text(path: str) -> str:
    try:
        with open_file(path, encoding="utf-8-sig", errors="replace") as file:
            return str(file.read())
    except OSError:
        return ""


def _apply(text: str, site: str) -> list[str]:
    problems = []
    place = sys.path.index(site) + 1 if site in sys.path else len(sys.path)
    for line in map(str.rstrip, text.splitlines()):
        if not line or line.startswith("#"):
            continue
        if line.startswith(("import ", "import\t")):
            try:
                exec(line, {})
            except Exception as exc:  # noqa: BLE001 - code of a package; the interpreter, too, goes on after it
                problems.append(f"{type(exc).__name__}: {exc}")
            continue
        path = os.path.join(site, line)
        if path not in sys.path and os.path.exists(path):
            sys.path.insert(place, path)
            place += 1
    return problems


def imported_before(
    before: Mapping[str, Distribution], after: Mapping[str, Distribution], site: str, preloaded: Iterable[str]
) -> list[str]:
    """Return warnings about changed distributions whose modules this process has imported already.

    Call it at once after the change, before anything imports the new ones. preloaded: modules that every process of the
    worker has from its start.
    """
    importlib.invalidate_caches()
    changed = [name for name in after if before.get(name) != after[name]]
    from_start, warnings = set(preloaded), []
    for name in changed:
        loaded = sorted(modules_of(after[name], site) & sys.modules.keys())
        if not loaded:
            continue
        what = f"{after[name].name} {after[name].version} is installed, and {', '.join(loaded[:MOST_SHOWN])} "
        if from_start & set(loaded):
            warnings.append(
                f"{what}was imported by the worker in advance (SKEP_PRELOAD, or skep itself): sessions on this worker "
                "keep its version, only programs that they start have the installed one"
            )
        else:
            warnings.append(
                f"{what}was imported before: this process keeps the version that it has. The next one has the "
                "installed version: hibernate the session (session.hibernate()), and run a cell"
            )
    return warnings
