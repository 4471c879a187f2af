"""A session's variables, files and checkpoints, and its end."""

import pytest
from playwright.async_api import expect

from .conftest import fits

pytestmark = pytest.mark.anyio


async def test_variables_are_listed_and_refreshed(run, show):
    await run("answer = 42\nwords = ['a', 'b', 'c']")
    page = await show(part="/variables")
    row = page.locator("tbody tr", has_text="answer")
    await expect(row).to_contain_text("int")
    await expect(row).to_contain_text("42")

    await run("answer = 'changed'")  # the notebook's stream reports the end of a cell

    await expect(row).to_contain_text("'changed'")
    assert await fits(page)


async def test_a_session_without_variables_says_so(run, show):
    await run("1")

    page = await show(part="/variables")

    await expect(page.get_by_text("No variables")).to_be_visible()


async def test_files_are_uploaded_listed_downloaded_and_removed(run, show, tmp_path):
    await run("1")
    page = await show(part="/files")
    await expect(page.get_by_text("No files")).to_be_visible()

    await page.get_by_label("Upload files").set_input_files(
        {"name": "a table é.csv", "mimeType": "text/csv", "buffer": b"x,y\n1,2\n"}
    )
    await page.get_by_role("button", name="Upload", exact=True).click()
    await expect(page.locator("tbody tr")).to_contain_text("8 B")
    assert (await run("open('a table é.csv').read()"))["value"] == "x,y\n1,2\n"
    async with page.expect_download() as downloading:
        await page.get_by_role("link", name="a table é.csv").click()
    await (await downloading.value).save_as(tmp_path / "got")
    await page.get_by_role("button", name="Remove a table é.csv").click()
    await page.get_by_role("dialog").get_by_role("button", name="Remove").click()

    assert (tmp_path / "got").read_bytes() == b"x,y\n1,2\n"
    await expect(page.get_by_text("No files")).to_be_visible()
    assert await fits(page)


async def test_a_file_is_downloaded_with_a_pasted_token_too(browser, gateway, run, session_id, tmp_path):
    await run(
        "import os\nos.makedirs('deep', exist_ok=True)\nprint('in it', file=open('deep/file.txt', 'w'), end='', flush=True)"
    )
    context = await browser.new_context()
    page = await context.new_page()
    await page.goto(f"{gateway.url}/#/sessions/{session_id}/files")
    await page.get_by_label("Token").fill(gateway.token)
    await page.keyboard.press("Enter")

    async with page.expect_download() as downloading:
        await page.get_by_role("link", name="deep/file.txt").click()
    await (await downloading.value).save_as(tmp_path / "got")

    assert (tmp_path / "got").read_bytes() == b"in it"
    await context.close()


async def test_a_session_goes_back_to_a_checkpoint(run, show):
    await run("number = 1")
    await run("number = 2")
    page = await show(part="/checkpoints")
    await expect(page.locator(".timeline > li")).to_have_count(2)
    await expect(page.locator(".timeline > li.head")).to_contain_text("2-0")

    await page.get_by_role("button", name="Roll back to 1-0").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(dialog).to_have_count(0)
    await expect(page.get_by_role("button", name="Roll back to 1-0")).to_be_focused()
    await page.keyboard.press("Enter")
    await dialog.get_by_role("button", name="Roll back").click()

    await expect(page.locator(".timeline > li.head")).to_contain_text("1-0")
    assert (await run("number"))["value"] == 1
    await page.get_by_role("link", name="Notebook").click()
    await expect(page.get_by_text("Rolled back from checkpoint 2-0 to 1-0.")).to_be_visible()
    assert await fits(page)


async def test_a_session_is_forked_from_a_checkpoint(http, run, show, session_id):
    await run("number = 1")
    await run("number = 2")
    page = await show(part="/checkpoints")

    await page.get_by_role("button", name="Fork from 1-0").click()
    await page.get_by_label("Id of the new session").fill(f"{session_id}-new")
    await page.keyboard.press("Enter")

    await expect(page.get_by_role("heading", level=1)).to_have_text(f"{session_id}-new")
    response = await http.post(f"/v1/sessions/{session_id}-new/cells", params={"wait": 40}, json={"code": "number"})
    assert response.json()["outcome"]["value"] == 1
    await expect(page.locator(".cell .outputs")).to_contain_text("1")


async def test_a_fork_to_an_existing_session_shows_the_problem(run, show, session_id, watch):
    await run("number = 1")
    page = await show(part="/checkpoints")
    watch.expected = {422}

    await page.get_by_role("button", name="Fork from 1-0").click()
    await page.get_by_label("Id of the new session").fill(session_id)
    await page.keyboard.press("Enter")

    await expect(page.get_by_role("alert")).to_contain_text("a session with this id exists already")


async def test_a_session_is_hibernated(run, show):
    await run("1")
    page = await show()

    await page.get_by_role("button", name="Hibernate").click()

    await expect(page.locator(".session-facts .mark")).to_have_text("hibernated")


async def test_a_session_is_closed(run, show):
    await run("1")
    page = await show()
    await expect(page.get_by_label("New cell")).to_be_visible()

    await page.get_by_role("button", name="Close …").click()
    await page.get_by_role("dialog").get_by_role("button", name="Close").click()

    await expect(page.get_by_text("The session is closed.")).to_be_visible()
    await expect(page.get_by_label("New cell")).to_be_hidden()


async def test_a_session_is_purged(http, run, show, session_id, watch):
    await run("1")
    page = await show()
    watch.expected = {404}

    await page.get_by_role("button", name="Close …").click()
    await page.get_by_label("Also delete").check()
    await page.get_by_role("dialog").get_by_role("button", name="Close").click()

    await expect(page.get_by_role("heading", name="Sessions")).to_be_visible()
    assert (await http.get(f"/v1/sessions/{session_id}")).status_code == 404
