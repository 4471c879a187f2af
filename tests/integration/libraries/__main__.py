"""What came of the cases whose name has one of these texts: `python -m tests.integration.libraries [TEXT ...]`."""

import sys
import time

from .groups import CASES
from .suite import WAYS, run_all

texts = sys.argv[1:] or [""]
began = time.monotonic()
chosen = [case for case in CASES if any(text in case.id for text in texts)]
verdicts = run_all(chosen)
failed = 0
for case in chosen:
    wrong = {way: verdicts[case.id].get(way, "not run") for way in WAYS if verdicts[case.id].get(way, "not run")}
    failed += bool(wrong)
    for way, verdict in wrong.items():
        print(f"{case.id} | {way} | {verdict[:400]}")
print(f"{len(chosen) - failed} of {len(chosen)} in order, {time.monotonic() - began:.0f} s")
