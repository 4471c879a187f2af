"""The width of a page for libraries that lay out text: a page is wider than 80 columns, and there is no terminal.

The environment is not changed: if COLUMNS were set, programs that cells start would truncate their lines, as `ps` does.
Settings of the user always take precedence: COLUMNS, a library's own option, or a `width` argument.
"""

import contextlib
import functools
import shutil
from types import ModuleType
from typing import Any, Final

from skep_shared.originals import os

PAGE_COLUMNS: Final = 115  # the width that rich uses in a notebook
PAGE_LINES: Final = 24
# For pandas: show as many columns as in a notebook, not only those that fit in a terminal, and never fold a table.
# 20 columns of at most 50 characters make a line that a page can scroll, and that a program reads as one row.
PANDAS_OPTIONS: Final = {"display.max_columns": 20, "display.width": 1200}


def set_page_width() -> None:
    """Make `shutil.get_terminal_size`, which argparse and click use, return the size of a page without a terminal."""
    shutil.get_terminal_size.__defaults__ = ((PAGE_COLUMNS, PAGE_LINES),)


def patch_pandas(module: ModuleType) -> None:
    """Set pandas' options for a page; checkpoints treat them as pandas' defaults, see checkpoint/surroundings."""
    pandas: Any = module
    for name, value in PANDAS_OPTIONS.items():
        with contextlib.suppress(KeyError):  # some versions lack an option
            pandas.set_option(name, value)


def patch_rich(module: ModuleType) -> None:
    """Make rich's consoles as wide as in a notebook, unless their width is set."""
    console: Any = module.Console
    make: Any = console.__init__

    @functools.wraps(make)
    def make_for_page(own: Any, *args: Any, **options: Any) -> None:
        if not _is_given(options):
            options["width"] = PAGE_COLUMNS
        make(own, *args, **options)

    console.__init__ = make_for_page


def _is_given(options: dict[str, Any]) -> bool:
    """Return whether the user has set a console's width, or a cell has opened a terminal."""
    environment = options.get("_environ") or os.environ
    if options.get("width") is not None or str(environment.get("COLUMNS", "")).isdigit():
        return True
    return any(os.isatty(fd) for fd in (0, 1, 2))
