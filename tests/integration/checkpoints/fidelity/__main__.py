"""Print the table: python -m tests.integration.checkpoints.fidelity [WORD …]; with words only the cases with one in their name."""

import asyncio
import sys
import time

from .suite import CASES, run


def main(words: list[str]) -> int:
    """Run and print; return 1 if an expectation fails."""
    cases = [case for case in CASES if not words or any(word in case.id for word in words)]
    started = time.monotonic()
    report = asyncio.run(run(cases))
    print(report.table())
    failed = {name: told for name, told in report.verdicts["skep"].items() if told}
    print(f"\n{len(cases)} cases, {time.monotonic() - started:.0f} s")
    for heading, names in (("behind", report.behind()), ("not restored by skep", failed)):
        print(f"\n{heading}: {len(names)}")
        for name in names:
            print(f"- {name}: {report.verdicts['skep'][name]}")
    for case in cases:
        if case.missing:
            print(f"not run: {case.id}: no {', '.join(case.missing)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
