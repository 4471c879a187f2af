"""What is installed in a session's directory of packages, read from the metadata that installers write."""

import json
import re
from collections.abc import Iterator
from typing import Final, NamedTuple
from urllib.parse import quote

from skep_shared.originals import open_file, os

INFO: Final = ".dist-info"
_OWN_FILES: Final = "file://${WORKSPACE}/"  # in a requirement: the session's directory, which differs between forks
MOST_BYTES: Final = 16 * 1024 * 1024  # of a file of metadata
_SEPARATORS: Final = re.compile(r"[-_.]+")


class Distribution(NamedTuple):
    """One installed distribution. info: the name of its directory of metadata, which has its version."""

    name: str
    version: str
    info: str


def installed_in(site: str) -> dict[str, Distribution]:
    """Return the distributions in a directory, by normalized name. A directory that can't be read has none."""
    found = {}
    for entry in _names_in(site):
        if entry.endswith(INFO):
            name, _, version = entry.removesuffix(INFO).partition("-")
            if name and version:
                found[normalized(name)] = Distribution(name, version, entry)
    return found


def signature_of(site: str) -> tuple[tuple[str, int], ...]:
    """Return a value that changes when a package is installed, upgraded or removed, but not when one is imported."""
    return tuple((name, _modified_ns(os.path.join(site, name))) for name in _names_in(site) if name != "__pycache__")


def _modified_ns(path: str) -> int:
    """Return the time of the last change of metadata; 0 for anything else, in which Python creates bytecode."""
    try:
        return int(os.stat(path).st_mtime_ns) if path.endswith(INFO) else 0
    except OSError:
        return 0


def normalized(name: str) -> str:
    """Return the name of a distribution in the form in which names are compared."""
    return _SEPARATORS.sub("-", name).lower()


def name_of(requirement: str) -> str:
    """Return the normalized name of the distribution that a requirement of ours means."""
    return normalized(re.split(r"==| @ ", requirement, maxsplit=1)[0].strip())


def requirement_of(distribution: Distribution, site: str, workspace: str) -> str:
    """Return the requirement with which pip installs the same again: its version, or the URL that it came from."""
    url = _url_of(os.path.join(site, distribution.info, "direct_url.json"))
    if not url:
        return f"{distribution.name}=={distribution.version}"
    own = f"file://{quote(workspace)}/"
    return f"{distribution.name} @ {_OWN_FILES + url[len(own) :] if url.startswith(own) else url}"


def placed(requirement: str, workspace: str) -> str:
    """Return a requirement of ours for a session with this directory."""
    return requirement.replace(_OWN_FILES, f"file://{quote(workspace)}/", 1)


def modules_of(distribution: Distribution, site: str) -> set[str]:
    """Return the names of the modules and packages that a distribution has, without submodules."""
    lines = _read(os.path.join(site, distribution.info, "RECORD")).splitlines()
    return set(_top_names(lines))


def _top_names(lines: list[str]) -> Iterator[str]:
    for line in lines:
        first, slash, _ = line.partition(",")[0].strip('"').partition("/")
        name = first if slash else first.partition(".")[0] if first.endswith((".py", ".so")) else ""
        if name.isidentifier() and name != "__pycache__":
            yield name


def _url_of(path: str) -> str:
    """Return the URL in a `direct_url.json`, '' without one: the package came from an index."""
    text = _read(path)
    if not text:
        return ""
    try:
        found = json.loads(text)
        url, vcs = str(found["url"]), found.get("vcs_info")
        return f"{vcs['vcs']}+{url}@{vcs['commit_id']}" if vcs else url
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""


def _names_in(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []


def _read(path: str) -> str:
    try:
        with open_file(path, encoding="utf-8", errors="replace") as file:
            return str(file.read(MOST_BYTES))
    except OSError:
        return ""
