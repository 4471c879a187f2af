"""A session's notebook as one page of HTML that needs nothing else: no script, no network, no file."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from skep.export.html_outputs import output_html
from skep.export.terminal_text import escape_text

# Frames inherit it. Styles in the page and images in it are all that it permits.
POLICY: Final = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
)  # fmt: skip
_ANSI: Final = (
    "#3b3b3b", "#c01c28", "#1a7f37", "#9a6700", "#0550ae", "#8250df", "#1b7c83", "#6e7781",
    "#57606a", "#e01b24", "#2da44e", "#bf8700", "#218bff", "#a475f9", "#3192aa", "#8c959f",
)  # fmt: skip
_STYLE: Final = """
:root{color-scheme:light dark}
body{margin:0 auto;padding:1em;max-width:70em;font:15px/1.5 system-ui,sans-serif;color:#1f2328;background:#fff}
header{border-bottom:1px solid #d0d7de;margin-bottom:1em}
h1{font-size:1.3em;overflow-wrap:anywhere}
section{margin:0 0 1.5em;padding-left:.8em;border-left:3px solid #d0d7de}
section.bad{border-color:#cf222e}
pre{margin:.3em 0;padding:.4em .6em;overflow-x:auto;font:13px/1.45 ui-monospace,monospace;unicode-bidi:isolate;
direction:ltr;white-space:pre}
pre.code{background:#f6f8fa;border:1px solid #d0d7de}
pre.stderr,pre.error{background:#fff0ee}
iframe{width:100%;border:1px solid #d0d7de;background:#fff;color-scheme:light;resize:vertical}
img{max-width:100%;background:#fff}
.facts,.note{margin:.2em 0;color:#57606a;font-size:.85em;overflow-wrap:anywhere;unicode-bidi:isolate}
.note{font-style:italic}
.bold{font-weight:bold}.dim{opacity:.7}.italic{font-style:italic}.underline{text-decoration:underline}
.strike{text-decoration:line-through}.inverse{color:#fff;background:#1f2328}
@media (prefers-color-scheme:dark){
body{color:#e6edf3;background:#0d1117}pre.code{background:#161b22;border-color:#30363d}
pre.stderr,pre.error{background:#2d1214}.facts,.note{color:#9198a1}.inverse{color:#0d1117;background:#e6edf3}
header,section{border-color:#30363d}}
"""


def notebook_page(document: Mapping[str, Any]) -> str:
    """Return the page for a notebook from `session_notebook`."""
    facts = document["metadata"]["skep"]
    title = f"Session {facts['session_id']}"
    colours = "".join(f".f{n}{{color:{colour}}}.b{n}{{background:{colour}}}" for n, colour in enumerate(_ANSI))
    cells = "\n".join(_cell(cell) for cell in document["cells"])
    version = document["metadata"]["language_info"].get("version")
    python = f", Python {escape_text(version)}" if version else ""
    count = sum(cell["cell_type"] == "code" for cell in document["cells"])
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="referrer" content="no-referrer">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape_text(title)}</title>
<style>{_STYLE}{colours}</style>
</head>
<body>
<header><h1>{escape_text(title)}</h1>
<p class="facts">{count} {"cell" if count == 1 else "cells"}, up to event {escape_text(facts["last_event"])}{python}</p>
</header>
<main>
{cells}
</main>
</body>
</html>
"""


def _cell(cell: Mapping[str, Any]) -> str:
    if cell["cell_type"] != "code":
        return f'<p class="note">{escape_text(cell["source"].strip("*"))}</p>'
    facts = cell["metadata"]["skep"]
    title = f"cell {facts['seq']}"
    is_bad = facts["status"] in {"failed", "timed_out", "crashed", "lost"}
    parts = [
        f'<section id="cell-{int(facts["seq"])}" aria-label="{title}"{" class=bad" if is_bad else ""}>',
        f'<p class="facts">{" · ".join(escape_text(text) for text in _facts(facts))}</p>',
        f'<pre class="code">{escape_text(cell["source"])}</pre>',
        *(output_html(output, f"output of {title}") for output in cell["outputs"]),
        *(f'<p class="note">warning: {escape_text(text)}</p>' for text in facts.get("warnings", ())),
        "</section>",
    ]
    return "\n".join(parts)


def _facts(facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield what there is to know about a cell, in words."""
    yield f"[{facts['seq']}]"
    yield facts["status"].replace("_", " ")
    if facts.get("run_ms") is not None:
        yield f"{facts['run_ms']:.0f} ms"
    if facts["attempt"] != 1:
        yield f"attempt {facts['attempt']}"
    if facts["checkpoint"] is not None:
        yield f"checkpoint {facts['checkpoint']}"
    yield f"id {facts['cell_id']}"
    for name, text in facts.get("labels", {}).items():
        yield f"{name}: {text}"
