"""Write the pages, or compare them."""

import argparse
import sys
from pathlib import Path
from typing import Final

from . import __doc__ as about
from .pages import pages

ROOT: Final = Path(__file__).parents[3]
FOLDER: Final = ROOT / "docs" / "reference"


def outdated() -> list[str]:
    """Return the names of the files that are not what would be written, or that no name is described in."""
    made = {f"{name}.md": text for name, text in pages().items()}
    present = {path.name: path.read_text() for path in FOLDER.glob("*.md")}
    return sorted(name for name in made.keys() | present.keys() if made.get(name) != present.get(name))


def main() -> int:
    """Write the pages, or only compare them; return the exit status."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only compare")
    if parser.parse_args().check:
        names = outdated()
        if names:
            print(f"docs/reference is out of date ({', '.join(names)}): run python -m tests.tooling.api_reference")
        return 1 if names else 0
    FOLDER.mkdir(exist_ok=True)
    made = pages()
    for path in FOLDER.glob("*.md"):
        if path.stem not in made:
            path.unlink()
    for name, text in made.items():
        (FOLDER / f"{name}.md").write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
