"""`python -m skep_workers.sandbox [--json]`: what this machine permits; `skep doctor sandbox` is the same.

Workers run it too, at their start: it forks, which a process with threads must not do.
"""

import os
import sys

from skep_shared.errors import InvalidArgument, StartError
from skep_shared.isolation.sandbox_tiers import Tier
from skep_workers.sandbox.probes.machine_facts import read_facts
from skep_workers.sandbox.probes.mechanisms import find_all
from skep_workers.sandbox.report_text import lines_of
from skep_workers.sandbox.tiers import AUTO, Report, choose, parse_tier

REFUSED = 2
UNAVAILABLE = 3


def main(arguments: list[str]) -> int:
    """Print the report; return 0 if the tier that SKEP_SANDBOX asks for works here, and at least `basic`; 3 if not."""
    asked = os.environ.get("SKEP_SANDBOX") or AUTO
    try:
        wanted = parse_tier(asked)
    except InvalidArgument as exc:
        print(f"skep: {exc} (given by SKEP_SANDBOX)", file=sys.stderr)
        return REFUSED
    facts = read_facts()
    report = Report(tuple(find_all(facts)))
    if "--json" in arguments:
        print(report.to_json())
    else:
        print(*lines_of(report, facts, asked), sep="\n")
    try:
        choose(wanted, report)
    except StartError:
        return UNAVAILABLE
    return UNAVAILABLE if report.strongest is Tier.NONE else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
