"""The variables of the environment that are settings: which one gave a value, and which ones nothing reads."""

import difflib
import os
from collections.abc import Iterable, Mapping
from typing import Final

PREFIX: Final = "SKEP_"
# How those begin that are set for our own processes and for tests, and are no settings.
_OTHERS: Final = ("SKEP_SCRATCH", "SKEP_TEST_", "SKEP_CHAOS_", "SKEP_RANDOM_")


def variable_of(field: str, environment: Mapping[str, str] | None = None) -> str | None:
    """Return the variable that gives this setting, as it is written there; None if none does. Its case is no matter."""
    wanted = f"{PREFIX}{field}".upper()
    return next((name for name in (os.environ if environment is None else environment) if name.upper() == wanted), None)


def unknown_variables(fields: Iterable[str], environment: Mapping[str, str] | None = None) -> list[str]:
    """Return a sentence for each SKEP_* variable that is no setting, with the setting that may have been meant."""
    known = {f"{PREFIX}{field}".upper() for field in fields}
    sentences = []
    for name in sorted(os.environ if environment is None else environment):
        upper = name.upper()
        if upper.startswith(PREFIX) and upper not in known and not upper.startswith(_OTHERS):
            close = difflib.get_close_matches(upper, sorted(known), 1)
            meant = f"; {close[0]} is one" if close else ""
            sentences.append(f"{name} in the environment is no setting and is ignored{meant}")
    return sentences
