"""The pages that list: overview, sessions, workers, usage."""

import asyncio
import re
import subprocess
import sys

import pytest
from playwright.async_api import expect

from .conftest import fits

pytestmark = pytest.mark.anyio


async def test_the_overview_shows_what_runs_and_where(run, show, session_id):
    await run("1")

    page = await show("/")

    await expect(page.get_by_role("link", name=session_id)).to_be_visible()
    await expect(page.locator(".tile", has_text="Workers").locator(".big")).to_have_text("2")
    await expect(page.get_by_role("img", name=re.compile("Cells per second"))).to_be_attached()
    await expect(page.locator(".tile", has_text="Cells per second").locator(".big")).to_have_text(re.compile(r"\d"))
    assert await fits(page)


async def test_the_overview_counts_sessions_and_shows_the_memory_of_redis(run, show, cluster):
    await run("1")
    page = await show("/")
    sessions = page.locator(".tile", has_text=re.compile("^Sessions[0-9]"))
    memory = page.locator(".tile", has_text="Redis memory")

    await expect(sessions).to_contain_text(re.compile(r"\d open"))
    await expect(memory).to_contain_text("no maximum is set")
    await cluster._link.redis.config_set("maxmemory", "1gb")
    await expect(memory).to_contain_text("of 1.1 GB")
    await expect(memory.get_by_role("meter", name="Redis memory: part of its maximum")).to_be_visible()
    await cluster._link.redis.config_set("maxmemory", "0")
    assert await fits(page)


async def test_the_overview_counts_cells_as_they_end(run, show):
    page = await show("/")
    rate = page.locator(".tile", has_text="Cells per second").locator(".big")
    await expect(rate).to_have_text(re.compile(r"\d"))

    for number in range(5):
        await run(str(number))

    await expect(page.locator("figcaption")).to_contain_text("the highest is")
    await expect(page.locator(".chart .line")).to_be_attached()


async def test_sessions_are_filtered_by_their_id_and_opened(run, show, session_id):
    await run("1")
    page = await show("/sessions")

    await page.get_by_label("Id begins with").fill(session_id)
    await page.keyboard.press("Enter")

    await expect(page.locator("tbody tr")).to_have_count(1)
    await expect(page.locator("tbody tr")).to_contain_text("idle")
    await page.get_by_role("link", name=session_id).click()
    await expect(page.get_by_role("heading", level=1)).to_have_text(session_id)


async def test_sessions_are_filtered_by_a_label(http, show, session_id):
    body = {"code": "1", "options": {"labels": {"team": session_id}}}
    await http.post(f"/v1/sessions/{session_id}/cells", params={"wait": 40}, json=body)
    page = await show("/sessions")

    await page.get_by_label("Label").fill(f"team:{session_id}")
    await page.keyboard.press("Enter")

    await expect(page.locator("tbody tr")).to_have_count(1)
    await expect(page.get_by_role("link", name=session_id)).to_be_visible()


async def test_sessions_are_filtered_by_their_state(http, run, show, session_id):
    await run("1")
    await http.delete(f"/v1/sessions/{session_id}")
    page = await show("/sessions")

    await page.get_by_label("State").select_option("closed")

    await expect(page.get_by_role("link", name=session_id)).to_be_visible()
    await expect(page.locator("tbody tr .mark").first).to_have_text("closed")
    await page.get_by_label("State").select_option("closing")
    await expect(page.get_by_text("No session matches.")).to_be_visible()


async def test_sessions_come_page_by_page(http, show, session_id):
    first = f"{session_id}-000"
    await http.post(f"/v1/sessions/{first}/cells", params={"wait": 40}, json={"code": "1"})
    ids = [f"{session_id}-{number:03}" for number in range(1, 300)]
    assert (await http.post(f"/v1/sessions/{first}/fork", json={"new_id": ids})).status_code == 201
    page = await show(f"/sessions?prefix={session_id}")
    names = page.locator("tbody th")
    await expect(names.first).to_have_text(re.compile(session_id))
    assert await fits(page)

    found = await names.all_inner_texts()
    following = page.get_by_role("link", name="Next page")
    await expect(following).to_be_visible()
    while await following.count():
        address = page.url
        await following.click()
        await page.wait_for_url(lambda url, address=address: url != address)
        await expect(page.locator("[aria-busy]")).to_have_count(0)
        found += await names.all_inner_texts()

    assert sorted(found) == sorted([first, *ids])
    await page.get_by_role("link", name="First page").click()
    await expect(following).to_be_visible()


async def test_workers_are_shown_with_the_sessions_that_they_hold(run, show, session_id):
    await run("1")

    page = await show("/workers")

    await expect(page.locator(".card")).to_have_count(2)
    await expect(page.locator(".card", has=page.get_by_role("link", name=session_id))).to_have_count(1)
    assert await fits(page)


async def test_usage_without_tenants_tells_how_to_make_one(show):
    page = await show("/usage")

    await expect(page.get_by_text("No tenant has quotas.")).to_contain_text("skep tenants set")


async def test_usage_is_shown_with_the_quotas(cluster, show):
    flags = ["tenants", "set", "acme", "--max-resident", "3", "--redis", cluster.redis_url]
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "skep.cli", *flags, stdout=subprocess.DEVNULL)
    assert await process.wait() == 0

    page = await show("/usage")

    card = page.locator(".card", has_text="acme")
    await expect(card).to_contain_text("0 of 3")
    await expect(card.get_by_role("meter", name="Sessions in memory: part of the quota")).to_be_visible()
    assert await fits(page)


async def test_a_page_that_does_not_exist_says_so(show):
    page = await show("/nothing")

    await expect(page.get_by_role("heading", name="Not found")).to_be_visible()
