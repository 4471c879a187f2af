"""Notebook syntax: cell magics after comments, questions, pasted prompts, continued lines."""

import pytest

pytestmark = pytest.mark.anyio

AT_THE_HEAD = {
    "comment": "# how long?\n%%bash\necho hi",
    "blank lines": "\n\n  \n%%bash\necho hi",
    "both": "# one\n\n# two\n%%bash\necho hi",
    "after time": "%%time\n%%bash\necho hi",
    "after time and a comment": "# one\n%%time\n\n# two\n%%bash\necho hi",
    "indented": "  %%bash\n  echo hi",
}


@pytest.mark.parametrize("code", AT_THE_HEAD.values(), ids=AT_THE_HEAD.keys())
async def test_a_cell_magic_is_found(session, code):
    assert (await session.text(code)).startswith("hi\n")


async def test_a_cell_magic_in_a_captured_cell_is_captured(session):
    assert (await session.run("%%capture got\n%%bash\necho hi")).text == ""
    assert await session.value("got.stdout") == "hi\n"


async def test_a_cell_magic_that_is_not_the_first_line_is_refused(session):
    cell = await session.run("x = 1\n%%bash\necho hi")

    assert cell.error.ename == "BadMagic"
    assert "must be the first line" in cell.error.evalue


@pytest.mark.parametrize(("code", "hint"), [("%bash", "cell magic %%bash"), ("%%pwd\n1", "line magic %pwd")])
async def test_an_unknown_magic_suggests_the_one_of_the_other_kind(session, code, hint):
    assert hint in (await session.run(code)).error.evalue


async def test_line_numbers_after_a_comment_and_a_cell_magic_are_those_of_the_cell(session):
    cell = await session.run("# comment\n\n%%time\n1 / 0")

    assert "line 4, in <module>\n    1 / 0" in cell.error.traceback


PASTED = {
    "a byte order mark": "\ufeffx = 42\nx",
    "a byte order mark before a magic": "\ufeff%pwd\n42",
    "prompts": ">>> x = 20\n>>> if x:\n...     x += 1\n...\n>>> x * 2",
    "prompts of IPython": "In [1]: x = 20\n\nIn [2]: if x:\n   ...:     x += 1\n   ...:\n\nIn [3]: x * 2",
    "an indent": "    x = 20\n    if x:\n        x += 1\n    x * 2",
    "an indent and magics": "    x = !echo 20\n    y = int(x[0]) + 1\n    y * 2",
    "an indent after blank lines": "\n\n\tx = 21\n\tx * 2",
    "a first line without a prompt": "x = 20\n>>> x += 1\n>>> x * 2",
    "indented prompts": "    >>> x = 20\n    >>> x += 1\n    >>> x * 2",
}


@pytest.mark.parametrize("code", PASTED.values(), ids=PASTED.keys())
async def test_prompts_and_indent_are_removed(session, code):
    assert await session.value(code) == 42


@pytest.mark.parametrize("code", ["In [3]: x", "\nIn [3]: x", "In [3]: x\n\nIn [4]: x", "[ins] In [3]: x"])
async def test_a_prompt_that_would_be_an_annotation_is_removed(session, code):
    await session.run("x = 42")

    assert await session.value(code) == 42


@pytest.mark.parametrize("text", ["\n>>> x\n", "\nIn [1]: x\n", "    x"])
async def test_prompts_in_a_string_are_kept(session, text):
    assert await session.value(f"s = '''{text}'''\ns") == text


async def test_an_indent_that_is_wrong_is_an_error(session):
    assert (await session.run("x = 1\n    y = 2")).error.ename == "IndentationError"


@pytest.mark.parametrize("code", ["%pwd \\\n", "b = %env \\\n  HOME\nb"])
async def test_a_magic_continues_after_a_backslash(session, code):
    assert isinstance(await session.value(code), str)


async def test_line_numbers_after_a_magic_of_several_lines_are_unchanged(session):
    cell = await session.run("!true \\\n  now\n1 / 0")

    assert "line 3, in <module>\n    1 / 0" in cell.error.traceback


@pytest.mark.parametrize("code", ["a = 1 + zip?", "(a,\nb) = zip?", "a = \\\nzip?", "if True:\n    zip?", "%pinfo zip"])
async def test_a_question_at_the_end_of_a_statement_is_about_its_last_name(session, code):
    cell = await session.run(code)

    assert cell.error is None, cell.error.traceback
    assert "Type: type" in cell.text
    assert await session.value("'a' in globals()") is False


@pytest.mark.parametrize("name", ["held[0]", "held[-1]", "C.prop", "c.prop", "c.method"])
async def test_a_question_may_be_about_a_part(session, name):
    await session.run(
        "def f():\n    'the doc'\nheld = [f]\nclass C:\n    @property\n    def prop(self):\n        'the doc'\n"
        "    def method(self):\n        'the doc'\nc = C()"
    )

    assert "the doc" in await session.text(f"{name}?")


async def test_two_question_marks_show_the_source(session):
    await session.run("def area(r):\n    '''Give the area.'''\n    return r * r")

    assert "return r * r" in await session.text("area??")
    assert "return r * r" in await session.text("%pinfo2 area")
    assert "return r * r" not in await session.text("area?")


@pytest.mark.parametrize(
    ("code", "text"),
    [("%pwd?", "%pwd return"), ("%%bash?", "%%bash ["), ("%no?", "Magic `%no` not found"), ("?", "%lsmagic lists")],
)
async def test_a_question_about_a_magic_prints_its_help(session, code, text):
    assert text in await session.text(code)


async def test_a_star_finds_names(session):
    await session.run("alpha1, alpha2 = 1, 2")

    assert await session.text("alpha*?") == "alpha1\nalpha2\n"


async def test_magics_are_listed(session):
    text = await session.text("%lsmagic")

    assert "%cd" in text
    assert "%%bash" in text


async def test_a_builtin_class_has_a_signature(session):
    assert (await session.ask("inspect", name="list"))["signature"] is not None


CALLABLES = """
import functools
def plain(a, b=2):
    "the doc"
cached, partial = functools.lru_cache(plain), functools.partial(plain, b=3)
class Decorator:
    def __init__(self, function): functools.update_wrapper(self, function)
    def __call__(self, *args): pass
decorated = Decorator(plain)
"""


@pytest.mark.parametrize(
    ("name", "signature"), [("cached", "(a, b=2)"), ("partial", "(a, *, b=3)"), ("decorated", "(a, b=2)")]
)
async def test_what_stands_for_a_function_is_described_by_the_function(session, name, signature):
    await session.run(CALLABLES)
    text = await session.text(f"{name}?")

    assert f"Signature: {name}{signature}" in text
    assert "the doc" in text


@pytest.mark.parametrize(
    ("question", "signature", "doc"),
    [
        ("str.format?", None, "Return a formatted version"),
        ("str.upper?", "(self, /)", "uppercase"),
        ("dict.fromkeys?", None, "Create a new dictionary"),
        ("int.__add__?", "(self, value, /)", "Return self+value"),
        ("numpy.add?", None, "Add arguments element-wise"),
    ],
)
async def test_what_c_code_defines_is_described_by_its_own_text(session, question, signature, doc):
    text = await session.text(f"import numpy\n{question}")

    assert signature is None or f"Signature: {question[:-1]}{signature}" in text
    assert doc in text


async def test_reset_unbinds_the_names(session):
    await session.run("x = 1\nx")
    await session.run("%reset -f")

    assert await session.value("'x' in globals(), '_' in globals()") == (False, False)


async def test_whos_prints_types_and_values(session):
    await session.run("n = 5")

    assert (await session.text("%whos")).splitlines()[1].split() == ["n", "int", "5"]


async def test_run_runs_a_file_in_the_session(session, tmp_path):
    (tmp_path / "script.py").write_text(
        "import sys\nargs = sys.argv[1:]\nif __name__ == '__main__':\n    print(args)\nsys.exit(0)\n"
    )

    assert await session.text("%run script.py a 'b c'") == "['a', 'b c']\n"
    assert await session.value("args, '__file__' in globals()") == (["a", "b c"], False)
    assert (await session.run("%run -p script.py")).error.ename == "ValueError"


async def test_cd_returns_to_the_previous_directory(session, tmp_path):
    (tmp_path / "inner").mkdir()
    await session.run("%cd -q inner")

    assert await session.text("%cd -") == f"{tmp_path}\n"


EXPORTED = {
    "get_ipython().run_line_magic('matplotlib', 'inline')\n1": (1, ""),
    "x = get_ipython().getoutput('echo {a}')\nx": (["5"], ""),
    "get_ipython().system('echo $a')": (None, "5\n"),
    "get_ipython().run_cell_magic('bash', '-s {a}', 'echo $1\\n')": (None, "5\n"),
    "if a:\n    get_ipython().magic('env A={a}')": (None, "env: A=5\n"),
}


@pytest.mark.parametrize(("code", "expected"), EXPORTED.items())
async def test_an_exported_notebook_runs(session, code, expected):
    await session.run("a = 5")
    cell = await session.run(code)

    assert cell.error is None, cell.error.traceback
    assert (cell.value if cell.result else None, cell.text) == expected


async def test_there_is_no_get_ipython(session):
    assert (await session.run("get_ipython()")).error.ename == "NameError"


async def test_a_magic_over_a_whole_cell_cant_be_called(session):
    assert (await session.run("get_ipython().run_cell_magic('time', '', '1')")).error.ename == "ValueError"


# Rows of the table in docs/notebooks.md where a session differs from IPython; other tests cover the other rows.
OTHERWISE = {
    "%autoawait trio": "UnknownMagic",
    "%macro m 1": "UnknownMagic",
    "In": "NameError",
    "Out": "NameError",
    "__IPYTHON__": "NameError",
    ",abs 5": "SyntaxError",
    "/abs 5": "SyntaxError",
    "ls": "NameError",
    "ls -l here": "SyntaxError",
    "%run -t x.py": "ValueError",
    "for f in 'ab': !echo {f}": "SyntaxError",
}


@pytest.mark.parametrize(("code", "error"), OTHERWISE.items())
async def test_what_a_session_does_not_support_is_an_error(session, code, error):
    assert (await session.run(code)).error.ename == error


async def test_the_descriptors_of_the_streams_can_be_opened(session):
    assert await session.value("[open(fd, 'w', closefd=False).fileno() for fd in (1, 2)]") == [1, 2]


async def test_the_text_of_a_cell_magic_keeps_its_prompts(session, tmp_path):
    await session.run("%%writefile doc.txt\n>>> 1 + 1\n    2\n")

    assert (tmp_path / "doc.txt").read_text() == ">>> 1 + 1\n    2\n"


async def test_who_accepts_types(session):
    await session.run("number, word, other = 1, 'a', 2")

    assert await session.text("%who int") == "number\tother\n"
    assert await session.value("%who_ls str list") == ["word"]


@pytest.mark.parametrize("path", ["my dir", "'my dir'", "{place}", "$place"])
async def test_a_directory_may_have_spaces(session, tmp_path, path):
    (tmp_path / "my dir").mkdir()
    await session.run("place = 'my dir'")

    assert await session.text(f"%cd {path}") == f"{tmp_path}/my dir\n"


async def test_an_option_of_markup_without_an_effect_shows_a_warning(session):
    cell = await session.run("%%html --isolated\n<b>x</b>")

    assert cell.displays[0].bundle["text/html"] == "<b>x</b>"
    assert cell.notices[0].message.startswith("the option --isolated has no effect")


async def test_names_in_a_shell_cell_are_replaced(session):
    assert await session.value("a = 5\nr = %sx echo {a}\nr") == ["5"]
    assert (await session.run("%%sx\necho {a + 1}\necho $a")).value == ["6", "5"]
