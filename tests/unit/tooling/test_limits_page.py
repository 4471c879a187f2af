"""docs/limits.md has every limit of the code, with its value, its default and what is accepted."""

import re
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest

from skep import checkpoints, deferral, files, operations, session
from skep.export import cell_outputs, output_room, session_notebook
from skep.gateway import server
from skep.gateway import settings as gateway_settings
from skep.gateway.problems import KINDS
from skep.gateway.routes import events as event_routes
from skep.gateway.tokens import identity_provider, logins, provider_keys, signed_links, store
from skep.gateway.webhooks import definition
from skep.gateway.webhooks import store as webhook_store
from skep.local import embedded
from skep.sync import reading
from skep_shared import json_form, limits, option_checks, packages, signing, values
from skep_shared.isolation import network
from skep_shared.isolation.session_limits import Limits
from skep_shared.isolation.tenants import TenantQuotas
from skep_shared.models import SessionOptions
from skep_shared.settings import WorkerSettings
from skep_workers.host.broker import answers
from skep_workers.host.residency import checkpointing, residency_requests, resident, uploads
from skep_workers.host.residency import operations as host_operations
from skep_workers.host.residency.cells import attempts
from skep_workers.session.checkpoint.surroundings import workspace
from skep_workers.session.checkpoint.surroundings.imports import item_changes
from skep_workers.session.control import inspection
from skep_workers.session.control import operations as session_operations
from skep_workers.session.display import rendering
from skep_workers.session.errors import tracebacks
from skep_workers.session.output import user_input
from skep_workers.session.packages import archive

from .page_numbers import bounds, shown

TOP: Final = Path(__file__).parents[3]
PAGE: Final = (TOP / "docs" / "limits.md").read_text()
ROWS: Final = [line for line in PAGE.splitlines() if line.startswith("| ")]
_BOUND: Final = re.compile(r"(MAX|MIN|MOST|LARGEST|SMALLEST|LONGEST|SHORTEST|HIGHEST)_")

# Where all such constants are limits that users meet: which row of the page has each.
WHOLE_MODULES: Final[dict[ModuleType, dict[str, str]]] = {
    limits: {
        "MAX_ID_BYTES": "id of a session",
        "MAX_TENANT_BYTES": "id of a tenant",
        "MAX_CODE_BYTES": "code",
        "MAX_INPUTS_BYTES": "inputs",
        "MAX_LABELS": "labels of a cell",
        "MAX_LABEL_BYTES": "name or value of a label",
        "MAX_BATCH_CELLS": "cells of `submit_many`",
        "MAX_TIMEOUT_SECONDS": "`timeout` of a cell",
        "MAX_ATTEMPTS": "`max_attempts`",
        "MAX_OUTPUT_BYTES": "`output_limit`",
        "MAX_ANSWER_BYTES": "text of `session.answer`",
        "MAX_NAMES": "checkpoints with a name",
        "MAX_TOKEN_NAME_BYTES": "name of a token",
        "MAX_FORKS": "ids of `fork_many`",
        "MAX_PATH_BYTES": "path of a file",
        "MAX_NAME_BYTES": "name in a path",
    },
    option_checks: {
        "MAX_ENV_BYTES": "`env`",
        "MAX_CALLS": "names in a list of `detection`",
        "MAX_CALL_BYTES": "name in a list of `detection`",
        "MAX_CWD_BYTES": "`cwd`",
        "MIN_IDLE_SECONDS": "shortest `idle_seconds`",
        "MAX_IDLE_SECONDS": "longest `idle_seconds`",
        "MIN_EXPIRY_SECONDS": "shortest `expires_in`",
        "MAX_EXPIRY_SECONDS": "longest `expires_in`",
    },
    packages: {"MAX_PACKAGES": "`packages` of a session", "MAX_PACKAGE_CHARS": "characters of a package"},
    output_room: {
        "MAX_CELL_BYTES": "outputs of a cell",
        "MAX_EXPORT_BYTES": "all code and outputs",
        "HIGHEST_BYTES": "both, at most",
    },
    rendering: {
        "MAX_REPR_CHARS": "text of a display",
        "MAX_DATA_BYTES": "a value as data",
        "MAX_BUNDLE_BYTES": "a display or a result",
    },
    tracebacks: {"MAX_VALUE_CHARS": "an error's text", "MAX_TEXT_CHARS": "a traceback | 2"},
    webhook_store: {"MOST_OF_TENANT": "webhooks |"},
    store: {
        "MAX_TOKENS": "tokens of a shard",
        "SHORTEST_SECONDS": "life of a token",
        "LONGEST_SECONDS": "life of a token",
    },
    host_operations: {"MOST_WAITING": "operations that wait", "MOST_OPEN": ""},  # the others wait
    residency_requests: {"MOST_WAITING": "`hibernate` and `rollback` that wait"},
    uploads: {"MOST_WAITING": "pieces of files that wait", "MOST_OPEN": ""},  # abandoned ones are forgotten
    attempts: {"MOST_IDLE_LOSSES": "workers in a row"},
    workspace: {"MAX_ENTRIES": "files of the session's directory, by number", "MOST_SCANNED": ""},  # only for a warning
}
# Others: module, constant, row.
SINGLE: Final[list[tuple[ModuleType, str, str]]] = [
    (network, "MAX_ALLOWED_HOSTS", "`allowed_hosts`"),
    (signing, "SMALLEST_KEY_BYTES", "a signing key"),
    (values, "MAX_DEPTH", "inputs"),
    (values, "MAX_DEPTH", "a value as data"),
    (json_form, "MAX_LEVELS", "JSON in a display"),
    (deferral, "MAX_DEFER_SECONDS", "`defer_by`"),
    (session, "CLOSE_SECONDS", "`session.close`"),
    (operations, "OPERATION_SECONDS", "`complete`, `inspect`"),
    (operations, "LONG_SECONDS", "`hibernate`, `rollback`, `files.put`"),
    (files, "PIECE_BYTES", "a piece of a file"),
    (checkpoints, "MAX_FORKS", "ids of `fork_many`"),
    (embedded, "MAX_WORKERS", "`workers` of"),
    (reading, "MOST_AHEAD", "a `skep.sync` iterator"),
    (answers, "MAX_ANSWERS", "answers of a worker"),
    (answers, "MAX_ANSWERS_BYTES", "answers of a worker"),
    (session_operations, "MAX_ANSWER_BYTES", "answer to an operation"),
    (inspection, "MAX_MATCHES", "matches of `complete`"),
    (inspection, "MAX_TEXT_CHARS", "text of `inspect`"),
    (user_input, "MAX_PROMPT_CHARS", "the prompt of"),
    (resident, "MAX_STARTS", "starts of a session's process"),
    (checkpointing, "MAX_FAILURES", "processes that hang"),
    (item_changes, "MOST_ENTRIES", "entries of a library's container"),
    (archive, "MOST_ENTRIES", "files of these packages"),
    (cell_outputs, "MAX_TRACEBACK_CHARS", "a traceback | 65"),
    (session_notebook, "MAX_WARNINGS", "warnings of a cell"),
    (event_routes, "MOST_EVENTS", "`?limit` of events"),
    (event_routes, "PAGE_BYTES", "`?limit` of events"),
    (server, "IDLE_CONNECTION_SECONDS", "idle connection"),
    (webhook_store, "MOST", "webhooks |"),
    (definition, "MAX_URL_CHARS", "URL of a webhook"),
    (logins, "LINK_SECONDS", "a login's link"),
    (logins, "MOST_LINKS", "a login's link"),
    (logins, "LOGIN_SECONDS", "a login |"),
    (logins, "MOST_LOGINS", "a login |"),
    (signed_links, "LONGEST_SECONDS", "a signed link"),
    (identity_provider, "MOST_CHARS", "a JWT"),
    (provider_keys, "MOST_KEYS", "keys of an identity provider"),
    (provider_keys, "LARGEST_BYTES", "keys of an identity provider"),
    (provider_keys, "SMALLEST_RSA_BITS", "keys of an identity provider"),
]
CONSTANTS: Final = SINGLE + [
    (module, name, row) for module, names in WHOLE_MODULES.items() for name, row in names.items() if row
]


def row(label: str) -> str:
    """Return the one row that begins with a label."""
    [found] = [line for line in ROWS if line.startswith(f"| {label}")]
    return found


def numbers_of(fields: dict[str, Any]) -> list[str]:
    """Return the names of the fields that are numbers, or optional ones."""
    return [
        name
        for name, field in fields.items()
        if (isinstance(field.default, int | float) and not isinstance(field.default, bool))
        or (field.default is None and re.search(r"\b(int|float)\b", str(field.annotation)))
    ]


@pytest.mark.parametrize(("module", "name", "label"), CONSTANTS, ids=lambda each: getattr(each, "__name__", each))
def test_a_constant_has_its_value_on_the_page(module, name, label):
    value = shown(name, getattr(module, name))

    assert re.search(rf"(?<![\d,]){re.escape(value)}(?!\w|,\d)", row(label))


@pytest.mark.parametrize("module", WHOLE_MODULES, ids=lambda each: each.__name__)
def test_no_constant_of_these_modules_is_missing(module):
    own = {
        name
        for name in re.findall(r"^(\w+)(?:: Final)? = ", Path(str(module.__file__)).read_text(), re.MULTILINE)
        if _BOUND.match(name)
    }

    assert own == set(WHOLE_MODULES[module])


@pytest.mark.parametrize("name", numbers_of(WorkerSettings.model_fields))
def test_a_setting_has_its_default_and_what_it_accepts(name):
    field = WorkerSettings.model_fields[name]

    assert row(f"`SKEP_{name.upper()}`").startswith(
        f"| `SKEP_{name.upper()}` | {shown(name, field.default)} | {bounds(name, field)} | "
    )


@pytest.mark.parametrize("name", Limits.model_fields)
def test_a_limit_of_a_session_has_what_it_accepts_and_the_setting_of_its_maximum(name):
    setting = {"pending_cells": "max_pending_cells", "checkpoint_bytes": "state_bytes"}.get(name, f"limits_{name}")

    assert setting in WorkerSettings.model_fields
    assert row(f"`{name}`") == f"| `{name}` | {bounds(name, Limits.model_fields[name])} | `SKEP_{setting.upper()}` |"


@pytest.mark.parametrize("name", TenantQuotas.model_fields)
def test_a_quota_has_what_it_accepts(name):
    assert row(f"`{name}`") == f"| `{name}` | {bounds(name, TenantQuotas.model_fields[name])} |"


@pytest.mark.parametrize("name", ["interrupt_grace", "input_timeout", "tla_timeout", "output_limit"])
def test_an_option_has_its_default_and_what_it_accepts(name):
    field = SessionOptions.model_fields[name]

    assert row(f"`{name}`").startswith(f"| `{name}` | {bounds(name, field)}, {shown(name, field.default)} by default")


def test_the_numbers_among_the_options_are_on_the_page():
    on_page = {"interrupt_grace", "input_timeout", "tla_timeout", "output_limit", "idle_seconds", "expires_in"}

    assert set(numbers_of(SessionOptions.model_fields)) == on_page


def test_errors_of_the_gateway_have_the_status_that_is_named():
    statuses = {kind.__name__: problem.status for kind, problem in KINDS.items()}
    named = re.findall(r"\b(\d{3}) `([A-Z]\w+)`(?:, `([A-Z]\w+)`)?", PAGE)

    assert named
    for status, *names in named:
        assert all(statuses.get(name, int(status)) == int(status) for name in names)


def test_limits_of_the_gateway_that_are_named_exist():
    named = re.findall(r"`SKEP_GATEWAY_(\w+)`", PAGE)

    assert named
    assert not {name.lower() for name in named} - set(gateway_settings.GatewaySettings.model_fields)
