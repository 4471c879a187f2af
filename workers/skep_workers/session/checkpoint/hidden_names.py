"""Names under which a checkpoint saves objects that are no variables: modules, patches of libraries, registrations.

They are saved among the variables. So objects that they share with variables remain shared, and one that can't be saved
costs only itself. A restore removes them from the namespace again. Reports to users show the names that they know.
"""

from typing import Final

# Each prefix is followed by:
MODULE: Final = "__skep_module__"  # the module's name in sys.modules
PATCH: Final = "__skep_patch__"  # the module, a colon, and the path of the attribute in it
DELETED: Final = "__skep_deleted__"  # likewise
ITEMS: Final = "__skep_items__"  # likewise, of a container; for one entry of a dict, its key in brackets follows
REGISTERED: Final = "__skep_registered__"  # likewise, of the object that it is registered with
FINDERS: Final = "__skep_finders__"  # the name of the list in sys
FINALIZER: Final = "weakref.finalize("  # the class of the object, a bracket and a number
_PREFIXES: Final = (MODULE, PATCH, DELETED, ITEMS, REGISTERED, FINDERS)


def shown_name(name: str) -> str:
    """Return the name that is shown to users for a saved name; a variable's is its own."""
    for prefix in _PREFIXES:
        if name.startswith(prefix):
            text = name.removeprefix(prefix).replace(":", ".", 1)
            return f"{text}.register" if prefix == REGISTERED else f"sys.{text}" if prefix == FINDERS else text
    return f"globals()[{name!r}]" if name.startswith("./") else name  # files are shown as './' and their path


def pop_prefixed(names: dict[str, object], prefix: str) -> dict[str, object]:
    """Remove the names with a prefix from restored names; return their values by the rest of the name."""
    return {name.removeprefix(prefix): names.pop(name) for name in list(names) if name.startswith(prefix)}
