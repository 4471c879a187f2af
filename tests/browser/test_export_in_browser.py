"""An exported page of a hostile session in a real browser (Debian: apt-get install chromium): `make test-browser`.

The session's HTML tries to run scripts, to change the page around it and to reach a server. The same HTML without the
page's protection shows that these attempts work in this browser.
"""

import shutil
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from skep.export.html_page import notebook_page
from skep.export.session_notebook import SessionNotebook
from skep_shared.events import CellQueued, DisplayEvent, OutputEvent

pytestmark = pytest.mark.timeout(120)
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
LOAD_MS = 3000


class Server:
    """A web server that notes what is asked of it."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        paths = self.paths

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                paths.append(self.path)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Print nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, name="web server of a test")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    server.start()
    yield server
    server.stop()


def attempts(url: str) -> str:
    """Return HTML that tries everything."""
    script = f"parent.document.title = 'taken'; fetch('{url}/fetch'); new Image().src = '{url}/image-of-script'"
    return (
        f"</iframe></pre></section><script>{script}</script><img src='{url}/img'><img src=x onerror=\"{script}\">"
        f"<link rel=stylesheet href='{url}/style'><style>@import '{url}/import'; body{{background:url({url}/css)}}</style>"
        f"<svg onload=\"{script}\"><image href='{url}/svg'/></svg><iframe src='{url}/frame'></iframe>"
        f"<iframe srcdoc=\"<img src='{url}/inner'>\"></iframe><object data='{url}/object'></object>"
        f"<embed src='{url}/embed'><video src='{url}/video'></video><script src='{url}/script'></script>"
        f"<base href='{url}/'><img src='relative'><body onload=\"{script}\"><meta http-equiv=refresh content='0;{url}/refresh'>"
    )


def dom_of(page: str, tmp_path: Path) -> str:
    """Return the page's elements after it has loaded."""
    browser = shutil.which("chromium")
    assert browser is not None, "no chromium on PATH (Debian: apt-get install chromium)"
    file = tmp_path / "page.html"
    file.write_text(page, encoding="utf-8")
    command = [
        browser, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", f"--virtual-time-budget={LOAD_MS}", "--dump-dom",
        file.as_uri(),
    ]  # fmt: skip
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=100).stdout


def exported(*events: tuple[type, dict[str, object]]) -> str:
    book = SessionNotebook("s", max_cell_bytes=10**6, max_bytes=10**7)
    head = {"session_id": "s", "cell_id": "c", "seq": 1, "attempt": 1, "epoch": 1, "at": datetime.now(UTC)}
    for number, (kind, fields) in enumerate(events, 1):
        book.add(kind(id=f"{number}-0", **head, **fields))
    return notebook_page(book.document())


def test_the_attempts_succeed_without_protection(server, tmp_path):
    dom_of(f"<!DOCTYPE html><title>before</title><body>{attempts(server.url)}", tmp_path)

    assert {"/img", "/fetch", "/style", "/frame"} <= set(server.paths)


def test_an_exported_page_reaches_no_server_and_runs_no_script(server, tmp_path):
    hostile = attempts(server.url)
    page = exported(
        (CellQueued, {"code": hostile, "labels": {"x": hostile}}),
        (OutputEvent, {"stream": "stdout", "text": f"\x1b[31m{hostile}\x00\u2028</pre>{hostile}"}),
        (DisplayEvent, {"bundle": {"text/html": hostile, "text/plain": hostile}}),
        (DisplayEvent, {"bundle": {"image/svg+xml": f"<svg xmlns='http://www.w3.org/2000/svg'>{hostile}</svg>"}}),
        (DisplayEvent, {"bundle": {"text/plain": "after all that"}}),
    )
    dom = dom_of(page, tmp_path)

    assert server.paths == []
    assert "<title>Session s</title>" in dom
    assert "after all that" in dom
    assert dom.count("<iframe") == 1


def test_a_frame_shows_the_html_of_a_session(tmp_path):
    browser = shutil.which("chromium")
    assert browser is not None, "no chromium on PATH (Debian: apt-get install chromium)"
    colour = "<style>body{background:#0f0}</style>"
    pictures = []
    for name, shown in (("plain", ""), ("green", colour)):
        (tmp_path / f"{name}.html").write_text(exported((DisplayEvent, {"bundle": {"text/html": f"<b>x</b>{shown}"}})))
        picture = tmp_path / f"{name}.png"
        subprocess.run(
            [browser, *FLAGS, f"--user-data-dir={tmp_path / name}", f"--screenshot={picture}", (tmp_path / f"{name}.html").as_uri()],
            check=True, capture_output=True, timeout=100,
        )  # fmt: skip
        pictures.append(picture.read_bytes())

    assert pictures[0] != pictures[1]
