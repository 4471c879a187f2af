"""What an error reply means: which pass, which never will, and which say that the server is no master any more."""

import pytest
from redis._parsers.base import BaseParser
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse
from redis.exceptions import TimeoutError as RedisTimeoutError

from skep_shared.broker.redis_client.redis_errors import (
    error_code,
    is_demotion,
    is_out_of_memory,
    is_passing,
    is_script_failure,
)
from skep_shared.broker.server_check import as_skep_error
from skep_shared.errors import RedisFull, RedisRefused, RedisUnavailable
from skep_shared.settings import Settings

SCRIPT_6 = "Error running script (call to f_2b): @user_script:51: @user_script: 51: -"
SCRIPT_7 = " script: 2b9f, on @user_script:51."
READONLY = "READONLY You can't write against a read only replica."
NOREPLICAS = "NOREPLICAS Not enough good replicas to write."
OOM = "OOM command not allowed when used memory > 'maxmemory'."
MISCONF = "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk."


def replied(text):
    """Return the driver's exception for an error reply."""
    return BaseParser.parse_error(text)


def in_script(text):
    """Return that reply as it comes out of a script on 6.2, and on 7."""
    return [SCRIPT_6 + text, text + SCRIPT_7]


PASSING = [
    READONLY,
    *in_script(READONLY),
    NOREPLICAS,
    *in_script(NOREPLICAS),
    MISCONF,
    *in_script(MISCONF),
    "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
    "LOADING Redis is loading the dataset in memory",
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
    "CLUSTERDOWN The cluster is down",
    "TRYAGAIN Multiple keys request during rehashing of slot",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "NEWCODE that a later version may say",
]
LASTING = [
    "ERR unknown command 'EVALSHA'",
    "ERR DB index is out of range",
    "ERR Error running script (call to f_2b): @user_script:3: user_script:3: attempt to index a nil value",
    "NOPERM this user has no permissions to run the 'evalsha' command or its subcommand",
    "ERR Error running script (call to f_2b): @user_script:5: @user_script: 5: "
    "The user executing the script can't run this command or subcommand",
    "NOAUTH Authentication required.",
    "WRONGPASS invalid username-password pair or user is disabled.",
    "WRONGTYPE Operation against a key holding the wrong kind of value",
]
FULL = [OOM, *in_script(OOM)]


@pytest.mark.parametrize("text", PASSING)
def test_a_condition_of_the_server_passes(text):
    error = replied(text)

    assert is_passing(error)
    assert isinstance(as_skep_error(Settings.load(), error), RedisUnavailable)


@pytest.mark.parametrize("text", LASTING)
def test_a_lasting_refusal_is_reported_as_such(text):
    error = replied(text)

    assert not is_passing(error)
    assert isinstance(as_skep_error(Settings.load(), error), RedisRefused)


@pytest.mark.parametrize("text", FULL, ids=["plain", "script on 6.2", "script on 7"])
def test_a_full_server_is_recognised(text):
    error = replied(text)

    assert (is_out_of_memory(error), is_passing(error)) == (True, False)
    assert isinstance(as_skep_error(Settings.load(), error), RedisFull)


@pytest.mark.parametrize("text", PASSING + LASTING)
def test_another_error_is_not_taken_for_a_full_server(text):
    assert not is_out_of_memory(replied(text))


@pytest.mark.parametrize("text", [*PASSING, *LASTING, *FULL])
def test_a_server_that_is_no_master_any_more_is_recognised(text):
    assert is_demotion(replied(text)) == any(code in text for code in ("READONLY", "UNBLOCKED", "MASTERDOWN"))


@pytest.mark.parametrize(
    "error", [RedisConnectionError("refused"), RedisTimeoutError("late"), ConnectionResetError(104, "reset")]
)
def test_a_server_that_is_away_passes(error):
    assert (error_code(error), is_passing(error)) == ("", True)


def test_what_speaks_another_protocol_does_not_pass_but_is_no_refusal_either():
    error = InvalidResponse("Protocol Error: b'HTTP/1.1'")

    assert (error_code(error), is_passing(error)) == ("", False)


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("NOPERM this user has no permissions to access one of the keys used as arguments", "~{skep}:*"),
        ("WRONGPASS invalid username-password pair or user is disabled.", "password"),
        ("ERR DB index is out of range", "database"),
    ],
)
def test_a_refusal_says_what_to_do_and_not_that_the_server_is_down(text, remedy):
    told = str(as_skep_error(Settings.load(), replied(text)))

    assert remedy in told
    assert "refuses this client" in told


def test_only_a_script_that_has_failed_is_a_script_failure():
    nil = "attempt to perform arithmetic on a nil value"
    wrong_type = "WRONGTYPE Operation against a key holding the wrong kind of value"
    failed = [f"{SCRIPT_6}{wrong_type}", f"ERR Error running script (call to f_2b): @user_script:3: {nil}"]
    failed += [f"ERR user_script:3: {nil}{SCRIPT_7}", f"{wrong_type}{SCRIPT_7}"]
    assert all(is_script_failure(replied(text)) for text in failed)

    others = [
        text for text in (*PASSING, OOM, *in_script(OOM)) if "script" not in text or text in (*PASSING, *in_script(OOM))
    ]
    assert not any(is_script_failure(replied(text)) for text in (*others, "ERR unknown command 'EVALSHA'", wrong_type))
    assert not is_script_failure(OSError("script"))
