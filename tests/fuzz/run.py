"""Fuzz one target until a time is over or something is found: python -m tests.fuzz.run TARGET DIRECTORY [libFuzzer flags …].

DIRECTORY is where inputs that reached new code are kept; the target's seeds are written there first.

Runs in a process of its own, since libFuzzer ends its process. Needs atheris; see README.md.
"""

import logging
import random
import sys
from pathlib import Path

import atheris
import structlog

from .mutation import mutate

# Only their branches count as new: the drivers and validators of others are not what is fuzzed.
INSTRUMENTED = ["skep_shared", "skep_workers", "skep"]


def main() -> None:
    """Fuzz the target that the command line names."""
    _, name, directory, *flags = sys.argv
    with atheris.instrument_imports(include=INSTRUMENTED):
        from .target import pack_input
        from .targets import make_target

        target = make_target(name)
    # Most inputs are refused with a line in the log.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    seeds = Path(directory)
    seeds.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds()):
        (seeds / f"seed-{number:02}").write_bytes(pack_input(seed))

    def mutate_input(data: bytes, max_size: int, seed: int) -> bytes:
        return mutate(data, random.Random(seed), atheris.Mutate, max_size)

    # libFuzzer adds to the first directory only.
    atheris.Setup([sys.argv[0], directory, *flags], target.execute, custom_mutator=mutate_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
