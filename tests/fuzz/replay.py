"""Receive inputs again, without a fuzzer: python -m tests.fuzz.replay TARGET FILE …

The target's own seeds come first. The first input that breaks a rule ends it, with a traceback that names the file.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import structlog

from .target import pack_input
from .targets import make_target


def replay(name: str, paths: Sequence[Path]) -> None:
    """Receive a target's seeds and these inputs. Raises what the target raises."""
    target = make_target(name)
    try:
        for seed in target.seeds():
            target.execute(pack_input(seed))
        for path in paths:
            try:
                target.execute(path.read_bytes())
            except Exception as exc:
                exc.add_note(f"the input is {path}")
                raise
    finally:
        target.close()


if __name__ == "__main__":
    # Most inputs are refused with a line in the log.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    replay(sys.argv[1], [Path(name) for name in sys.argv[2:]])
