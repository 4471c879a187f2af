"""The methods by which objects define how they are shown, called as IPython's documentation describes.

All of them are user code, called as part of a cell. If one raises, that is reported, and other representations are
used. NotImplementedError means that there is no such representation.
"""

from asyncio import CancelledError
from collections.abc import Callable, Collection
from typing import Any, Final, NamedTuple

# The exceptions of an interrupt, a timeout or a cancelled task: never treated as a fault of a representation.
ENDS_THE_CELL: Final = (KeyboardInterrupt, CancelledError, GeneratorExit)
# Types that have none of these methods.
PLAIN_KINDS: Final = frozenset({int, float, complex, bool, str, bytes, list, tuple, dict, set, frozenset})
METHODS: Final = {
    "_repr_html_": "text/html",
    "_repr_markdown_": "text/markdown",
    "_repr_svg_": "image/svg+xml",
    "_repr_png_": "image/png",
    "_repr_jpeg_": "image/jpeg",
    "_repr_latex_": "text/latex",
    "_repr_json_": "application/json",
    "_repr_javascript_": "application/javascript",
    "_repr_pdf_": "application/pdf",
}
_CANARY: Final = "_ipython_canary_method_should_not_exist_"  # the name that IPython uses for this test

_MOST_REPORTED: Final = 1000
_metadata_reported: Final[set[str]] = set()  # names of types

Report = Callable[[str], None]  # receives a message of one line for the cell's readers


class Wanted(NamedTuple):
    """The requested MIME types; None: all."""

    include: Collection[str] | None = None
    exclude: Collection[str] | None = None

    def has(self, mime: str) -> bool:
        """Return whether this MIME type is requested."""
        return (self.include is None or mime in self.include) and (self.exclude is None or mime not in self.exclude)


def representations(value: object, wanted: Wanted, report: Report) -> dict[str, Any]:
    """Return the results of the value's methods by MIME type; a class has none."""
    if issubclass(type(value), type):  # its methods are meant for its instances
        return {}
    bundle = _own_bundle(value, wanted, report)
    for name, mime in METHODS.items():
        if mime not in bundle and wanted.has(mime):
            method = method_of(value, name)
            shown = call(method, name, value, report) if method is not None else None
            if shown is not None:
                bundle[mime] = _without_metadata(shown, value, report)
    return bundle


def shows_itself(value: object, report: Report) -> bool:
    """Call the value's own way to show itself (`_ipython_display_`); return False if it has none."""
    if type(kind := type(value)) is type and kind in PLAIN_KINDS:
        return False
    name = "_ipython_display_"
    method = None if issubclass(type(value), type) else method_of(value, name)
    if method is None:
        return False
    return call(lambda: (method(), True)[1], name, value, report) is True


def method_of(value: object, name: str) -> Callable[..., Any] | None:
    """Return a method of the value or its class; None if there is none, or if the object has every attribute."""
    try:
        if getattr(type(value), name, None) is None and (
            getattr(value, name, None) is None or getattr(value, _CANARY, None) is not None
        ):
            return None
        method = getattr(value, name, None)
    except ENDS_THE_CELL:
        raise
    except BaseException:  # noqa: BLE001 - `__getattr__` is user code, and may raise anything for a missing attribute
        return None
    return method if callable(method) else None


def call(method: Callable[[], Any], name: str, value: object, report: Report) -> Any:
    """Return the method's result; if it raises, report that and return None."""
    try:
        return method()
    except ENDS_THE_CELL:
        raise
    except NotImplementedError:
        return None
    except BaseException as exc:  # noqa: BLE001 - user code, even SystemExit
        report(f"{name} of {_described(value)} raised {_error_text(exc)}")
        return None


def _own_bundle(value: object, wanted: Wanted, report: Report) -> dict[str, Any]:
    name = "_repr_mimebundle_"
    method = method_of(value, name)
    if method is None:
        return {}
    own = call(lambda: _call_for_bundle(method, wanted), name, value, report)
    own = _without_metadata(own, value, report)
    if not isinstance(own, dict):
        return {}
    return {mime: shown for mime, shown in own.items() if type(mime) is str and wanted.has(mime)}


def _without_metadata(shown: Any, value: object, report: Report) -> Any:
    """Return the data of (data, metadata). Events have no field for metadata, which is reported once for each type."""
    if not isinstance(shown, tuple) or not shown:
        return shown
    name = type(value).__qualname__
    metadata = shown[1] if len(shown) > 1 else None
    if isinstance(metadata, dict) and metadata and name not in _metadata_reported:
        if len(_metadata_reported) < _MOST_REPORTED:
            _metadata_reported.add(name)
        report(f"the metadata of {_described(value)} is ignored: {', '.join(map(str, metadata))}")
    return shown[0]


def _call_for_bundle(method: Callable[..., Any], wanted: Wanted) -> Any:
    """Call the method with `include` and `exclude`, as documented, or without them if it doesn't accept them."""
    try:
        return method(include=wanted.include, exclude=wanted.exclude)
    except TypeError as exc:
        if exc.__traceback__ is None or exc.__traceback__.tb_next is not None:
            raise  # it was raised inside the method
    return method()


def _described(value: object) -> str:
    return f"a {type(value).__qualname__}"


def _error_text(exc: BaseException) -> str:
    name = type(exc).__name__
    try:
        text = str(exc)
    except ENDS_THE_CELL:
        raise
    except BaseException:  # noqa: BLE001 - user code
        return name
    return f"{name}: {text[:500]}" if text else name
