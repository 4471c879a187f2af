"""The constraints that `make test-versions` installs with: every requirement at its lower bound."""

import pytest
from tests.oldest_versions import PYPROJECT, constraints

PROJECT = """
[project]
name = "own"
requires-python = ">=3.11"
dependencies = ["one>=1.2", "two[extra]>=2,<3; sys_platform != 'win32'"]
[project.optional-dependencies]
dev = ["own[other]", "three>=3.0.1"]
other = ["one>=1.2"]
"""


def test_each_requirement_is_held_at_its_lower_bound():
    assert list(constraints(PROJECT, (3, 11))) == ["one==1.2", "two==2", "three==3.0.1"]


def test_a_requirement_without_a_lower_bound_is_refused():
    with pytest.raises(ValueError, match=r"'one<2' has no lower bound"):
        list(constraints(PROJECT.replace("one>=1.2", "one<2"), (3, 11)))


def test_another_python_than_the_oldest_is_refused():
    with pytest.raises(ValueError, match=r"go with Python 3\.11, this is 3\.13"):
        list(constraints(PROJECT, (3, 13)))


def test_every_requirement_of_the_project_has_a_lower_bound():
    assert list(constraints(PYPROJECT.read_text(), (3, 11)))
