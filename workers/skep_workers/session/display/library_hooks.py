"""What libraries that show things find in a session: IPython.display goes through its display, and so do their show()s.

A finder stands first on `sys.meta_path`. It knows a handful of names and answers None for all others; of those that it
knows, the library's own finder does the import, and what shows things is replaced when the module has run. Where
IPython isn't installed, a second finder, which is asked last, has a small module in its place.
"""

import builtins
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Final

from skep_workers.session.display.publisher import DisplayHandle, DisplayPublisher

_PLOTLY_RENDERER: Final = "skep"

Patch = Callable[[ModuleType, DisplayPublisher], None]


class _PatchingFinder(MetaPathFinder):
    """Has modules changed when they have been imported."""

    def __init__(self, publisher: DisplayPublisher) -> None:
        self._publisher = publisher

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find the module as the other finders do, with a loader that changes it."""
        patch = _PATCHES.get(fullname)
        if patch is None:
            return None
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            spec = find(fullname, path, target) if finder is not self and find is not None else None
            if spec is not None:
                self._change(spec.loader, patch)
                return spec  # type: ignore[no-any-return]  # of another finder
        return None

    def _change(self, loader: Any, patch: Patch) -> None:
        if not hasattr(loader, "__dict__") or not hasattr(loader, "exec_module"):
            return  # of a kind that these libraries don't have
        run, publisher = loader.exec_module, self._publisher

        def exec_module(module: ModuleType) -> None:
            del loader.exec_module  # it is the library's own from here on
            run(module)
            apply(patch, module, publisher)

        loader.exec_module = exec_module


class _StandInFinder(MetaPathFinder):
    """Has a module of ours in the place of one that isn't installed."""

    def __init__(self, publisher: DisplayPublisher) -> None:
        self._publisher = publisher

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find the stand-in for a module that no other finder has found."""
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
    """Have libraries show through this publisher; those too that are imported already."""
    patching, stand_in = _PatchingFinder(publisher), _StandInFinder(publisher)
    sys.meta_path.insert(0, patching)
    sys.meta_path.append(stand_in)
    # Under names that checkpoints find again: `from sys import meta_path` is a variable that holds them.
    for finder in (patching, stand_in):
        setattr(builtins, f"__skep{type(finder).__name__}__", finder)
    for name, patch in _PATCHES.items():
        if name in sys.modules:
            apply(patch, sys.modules[name], publisher)


def apply(patch: Patch, module: ModuleType, publisher: DisplayPublisher) -> None:
    """Change a library's module; one that has become another is left alone, which a warning says."""
    try:
        patch(module, publisher)
    except (AttributeError, ImportError, TypeError, ValueError) as exc:
        publisher.warn("display", f"what {module.__name__} shows does not come here: {type(exc).__name__}: {exc}")


def _patch_ipython(module: ModuleType, publisher: DisplayPublisher) -> None:
    for name in ("display", "update_display", "clear_output", "publish_display_data"):
        setattr(module, name, getattr(publisher, name))
    module.DisplayHandle = DisplayHandle  # type: ignore[attr-defined]


def _patch_plotly(module: ModuleType, publisher: DisplayPublisher) -> None:
    """Give plotly a renderer; its own need IPython's kernel, nbformat or a browser."""
    from plotly.io import _base_renderers  # noqa: PLC0415 - user code has imported it

    class SessionRenderer(_base_renderers.ExternalRenderer):  # type: ignore[misc]
        def render(self, figure: dict[str, Any]) -> None:
            publisher.display(_plotly_bundle(figure), raw=True)

    renderers = module.renderers
    renderers[_PLOTLY_RENDERER] = SessionRenderer()
    if renderers.default in {
        None,
        "",
        "browser",
        "plotly_mimetype+notebook",
    }:  # what it takes where it finds no front end
        renderers.default = _PLOTLY_RENDERER


def _plotly_bundle(figure: dict[str, Any]) -> dict[str, Any]:
    import json  # noqa: PLC0415 - as below

    from plotly.io import to_html, to_json  # noqa: PLC0415

    data = json.loads(to_json(figure, validate=False))
    html = to_html(figure, include_plotlyjs="cdn", full_html=False, validate=False)
    return {
        "application/vnd.plotly.v1+json": {"config": {}, **data},
        "text/html": html,
        "text/plain": f"<plotly figure of {len(data.get('data', []))} traces>",
    }


def _patch_bokeh(module: ModuleType, publisher: DisplayPublisher) -> None:
    """Have bokeh show a page where it would open a browser; the file is written if one was asked for."""
    if not callable(module._show_file_with_state):  # noqa: SLF001 - the one place where it opens a browser
        raise TypeError("_show_file_with_state can't be called")

    def show(obj: Any, state: Any, _new: Any, _controller: Any) -> None:
        from bokeh.embed import file_html  # noqa: PLC0415

        if state.file:
            module.save(obj, state=state)
        html = file_html(obj, state.file.resources if state.file else "cdn", _always_new=True)
        publisher.display({"text/html": html, "text/plain": repr(obj)}, raw=True)

    module._show_file_with_state = show  # type: ignore[attr-defined]  # noqa: SLF001


_PATCHES: Final[dict[str, Patch]] = {
    "IPython.core.display_functions": _patch_ipython,
    "plotly.io._renderers": _patch_plotly,
    "bokeh.io.showing": _patch_bokeh,
}
