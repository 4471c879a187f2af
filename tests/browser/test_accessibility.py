"""The console with the keyboard alone, for screen readers, and by axe-core's rules."""

import pytest
from playwright.async_api import expect

from .conftest import find_axe, fits

pytestmark = pytest.mark.anyio

RULES = '["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]'


async def serious(page):
    await page.evaluate(find_axe())
    found = await page.evaluate(f"axe.run(document, {{runOnly: {RULES}}})")
    return [
        (each["impact"], each["id"], [node["html"][:200] for node in each["nodes"]])
        for each in found["violations"]
        if each["impact"] in {"serious", "critical"}
    ]


@pytest.mark.parametrize("address", ["/", "/sessions", "/workers", "/usage", "/nothing"])
async def test_axe_finds_nothing_serious_on_listings(run, show, address):
    await run("1")
    page = await show(address)
    await expect(page.locator("[aria-busy]")).to_have_count(0)

    assert await serious(page) == []
    assert await fits(page)


async def test_axe_finds_nothing_serious_in_a_session(run, show, type_cell):
    await run(
        "print('\\x1b[31mred \\x1b[42mon green\\x1b[0m \\x1b[2mfaint\\x1b[0m'); import sys; print('err', file=sys.stderr)"
    )
    await run("from IPython.display import HTML\nHTML('<table><tr><td>1</td></tr></table>')")
    await run("open('file.txt', 'w').close()\nvalue = 1\n1 / 0")
    page = await show()
    await expect(page.locator(".cell")).to_have_count(3)
    await type_cell("input('name? ')")
    await expect(page.locator(".question")).to_be_visible()

    assert await serious(page) == []
    await page.get_by_role("button", name="Interrupt").click()
    await expect(page.locator(".question")).to_have_count(0)
    for part in ("Variables", "Files", "Checkpoints"):
        await page.get_by_role("link", name=part).click()
        await expect(page.locator("main tbody tr, main .timeline > li").first).to_be_visible()
        assert await serious(page) == []
        assert await fits(page)


async def test_axe_finds_nothing_serious_in_dialogs_and_at_the_login(run, show, context):
    await run("number = 1")
    page = await show(part="/checkpoints")
    await page.get_by_role("button", name="Fork from 1-0").click()

    assert await serious(page) == []
    await page.keyboard.press("Escape")
    await context.clear_cookies()


async def test_the_login_has_nothing_serious(browser, gateway, size):
    context = await browser.new_context(viewport=size)
    page = await context.new_page()
    await page.goto(gateway.url)
    await expect(page.get_by_label("Token")).to_be_focused()

    assert await serious(page) == []
    assert await fits(page)
    await context.close()


async def test_the_keyboard_reaches_the_content_and_the_heading_has_the_focus_of_a_new_page(show):
    page = await show("/")
    await page.locator("#skip").focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("#main")).to_be_focused()

    await page.get_by_role("navigation", name="Pages").get_by_role("link", name="Workers").focus()
    await page.keyboard.press("Enter")

    await expect(page.get_by_role("heading", level=1, name="Workers")).to_be_focused()
    assert await page.title() == "Workers · skep"
    await expect(page.locator("nav [aria-current=page]")).to_have_text("Workers")


async def test_the_focus_survives_the_renewal_of_a_list(run, show, session_id):
    await run("1")
    page = await show("/")
    await page.get_by_role("link", name=session_id).focus()

    await run("2")
    await expect(page.locator("tbody tr", has_text=session_id).locator("td").nth(2)).to_have_text("2")

    await expect(page.get_by_role("link", name=session_id)).to_be_focused()
