"""requests, httpx, aiohttp and what else talks: what is configured is kept, what is connected is reported."""

from .case import read

CASES = read(
    "http",
    r"""
== a client of httpx [or loses: c]
import httpx
c = httpx.Client(headers={'X': '1'}); kept = [1]
--
assert c.headers['x'] == '1' and kept == [1]
-- told
assert kept == [1] and httpx.Client(headers={"X": "2"}).headers["x"] == "2"
== requests and responses of httpx
import httpx
request = httpx.Request("POST", "http://h/p?q=1", json={"a": 1}, headers={"X": "y"}); response = httpx.Response(200, json={"b": 2}, request=request); url = httpx.URL("http://h/p"); wait = httpx.Timeout(3, connect=1)
--
assert request.url.params["q"] == "1" and response.json() == {"b": 2} and response.request.headers["x"] == "y" and url.host == "h" and wait.connect == 1
== a client of httpx over a function of a cell [or loses: c]
import httpx
def answer(request): calls.append(request.url.path); return httpx.Response(200, json={"path": request.url.path})
calls = []; transport = httpx.MockTransport(answer); c = httpx.Client(transport=transport, base_url="http://h"); first = c.get("/a").json()
--
assert c.get("/b").json() == {"path": "/b"} and calls == ["/a", "/b"]
-- told
assert httpx.Client(transport=transport, base_url="http://h").get("/b").json() == {"path": "/b"} and calls == ["/a", "/b"]
== a session of requests
import requests
s = requests.Session(); s.headers["X"] = "1"; s.auth = ("u", "p"); s.cookies.set("c", "v"); s.params = {"k": "v"}
--
assert s.headers["x"] == "1" and s.auth == ("u", "p") and s.cookies["c"] == "v" and s.params == {"k": "v"} and s.prepare_request(requests.Request("GET", "http://h")).url == "http://h/?k=v"
== adapters, hooks and authentication of cells
import requests
from requests.adapters import BaseAdapter
class Fake(BaseAdapter):
    def send(self, request, **kwargs):
        r = requests.Response(); r.status_code = 200; r._content = body; r.request = request; r.url = request.url; return r
    def close(self): pass
class Token(requests.auth.AuthBase):
    def __call__(self, r): r.headers["T"] = "t"; return r
body = b'{"a": 1}'; seen = []; s = requests.Session(); s.mount("http://fake", Fake()); s.auth = Token(); s.hooks["response"].append(lambda r, **k: seen.append(r.status_code)); first = s.get("http://fake/x")
--
body = b'{"a": 2}'
assert first.json() == {"a": 1} and s.get("http://fake/y").json() == {"a": 2} and seen == [200, 200] and first.request.headers["T"] == "t"
== prepared requests and errors
import requests
r = requests.Request("PUT", "http://h/p", data={"a": "b"}).prepare(); err = requests.HTTPError("no", response=requests.Response()); jar = requests.cookies.cookiejar_from_dict({"k": "v"})
--
assert r.body == "a=b" and r.method == "PUT" and err.response.status_code is None and jar["k"] == "v"
== a session of aiohttp
import aiohttp
session = aiohttp.ClientSession(headers={"X": "1"}); wait = aiohttp.ClientTimeout(total=3); kept = [1]
--
assert kept == [1] and wait.total == 3 and aiohttp.ClientTimeout(total=4).total == 4
from aiohttp import web
async def hello(request): return web.Response(text=request.headers["X"])
app = web.Application(); app.router.add_get("/", hello); runner = web.AppRunner(app); await runner.setup()
site = web.TCPSite(runner, "127.0.0.1", 0); await site.start()
async with session.get(f"http://127.0.0.1:{runner.addresses[0][1]}/") as response: assert await response.text() == "1"
await session.close(); await runner.cleanup()
== an application of aiohttp [or loses: app]
from aiohttp import web
async def hello(request): return web.Response(text="hi")
app = web.Application(); app.router.add_get("/hello", hello); kept = [1]
--
assert {r.method for r in app.router.routes()} == {"GET", "HEAD"}
assert (await hello(None)).text == "hi" and kept == [1]
-- told
assert (await hello(None)).text == "hi" and kept == [1] and web.Application() is not None
== a socket, a server and a connection [loses: sock, server, http]
import socket, socketserver, http.client as hc
sock = socket.socket(); server = socketserver.TCPServer(("127.0.0.1", 0), socketserver.BaseRequestHandler); port = server.server_address[1]; http = hc.HTTPConnection("127.0.0.1", port); http.connect(); kept = [1]
--
assert kept == [1] and port > 0 and socket.socket is not None
== openers, cookies and messages of the standard library
import urllib.request, http.cookiejar, http.cookies, email.message
jar = http.cookiejar.CookieJar(); opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar)); request = urllib.request.Request("http://h", headers={"A": "b"}); morsel = http.cookies.SimpleCookie("a=b"); mail = email.message.EmailMessage(); mail["To"] = "me"; mail.set_content("text")
--
assert request.get_header("A") == "b" and morsel["a"].value == "b" and mail["To"] == "me" and mail.get_content() == "text\n" and any(getattr(h, "cookiejar", None) is jar for h in opener.handlers)
""",
)
