"""The examples of the blocking client in README and docs/recipes.md do what is said there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parents[3]
EXAMPLES = {
    "README.md": ("with skep.sync.embedded() as cluster", "42\n"),
    "docs/recipes.md": ("with skep.sync.connect() as cluster", "42.0\n0\n1\n2\n"),
}


@pytest.mark.parametrize(("page", "mark", "printed"), [(page, *rest) for page, rest in EXAMPLES.items()], ids=EXAMPLES)
def test_the_example_prints_what_is_said(blocking, tmp_path, page, mark, printed):
    found = re.findall(r"^```python\n(.*?)^```$", (TOP / page).read_text(), re.DOTALL | re.MULTILINE)
    (source,) = [block for block in found if mark in block]
    script = tmp_path / "example.py"
    script.write_text(source)
    done = subprocess.run(
        [sys.executable, "-W", "error", script], capture_output=True, text=True, check=False,
        env=os.environ | {"SKEP_REDIS_URL": blocking.redis_url},
    )  # fmt: skip

    assert (done.stdout, done.stderr, done.returncode) == (printed, "", 0)
