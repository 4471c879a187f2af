"""The list of what differs in a sandbox names tests that exist, and is the table in the documentation."""

import re
from pathlib import Path

import pytest
from tests.sandbox_differences import DIFFERENCES, difference_of, table, written_table

TESTS = Path(__file__).parents[2]
NAMED = [name for difference in DIFFERENCES for name in difference.tests]


@pytest.mark.parametrize("name", NAMED)
def test_a_test_that_is_named_exists(name):
    path, _, test = name.partition("::")
    test, _, _ = test.partition("[")

    assert re.search(rf"^(async )?def {test}\(", (TESTS / path).read_text(), re.MULTILINE)


def test_no_test_is_named_twice():
    assert len(set(NAMED)) == len(NAMED)


def test_a_name_without_parameters_means_all_of_them():
    difference = DIFFERENCES[0]
    whole = next(name for name in difference.tests if "[" not in name)
    one = next(name for name in difference.tests if "[" in name)

    assert difference_of(f"{whole}[any]", "basic") is difference_of(whole, "basic") is difference
    assert difference_of(one, "basic") is difference
    assert difference_of(one.partition("[")[0], "basic") is None
    assert difference_of(whole, "none") is None


def test_the_table_in_the_documentation_is_that_of_the_list():
    assert written_table() == table()
