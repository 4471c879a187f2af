"""Random namespaces with one sabotaged variable: `python -m tests.integration.checkpoints.sabotage --examples 20000`."""

import argparse
import asyncio
import logging
import sys
import time
from collections import Counter

import structlog

from .namespace import generate
from .oracle import AT_ONCE, check_all, shown, smaller, verdict
from .process import Lab

BATCH = 200


async def main(seeds: range, most_shown: int) -> int:
    """Check each seed; return the number of seeds that fail."""
    began, failed, kinds = time.monotonic(), 0, Counter[str]()
    for start in range(0, len(seeds), BATCH):
        async with Lab() as lab:  # a zygote and a scratch directory for some of them
            wrong = await check_all(lab, seeds[start : start + BATCH])
            for seed in wrong:
                kinds[generate(seed).sabotage.kind.splitlines()[0][:70]] += 1
                failed += 1
                if failed <= most_shown:
                    least = await smaller(lab, generate(seed))
                    print(shown(least, await verdict(lab, least)), flush=True)
        done = min(start + BATCH, len(seeds))
        print(f"{done - failed} of {done} in order, {time.monotonic() - began:.0f} s", flush=True)
    for kind, count in kinds.most_common():
        print(f"{count:5} {kind}")
    return failed


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=500, help="how many (500)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (0)")
    parser.add_argument(
        "--shown", type=int, default=3, help=f"how many failures are made smaller and shown (3); {AT_ONCE} run at once"
    )
    given = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    sys.exit(asyncio.run(main(range(given.first, given.first + given.examples), given.shown)) > 0)
