"""Patches for libraries: IPython.display and the show() functions of other libraries use the session's display.

A finder is the first one on `sys.meta_path`. It handles a few module names and returns None for all others. For its
modules, the library's own finder does the import; then, when the module has run, the functions are replaced that show
things, that determine the width of a page, that must attribute output to a cell, or that hide an error. If IPython
isn't installed, a second finder, which is the last one, provides a small module in its place.
"""

import builtins
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Final

from skep_workers.session.attribution.pools import attribute_callbacks, attribute_executors, attribute_pools
from skep_workers.session.display.page_width import patch_pandas, patch_rich, set_page_width
from skep_workers.session.display.publisher import DisplayHandle, DisplayPublisher
from skep_workers.session.runtime.silent_servers import refuse_servers_without_sockets

_PLOTLY_RENDERER: Final = "skep"
_PLOTLY_DEFAULTS: Final = (None, "", "browser", "plotly_mimetype+notebook")  # plotly's choice without a front end

Patch = Callable[[ModuleType, DisplayPublisher], None]


class _PatchingFinder(MetaPathFinder):
    """Patches modules after they have been imported."""

    def __init__(self, publisher: DisplayPublisher) -> None:
        self._publisher = publisher

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find the module as the other finders do, with a loader that patches it."""
        patch = _PATCHES.get(fullname)
        if patch is None:
            return None
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            spec = find(fullname, path, target) if finder is not self and find is not None else None
            if spec is not None:
                self._wrap_loader(spec.loader, patch)
                return spec  # type: ignore[no-any-return]  # another finder returned it
        return None

    def _wrap_loader(self, loader: Any, patch: Patch) -> None:
        if not hasattr(loader, "__dict__") or not hasattr(loader, "exec_module"):
            return  # these libraries have no such loader
        run, publisher = loader.exec_module, self._publisher

        def exec_module(module: ModuleType) -> None:
            del loader.exec_module  # restores the loader's own method
            run(module)
            apply(patch, module, publisher)

        loader.exec_module = exec_module


class _StandInFinder(MetaPathFinder):
    """Provides a stand-in for a module that isn't installed."""

    def __init__(self, publisher: DisplayPublisher) -> None:
        self._publisher = publisher

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find the stand-in for IPython or IPython.display."""
        if fullname not in {"IPython", "IPython.display"}:
            return None
        return ModuleSpec(fullname, _StandInLoader(self._publisher), is_package=fullname == "IPython")


class _StandInLoader(Loader):
    """Fills the modules that stand in for IPython's."""

    def __init__(self, publisher: DisplayPublisher) -> None:
        self._publisher = publisher

    def exec_module(self, module: ModuleType) -> None:
        """Fill the module."""
        from skep_workers.session.display.ipython import stand_in  # noqa: PLC0415 - only where it is imported

        if module.__name__ == "IPython":
            stand_in.fill_package(module)
        else:
            stand_in.fill_display(module, self._publisher)


def install_library_hooks(publisher: DisplayPublisher) -> None:
    """Make libraries show things through this publisher, including libraries that are already imported."""
    set_page_width()
    patching, stand_in = _PatchingFinder(publisher), _StandInFinder(publisher)
    sys.meta_path.insert(0, patching)
    sys.meta_path.append(stand_in)
    # Stored under built-in names, so that checkpoints can refer to them: `from sys import meta_path` makes a variable
    # that contains them.
    for finder in (patching, stand_in):
        setattr(builtins, f"__skep{type(finder).__name__}__", finder)
    for name, patch in _PATCHES.items():
        if name in sys.modules:
            apply(patch, sys.modules[name], publisher)


def apply(patch: Patch, module: ModuleType, publisher: DisplayPublisher) -> None:
    """Patch a library's module; if it no longer has the expected form, warn and leave it unchanged."""
    try:
        patch(module, publisher)
    except (AttributeError, ImportError, TypeError, ValueError) as exc:
        what = "may be shown with another cell" if module.__name__ in _WITH_THREADS else "can't be shown here"
        publisher.warn("display", f"output of {module.__name__} {what}: {type(exc).__name__}: {exc}")


def _patch_ipython(module: ModuleType, publisher: DisplayPublisher) -> None:
    for name in ("display", "update_display", "clear_output", "publish_display_data"):
        setattr(module, name, getattr(publisher, name))
    module.DisplayHandle = DisplayHandle  # type: ignore[attr-defined]


def _patch_plotly(module: ModuleType, publisher: DisplayPublisher) -> None:
    """Add a renderer to plotly; its own renderers need IPython's kernel, nbformat or a browser."""
    from plotly.io import _base_renderers  # noqa: PLC0415 - user code has imported it

    class SessionRenderer(_base_renderers.ExternalRenderer):  # type: ignore[misc]
        def render(self, figure: dict[str, Any]) -> None:
            publisher.display(_plotly_bundle(figure), raw=True)

    renderers = module.renderers
    renderers[_PLOTLY_RENDERER] = SessionRenderer()
    if renderers.default in _PLOTLY_DEFAULTS:
        renderers.default = _PLOTLY_RENDERER


def _plotly_bundle(figure: dict[str, Any]) -> dict[str, Any]:
    import json  # noqa: PLC0415 - only needed here

    from plotly.io import to_html, to_json  # noqa: PLC0415

    data = json.loads(to_json(figure, validate=False))
    html = to_html(figure, include_plotlyjs="cdn", full_html=False, validate=False)
    return {
        "application/vnd.plotly.v1+json": {"config": {}, **data},
        "text/html": html,
        "text/plain": f"<plotly figure of {len(data.get('data', []))} traces>",
    }


def _patch_bokeh(module: ModuleType, publisher: DisplayPublisher) -> None:
    """Make bokeh show a page instead of opening a browser; a requested output file is written."""
    if not callable(module._show_file_with_state):  # noqa: SLF001 - the only function that opens a browser
        raise TypeError("_show_file_with_state can't be called")

    def show(obj: Any, state: Any, _new: Any, _controller: Any) -> None:
        from bokeh.embed import file_html  # noqa: PLC0415

        if state.file:
            module.save(obj, state=state)
        html = file_html(obj, state.file.resources if state.file else "cdn", _always_new=True)
        publisher.display({"text/html": html, "text/plain": repr(obj)}, raw=True)

    module._show_file_with_state = show  # type: ignore[attr-defined]  # noqa: SLF001


_WITH_THREADS: Final[dict[str, Patch]] = {
    "concurrent.futures.thread": lambda module, _: attribute_executors(module),
    "concurrent.futures.process": lambda module, _: attribute_callbacks(module),
    "multiprocessing.pool": lambda module, _: attribute_pools(module),
}
_PATCHES: Final[dict[str, Patch]] = {
    **_WITH_THREADS,
    "pandas": lambda module, _: patch_pandas(module),
    "uvloop": lambda module, _: refuse_servers_without_sockets(module.Loop),
    "rich.console": lambda module, _: patch_rich(module),
    "IPython.core.display_functions": _patch_ipython,
    "plotly.io._renderers": _patch_plotly,
    "bokeh.io.showing": _patch_bokeh,
}
