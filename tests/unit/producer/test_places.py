"""How messages name commands to try."""

import pytest

from skep.cli.places import program_name


@pytest.mark.parametrize(
    ("started_as", "on_path", "name"),
    [
        (".venv/bin/skep", False, ".venv/bin/skep"),
        (".venv/bin/skep", True, "skep"),
        ("/x/skep/cli/__main__.py", False, "skep"),
    ],
)
def test_a_program_that_is_not_on_the_path_is_named_as_it_was_started(monkeypatch, tmp_path, started_as, on_path, name):
    program = tmp_path / "skep"
    program.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path if on_path else tmp_path / "empty"))
    monkeypatch.setattr("sys.argv", [started_as])

    assert program_name() == name
