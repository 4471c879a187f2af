"""A client process for the oracle test: submits cells, waits for all of them, tells what came back.

python oracle_client.py URL; on stdin a JSON list of [session id, cell id] in the order of submitting, on stdout a JSON
object a cell. Some submits are under way at a time, so cells of a session race each other as well as those of the other
clients.
"""

import asyncio
import json
import sys
from collections.abc import Iterator

import skep

LINES = 5
SUBMITTERS = 8

# Each cell absorbs its id into a hash chain, so its value tells which cells the namespace has seen, and in which order.
ORACLE_CELL = f"""
from hashlib import sha256

h = sha256((globals().get("h", "") + cell_id).encode()).hexdigest()
n = globals().get("n", 0) + 1
for line in range({LINES}):
    print(cell_id, line)
(n, h)
"""


def expected_text(cell_id: str) -> str:
    """Return what the cell writes."""
    return "".join(f"{cell_id} {line}\n" for line in range(LINES))


async def submit_all(cluster: skep.Cluster, plan: list[tuple[str, str]]) -> list[skep.Cell]:
    """Submit what is planned, in about that order."""
    cells: list[skep.Cell] = []

    async def submit_some(rest: Iterator[tuple[str, str]]) -> None:
        for session_id, cell_id in rest:
            session = cluster.session(session_id)
            cells.append(await session.submit(ORACLE_CELL, cell_id=cell_id, inputs={"cell_id": cell_id}))

    rest = iter(plan)
    async with asyncio.TaskGroup() as group:
        for _ in range(SUBMITTERS):
            group.create_task(submit_some(rest))
    return cells


async def main(url: str) -> None:
    """Run the plan on stdin."""
    plan = json.load(sys.stdin)
    async with skep.connect(url) as cluster:
        cells = await submit_all(cluster, plan)
        for outcome in await asyncio.gather(*[cell.outcome() for cell in cells]):
            json.dump(
                {
                    "session_id": outcome.session_id,
                    "cell_id": outcome.cell_id,
                    "seq": outcome.seq,
                    "status": outcome.status,
                    "value": outcome.value,
                    "text": outcome.text,
                },
                sys.stdout,
            )
            print()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
