"""Find phrasings that this project's prose avoids, because readers have to stop at them.

    python tests/tooling/plain_english.py              # check; `make lint` runs this
    python tests/tooling/plain_english.py --list       # also show each place, with its line
    python tests/tooling/plain_english.py --lower      # write lower counts into the budget, never higher ones

Prose is: docstrings and comments of Python, comments of Lua, Markdown outside code, and names of tests. Each file has a
budget, the number of findings it may have; a file that is not in the budget may have none. Budgets only shrink.
"""

import ast
import io
import json
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
BUDGET: Final = Path(__file__).with_name("plain_english_budget.json")
EXEMPT: Final = ("CHANGELOG.md", "tests/tooling/", "tests/unit/tooling/test_plain_english.py", "docs/contributing.md")

FIRST_WORDS: Final = re.compile(r"(gives?|tells?|says?|have|lets?|takes?)\b", re.IGNORECASE)
ALLOWED_FIRST_WORDS: Final = re.compile(r"takes? (a snapshot|over)\b", re.IGNORECASE)
# Each phrase, and what to write instead.
PHRASES: Final = {
    r"anew": "again, new",
    r"who(m)?ever": "name who it is",
    r"nobody|somebody|anybody": "name who it is",
    r"but for": "except",
    r"behind (the|an?|its|that|those|this) (id|ids|event|events|cell|cells|cursor|end)": "after",
    r"(?<=[,;:(] )else(?! if)": "otherwise",
    r"beside": "alongside, in addition to",
    r"rather(?! than)": "preferably, instead",
    r"(is|are|was|were|be|been) told": "is notified, is reported",
    r"told of|tells? of|hears? of|heard of|knows? of": "is reported, is notified, is aware of",
    r"lets? go( of)?": "release",
    r"for the sake of": "for, because of",
    r"gives? back": "return, release",
    r"gives? (what|the|how|its|one|none|an?)": "return, yield, provide",
}
PROSE: Final = re.compile(rf"(?<![\w-])({'|'.join(PHRASES)})(?![\w-])", re.IGNORECASE)
TEST_NAME: Final = re.compile(r"(?<=_)(anew|whoever|nobody|somebody|but_for|beside|told|behind_the|let_go)(?=_|$)")
CODE_BLOCK: Final = re.compile(r"^( *)(```|~~~).*?^\1\2", re.DOTALL | re.MULTILINE)
CODE_SPAN: Final = re.compile(r"``[^`]+``|`[^`\n]+`")


@dataclass(frozen=True, slots=True)
class Finding:
    """A phrase to avoid."""

    path: str
    line: int
    phrase: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.phrase}"


def find_in_text(path: str, text: str, first_line: int) -> Iterator[Finding]:
    """Yield the phrases in prose that begins at this line. Code in backquotes is no prose."""
    prose = CODE_SPAN.sub(_blank, text)
    for match in PROSE.finditer(prose):
        yield Finding(path, first_line + prose.count("\n", 0, match.start()), " ".join(match.group().split()))


def find_in_python(path: str, source: str) -> Iterator[Finding]:
    """Yield the findings in docstrings, comments and names of tests."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            for match in TEST_NAME.finditer(node.name):
                yield Finding(path, node.lineno, f"{match.group()} in {node.name}")
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node, clean=False)
            if text is None:
                continue
            line = node.body[0].lineno
            if (match := FIRST_WORDS.match(text)) and not ALLOWED_FIRST_WORDS.match(text):
                yield Finding(path, line, f"a docstring that begins with {match.group()}")
            yield from find_in_text(path, text, line)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield from find_in_text(path, token.string, token.start[0])


def find_in_lua(path: str, source: str) -> Iterator[Finding]:
    """Yield the findings in comments."""
    for number, line in enumerate(source.splitlines(), 1):
        _, dashes, comment = line.partition("--")
        if dashes:
            yield from find_in_text(path, comment, number)


def find_in_markdown(path: str, source: str) -> Iterator[Finding]:
    """Yield the findings outside code."""
    yield from find_in_text(path, CODE_BLOCK.sub(_blank, source), 1)


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match.group())


FINDERS: Final = {".py": find_in_python, ".lua": find_in_lua, ".md": find_in_markdown}


def find_in_tree(root: Path) -> dict[str, list[Finding]]:
    """Return the findings by file, of all files that git tracks or would add."""
    command = ["git", "-C", str(root), "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    found: dict[str, list[Finding]] = {}
    for path in sorted(set(listed)):
        finder = FINDERS.get(Path(path).suffix)
        if finder is None or path.startswith(EXEMPT) or not (root / path).is_file():
            continue
        findings = list(finder(path, (root / path).read_text(encoding="utf-8")))
        if findings:
            found[path] = sorted(findings, key=lambda finding: finding.line)
    return found


def main(arguments: list[str]) -> int:
    """Check the tree against the budget; return the exit status."""
    budget: dict[str, int] = json.loads(BUDGET.read_text(encoding="utf-8"))
    found = find_in_tree(ROOT)
    count = sum(map(len, found.values()))
    if "--list" in arguments:
        print(*(finding for findings in found.values() for finding in findings), sep="\n")
    if "--lower" in arguments:
        budget = {path: min(len(found[path]), most) for path, most in budget.items() if path in found}
        BUDGET.write_text(json.dumps(budget, indent=2) + "\n", encoding="utf-8")
    over = {path: findings for path, findings in found.items() if len(findings) > budget.get(path, 0)}
    for path, findings in over.items():
        print(f"{path}: {len(findings)} phrases to avoid, {budget.get(path, 0)} allowed")
        print(*(f"  {finding}" for finding in findings), sep="\n")
    if over:
        print("What to write instead:", *(f"  {phrase} -> {better}" for phrase, better in PHRASES.items()), sep="\n")
    print(f"plain English: {count} phrases to avoid in {len(found)} files, {sum(budget.values())} allowed")
    return bool(over)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
