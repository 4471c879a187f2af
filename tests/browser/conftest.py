"""A real browser on a real gateway with real workers. See docs/contributing.md for what has to be installed.

Every page is watched: an error in the browser's console, a script's exception, and a request to another host each fail
the test that has caused it.
"""

import os
import secrets
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.async_api import Browser, BrowserContext, Page, Route, async_playwright, expect

import skep

from ..integration.gateway.gateway_process import GatewayProcess

BROWSER_VARIABLE = "SKEP_TEST_BROWSER"
AXE_VARIABLE = "SKEP_TEST_AXE"
DESKTOP, PHONE = {"width": 1180, "height": 800}, {"width": 360, "height": 740}
WAIT_MS = 40_000
FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
NOT_LOADED = "Failed to load resource: the server responded with a status of "

expect.set_options(timeout=WAIT_MS)


def find_browser() -> str:
    """Return the path of Chromium. Raises UsageError."""
    found = os.environ.get(BROWSER_VARIABLE) or shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        raise pytest.UsageError(
            "these tests need Chromium: apt-get install --no-install-recommends chromium (Debian), or set "
            f"{BROWSER_VARIABLE} to its path"
        )
    return found


def find_axe() -> str:
    """Return the source of axe-core, which `make test-browser` fetches. Raises UsageError."""
    path = Path(os.environ.get(AXE_VARIABLE) or Path(sys.prefix) / "axe" / "package" / "axe.min.js")
    if not path.is_file():
        raise pytest.UsageError(
            f"these tests need axe-core: make test-browser fetches it; {AXE_VARIABLE} names its axe.min.js"
        )
    return path.read_text(encoding="utf-8")


def pytest_configure() -> None:
    """Fail before the first test if there is no browser."""
    find_browser()


@pytest.fixture(scope="module")
async def cluster() -> AsyncIterator[skep.EmbeddedCluster]:
    """Two workers on a Redis of their own."""
    async with skep.embedded(workers=2) as cluster:
        yield cluster


@pytest.fixture(scope="module")
async def gateway(cluster: skep.EmbeddedCluster) -> AsyncIterator[GatewayProcess]:
    """The gateway of a module."""
    process = GatewayProcess("--redis", cluster.redis_url)
    await process.start()
    yield process
    await process.kill()


@pytest.fixture
async def start_gateway(cluster: skep.EmbeddedCluster) -> AsyncIterator[Callable[..., Awaitable[GatewayProcess]]]:
    """Return a function that starts a gateway for one test."""
    started: list[GatewayProcess] = []

    async def start(**settings: Any) -> GatewayProcess:
        started.append(GatewayProcess("--redis", cluster.redis_url, **settings))
        return await started[-1].start()

    yield start
    for process in started:
        await process.kill()


@pytest.fixture
async def http(gateway: GatewayProcess) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the gateway, to prepare what the page shows."""
    async with gateway.client() as client:
        yield client


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    """Chromium, with a new profile."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=find_browser(), args=FLAGS)
        yield browser
        await browser.close()


@pytest.fixture(scope="module")
async def login(browser: Browser, gateway: GatewayProcess) -> Any:
    """The cookie that the gateway's link was exchanged for."""
    context = await browser.new_context()
    page = await context.new_page()
    await page.goto(f"{gateway.url}/?token={gateway.link_token}")
    await page.get_by_role("heading", name="Overview").wait_for()
    state = await context.storage_state()
    await context.close()
    return state


class Watch:
    """What pages have done that they must not.

    expected: statuses of answers that the test causes on purpose. is_expected: which messages of the console it causes.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.wrong: list[str] = []
        self.foreign: list[str] = []
        self.expected: set[int] = set()
        self.is_expected: Callable[[str], bool] = lambda _: False

    async def of(self, context: BrowserContext) -> None:
        """Watch all pages and frames of a context; requests to other hosts are stopped."""
        context.on("page", self._page)
        await context.route("**/*", self._request)

    def _page(self, page: Page) -> None:
        page.on("pageerror", lambda error: self.wrong.append(f"exception: {error}"))
        page.on("console", lambda message: message.type in {"error", "warning"} and self._said(message.text))

    def _said(self, text: str) -> None:
        status = text.removeprefix(NOT_LOADED)[:3]
        if not (status.isdigit() and int(status) in self.expected) and not self.is_expected(text):
            self.wrong.append(text)

    async def _request(self, route: Route) -> None:
        url = route.request.url
        if url.startswith((f"{self.url}/", "data:", "blob:")):
            await route.continue_()
        else:
            self.foreign.append(url)
            await route.abort()

    def check(self) -> None:
        """Fail if anything was wrong."""
        assert self.wrong == []
        assert self.foreign == []


@pytest.fixture
def watch(gateway: GatewayProcess) -> Watch:
    """What the test's pages have done that they must not; checked when the test has ended."""
    return Watch(gateway.url)


@pytest.fixture(params=[DESKTOP, PHONE], ids=["desktop", "phone"])
def size(request: pytest.FixtureRequest) -> dict[str, int]:
    """The size of the window: a desktop's, then a phone's."""
    return request.param


@pytest.fixture
async def context(browser: Browser, login: Any, watch: Watch, size: dict[str, int]) -> AsyncIterator[BrowserContext]:
    """A browser that has logged in, light on a desktop and dark on a phone."""
    scheme = "light" if size == DESKTOP else "dark"
    context = await browser.new_context(viewport=size, color_scheme=scheme, storage_state=login)
    context.set_default_timeout(WAIT_MS)
    await watch.of(context)
    yield context
    await context.close()
    watch.check()


@pytest.fixture
async def page(context: BrowserContext) -> Page:
    """A page of that browser, empty."""
    return await context.new_page()


@pytest.fixture
def session_id() -> str:
    """The id of a session that only this test uses."""
    return f"s-{secrets.token_hex(5)}"


@pytest.fixture
def run(http: httpx.AsyncClient, session_id: str) -> Callable[[str], Awaitable[dict[str, Any]]]:
    """Return a function that runs a cell in the test's session, and returns its outcome."""

    async def run(code: str) -> dict[str, Any]:
        response = await http.post(f"/v1/sessions/{session_id}/cells", params={"wait": 40}, json={"code": code})
        assert response.status_code == 200, response.text
        return response.json()["outcome"]

    return run


@pytest.fixture
def show(page: Page, gateway: GatewayProcess, session_id: str) -> Callable[..., Awaitable[Page]]:
    """Return a function that opens a page of the console, or a part of the test's session."""

    async def show(address: str | None = None, part: str = "") -> Page:
        place = f"/sessions/{session_id}{part}" if address is None else address
        await page.goto(f"{gateway.url}/#{place}")
        await page.locator("main h1").first.wait_for()
        return page

    return show


@pytest.fixture
def type_cell(page: Page) -> Callable[[str], Awaitable[None]]:
    """Return a function that writes a cell into the box and runs it by the keyboard."""

    async def type_cell(code: str) -> None:
        await page.get_by_label("New cell").fill(code)
        await page.keyboard.press("Control+Enter")

    return type_cell


async def fits(page: Page) -> bool:
    """Return whether nothing makes the page wider than its window."""
    return await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
