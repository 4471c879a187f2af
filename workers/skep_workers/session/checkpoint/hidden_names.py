"""Names under which a checkpoint saves what is no variable: modules, patches of libraries, registrations with them.

They travel among the variables, so that what they share with those stays shared, and one that can't be saved costs
itself only. A restore takes them out of the namespace again. People are told of them by the names that they know.
"""

from typing import Final

MODULE: Final = "__skep_module__"  # and its name among the loaded modules
PATCH: Final = "__skep_patch__"  # and the module, a colon, and the path of the attribute in it
DELETED: Final = "__skep_deleted__"  # likewise
REGISTERED: Final = "__skep_registered__"  # and the place of what it is registered with, likewise
FINDERS: Final = "__skep_finders__"  # and the name of the list in sys
FINALIZER: Final = "weakref.finalize("  # and the class of the object, a bracket and a number
_PREFIXES: Final = (MODULE, PATCH, DELETED, REGISTERED, FINDERS)


def told(name: str) -> str:
    """Return how people are told of a saved name; a variable's is its own."""
    for prefix in _PREFIXES:
        if name.startswith(prefix):
            text = name.removeprefix(prefix).replace(":", ".")
            return f"{text}.register" if prefix == REGISTERED else f"sys.{text}" if prefix == FINDERS else text
    return f"globals()[{name!r}]" if name.startswith("./") else name  # files are told of as './' and their path


def take(names: dict[str, object], prefix: str) -> dict[str, object]:
    """Take the names of a prefix out of restored names; return their values by what comes after the prefix."""
    return {name.removeprefix(prefix): names.pop(name) for name in list(names) if name.startswith(prefix)}
