"""The packages of the extras that commands need, and what to install where they are missing."""

import importlib.util
from typing import Final

from skep_shared.errors import StartError

PACKAGES: Final = {
    "worker": ("arq", "structlog", "uvloop", "xxhash"),
    "gateway": ("fastapi", "uvicorn", "httpcore", "jwt"),
}


def check_extra(name: str) -> None:
    """Raise StartError, with the extra to install, if the command of this name can't run in this environment."""
    missing = [package for package in PACKAGES[name] if importlib.util.find_spec(package) is None]
    if missing:
        remedy = f"pip install 'skep[{name}]' (in a checkout: '.[{name}]')"
        raise StartError(name, f"this environment lacks {', '.join(missing)}: {remedy}")
