"""Constraints for pip that hold every requirement of pyproject.toml at its lower bound: `python tests/oldest_versions.py`.

`make test-versions` installs with them and runs what touches those packages; newest versions are what `make test` has.
"""

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"
_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(?:\[[^]]*\])?(?P<bounds>[^;]*)")
_LOWER = re.compile(r">=\s*(?P<version>[\w.]+)")


def constraints(pyproject: str, python: tuple[int, int]) -> Iterator[str]:
    """Yield `name==version` for each requirement. Raises ValueError for one without a lower bound, and another Python.

    The oldest versions have wheels for the oldest Python only.
    """
    project = tomllib.loads(pyproject)["project"]
    oldest = project["requires-python"].removeprefix(">=")
    if python != tuple(map(int, oldest.split("."))):
        raise ValueError(f"the oldest versions go with Python {oldest}, this is {'.'.join(map(str, python))}")
    extras = project.get("optional-dependencies", {}).values()
    for requirement in dict.fromkeys([*project["dependencies"], *(each for extra in extras for each in extra)]):
        match = _REQUIREMENT.match(requirement)
        if match is None or match["name"] == project["name"]:
            continue
        lower = _LOWER.search(match["bounds"])
        if lower is None:
            raise ValueError(f"{requirement!r} has no lower bound, so nothing says what it is to be tested with")
        yield f"{match['name']}=={lower['version']}"


if __name__ == "__main__":
    try:
        print("\n".join(constraints(PYPROJECT.read_text(), sys.version_info[:2])))
    except ValueError as exc:
        sys.exit(f"{exc}: make PYTHON=/path/to/it test-versions" if "go with Python" in str(exc) else str(exc))
