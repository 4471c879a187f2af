"""All probes, and the table of them in SECURITY.md: `python -m tests.session.escape.table` writes it."""

import re
from pathlib import Path
from typing import Final

from skep_shared.isolation.sandbox_tiers import Tier

from .probe import Probe
from .probes_of_files import FILES
from .probes_of_kernel import KERNEL
from .probes_of_network import NETWORK
from .probes_of_processes import PROCESSES, SHARED_MEMORY

GROUPS: Final[dict[str, list[Probe]]] = {
    "Files": FILES,
    "Network": NETWORK,
    "Processes": PROCESSES,
    "Shared memory": SHARED_MEMORY,
    "Kernel": KERNEL,
}
PROBES: Final = [probe for group in GROUPS.values() for probe in group]
BUILT_TIERS: Final = (Tier.BASIC, Tier.USERNS, Tier.STRICT)
PAGE: Final = Path(__file__).parents[3] / "SECURITY.md"
_TABLE: Final = re.compile(r"(?<=<!-- escapes -->\n).*(?=<!-- end of escapes -->)", re.DOTALL)


def table() -> str:
    """Return the probes as a Markdown table, what is possible in a tier with the reason."""
    lines = ["| a cell tries to | `none` | " + " | ".join(f"`{tier}`" for tier in BUILT_TIERS) + " |"]
    lines.append("|---|---|" + "---|" * len(BUILT_TIERS))
    for name, probes in GROUPS.items():
        lines.append(f"| **{name}** | |" + " |" * len(BUILT_TIERS))
        for probe in probes:
            none = "possible as root" if probe.as_root else "possible"
            cells = [f"possible: {probe.possible[t]}" if t in probe.possible else "refused" for t in BUILT_TIERS]
            lines.append(f"| {probe.tries} | {none} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def written_table() -> str:
    """Return the table in SECURITY.md."""
    (found,) = _TABLE.findall(PAGE.read_text())
    return str(found)


if __name__ == "__main__":
    PAGE.write_text(_TABLE.sub(lambda _: table(), PAGE.read_text()))
