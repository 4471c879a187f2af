"""A session as a notebook: cells are run, and everything that they show is shown, live and after a reconnect."""

import re

import pytest
from playwright.async_api import expect

from .conftest import fits

pytestmark = pytest.mark.anyio

SLOW = "import time\nprint('it runs', flush=True)\nwhile True: time.sleep(0.01)"


async def test_the_first_cell_begins_a_session(show, type_cell, watch):
    watch.expected = {404}
    page = await show()
    await expect(page.get_by_text("its first cell begins it")).to_be_visible()

    await type_cell("print('hello')\n6 * 7")

    cell = page.locator(".cell")
    await expect(cell.locator(".outputs")).to_contain_text("hello")
    await expect(cell.locator(".outputs")).to_contain_text("42")
    await expect(cell.locator(".mark")).to_have_text("done")
    await expect(page.get_by_label("New cell")).to_be_focused()
    await expect(page.get_by_label("New cell")).to_have_value("")
    await expect(page.get_by_role("status").filter(has_text="Cell 1 done")).to_have_count(1)


async def test_colours_and_overwritten_lines_look_as_in_a_terminal(run, show):
    await run(r"print('10 %\r100 %\nab\b\bAB', '\x1b[1;31mred\x1b[0m \x1b[38;2;1;2;3mown\x1b[0m plain', end='')")

    page = await show()
    text = page.locator(".cell .text")

    await expect(text.locator("div > div").nth(0)).to_have_text("100 %")
    await expect(text.locator("div > div").nth(1)).to_have_text("AB red own plain")
    await expect(text.locator("span.bold.fg1")).to_have_text("red")
    assert await text.get_by_text("own").evaluate("each => each.style.color") == "rgb(1, 2, 3)"


async def test_a_progress_bar_redraws_in_place(run, show):
    await run("for part in range(101): print(f'\\r{part:3d} %', end='', flush=True)\nprint()")

    page = await show()

    await expect(page.locator(".cell .text > div > div:not([hidden])")).to_have_text(["100 %"])


async def test_nested_progress_bars_move_the_cursor(run, show):
    await run(r"print('outer 1\ninner 1\x1b[A\router 2\n\rinner 2', end='')")

    page = await show()

    await expect(page.locator(".cell .text > div > div")).to_have_text(["outer 2", "inner 2"])


async def test_pictures_tables_and_errors_are_shown(run, show):
    await run("import matplotlib.pyplot as plt\nplt.plot([1, 3, 2])\nplt.show()")
    await run("import pandas\npandas.DataFrame({'city': ['Ghent'], 'people': [265086]})")
    await run("print('before')\n1 / 0")

    page = await show()
    picture, frame, failed = page.locator(".cell img"), page.frame_locator(".cell iframe"), page.locator(".cell").nth(2)

    await expect(picture).to_be_visible()
    assert await picture.evaluate("each => each.decode().then(() => each.naturalWidth)") > 100
    await expect(frame.get_by_role("cell", name="265086")).to_be_visible()
    await expect(failed.locator(".fault")).to_contain_text("ZeroDivisionError: division by zero")
    await expect(failed.locator(".mark")).to_have_text("failed")
    await expect(page.locator(".cell iframe")).to_have_attribute("sandbox", "allow-scripts")
    assert await page.locator(".cell iframe").evaluate("each => each.clientHeight") > 40
    assert await fits(page)


async def test_displays_are_updated_in_place_and_output_is_cleared(run, show):
    await run(
        "from IPython.display import display, clear_output, HTML\nshown = display(HTML('<b>old</b>'), display_id=True)\n"
        "shown.update(HTML('<i>new</i>'))"
    )
    await run("from IPython.display import clear_output\nprint('hidden')\nclear_output(wait=True)\nprint('kept')")

    page = await show()

    await expect(page.frame_locator(".cell iframe").locator("i")).to_have_text("new")
    await expect(page.locator(".cell iframe")).to_have_count(1)
    await expect(page.locator(".cell").nth(1).locator(".text")).to_have_text("kept")


async def test_output_is_live_and_a_cell_is_interrupted(run, show, type_cell):
    await run("1")
    page = await show()
    await expect(page.locator(".cell")).to_have_count(1)

    await type_cell(SLOW)
    cell = page.locator(".cell").nth(1)
    await expect(cell.locator(".text")).to_contain_text("it runs")
    await expect(cell.locator(".mark")).to_have_text("runs")
    await page.get_by_role("button", name="Interrupt").click()

    await expect(cell.locator(".mark")).to_have_text("interrupted")


async def test_input_is_answered_by_the_keyboard(run, show, type_cell):
    await run("1")
    page = await show()

    await type_cell(
        "from getpass import getpass\nname = input('Your name? ')\nsecret = getpass('Password: ')\nprint(len(secret), name)"
    )
    await expect(page.get_by_label("Your name?")).to_be_focused()
    await page.keyboard.type("Ada")
    await page.keyboard.press("Enter")
    await expect(page.get_by_label("Password:")).to_be_focused()
    assert await page.get_by_label("Password:").get_attribute("type") == "password"
    await page.keyboard.type("swordfish")
    await page.keyboard.press("Enter")

    cell = page.locator(".cell").nth(1)
    await expect(cell.locator(".mark")).to_have_text("done")
    await expect(cell.locator(".text")).to_contain_text("Your name? Ada")
    await expect(cell.locator(".text")).to_contain_text("9 Ada")
    await expect(cell.locator(".text")).not_to_contain_text("swordfish")


async def test_the_page_continues_where_it_was_after_the_gateway_was_killed(browser, start_gateway, session_id):
    gateway = await start_gateway()
    port = int(gateway.url.rpartition(":")[2])
    context = await browser.new_context()
    page = await context.new_page()
    await page.goto(f"{gateway.url}/#/sessions/{session_id}")
    await page.get_by_label("Token").fill(gateway.token)
    await page.keyboard.press("Enter")
    code = "import time\nfor number in range(1, 2000):\n    print('line', number, flush=True)\n    time.sleep(0.01)\n    if number == 400: break"
    await page.get_by_label("New cell").fill(code)
    await page.keyboard.press("Control+Enter")
    await expect(page.locator(".cell .text")).to_contain_text("line 5")
    streams: list[str] = []
    page.on(
        "request", lambda request: "/events" in request.url and streams.append(request.headers.get("last-event-id", ""))
    )

    await gateway.kill()
    await expect(page.locator(".session-head").get_by_role("status")).to_have_text("reconnecting …")
    again = await start_gateway(port=port)
    # Another start has another token: what the page holds is refused, so the user logs in again.
    await expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    await page.get_by_label("Token").fill(again.token)
    await page.keyboard.press("Enter")

    await expect(page.locator(".cell .mark")).to_have_text("done")
    lines = await page.locator(".cell .text > div > div:not([hidden])").all_inner_texts()
    assert lines == [f"line {number}" for number in range(1, 401)]
    assert re.fullmatch(r"[1-9]\d*-0", streams[0])
    await context.close()


async def test_a_refused_cell_shows_the_problem_and_stays_in_the_box(run, show, watch):
    await run("1")
    page = await show()
    watch.expected = {413, 422}
    code = "x = 1  # " + "y" * 1_100_000

    await page.get_by_label("New cell").evaluate("(each, code) => { each.value = code }", code)
    await page.get_by_role("button", name="Run").click()

    await expect(page.get_by_role("alert")).to_contain_text("Correct the value; nothing was written.")
    assert await page.get_by_label("New cell").evaluate("each => each.value.length") == len(code)
    await page.get_by_role("button", name="Dismiss").click()
    await expect(page.get_by_role("alert")).to_have_count(0)
