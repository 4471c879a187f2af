"""The help that `name?`, `name??`, `%magic?` and `a*?` print."""

import builtins
import fnmatch

from skep_workers.session.control.inspection import Inspector
from skep_workers.session.magics.table import CELL_MAGICS, LINE_MAGICS
from skep_workers.session.runtime.namespace import NamespaceManager

_INTRODUCTION = """\
Cells are Python and may use await at the top level. In addition:
NAME? and NAME?? describe an object, a*? finds names, %NAME? explains a magic.
!COMMAND runs a shell command, lines = !COMMAND stores its output; $name and {expression} are replaced by values.
%lsmagic lists the magics."""


class HelpMagics:
    """Answers questions about names and magics."""

    def __init__(self, namespace: NamespaceManager, inspector: Inspector) -> None:
        self._namespace = namespace
        self._inspector = inspector

    def help(self, name: str, with_source: bool = False) -> None:
        """Print a description of a name or a magic, or its source if `with_source`."""
        name = name.strip()
        if not name:
            print(_INTRODUCTION)
        elif name.startswith("%"):
            self._explain_magic(name)
        elif "*" in name:
            self._find_names(name)
        else:
            self._describe(name, with_source=with_source)

    def list_magics(self, _rest: str) -> None:
        """Print the names of all magics."""
        print("Line magics: " + "  ".join(f"%{name}" for name in sorted(LINE_MAGICS)))
        print("Cell magics: " + "  ".join(f"%%{name}" for name in sorted(CELL_MAGICS)))

    def _explain_magic(self, name: str) -> None:
        bare = name.lstrip("%")
        found = [(f"%{bare}", LINE_MAGICS.get(bare)), (f"%%{bare}", CELL_MAGICS.get(bare))]
        docs = [f"{shown} {magic.doc}" for shown, magic in found if magic is not None and shown.startswith(name)]
        print("\n".join(docs) if docs else f"Magic `{name}` not found; %lsmagic lists the magics.")

    def _find_names(self, pattern: str) -> None:
        names = {*self._namespace.user_names(), *vars(builtins)}
        found = sorted(name for name in names if fnmatch.fnmatchcase(name, pattern) and not name.startswith("__"))
        print("\n".join(found) if found else f"No name matches `{pattern}`.")

    def _describe(self, name: str, *, with_source: bool) -> None:
        found = self._inspector.inspect(name)
        if not found["found"]:
            print(f"Object `{name}` not found.")
            return
        labels = [("Signature", "signature"), ("Type", "type"), ("File", "file"), ("Docstring", "doc")]
        if with_source and found["source"]:
            labels[-1] = ("Source", "source")
        for label, field in labels:
            if found[field]:
                text = f"{name}{found[field]}" if field == "signature" else found[field]
                print(f"{label}:{chr(10) if field in {'doc', 'source'} else ' '}{text}")
