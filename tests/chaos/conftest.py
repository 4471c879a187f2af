"""The soak's workers use the tier of the sandbox that the tests run in. In the simulation no process is real."""

from collections.abc import Iterator

import pytest

from ..sandbox_tier import sandboxed_workers


@pytest.fixture(scope="module", autouse=True)
def workers_are_sandboxed() -> Iterator[None]:
    """Start this module's workers with that tier."""
    with sandboxed_workers():
        yield
