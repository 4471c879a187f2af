"""Logging in to the console: by the gateway's link, and by a token that is pasted."""

import pytest
from playwright.async_api import expect

pytestmark = pytest.mark.anyio


async def test_the_link_logs_in_and_its_token_leaves_the_address(browser, start_gateway):
    gateway = await start_gateway()
    context = await browser.new_context()
    page = await context.new_page()

    await page.goto(f"{gateway.url}/?token={gateway.link_token}")

    await expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    assert gateway.link_token not in page.url
    [cookie] = await context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert (
        await page.evaluate("document.cookie + JSON.stringify({...localStorage}) + JSON.stringify({...sessionStorage})")
        == "{}{}"
    )
    await page.reload()
    await expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    await context.close()


async def test_a_used_link_is_a_page_that_says_what_to_do(browser, start_gateway):
    gateway = await start_gateway()
    for heading in ("Overview", "This link was used already, or is too old"):
        context = await browser.new_context()
        page = await context.new_page()
        await page.goto(f"{gateway.url}/?token={gateway.link_token}")
        await expect(page.get_by_role("heading", name=heading)).to_be_visible()
        await context.close()


async def test_a_pasted_token_is_kept_in_the_tab_only(browser, gateway):
    context = await browser.new_context()
    page = await context.new_page()
    await page.goto(f"{gateway.url}/#/workers")

    await page.get_by_label("Token").fill(gateway.token)
    await page.keyboard.press("Enter")

    await expect(page.get_by_role("heading", name="Workers", exact=True)).to_be_visible()
    assert (
        await page.evaluate("JSON.stringify([Object.keys(sessionStorage), {...localStorage}])") == '[["skep.token"],{}]'
    )
    assert await context.cookies() == []
    other = await context.new_page()
    await other.goto(gateway.url)
    await expect(other.get_by_role("heading", name="Log in")).to_be_visible()
    await context.close()


async def test_a_wrong_token_is_refused_with_the_detail_and_the_remedy(browser, gateway):
    context = await browser.new_context()
    page = await context.new_page()
    await page.goto(gateway.url)

    await page.get_by_label("Token").fill("skep_no_token")
    await page.get_by_role("button", name="Log in").click()

    await expect(page.get_by_role("alert")).to_contain_text("There is no token, or it is wrong, expired or revoked.")
    await expect(page.get_by_role("alert")).to_contain_text("Authorization: Bearer TOKEN")
    assert await page.evaluate("sessionStorage.length") == 0
    await context.close()


async def test_logging_out_ends_the_login_for_every_tab(browser, start_gateway):
    gateway = await start_gateway()
    context = await browser.new_context()
    page = await context.new_page()
    await page.goto(f"{gateway.url}/?token={gateway.link_token}")
    other = await context.new_page()
    await other.goto(f"{gateway.url}/#/workers")
    await expect(other.get_by_role("heading", name="Workers", exact=True)).to_be_visible()

    await page.get_by_role("button", name="Log out").click()

    await expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    await expect(other.get_by_role("heading", name="Log in")).to_be_visible()
    assert await context.cookies() == []
    await context.close()
