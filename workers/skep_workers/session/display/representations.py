"""The methods by which objects say how they are shown, called as IPython's documentation has them called.

All of them are user code, called as part of a cell. One that raises is reported, and another representation will do;
NotImplementedError says that there is none.
"""

from asyncio import CancelledError
from collections.abc import Callable, Collection
from typing import Any, Final, NamedTuple

# How an interrupt, a timeout or a cancelled task reaches user code: never taken for a fault of a representation.
ENDS_THE_CELL: Final = (KeyboardInterrupt, CancelledError, GeneratorExit)
PLAIN_KINDS: Final = frozenset(
    {int, float, complex, bool, str, bytes, list, tuple, dict, set, frozenset}
)  # they have none of these methods
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
_CANARY: Final = "_ipython_canary_method_should_not_exist_"  # the name that IPython and its users agree on

_MOST_TOLD: Final = 1000
_told_of_metadata: Final[set[str]] = set()  # names of types

Report = Callable[[str], None]  # takes what is to be told to the cell's readers, in one line


class Wanted(NamedTuple):
    """The MIME types that are asked for; None: whatever there is."""

    include: Collection[str] | None = None
    exclude: Collection[str] | None = None

    def has(self, mime: str) -> bool:
        """Return whether this one is."""
        return (self.include is None or mime in self.include) and (self.exclude is None or mime not in self.exclude)


def representations(value: object, wanted: Wanted, report: Report) -> dict[str, Any]:
    """Return what the value's methods give, MIME type -> whatever they gave; a class shows nothing."""
    if issubclass(type(value), type):  # it has the methods too, for its instances
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
    """Have a value show itself that has its own way (`_ipython_display_`); False if it has none."""
    if type(value) in PLAIN_KINDS:
        return False
    name = "_ipython_display_"
    method = None if issubclass(type(value), type) else method_of(value, name)
    if method is None:
        return False
    return call(lambda: (method(), True)[1], name, value, report) is True


def method_of(value: object, name: str) -> Callable[..., Any] | None:
    """Return a method of the value, from its class or its own; None for an object that has whatever it is asked for."""
    try:
        if getattr(type(value), name, None) is None and (
            getattr(value, name, None) is None or getattr(value, _CANARY, None) is not None
        ):
            return None
        method = getattr(value, name, None)
    except ENDS_THE_CELL:
        raise
    except BaseException:  # noqa: BLE001 - `__getattr__` is user code; what has no such attribute may say so in any way
        return None
    return method if callable(method) else None


def call(method: Callable[[], Any], name: str, value: object, report: Report) -> Any:
    """Return what the method gives, None if it raises, which is reported."""
    try:
        return method()
    except ENDS_THE_CELL:
        raise
    except NotImplementedError:
        return None
    except BaseException as exc:  # noqa: BLE001 - user code, even SystemExit
        report(f"{name} of {_described(value)} raised {_told(exc)}")
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
    """Return the data of (data, metadata); that there is some, which no event has room for, is told once for a type."""
    if not isinstance(shown, tuple) or not shown:
        return shown
    name = type(value).__qualname__
    metadata = shown[1] if len(shown) > 1 else None
    if isinstance(metadata, dict) and metadata and name not in _told_of_metadata:
        if len(_told_of_metadata) < _MOST_TOLD:
            _told_of_metadata.add(name)
        report(f"the metadata of {_described(value)} isn't kept: {', '.join(map(str, metadata))}")
    return shown[0]


def _call_for_bundle(method: Callable[..., Any], wanted: Wanted) -> Any:
    """Call it with `include` and `exclude`, as is documented; one that takes none is called without."""
    try:
        return method(include=wanted.include, exclude=wanted.exclude)
    except TypeError as exc:
        if exc.__traceback__ is None or exc.__traceback__.tb_next is not None:
            raise  # from inside of it
    return method()


def _described(value: object) -> str:
    return f"a {type(value).__qualname__}"


def _told(exc: BaseException) -> str:
    name = type(exc).__name__
    try:
        text = str(exc)
    except ENDS_THE_CELL:
        raise
    except BaseException:  # noqa: BLE001 - user code
        return name
    return f"{name}: {text[:500]}" if text else name
