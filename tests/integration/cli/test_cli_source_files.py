"""How files become cells."""

import json

import pytest

from skep.cli.output.failures import RefusedInput
from skep.cli.source_files import SourceCell, read_file, script_parts


def split_script(text):
    return [part for part in script_parts(text) if isinstance(part, SourceCell)]


def codes(text: str) -> list[str]:
    return [cell.code for cell in split_script(text)]


def test_a_plain_script_is_one_cell():
    assert codes("import this\nx = 1\n") == ["import this\nx = 1\n"]


def test_a_script_without_code_has_no_cells():
    assert codes("") == []
    assert codes("# only\n\n# comments\n# %%\n") == []


@pytest.mark.parametrize("separator", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028"])
def test_a_separator_in_a_comment_ends_no_line(separator):
    assert codes(f"# a comment{separator}that goes on\n") == []
    (cell,) = split_script(f"# a comment{separator}that goes on\nx = 1\n")
    assert cell.title == "x = 1"


def test_percent_markers_begin_cells_and_give_titles():
    cells = split_script('#!/usr/bin/env python\n# %% Load it\nx = 1\n#%%\n\ny = 2\n# %% more tags=["a"]\nz = 3\n')
    assert [(cell.title, cell.code) for cell in cells] == [
        ("Load it", "x = 1\n"),
        ("y = 2", "\ny = 2\n"),
        ("more", "z = 3\n"),
    ]


@pytest.mark.parametrize("kind", ["[markdown]", "[md]", "[raw]", 'A title [markdown] key="v"'])
def test_cells_of_text_are_left_out(kind):
    assert codes(f"x = 1\n# %% {kind}\nno code, or code\n# %%\ny = 2\n") == ["x = 1\n", "y = 2\n"]


def test_markers_of_nbconvert_begin_cells():
    text = "#!/usr/bin/env python\n# coding: utf-8\n\n# # Title\n\n# In[1]:\n\n\nx = 1\n\n\n# In[ ]:\n\n\ny = 2\n"
    assert [code.strip() for code in codes(text)] == ["x = 1", "y = 2"]


@pytest.mark.parametrize("line", ["# %%%", "x = 1  # %%", "    # %%", "# In[1] is gone", "## %%"])
def test_what_only_looks_like_a_marker_is_none(line):
    assert len(codes(f"if True:\n    x = 1\n{line}\n    y = 2\n")) == 1


def test_a_marker_inside_a_string_is_text():
    text = 's = """\n# %% not a cell\n"""\n# %%\nx = 1\n'
    assert codes(text) == ['s = """\n# %% not a cell\n"""\n', "x = 1\n"]


def test_what_is_no_python_is_split_all_the_same():
    assert codes("# %%\nx = (\n# %%\ny = 2\n") == ["x = (\n", "y = 2\n"]


def test_titles_are_short():
    (cell,) = split_script("# %% " + "very " * 40 + "long\nx = 1\n")
    assert len(cell.title) == 60
    assert cell.title.endswith("…")


def test_line_ends_and_encodings_are_read_as_python_reads_them(tmp_path):
    file = tmp_path / "old.py"
    file.write_bytes("# coding: latin-1\r\n# %%\r\nname = 'Käthe'\r\n".encode("latin-1"))
    assert [cell.code for cell in read_file(str(file)).cells] == ["name = 'Käthe'\n"]
    file.write_bytes(b"\xef\xbb\xbfx = 1\n")
    assert [cell.code for cell in read_file(str(file)).cells] == ["x = 1\n"]


@pytest.mark.parametrize("content", [b"\xff\xfe", b"# coding: klingon\nx = 1\n", b"x = '\xe9'\n"])
def test_text_that_cannot_be_read_is_refused(tmp_path, content):
    file = tmp_path / "bad.py"
    file.write_bytes(content)
    with pytest.raises(RefusedInput, match="this is no Python source"):
        read_file(str(file))


def test_a_notebook_of_format_3_is_read_too(tmp_path):
    file = tmp_path / "old.ipynb"
    cells = [
        {"cell_type": "heading", "source": "T"},
        {"cell_type": "code", "input": ["a = 1\n", "a"]},
        {"cell_type": "code", "input": "# nothing"},
    ]
    file.write_text(json.dumps({"nbformat": 3, "worksheets": [{"cells": cells}, {"cells": [cells[1]]}]}))
    assert [cell.code for cell in read_file(str(file)).cells] == ["a = 1\na", "a = 1\na"]
