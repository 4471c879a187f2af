"""The modules that stand in for IPython and IPython.display where IPython isn't installed."""

from types import ModuleType
from typing import Any, Final

from skep_workers.session.display.ipython import media, pages, texts
from skep_workers.session.display.publisher import DisplayHandle, DisplayPublisher

FUNCTIONS: Final = ("display", "update_display", "clear_output", "publish_display_data")  # methods of the publisher
_CLASSES: Final = (
    texts.DisplayObject, texts.TextDisplayObject, texts.Pretty, texts.HTML, texts.Markdown, texts.Latex, texts.Math,
    texts.SVG, texts.Javascript, texts.JSON, texts.GeoJSON, texts.Code, media.Image, media.Video, media.Audio,
    pages.IFrame, pages.YouTubeVideo, pages.VimeoVideo, pages.FileLink, pages.ProgressBar,
)  # fmt: skip
_SHOWN_AS: Final = {
    "pretty": "text/plain",
    "html": "text/html",
    "markdown": "text/markdown",
    "svg": "image/svg+xml",
    "png": "image/png",
    "jpeg": "image/jpeg",
    "latex": "text/latex",
    "json": "application/json",
    "javascript": "application/javascript",
    "pdf": "application/pdf",
}


def fill_package(module: ModuleType) -> None:
    """Fill the module for `import IPython`: it has IPython.display, and a get_ipython that returns None."""
    module.__doc__ = "Stand-in for IPython, which isn't installed here. Only IPython.display works."

    def get_ipython() -> None:
        """Return None: no IPython runs. The session's own get_ipython is a built-in name."""

    def missing(name: str) -> Any:
        raise AttributeError(
            f"IPython isn't installed, and the session's stand-in has only IPython.display, not IPython.{name}: "
            "install it with %pip install ipython"
        )

    vars(module).update({"get_ipython": get_ipython, "__getattr__": missing, "__path__": []})


def fill_display(module: ModuleType, publisher: DisplayPublisher) -> None:
    """Fill the module for `from IPython.display import …`. Checkpoints store its classes under this module's name."""
    module.__doc__ = "Stand-in for IPython.display, which shows things through the session's display."

    def missing(name: str) -> Any:
        raise AttributeError(
            f"the session's stand-in for IPython.display has no {name!r}: install it with %pip install ipython"
        )

    names: dict[str, Any] = {name: getattr(publisher, name) for name in FUNCTIONS}
    names["DisplayHandle"] = DisplayHandle
    for each in _CLASSES:
        each.__module__ = module.__name__
        names[each.__name__] = each
    for name, mime in _SHOWN_AS.items():
        names[f"display_{name}"] = _display_as(mime, publisher)
    vars(module).update({**names, "__all__": sorted(names), "__getattr__": missing})


def _display_as(mime: str, publisher: DisplayPublisher) -> Any:
    def show(*values: Any, raw: bool = False, metadata: Any = None, **options: Any) -> None:
        for value in values:
            if raw:
                publisher.publish_display_data({mime: value}, metadata)
            else:
                publisher.display(value, include=["text/plain", mime], metadata=metadata, **options)

    return show
