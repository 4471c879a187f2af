"""What differs for cells in a tier of the sandbox, and the tests that show it.

A test that is listed must fail in the tier, and all others must pass, so the list is exact; see sandbox_tier.py.
`python -m tests.sandbox_differences` writes it into docs/operating.md.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PAGE: Final = Path(__file__).parents[1] / "docs" / "operating.md"
_TABLE: Final = re.compile(r"(?<=<!-- differences -->\n).*(?=<!-- end of differences -->)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference.

    tests: the path of a test below tests/, with `::` and its name; without its parameters, all of them are meant.
    cells: names of the cells in session/escape/test_permitted.py that are refused.
    """

    what: str
    reason: str
    tiers: tuple[str, ...]
    tests: tuple[str, ...] = ()
    cells: tuple[str, ...] = ()


_ALL: Final = ("basic", "userns", "strict")
_LIVE_FORKS: Final = (  # of integration/workers/test_live_forks.py
    "a_fork_asks_for_input_and_answers_operations",
    "a_fork_does_not_run_finalizers_that_remove_files_of_its_origin",
    "a_fork_has_no_latest_error",
    "a_fork_is_evicted_and_restored",
    "a_fork_is_restored_where_a_live_one_could_differ",
    "a_fork_is_restored_while_its_origin_works",
    "a_fork_moves_to_another_worker_like_any_session",
    "a_fork_of_a_fork_is_live",
    "a_fork_that_ignores_interrupts_is_killed",
    "a_live_fork_equals_a_restored_one",
    "an_unraisable_exception_is_reported_in_a_fork",
    "an_unused_random_state_is_not_shared_between_origin_and_fork",
    "awaiting_and_background_tasks_work_in_a_fork",
    "cells_of_a_fork_are_interrupted_and_timed_out",
    "daemons_of_a_fork_end_with_it",
    "flushed_output_of_a_crashed_fork_is_kept",
    "forks_are_placed_on_their_origins_worker",
    "forks_end_with_their_killed_worker",
    "hooks_and_signals_work_in_a_fork",
    "origin_and_fork_are_independent",
    "output_of_every_kind_arrives_from_a_fork",
    "recipes_run_in_a_fork",
    "ten_concurrent_forks_are_all_live",
    "the_cause_of_a_forks_process_end_is_reported",
    "the_origin_keeps_no_process_or_descriptor_of_a_fork",
    "unchanged_arrays_are_not_shared_between_origin_and_fork",
    "unchanged_variables_of_a_fork_are_not_stored_again",
    "without_the_zygote_of_its_origin_a_fork_is_restored",
)
_DIRECTORIES: Final = "integration/workers/test_session_directories.py::test_"
_ORPHANS: Final = (
    "integration/workers/test_process_orphans.py::test_daemons_end_with_their_session_after_its_zygote_died"
)
_LOSS: Final = "integration/workers/test_worker_loss.py::test_a_cell_"

DIFFERENCES: Final = (
    Difference(
        "There are no network connections, not even of a session to itself",
        "otherwise a cell could reach Redis, services of the machine and the cloud's metadata",
        _ALL,
        (
            "session/execution/test_background.py::test_a_server_that_one_cell_started_answers_the_next_cell",
            "session/execution/test_routing.py::test_blocking_code_does_not_run_on_the_loop[socket]",
            "session/execution/test_running_loops.py::test_a_server_of_a_blocking_cell_answers_that_cell",
            "session/process/test_leaving.py::test_work_that_ends_with_a_process_is_named",
            "integration/workers/test_leaving.py::test_a_closed_session_says_what_ended_with_it",
        ),
    ),
    Difference(
        "A fork is restored from its checkpoint and never made from the live process",
        "a process can't be moved to another session's sandbox",
        _ALL,
        (
            "session/process/test_twins.py::test_a_process_that_is_not_at_the_checkpoint_refuses_and_continues",
            "integration/cells/test_session_files.py::test_a_live_fork_has_the_uploaded_files",
            "integration/checkpoints/test_ambient_state.py::test_a_live_fork_drops_objects_that_no_checkpoint_has",
            "integration/checkpoints/test_preloading.py::test_a_fork_does_not_share_its_origins_process_state[live]",
            f"{_DIRECTORIES}search_path_and_environment_of_a_fork_are_its_own_live_or_restored[resident]",
            f"{_DIRECTORIES}a_fork_whose_memory_has_paths_of_its_origin_is_restored",
            f"{_DIRECTORIES}other_paths_do_not_prevent_a_live_fork",
            *(f"integration/workers/test_live_forks.py::test_{name}" for name in _LIVE_FORKS),
        ),
    ),
    Difference(
        "Temporary files end with the session's process, so a hibernated session finds none",
        "its temporary directory is its own, where others find nothing",
        _ALL,
        (
            "integration/workers/test_leaving.py"
            "::test_an_object_of_the_checkpoint_keeps_its_directory_and_one_of_a_closed_session_does_not",
        ),
    ),
    Difference(
        "A session's process ends when the zygote that it was forked from does",
        "nothing that a cell has started then outlives its sandbox; the session continues from its checkpoint",
        _ALL,
        tuple(f"{_ORPHANS}[{end}-after]" for end in ("crash", "close", "kill_worker", "stop_worker")),
    ),
    Difference(
        "A cell can't kill its worker",
        "the other sessions would end with it",
        _ALL,
        (
            f"{_LOSS}that_kills_workers_is_lost_after_its_attempts",
            f"{_LOSS}that_kills_workers_has_max_attempts_in_a_resident_session_too",
            f"{_LOSS}with_one_attempt_that_kills_its_worker_runs_once",
        ),
    ),
    Difference(
        "There are no pseudo-terminals (`pty`, `pexpect`, `script`)",
        "those of other sessions would be open too",
        _ALL,
        cells=("a pseudo-terminal",),
    ),
    Difference(
        "Process ids are a session's own: `os.getpid()` is 2 in each of them, and `os.getppid()` is 0",
        "a session sees no other processes",
        ("userns", "strict"),
    ),
    Difference(
        "Files can't be watched (inotify, `watchdog`); watch them by polling",
        "the names of files in directories that can't be listed would be seen",
        ("basic",),
        cells=("watching files",),
    ),
)


def refused_cells(tier: str) -> set[str]:
    """Return the names of the cells in session/escape/test_permitted.py that are refused in a tier."""
    return {cell for each in DIFFERENCES if tier in each.tiers for cell in each.cells}


def difference_of(test: str, tier: str) -> Difference | None:
    """Return the difference that a test is expected to fail by in a tier, None if it must pass.

    test: its path below tests/, with its name and parameters.
    """
    names = (test, test.partition("[")[0])
    return next(
        (each for each in DIFFERENCES if tier in each.tiers and any(name in each.tests for name in names)), None
    )


def table() -> str:
    """Return the differences as a Markdown table."""
    lines = [
        "| difference | because | in |",
        "|---|---|---|",
        *(f"| {each.what} | {each.reason} | {', '.join(f'`{tier}`' for tier in each.tiers)} |" for each in DIFFERENCES),
    ]
    return "\n".join(lines) + "\n"


def written_table() -> str:
    """Return the table in docs/operating.md."""
    (found,) = _TABLE.findall(PAGE.read_text())
    return str(found)


if __name__ == "__main__":
    PAGE.write_text(_TABLE.sub(lambda _: table(), PAGE.read_text()))
