"""Interrupts of a cell with a thousand tasks that each block the loop for a while: the first step ends them all."""

import pytest

pytestmark = pytest.mark.anyio

MANY = {
    "gather": "await asyncio.gather(*[one(i) for i in range(1000)])",
    "gather of what is returned": "await asyncio.gather(*[one(i) for i in range(1000)], return_exceptions=True)",
    "one by one with a semaphore": "turn = asyncio.Semaphore(1)\nasync def in_turn(i):\n    async with turn: await one(i)\nawait asyncio.gather(*[in_turn(i) for i in range(1000)])",
    "task group": "async with asyncio.TaskGroup() as group:\n    for i in range(1000): group.create_task(one(i))",
    "wait for the first to fail": "try:\n    tasks = [asyncio.create_task(one(i)) for i in range(1000)]\n    await asyncio.wait(tasks)\nfinally:\n    for task in tasks: task.cancel()",
    "asyncio.run": "async def main(): await asyncio.gather(*[one(i) for i in range(1000)])\nasyncio.run(main())",
    "run_until_complete": "async def main(): await asyncio.gather(*[one(i) for i in range(1000)])\nasyncio.get_event_loop().run_until_complete(main())",
    "a task that gathers": "async def main(): await asyncio.gather(*[one(i) for i in range(1000)])\nawait asyncio.create_task(main())",
}  # fmt: skip
BLOCKS = {
    "sleeping": "time.sleep(0.2)",
    "computing": "deadline = time.monotonic() + 0.2\n    while time.monotonic() < deadline: pass",
    "yielding": "\n    for _ in range(10000):\n        sum(range(10000))\n        await asyncio.sleep(0)",
}


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS.keys())
@pytest.mark.parametrize("many", MANY.values(), ids=MANY.keys())
async def test_the_first_step_ends_a_thousand_tasks_each_of_which_blocks(start_session, many, block):
    session = await start_session(interrupt_grace=60.0)  # longer than the test, so there is no second step
    await session.run(
        f"import asyncio, time\nbegun = []\nasync def one(i):\n    begun.append(i)\n    if len(begun) == 2: print('ready')\n    {block}"
    )
    cell = await session.submit(many).said("ready\n")
    session.interrupt(cell)
    await cell.ended()

    assert (cell.status, cell.text) == ("interrupted", "ready\n")
    assert await session.value("await asyncio.sleep(0)\nlen(asyncio.all_tasks())") == 1
