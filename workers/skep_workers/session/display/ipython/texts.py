"""The classes of IPython.display for text and data.

They have the arguments and representations of IPython's classes, without those that only Jupyter's front ends
understand. Each object reads its content when it is created, and stores it in `data`.
"""

import html
import json
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.request import urlopen


class DisplayObject:
    """An object that shows itself as one MIME type. Without `data`, the content is read from `filename` or `url`."""

    mime: ClassVar[str] = "text/plain"
    is_text: ClassVar[bool] = True

    def __init__(
        self,
        data: Any = None,
        url: str | None = None,
        filename: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        if isinstance(data, Path) or (data is not None and filename is None and self._names_file(data)):
            data, filename = None, str(data)
        elif isinstance(data, str) and url is None and data.startswith(("http://", "https://")) and not self.is_text:
            data, url = None, data
        self.data, self.url, self.filename, self.metadata = data, url, filename, metadata or {}
        self.reload()

    def _names_file(self, data: Any) -> bool:
        return not self.is_text and isinstance(data, str) and not data.startswith(("http://", "https://"))

    def reload(self) -> None:
        """Read the content again from the file or the URL. Raises OSError."""
        if self.filename is not None:
            found: str | bytes = Path(self.filename).read_bytes()
        elif self.url is not None and self.data is None:
            with urlopen(self.url) as answer:  # noqa: S310 - the user has chosen the URL
                found = answer.read()
        else:
            return
        self.data = found.decode() if self.is_text and isinstance(found, bytes) else found

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return {self.mime: self.data}

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__name__} object>"


class TextDisplayObject(DisplayObject):
    """A DisplayObject whose content is text."""

    def __init__(self, data: Any = None, *args: Any, **kwargs: Any) -> None:
        super().__init__(data, *args, **kwargs)
        if self.data is not None and not isinstance(self.data, str):
            raise TypeError(f"{type(self).__name__} needs text, not a {type(self.data).__name__}")


class Pretty(TextDisplayObject):
    """Plain text."""


class HTML(TextDisplayObject):
    """HTML."""

    mime = "text/html"

    def __html__(self) -> str:
        return str(self.data)

    def _repr_html_(self) -> str:
        return str(self.data)


class Markdown(TextDisplayObject):
    """Markdown."""

    mime = "text/markdown"


class Latex(TextDisplayObject):
    """LaTeX."""

    mime = "text/latex"


class Math(TextDisplayObject):
    """A formula, without the dollars around it."""

    mime = "text/latex"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        formula = str(self.data).strip("$")
        return {self.mime: f"$\\displaystyle {formula}$"}


class SVG(TextDisplayObject):
    """A drawing: its <svg> element."""

    mime = "image/svg+xml"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        text = str(self.data)
        start = text.find("<svg")
        return {self.mime: text[start:] if start > 0 else text}


_ADD_SHEET: Final = 'document.head.insertAdjacentHTML("beforeend", SHEET);\n'
_LOAD_SCRIPT: Final = """await new Promise((loaded) => {
  const script = document.createElement("script");
  script.src = URL;
  script.onload = loaded;
  document.head.append(script);
});
"""


class Javascript(TextDisplayObject):
    """JavaScript. `lib`: URLs of scripts to load first; `css`: of style sheets."""

    mime = "application/javascript"

    def __init__(
        self, data: Any = None, url: str | None = None, filename: str | None = None, lib: Any = (), css: Any = ()
    ) -> None:
        self.lib = [lib] if isinstance(lib, str) else list(lib or ())
        self.css = [css] if isinstance(css, str) else list(css or ())
        super().__init__(data, url, filename)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        sheets = "".join(_ADD_SHEET.replace("SHEET", json.dumps(_sheet(each))) for each in self.css)
        loads = "".join(_LOAD_SCRIPT.replace("URL", json.dumps(each)) for each in self.lib)
        code = f"{sheets}(async () => {{\n{loads}{self.data}\n}})();" if loads else f"{sheets}{self.data}"
        return {self.mime: code}


def _sheet(url: str) -> str:
    return f'<link rel="stylesheet" type="text/css" href="{html.escape(url)}">'


class JSON(DisplayObject):
    """Data that front ends show as a tree."""

    mime = "application/json"

    def __init__(
        self,
        data: Any = None,
        url: str | None = None,
        filename: str | None = None,
        expanded: bool = False,
        metadata: dict[str, Any] | None = None,
        root: str = "root",
        **more: Any,
    ) -> None:
        super().__init__(data, url, filename, {"expanded": expanded, "root": root, **(metadata or {}), **more})
        if isinstance(self.data, str):
            self.data = json.loads(self.data)


class GeoJSON(JSON):
    """The data of a map."""

    mime = "application/geo+json"


class Code(TextDisplayObject):
    """Source code."""

    def __init__(
        self, data: Any = None, url: str | None = None, filename: str | None = None, language: str | None = None
    ) -> None:
        self.language = language
        super().__init__(data, url, filename)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return {"text/plain": self.data, "text/html": f"<pre><code>{html.escape(str(self.data))}</code></pre>"}
