"""Logins of browsers: a link works once, the cookie is checked, and requests of other pages are refused."""

import asyncio
import json
import re

import pytest

from skep.gateway.host_names import HostNames
from skep.gateway.tokens.access import Action
from skep.gateway.tokens.login_middleware import LoginMiddleware
from skep.gateway.tokens.logins import LINK_SECONDS, LOGIN_SECONDS, MOST_LINKS, MOST_LOGINS, Logins

pytestmark = pytest.mark.anyio

HOST = "127.0.0.1:8765"


@pytest.fixture
def moment():
    return [1000.0]


@pytest.fixture
def logins(moment):
    return Logins(tenant="acme", now=lambda: moment[0])


class Browser:
    """Sends requests to an app that the middleware wraps, and keeps its cookies as a browser does."""

    def __init__(self, logins):
        self.seen = []
        self.app = LoginMiddleware(self._serve, logins=logins, host_names=HostNames("127.0.0.1", ["my.example"]))
        self.cookie = ""

    async def _serve(self, scope, receive, send):
        self.seen.append(scope.get("state", {}).get("login_access"))
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"x", b"y")]})
            await send({"type": "http.response.body", "body": b"served"})

    async def send(self, method, path, kind="http", **headers):
        """Return the status and the headers of the answer."""
        sent = {"host": HOST, "cookie": self.cookie} | {n.replace("_", "-"): v for n, v in headers.items()}
        path, _, query = path.partition("?")
        scope = {
            "type": kind, "path": path, "query_string": query.encode(), "scheme": "http" if kind == "http" else "ws",
            "headers": [(name.encode(), value.encode()) for name, value in sent.items() if value],
        }  # fmt: skip
        if kind == "http":
            scope["method"] = method
        messages = []

        async def keep(message):
            messages.append(message)

        await self.app(scope, None, keep)
        if kind != "http":
            return messages
        answered = {name.decode(): value.decode() for name, value in messages[0]["headers"]}
        self.body = messages[1]["body"].decode()
        if "set-cookie" in answered:
            self.cookie = answered["set-cookie"].partition(";")[0]
        return messages[0]["status"], answered


@pytest.fixture
def browser(logins):
    return Browser(logins)


async def test_a_link_is_exchanged_for_a_cookie_once(logins, browser):
    link = logins.new_link_token()

    status, headers = await browser.send("GET", f"/?token={link}&view=x")

    assert (status, headers["location"]) == (303, "/?view=x")
    attributes = headers["set-cookie"].split("; ")[1:]
    assert attributes == ["Path=/", f"Max-Age={int(LOGIN_SECONDS)}", "HttpOnly", "SameSite=Strict"]
    assert re.match(r"skep-login-8765=[\w-]{43};", headers["set-cookie"])
    assert link not in str(headers)
    assert (await browser.send("GET", "/"))[0] == 200
    assert (browser.seen[-1].tenant, browser.seen[-1].can) == ("acme", set(Action))

    status, headers = await Browser(logins).send("GET", f"/?token={link}")
    assert (status, headers.get("set-cookie")) == (403, None)


async def test_the_same_browser_may_open_the_link_again(logins, browser):
    link = logins.new_link_token()
    await browser.send("GET", f"/?token={link}")

    status, headers = await browser.send("GET", f"/?token={link}")

    assert (status, headers["location"], headers.get("set-cookie")) == (303, "/", None)


@pytest.mark.parametrize("token", ["", "x", "é", "%00", "%ff"])
async def test_another_text_is_no_link(browser, token):
    assert (await browser.send("GET", f"/?token={token}"))[0] == 403
    assert not browser.seen


async def test_a_link_ends_after_an_hour(logins, moment):
    link = logins.new_link_token()
    moment[0] += LINK_SECONDS

    assert logins.exchange(link) is None


async def test_a_cookie_ends(logins, moment):
    login = logins.exchange(logins.new_link_token())
    assert logins.find(login.cookie) is login
    moment[0] += LOGIN_SECONDS

    assert logins.find(login.cookie) is None


async def test_the_oldest_links_and_logins_are_dropped(logins):
    first = logins.new_link_token()
    for _ in range(MOST_LINKS):
        last = logins.new_link_token()
    assert logins.exchange(first) is None
    assert logins.exchange(last)

    cookies = [logins.exchange(logins.new_link_token()).cookie for _ in range(MOST_LOGINS + 1)]
    assert logins.find(cookies[0]) is None
    assert all(logins.find(cookie) for cookie in cookies[1:])


async def test_the_end_of_a_login_ends_its_streams(logins, moment):
    login = logins.exchange(logins.new_link_token())
    wait = asyncio.create_task(logins.wait_until_invalid(login.access))
    await asyncio.sleep(0)
    assert not wait.done()

    logins.log_out(login.cookie)
    await wait
    await logins.wait_until_invalid(login.access)

    late = logins.exchange(logins.new_link_token())
    moment[0] += LOGIN_SECONDS
    await logins.wait_until_invalid(late.access)
    assert logins.find(late.cookie) is None


async def test_no_text_of_a_header_is_a_login(logins):
    assert await logins.check(logins.exchange(logins.new_link_token()).cookie) is None


async def test_secrets_are_not_shown(logins):
    login = logins.exchange(logins.new_link_token())

    assert login.cookie not in repr(login)
    assert login.csrf not in repr(login)


async def test_a_change_needs_the_text_that_the_own_page_has_read(logins, browser):
    await browser.send("GET", f"/?token={logins.new_link_token()}")
    _, headers = await browser.send("GET", "/v1/sessions")
    csrf, own = headers["x-skep-csrf"], f"http://{HOST}"

    assert (await browser.send("POST", "/v1/x", origin=own, x_skep_csrf=csrf))[0] == 200
    served = len(browser.seen)
    for refused in (
        {}, {"origin": own}, {"origin": own, "x_skep_csrf": "wrong"}, {"x_skep_csrf": csrf},
        {"origin": "http://127.0.0.1:9999", "x_skep_csrf": csrf}, {"origin": "null", "x_skep_csrf": csrf},
    ):  # fmt: skip
        status, headers = await browser.send("POST", "/v1/x", **refused)
        assert (status, headers["content-type"]) == (403, "application/problem+json")
        document = json.loads(browser.body)
        assert document["type"] == "urn:skep:ForeignRequest"
        assert document["remedy"]
    assert len(browser.seen) == served


async def test_a_request_with_a_token_in_its_header_is_passed_on_without_the_login(logins, browser):
    await browser.send("GET", f"/?token={logins.new_link_token()}")

    assert (await browser.send("POST", "/v1/x", authorization="Bearer skep_x"))[0] == 200
    assert browser.seen == [None]


async def test_a_request_without_a_login_is_passed_on_without_access(browser):
    browser.cookie = "skep-login-8765=wrong; other=1"

    status, headers = await browser.send("GET", "/")

    assert (status, headers) == (200, {"x": "y"})
    assert browser.seen == [None]


async def test_another_host_is_refused(logins, browser):
    link = logins.new_link_token()

    assert (await browser.send("GET", f"/?token={link}", host="evil.example"))[0] == 421
    document = json.loads(browser.body)
    assert (document["type"], document["host"]) == ("urn:skep:UnknownHost", "evil.example")
    assert "SKEP_GATEWAY_HOSTS" in document["remedy"]
    assert logins.exchange(link)


async def test_a_name_that_the_operator_has_set_is_served(logins, browser):
    link = logins.new_link_token()

    assert (await browser.send("GET", f"/?token={link}", host="my.example:8765"))[0] == 303
    assert (await browser.send("GET", "/v1/x", host="my.example:8765"))[0] == 200
    assert browser.seen[-1]


async def test_a_used_link_is_a_page_for_people_and_a_problem_document_for_programs(logins, browser):
    status, headers = await browser.send("GET", "/?token=used", accept="text/html,application/xhtml+xml,*/*;q=0.8")
    assert (status, headers["content-type"]) == (403, "text/html; charset=utf-8")
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert "<h1>This link was used already, or is too old</h1>" in browser.body
    assert "start skep gateway again" in browser.body

    status, headers = await browser.send("GET", "/?token=used", accept="*/*")
    document = json.loads(browser.body)
    assert (status, headers["content-type"]) == (403, "application/problem+json")
    assert (document["type"], document["status"]) == ("urn:skep:LinkUsed", 403)
    assert document["remedy"]


async def test_a_websocket_of_another_page_is_refused(logins, browser):
    await browser.send("GET", f"/?token={logins.new_link_token()}")

    assert not await browser.send("", "/ws", kind="websocket", origin=f"http://{HOST}")
    assert browser.seen[-1]
    [message] = await browser.send("", "/ws", kind="websocket", origin="http://127.0.0.1:9999")
    assert message["type"] == "websocket.close"


async def test_only_the_first_page_takes_links(logins, browser):
    link = logins.new_link_token()

    assert (await browser.send("GET", f"/v1/sessions?token={link}"))[0] == 200
    assert browser.seen == [None]
    assert logins.exchange(link)


async def test_other_scopes_are_passed_on(logins):
    seen = []

    async def app(scope, receive, send):
        seen.append(scope["type"])

    await LoginMiddleware(app, logins=logins, host_names=HostNames("127.0.0.1"))({"type": "lifespan"}, None, None)

    assert seen == ["lifespan"]
