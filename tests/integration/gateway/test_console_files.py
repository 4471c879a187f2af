"""The console's files: what the gateway serves, with which headers, and what the files themselves may not have."""

import re
from importlib.resources import files
from pathlib import Path

import pytest

from skep.gateway.console.static_files import read_static_files

from .gateway_process import problem

pytestmark = pytest.mark.anyio

STATIC = Path(str(files("skep.gateway.console") / "static"))
PATHS = sorted(str(path.relative_to(STATIC)) for path in STATIC.rglob("*") if path.is_file())


@pytest.fixture
async def anyone(gateway):
    async with gateway.client() as client:
        del client.headers["Authorization"]
        yield client


async def test_the_page_needs_no_token_and_has_a_strict_policy(anyone):
    response = await anyone.get("/")

    policy = dict(part.strip().partition(" ")[::2] for part in response.headers["content-security-policy"].split(";"))
    assert (response.status_code, response.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["cross-origin-opener-policy"] == "same-origin"


async def test_the_frame_has_an_origin_of_its_own_however_it_is_opened(anyone):
    response = await anyone.get("/console/static/frame/frame.html")

    policy = response.headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts; default-src 'none'")
    assert "allow-same-origin" not in policy
    assert "frame-ancestors 'self'" in policy


@pytest.mark.parametrize("path", [path for path in PATHS if path != "index.html"])
async def test_each_file_is_served_with_its_type_and_found_unchanged(anyone, path):
    response = await anyone.get(f"/console/static/{path}")
    again = await anyone.get(
        f"/console/static/{path}", headers={"If-None-Match": f'"other", W/{response.headers["etag"]}'}
    )
    head = await anyone.head(f"/console/static/{path}")

    assert (response.status_code, response.content) == (200, (STATIC / path).read_bytes())
    assert response.headers["cache-control"] == "no-cache"
    assert (again.status_code, again.content) == (304, b"")
    assert (head.status_code, head.headers["content-length"]) == (200, str(len(response.content)))


@pytest.mark.parametrize(
    "path",
    [
        "../__init__.py", "..%2f__init__.py", "%2e%2e/__init__.py", "lib/../../__init__.py", "/etc/passwd", "lib", "lib/", "",
        "index.html", "missing.js", "lib%00.js", "STYLE.CSS", "..\\__init__.py",
    ],
)  # fmt: skip
async def test_no_path_leads_out_of_the_folder(anyone, path):
    response = await anyone.get(f"/console/static/{path}")

    assert response.status_code in {401, 404}, response.text
    assert response.headers["content-type"] == "application/problem+json"


async def test_what_the_caller_may_do_needs_a_token(anyone, http):
    problem(await anyone.get("/console/access"), 401, "Unauthorized")
    problem(await anyone.delete("/console/access"), 401, "Unauthorized")

    found = (await http.get("/console/access")).json()
    assert (found["tenant"], found["can"]) == (None, ["admin", "read", "run"])
    assert (await http.delete("/console/access")).status_code == 204


async def test_no_file_needs_an_exception_from_the_policy_or_another_host():
    assert sorted(read_static_files()) == PATHS
    for path in PATHS:
        text = (STATIC / path).read_text(encoding="utf-8")
        if path.endswith(".html"):
            assert re.findall(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=", text) == [], path
        if path.endswith(".js") and not path.startswith("frame/"):
            sinks = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|srcdoc|\beval\(|new Function|DOMParser"
            assert re.findall(sinks, text) == [], path
        others = [url for url in re.findall(r"https?://[^\s\"'`)]+", text) if not url.startswith("http://www.w3.org/")]
        assert others == [], path
