"""The environment variables of settings: which variable sets a value, and which SKEP_* variables are unknown."""

import difflib
import os
from collections.abc import Iterable, Mapping
from typing import Final

PREFIX: Final = "SKEP_"
# The beginnings of the names of variables that skep itself or its tests set, and that are not settings.
# SKEP_GATEWAY_: of the gateway, which looks for them itself.
_OTHERS: Final = ("SKEP_GATEWAY_", "SKEP_SCRATCH", "SKEP_TEST_", "SKEP_CHAOS_", "SKEP_RANDOM_")


def variable_of(field: str, environment: Mapping[str, str] | None = None) -> str | None:
    """Return the name of the variable that sets this setting, as spelled there, or None. Case is ignored."""
    wanted = f"{PREFIX}{field}".upper()
    return next((name for name in (os.environ if environment is None else environment) if name.upper() == wanted), None)


def unknown_variables(
    fields: Iterable[str], environment: Mapping[str, str] | None = None, *, prefix: str = PREFIX
) -> list[str]:
    """Return a sentence for each variable with this prefix that isn't a setting, with a similar one if there is one."""
    known = {f"{prefix}{field}".upper() for field in fields}
    sentences = []
    for name in sorted(os.environ if environment is None else environment):
        upper = name.upper()
        is_other = prefix == PREFIX and upper.startswith(_OTHERS)
        if upper.startswith(prefix) and upper not in known and not is_other:
            close = difflib.get_close_matches(upper, sorted(known), 1)
            suggestion = f"; did you mean {close[0]}?" if close else ""
            sentences.append(f"{name} in the environment is not a setting and is ignored{suggestion}")
    return sentences
