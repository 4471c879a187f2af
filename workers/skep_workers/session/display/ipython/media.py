"""The classes of IPython.display for images, audio and video."""

import base64
import html
import io
import mimetypes
import wave
from pathlib import Path
from typing import Any, ClassVar

from skep_workers.session.display.ipython.texts import DisplayObject


class Image(DisplayObject):
    """An image from bytes, a file or a URL. An image from a URL is linked, not embedded, unless `embed`."""

    is_text = False

    def __init__(  # noqa: PLR0913, PLR0917 - IPython's own signature
        self,
        data: Any = None,
        url: str | None = None,
        filename: str | None = None,
        format: str | None = None,  # noqa: A002 - IPython's own name
        embed: bool | None = None,
        width: int | None = None,
        height: int | None = None,
        metadata: dict[str, Any] | None = None,
        alt: str | None = None,
        **more: Any,
    ) -> None:
        if isinstance(data, str) and data.startswith(("http://", "https://", "data:")):
            data, url = None, data
        self.format, self.width, self.height, self.alt = format, width, height, alt
        self.embed = embed if embed is not None else url is None
        self._more = more
        super().__init__(data, url, filename, metadata)

    def reload(self) -> None:
        """Read the content again, if it is to be embedded. Raises OSError."""
        if self.embed:
            super().reload()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        mime = f"image/{(self.format or _picture_format(self.data)).lower().replace('jpg', 'jpeg')}"
        content = base64.b64encode(self.data).decode() if isinstance(self.data, bytes) else self.data
        if self.embed and self.width is None and self.height is None:
            return {mime: content}
        source = f"data:{mime};base64,{content}" if self.embed else self.url
        sized = {"width": self.width, "height": self.height, "alt": self.alt}
        page = f'<img src="{html.escape(str(source))}"{_attributes(sized)}/>'
        return {mime: content, "text/html": page} if self.embed else {"text/html": page}


def _picture_format(data: Any) -> str:
    starts = {b"\xff\xd8": "jpeg", b"GIF8": "gif", b"RIFF": "webp", b"<svg": "svg+xml"}
    return next((kind for start, kind in starts.items() if isinstance(data, bytes) and data.startswith(start)), "png")


def _attributes(given: dict[str, Any]) -> str:
    return "".join(f' {name}="{html.escape(str(value))}"' for name, value in given.items() if value is not None)


class _Media(DisplayObject):
    """Audio or video from bytes, a file or a URL."""

    is_text = False
    element: ClassVar[str] = "video"

    def __init__(
        self,
        data: Any = None,
        url: str | None = None,
        filename: str | None = None,
        embed: bool | None = None,
        mimetype: str | None = None,
        **attributes: Any,
    ) -> None:
        if isinstance(data, str) and data.startswith(("http://", "https://")):
            data, url = None, data
        self.embed = bool(embed) if embed is not None else url is None
        named = str(data) if isinstance(data, str | Path) else filename or url or ""
        self.mimetype = mimetype or mimetypes.guess_type(named)[0] or self.mime
        self.attributes = attributes
        super().__init__(data, url, filename)

    def reload(self) -> None:
        """Read the content again, if it is to be embedded. Raises OSError."""
        if self.embed:
            super().reload()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        content = base64.b64encode(self.data).decode() if isinstance(self.data, bytes) else self.data
        source = f"data:{self.mimetype};base64,{content}" if self.embed else self.url
        return {"text/html": f'<{self.element} controls src="{source}"{_attributes(self.attributes)}></{self.element}>'}


class Video(_Media):
    """A video; `width` and `height` in pixels."""

    mime = "video/mp4"


class Audio(_Media):
    """Audio, which may also be given as samples between -1 and 1 and their `rate` per second."""

    mime = "audio/wav"
    element = "audio"

    def __init__(
        self,
        data: Any = None,
        filename: str | None = None,
        url: str | None = None,
        embed: bool | None = None,
        rate: int | None = None,
        autoplay: bool = False,
        **more: Any,
    ) -> None:
        if data is not None and not isinstance(data, str | bytes | Path):
            if rate is None:
                raise ValueError("samples need a rate: Audio(samples, rate=44100)")
            data = _wave(data, int(rate))
        super().__init__(data, url, filename, embed, autoplay="autoplay" if autoplay else None, **more)


def _wave(samples: Any, rate: int) -> bytes:
    values = [float(sample) for sample in samples]
    loudest = max((abs(value) for value in values), default=1.0) or 1.0
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(b"".join(int(value / loudest * 32767).to_bytes(2, "little", signed=True) for value in values))
    return buffer.getvalue()
