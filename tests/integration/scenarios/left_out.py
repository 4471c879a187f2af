"""The scenarios that don't run over HTTP, and why: its calls are those of docs/http.md, which names what it lacks."""

from typing import Final

_REFUSED: Final = "test_a_bad_argument_is_refused_and_nothing_is_written"

HTTP: Final = {
    "test_incomplete_code_is_recognised": "no call for is_complete: front ends that ask at each Enter use the client",
    "test_a_named_checkpoint_is_found_by_its_name": "no call for name_checkpoint, though names are accepted as ids",
    "test_a_bad_checkpoint_id_is_refused": "no call for name_checkpoint",
    "test_why_names_no_reason_for_a_session_that_is_idle": "no call for why: operators have `skep why`",
    "test_why_of_an_unknown_session_raises": "no call for why: operators have `skep why`",
    "test_a_cell_deferred_until_a_time_runs_then": "defer_by only, which needs no clock that agrees with the cluster's",
    "test_a_deferred_cell_runs_later": "until the cell is due its new session does not exist: its events are not found",
    "test_bytes_are_bound_before_the_cell": "JSON has no bytes",
    "test_the_transcript_of_an_unknown_session_is_empty": "what does not exist is not found: 404, in every call",
    "test_a_purged_session_leaves_no_events": "what does not exist is not found: 404, in every call",
    f"{_REFUSED}[an empty session id]": "a URL without the id has another path, and no route",
    f"{_REFUSED}[far too much code]": "the body is refused by its size before it is read: 413, BodyTooLarge",
}
