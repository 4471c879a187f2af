"""The classes of IPython.display for embedded pages, links and progress bars."""

import html
from pathlib import Path
from typing import Any
from urllib.parse import quote

from skep_workers.session.display.publisher import DisplayHandle, the_publisher


class IFrame:
    """Another page in an iframe; further arguments become the query of its URL."""

    def __init__(self, src: str, width: Any, height: Any, extras: Any = None, **query: Any) -> None:
        self.src, self.width, self.height, self.extras, self.params = src, width, height, list(extras or ()), query

    def _repr_html_(self) -> str:
        query = "&".join(f"{quote(str(name))}={quote(str(value))}" for name, value in self.params.items())
        source = html.escape(self.src + (f"?{query}" if query else ""))
        size, extras = f'width="{self.width}" height="{self.height}"', " ".join(self.extras)
        return f'<iframe {size} src="{source}" frameborder="0" allowfullscreen {extras}></iframe>'


class YouTubeVideo(IFrame):
    """A YouTube video, by its id."""

    def __init__(self, id: str, width: int = 400, height: int = 300, **query: Any) -> None:  # noqa: A002 - IPython's
        super().__init__(f"https://www.youtube.com/embed/{id}", width, height, **query)


class VimeoVideo(IFrame):
    """A Vimeo video, by its id."""

    def __init__(self, id: str, width: int = 400, height: int = 300, **query: Any) -> None:  # noqa: A002 - IPython's
        super().__init__(f"https://player.vimeo.com/video/{id}", width, height, **query)


class FileLink:
    """A link to a file."""

    def __init__(
        self, path: Any, url_prefix: str = "", result_html_prefix: str = "", result_html_suffix: str = "<br>"
    ) -> None:
        self.path, self.url_prefix = str(path), url_prefix
        self.result_html_prefix, self.result_html_suffix = result_html_prefix, result_html_suffix

    def _repr_html_(self) -> str:
        target = html.escape(self.url_prefix + quote(self.path))
        link = f'<a href="{target}" target="_blank">{html.escape(self.path)}</a>'
        return self.result_html_prefix + link + self.result_html_suffix

    def __repr__(self) -> str:
        return str(Path(self.path).absolute())


class ProgressBar:
    """A progress bar: iterate over it, or set `progress`."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._progress = 0
        self._handle: DisplayHandle | None = None

    def __repr__(self) -> str:
        done = int(60 * self._progress / self.total) if self.total else 60
        return f"[{'=' * done}{' ' * (60 - done)}] {self._progress}/{self.total}"

    def _repr_html_(self) -> str:
        return f'<progress style="width:60ex" max="{self.total}" value="{self._progress}"></progress>'

    @property
    def progress(self) -> int:
        """The number of completed steps."""
        return self._progress

    @progress.setter
    def progress(self, value: int) -> None:
        self._progress = value
        self.update()

    def display(self) -> None:
        """Show the bar."""
        self._handle = the_publisher().display(self, display_id=True)

    def update(self) -> None:
        """Show the current progress."""
        if self._handle is None:
            self.display()
        else:
            self._handle.update(self)

    def __iter__(self) -> "ProgressBar":
        self._progress = -1
        self.display()
        return self

    def __next__(self) -> int:
        self.progress += 1
        if self._progress < self.total:
            return self._progress
        raise StopIteration
