"""The blocking classes are the ones that the asynchronous classes make today."""

from tests.tooling import blocking_classes


def test_the_committed_module_is_what_is_generated():
    assert blocking_classes.is_current(), "run python tests/tooling/blocking_classes.py"
