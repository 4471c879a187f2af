"""Makes the pictures of docs/console.md. They are kept only if SKEP_TEST_PICTURES names a folder."""

import io
import os
from pathlib import Path

import pytest
from PIL import Image
from playwright.async_api import expect

from .conftest import DESKTOP

pytestmark = pytest.mark.anyio

MOST_BYTES = 150_000
COLOURS = 256
TABLE = """import numpy as np
import pandas as pd
random = np.random.default_rng(3)
sales = pd.DataFrame({"orders": 40 + np.arange(60) + random.integers(-9, 9, 60), "refunds": random.integers(0, 7, 60)},
                     index=pd.date_range("2026-03-01", periods=60))
sales.describe().round(1).loc[["mean", "std", "min", "max"]]"""
FIGURE = """import matplotlib.pyplot as plt
sales["orders"].plot(figsize=(7, 2.2), color="#0f766e", title="Orders a day")
plt.show()"""
PROGRESS = r"""import sys
for done in range(26):
    print(f"\r\x1b[36m{'█' * done}{'░' * (25 - done)}\x1b[0m batch {done} of 25", end="", flush=True)
print("\n\x1b[1;32mok\x1b[0m 25 batches, \x1b[33m2 slow\x1b[0m")
print("the disk is nearly full", file=sys.stderr)"""
FAILURE = """def share(part, whole):
    return part / whole

share(sales["orders"].sum(), 0.0 if len(sales) > 99 else int("6O"))"""


@pytest.fixture(params=[DESKTOP])
def size(request):
    return request.param


@pytest.fixture
def session_id():
    return "sales-report"


async def test_the_pictures_of_the_documentation(http, run, show, page, tmp_path):
    folder = Path(os.environ.get("SKEP_TEST_PICTURES") or tmp_path)
    for code in (TABLE, FIGURE, PROGRESS, FAILURE):
        await run(code)
    for name, cells in (("user-7", 3), ("user-19", 2), ("nightly-import", 5)):
        for number in range(cells):
            await http.post(f"/v1/sessions/{name}/cells", params={"wait": 40}, json={"code": f"step = {number}"})

    async def picture(name, height):
        await page.set_viewport_size({"width": 1000, "height": height})
        await page.evaluate("scrollTo(0, 0)")
        await page.mouse.move(0, 0)
        shown = Image.open(io.BytesIO(await page.screenshot()))
        path = folder / f"console-{name}.png"
        shown.convert("RGB").quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
            path, optimize=True
        )
        assert path.stat().st_size < MOST_BYTES

    await show()
    await expect(page.locator(".cell .fault")).to_be_visible()
    await expect(page.frame_locator(".cell iframe").get_by_role("cell").first).to_be_visible()
    await picture("session", 1580)
    await page.get_by_role("link", name="Checkpoints").click()
    await page.locator("summary").last.click()
    await expect(page.locator(".timeline > li")).to_have_count(4)
    await picture("checkpoints", 860)
    await show("/")
    await http.post("/v1/sessions/user-19/cells", json={"code": "input('Which file? ')"})
    for count in (4, 9, 17, 14, 30, 26, 41, 38, 12, 8):  # one look of the page at a time
        async with page.expect_response("**/v1/workers"):
            cells = [{"code": f"value = {number}"} for number in range(count)]
            await http.post("/v1/sessions/nightly-import/cells", params={"wait": 40}, json=cells)
    await expect(page.locator(".chart .line")).to_be_attached()
    await expect(page.locator(".mark.running")).to_have_text("runs")
    await picture("overview", 800)
