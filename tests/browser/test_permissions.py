"""A cluster with tokens: the page offers what the token permits, and says when it is no longer valid."""

import asyncio
import subprocess
import sys

import pytest
from playwright.async_api import expect

from ..integration.gateway.gateway_process import GatewayProcess

pytestmark = pytest.mark.anyio


async def command(*arguments):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "skep.cli", *arguments, stdout=subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode()


async def test_a_token_that_only_reads_is_offered_nothing_else_until_it_is_revoked(browser, cluster):
    redis = ("--redis", cluster.redis_url)
    await cluster.session("shown").run("number = 42\nprint('to read')")
    token = (await command("tokens", "create", "--can", "read", *redis)).split()[0]
    gateway = GatewayProcess(*redis)
    gateway.token = token
    await gateway.start()
    context = await browser.new_context()
    page = await context.new_page()
    await page.goto(f"{gateway.url}/#/sessions/shown")

    await page.get_by_label("Token").fill(token)
    await page.keyboard.press("Enter")

    await expect(page.locator(".cell .text")).to_have_text("to read")
    for label in ("Run", "Interrupt", "Hibernate", "Close …"):
        await expect(page.get_by_role("button", name=label)).to_have_count(0)
    await page.get_by_role("link", name="Checkpoints").click()
    await expect(page.locator(".timeline > li")).to_have_count(1)
    await expect(page.get_by_role("button", name="Roll back")).to_have_count(0)
    await expect(page.get_by_role("button", name="Fork")).to_have_count(0)

    await command("tokens", "revoke", token.split("_")[1], *redis)
    await expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    await expect(page.get_by_role("alert")).to_contain_text("wrong, expired or revoked")
    assert await page.evaluate("sessionStorage.length") == 0
    await context.close()
    await gateway.kill()


async def test_a_tenant_sees_counts_of_its_own_and_nothing_of_the_server(browser, cluster):
    redis = ("--redis", cluster.redis_url)
    await cluster.session("not-of-the-tenant").run("1")
    token = (await command("tokens", "create", "--tenant", "acme", "--can", "read", *redis)).split()[0]
    gateway = GatewayProcess(*redis)
    gateway.token = token
    await gateway.start()
    context = await browser.new_context()
    page = await context.new_page()
    await page.goto(gateway.url)

    await page.get_by_label("Token").fill(token)
    await page.keyboard.press("Enter")

    await expect(page.locator(".tile", has_text="Sessions in memory").locator(".big")).to_have_text("0")
    await expect(page.get_by_text("No sessions yet")).to_be_visible()
    await expect(page.locator(".tile", has_text="Redis memory")).to_have_count(0)
    await context.close()
    await gateway.kill()
