"""Long sessions: what the page holds is bounded, and it stays usable."""

import pytest
from playwright.async_api import expect

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(200)]

SHOWS = """from IPython.display import display
for number in range(10500):
    print('line', number)
    if number % 2:
        display({'text/plain': f'shown {number}'}, raw=True)
"""


async def test_ten_thousand_events_of_one_cell_leave_the_page_usable(http, run, show, session_id):
    await run(SHOWS)
    assert (await http.get(f"/v1/sessions/{session_id}")).json()["last_event"] > 10_000

    page = await show()
    await expect(page.locator(".cell .mark")).to_have_text("done")
    await page.get_by_label("New cell").fill("typed")

    assert await page.locator(".cell .outputs > *").count() <= 210
    assert await page.evaluate("document.querySelectorAll('*').length") < 5000
    await page.get_by_role("button", name="Earlier events").click()
    await expect(page.get_by_role("button", name="Later events")).to_be_visible()
    await page.get_by_role("button", name="Live").click()
    await expect(page.get_by_role("button", name="Later events")).to_have_count(0)


async def test_many_lines_are_kept_up_to_a_bound(run, show):
    await run("for number in range(30000): print('line', number)")

    page = await show()

    await expect(page.locator(".cell .text")).to_contain_text("line 29999")
    await expect(page.locator(".cell .dropped")).to_contain_text("earlier lines are not shown")
    assert await page.locator(".cell .text > div > div").count() <= 2300


async def test_long_lines_are_kept_up_to_a_bound(run, show):
    await run("for number in range(1500): print(number, 'x' * 1000)")

    page = await show()

    await expect(page.locator(".cell .text")).to_contain_text("1499 x")
    await expect(page.locator(".cell .dropped")).to_contain_text("earlier lines are not shown")
    assert await page.locator(".cell .text > div > div").count() <= 520


LARGE = """async () => {
    const { Notebook } = await import("/console/static/notebook/fold.js");
    let dropped = 0;
    const notebook = new Notebook({ onAdd() {}, onChange() {}, onReset() {}, onDrop() { dropped += 1; } });
    for (let number = 1; number <= 20; number += 1) {
        const event = { cell_id: `c${number}`, seq: number, attempt: 1, at: "2026-01-01T00:00:00Z" };
        const bundle = { "image/png": "A".repeat(4_000_000) };
        notebook.apply({ ...event, id: `${2 * number}-0`, kind: "cell.queued", code: "show()" });
        notebook.apply({ ...event, id: `${2 * number + 1}-0`, kind: "display", bundle, display_id: `d${number}`, updates: false });
    }
    return [notebook.items.length, dropped, notebook.displays.size, notebook.size];
}"""


async def test_pictures_of_old_cells_go_when_they_are_too_large(show):
    page = await show("/")

    kept, dropped, displays, size = await page.evaluate(LARGE)

    assert (kept, dropped, displays) == (12, 8, 12)
    assert size == 48_000_000


async def test_many_cells_are_kept_up_to_a_bound(http, run, show, session_id):
    await run("1")
    for _ in range(4):
        cells = [{"code": str(number)} for number in range(100)]
        assert (await http.post(f"/v1/sessions/{session_id}/cells", params={"wait": 60}, json=cells)).status_code == 200

    page = await show()

    await expect(page.locator(".cell .gutter").last).to_have_text("401")
    assert await page.locator(".cells > li").count() <= 300
