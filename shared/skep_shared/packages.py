"""The packages that a session asks for, and what becomes of them when it moves to another process."""

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final

from skep_shared.errors import InvalidArgument

MAX_PACKAGES: Final = 100
MAX_PACKAGE_CHARS: Final = 200

_NAME: Final = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_VERSION: Final = r"(?:===|~=|==|!=|<=|>=|<|>)\s*[A-Za-z0-9_.*+!-]+"
_REQUIREMENT: Final = re.compile(
    rf"{_NAME}"
    rf"(?:\s*\[\s*{_NAME}(?:\s*,\s*{_NAME})*\s*\])?"  # extras
    rf"(?:\s*{_VERSION}(?:\s*,\s*{_VERSION})*)?"
    r"(?:\s*;[ \w.'\"<>=!~(),+*-]+)?"  # a marker: ; python_version < "3.12"
)
# pip reads a name like this as a file of the working directory, if there is one.
_ARCHIVES: Final = (".whl", ".zip", ".tar", ".tgz", ".tbz", ".txz", ".tlz", ".gz", ".bz2", ".xz", ".lzma")
# The settings of pip that tell where packages come from. Sessions get them from the environment of their worker, by
# these names, without the rest of it.
INDEX_VARIABLES: Final = (
    "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX", "PIP_TRUSTED_HOST", "PIP_CERT",
    "PIP_PROXY", "PIP_TIMEOUT", "PIP_DEFAULT_TIMEOUT", "PIP_RETRIES", "PIP_CONSTRAINT", "PIP_ONLY_BINARY",
    "PIP_NO_BINARY", "PIP_PREFER_BINARY",
)  # fmt: skip


class PackageMode(StrEnum):
    """What a worker does with the packages that sessions install."""

    SAVED = "saved"
    RECORDED = "recorded"
    OFF = "off"


def check_packages(packages: Iterable[object]) -> tuple[str, ...]:
    """Return the packages. Raises InvalidArgument if there are too many, or one is not a name with versions."""
    given = tuple(packages)
    if len(given) > MAX_PACKAGES:
        raise InvalidArgument("packages", given, f"at most {MAX_PACKAGES} packages, these are {len(given)}")
    return tuple(map(_checked, given))


def _checked(package: object) -> str:
    if not isinstance(package, str):
        raise InvalidArgument("packages", package, f"a str is needed, not {type(package).__name__}")
    if len(package) > MAX_PACKAGE_CHARS:
        limit = f"at most {MAX_PACKAGE_CHARS} characters, this has {len(package)}"
        raise InvalidArgument("packages", package[:MAX_PACKAGE_CHARS], limit)
    if rule := _violated_rule(package):
        raise InvalidArgument("packages", package, rule)
    return package


def _violated_rule(package: str) -> str:
    """Return the rule that a package violates, '' if none."""
    if package.lstrip().startswith("-"):
        return "must be a package, not an option of pip; the operator of the worker sets the index (PIP_INDEX_URL)"
    if "/" in package or "\\" in package or "@" in package or package.lower().endswith(_ARCHIVES):
        return "must be a name with versions, not a URL or a path; a cell can install those, with %pip install"
    if _REQUIREMENT.fullmatch(package) is None:
        return 'must be a name with versions: "attrs", "attrs==25.*", "attrs[tests]>=25,<26"'
    return ""


def index_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the settings of pip in an environment that tell where packages come from, by their names in pip.conf."""
    names = (name for name in INDEX_VARIABLES if environment.get(name))
    return {name.removeprefix("PIP_").lower().replace("_", "-"): environment[name] for name in names}
