"""The libraries that sessions of a bench import: they belong to the environment that runs the bench."""

from collections.abc import Iterable
from importlib.util import find_spec
from typing import Final

INSTALL: Final = "python -m pip install --editable '.[dev,bench]'"
_DISTRIBUTIONS: Final = {"sklearn": "scikit-learn"}  # where a distribution isn't named like its module


def why_unmeasured(modules: Iterable[str]) -> str:
    """Return which of these modules are not installed and the command that installs them; '' if none is missing."""
    missing = [_DISTRIBUTIONS.get(module, module) for module in modules if find_spec(module) is None]
    if not missing:
        return ""
    verb = "is" if len(missing) == 1 else "are"
    return f"not measured: {' and '.join(missing)} {verb} not installed in this environment; {INSTALL}"
