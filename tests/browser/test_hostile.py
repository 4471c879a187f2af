"""Output that tries to run script in the console: none of it does, whatever way it takes."""

import json

import pytest
from playwright.async_api import expect

pytestmark = pytest.mark.anyio

EVIL = "window.top.evil=1;window.evil=1;document.title='evil';parent.postMessage({height:1e9},'*')"
HTML = f"""
<script>{EVIL}</script><img src=x onerror="{EVIL}"><svg onload="{EVIL}"><script>{EVIL}</script></svg>
<body onload="{EVIL}"><iframe srcdoc="<script>{EVIL}</script>"></iframe><object data="data:text/html,<script>{EVIL}</script>"></object>
<a id=link href="javascript:{EVIL}">link</a> <a id=top target=_top href="https://example.org/">top</a>
<form action="https://example.org/"><button id=send>send</button></form><meta http-equiv=refresh content="0;url=https://example.org/">
<base href="https://example.org/"><link rel=stylesheet href="https://example.org/a.css"><style>@import "https://example.org/b.css"; p {{ background: url(https://example.org/c.png) }}</style>
<p id=end>the end</p><a id=self href="https://example.org/self">self</a><input autofocus onfocus="{EVIL}"><details open ontoggle="{EVIL}"></details>
<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror={EVIL}&gt;">
"""
TEXTS = [
    f"<script>{EVIL}</script>",
    f"<img src=x onerror={EVIL}>",
    f"\x1b]8;;javascript:{EVIL}\x07link\x1b]8;;\x07",
    f"\x1b[38;2;1;2;url(javascript:{EVIL})m x",
]


async def test_html_runs_no_script_and_loads_nothing(run, show, watch, gateway):
    watch.is_expected = refused
    await run(f"from IPython.display import display, HTML\ndisplay(HTML({HTML!r}))")

    page = await show()
    frame = page.frame_locator(".cell iframe")
    await expect(frame.locator("#end")).to_be_visible()
    await frame.locator("#link").click()
    await frame.locator("#top").click(no_wait_after=True)
    await frame.locator("#send").click(no_wait_after=True)

    assert await page.evaluate("[window.evil, document.title.includes('evil')]") == [None, False]
    inside = await (await page.locator(".cell iframe").element_handle()).content_frame()
    # Evaluated by the debugger in the frame's own world: what the page could do there, its user's HTML could do.
    assert await inside.evaluate("[window.evil, origin]") == [None, "null"]
    for reach in ("parent.document.title", "localStorage.length", "document.cookie"):
        assert (
            await inside.evaluate(
                f"(() => {{ try {{ {reach}; return 'reached' }} catch (error) {{ return error.name }} }})()"
            )
            == "SecurityError"
        )
    assert await page.locator(".cell iframe").evaluate("each => each.clientHeight") <= 600
    await frame.locator("#self").click(no_wait_after=True)
    await expect(page.locator(".cell .mark")).to_have_text("done")
    assert page.url.startswith(gateway.url)
    assert watch.foreign == []


def refused(text: str) -> bool:
    """Return whether the browser reports that it has refused something of the hostile HTML."""
    return any(
        word in text
        for word in (
            "Content Security Policy",
            "sandboxed",
            "Unsafe attempt",
            "TrustedHTML",
            "TrustedScript",
            "x-frame-options",
            "net::ERR_FAILED",
            "Blocked autofocusing",
        )
    )


async def test_the_frame_reaches_neither_the_api_nor_another_host(run, show, gateway, watch):
    watch.is_expected = refused
    await run("from IPython.display import display, HTML\ndisplay(HTML('<p id=end>the end</p>'))")
    page = await show()
    await expect(page.frame_locator(".cell iframe").locator("#end")).to_be_visible()
    inside = await (await page.locator(".cell iframe").element_handle()).content_frame()

    for url in (f"{gateway.url}/v1/sessions", "https://example.org/"):
        script = f"fetch({json.dumps(url)}, {{credentials: 'include'}}).then(() => 'answered', error => error.name)"
        assert await inside.evaluate(script) == "TypeError"

    assert watch.foreign == []


async def test_printed_text_is_only_text(run, show):
    await run("\n".join(f"print({text!r})" for text in TEXTS))

    page = await show()
    text = page.locator(".cell .text")

    await expect(text).to_contain_text(TEXTS[0])
    assert (
        await text.evaluate(
            "each => [...each.querySelectorAll('*')].map(one => one.tagName).filter(name => name !== 'DIV' && name !== 'SPAN')"
        )
        == []
    )
    assert await page.evaluate("window.evil") is None


@pytest.mark.parametrize(
    "kind",
    [
        "image/svg+xml",
        "image/png",
        "text/plain",
        "application/javascript",
        "text/markdown",
        "text/latex",
        "application/json",
    ],
)
async def test_other_types_run_no_script(run, show, kind):
    content = f'<svg xmlns="http://www.w3.org/2000/svg" onload="{EVIL}"><script>{EVIL}</script></svg>'
    await run(f"from IPython.display import display\ndisplay({{{kind!r}: {content!r}}}, raw=True)")

    page = await show()
    await expect(page.locator(".cell .mark")).to_have_text("done")
    await expect(page.locator(".cell .outputs .bundle")).to_be_visible()

    assert await page.evaluate("window.evil") is None


async def test_names_messages_and_prompts_are_only_text(run, show, type_cell, http, session_id):
    evil = f"<img src=x onerror={EVIL}>"
    await run(
        f"class E(Exception): pass\nE.__name__ = E.__qualname__ = {evil!r}\nimport warnings\nwarnings.warn({evil!r})\nopen({'<img src=x onerror=evil=1>'!r}, 'w').close()\nvalue = {evil!r}"
    )
    await run(f"raise E({evil!r})")
    page = await show()
    await expect(page.locator(".cell .fault")).to_contain_text(evil)

    await type_cell(f"input({evil!r})")
    await expect(page.locator(".question label")).to_have_text(evil)
    await page.get_by_role("button", name="End of file").click()
    for part in ("Variables", "Files", "Checkpoints"):
        await page.get_by_role("link", name=part).click()
        await expect(page.get_by_role("heading", name=part)).to_be_visible()
        await expect(page.locator("main tbody tr, main .timeline > li").first).to_be_visible()

    assert await page.locator("main img").count() == 0
    assert await page.evaluate("window.evil") is None


async def test_the_policy_forbids_html_and_script_in_the_page_itself(show, watch):
    watch.is_expected = refused
    page = await show("/")

    for attempt in ("document.body.innerHTML = '<b>x</b>'", "document.createElement('script').text = 'evil = 1'"):
        script = f"(() => {{ try {{ {attempt}; return '' }} catch (error) {{ return error.name }} }})()"
        assert await page.evaluate(script) == "TypeError"
