"""Classes of cells that are registered with a library: a restore registers them again, once they are complete."""

import importlib
import sys
from typing import Any, Final

PANDAS_DTYPE: Final = "pandas dtype"


def registers_of(kind: Any) -> list[str]:
    """Return the names of the registers that a class is in."""
    pandas = sys.modules.get("pandas")
    extensions = getattr(getattr(pandas, "api", None), "extensions", None)
    if pandas is None or extensions is None or not issubclass(kind, extensions.ExtensionDtype):
        return []
    try:
        found = pandas.api.types.pandas_dtype(kind.name)
    except Exception:  # noqa: BLE001 - code of the class runs here
        return []
    return [PANDAS_DTYPE] if type(found) is kind else []


def register(kind: Any, name: str) -> None:
    """Add a class to a register."""
    if name == PANDAS_DTYPE:
        importlib.import_module("pandas").api.extensions.register_extension_dtype(kind)
