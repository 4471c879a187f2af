"""Wheels that tests make themselves, and a directory of them that pip uses instead of an index."""

import base64
import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path


def make_wheel(
    directory: Path, name: str, version: str, files: Mapping[str, str], *, needs: str = "", scripts: str = ""
) -> Path:
    """Write a wheel of these modules, by their paths. `needs`: a requirement. `scripts`: lines of console_scripts."""
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    content = {
        **files,
        f"{info}/METADATA": metadata + (f"Requires-Dist: {needs}\n" if needs else ""),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    if scripts:
        content[f"{info}/entry_points.txt"] = f"[console_scripts]\n{scripts}\n"
    content[f"{info}/RECORD"] = "".join(f"{path},{_digest(text)},{len(text)}\n" for path, text in content.items()) + (
        f"{info}/RECORD,,\n"
    )
    path = directory / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for each, text in content.items():
            archive.writestr(each, text)
    return path


def _digest(text: str) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
    return f"sha256={digest}"


def make_index(directory: Path) -> dict[str, str]:
    """Fill a directory with wheels, and return the variables that make pip use it and nothing else.

    hive 1.0 and 2.0: `version`, the class Bee, and the command hive. comb needs hive. meadow: two directories of one
    namespace, a part in each wheel. pathy: a .pth file. slowpoke: an import that fails.
    """
    directory.mkdir(exist_ok=True)
    for version in ("1.0", "2.0"):
        module = f"version = {version!r}\nclass Bee:\n    def __init__(self, name):\n        self.name = name\n"
        module += "def main():\n    print('hive', version)\n"
        make_wheel(directory, "hive", version, {"hive/__init__.py": module}, scripts="hive = hive:main")
    make_wheel(directory, "comb", "1.0", {"comb.py": "from hive import version\n"}, needs="hive<2")
    make_wheel(directory, "meadow_one", "1.0", {"meadow/one.py": "place = 1\n"})
    make_wheel(directory, "meadow_two", "1.0", {"meadow/two.py": "place = 2\n"})
    make_wheel(directory, "pathy", "1.0", {"pathy.pth": "pathy_files\n", "pathy_files/hidden.py": "found = True\n"})
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(directory)}
