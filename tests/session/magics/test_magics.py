"""Every magic of the table, and Python that only looks like a magic."""

import re

import pytest

pytestmark = pytest.mark.anyio


async def test_the_output_of_a_command_is_output_of_its_cell(session):
    cell = await session.run("print('before')\n!echo from the shell\nprint('after')")

    assert cell.text == "before\nfrom the shell\nafter\n"


async def test_a_command_line_may_contain_any_shell_syntax(session):
    assert await session.text("!for i in 1 2 3; do echo $i; done | tail -n 1 && echo 'a b' \"c\"") == "3\na b c\n"


IN_COMMAND_LINES = {
    "!echo $word": "w\n",
    "!echo {word}": "w\n",
    "!echo $word{word}!": "ww!\n",
    "!echo ${word}x": "x\n",  # a variable of the shell
    "!echo '{nothing}' '$nothing'": "{nothing} $nothing\n",
    "!echo \\$word": "$word\n",
    "!echo '{ $word}'": "{ $word}\n",  # not replaced within single quotes, as in a shell
    "!bash -c 'echo {word,b}'": "word b\n",
}  # fmt: skip


@pytest.mark.parametrize(("line", "text"), IN_COMMAND_LINES.items())
async def test_names_in_a_command_line_are_variables_of_the_session(session, line, text):
    assert await session.text(f"word = 'w'\n{line}") == text


async def test_the_status_of_a_failed_command_is_stored(session):
    cell = await session.run("!exit 3")

    assert cell.status == "finished"
    assert await session.value("_exit_code") == 3


async def test_the_output_of_a_command_can_be_assigned(session):
    cell = await session.run("lines = !printf 'a\\nb\\n'\nlines")

    assert (cell.value, cell.text) == (["a", "b"], "")


async def test_a_command_line_in_a_block_keeps_its_place(session):
    assert await session.text("for i in range(2):\n    if i:\n        !echo {i}\n    else:\n        pass") == "1\n"


async def test_cd_changes_the_directory_and_prints_it(session, tmp_path):
    (tmp_path / "inner").mkdir()
    cell = await session.run("%cd inner")

    assert cell.text == f"{tmp_path}/inner\n"
    assert await session.value("import os\nos.getcwd()") == f"{tmp_path}/inner"


async def test_pwd_returns_the_directory(session, tmp_path):
    assert await session.value("%pwd") == str(tmp_path)
    assert await session.value("here = %pwd\nhere") == str(tmp_path)


async def test_env_sets_and_shows_variables(session):
    assert await session.text("%env ANSWER=42") == "env: ANSWER=42\n"
    assert await session.value("%env ANSWER") == "42"
    assert await session.value("import os\nos.environ['ANSWER']") == "42"
    assert (await session.value("all_of_it = %env\nall_of_it"))["ANSWER"] == "42"
    assert await session.text("!echo $ANSWER") == "42\n"


async def test_env_accepts_a_value_after_a_space(session):
    assert await session.text("%env WORDS two words") == "env: WORDS=two words\n"


async def test_pip_runs_for_the_sessions_interpreter(session):
    assert await session.text("%pip --version") == await session.text(
        "import sys\nexe = sys.executable\n!$exe -m pip --version"
    )


async def test_a_failed_pip_makes_the_cell_fail(session):
    cell = await session.run("%pip no-such-command")

    assert cell.error.ename == "CalledProcessError"


TIMES = re.compile(r"CPU times: total: [\d.]+ (ns|μs|ms|s)\nWall time: [\d.]+ (ns|μs|ms|s)\n")


@pytest.mark.parametrize(
    "code",
    ["%time 6 * 7", "%%time\n6 * 7", "%%time\nx = 6\n\nx * 7", "import asyncio\n%time await asyncio.sleep(0, 42)"],
)
async def test_time_prints_times_and_keeps_the_value(session, code):
    cell = await session.run(code)

    assert cell.value == 42
    assert TIMES.fullmatch(cell.text)


@pytest.mark.parametrize("code", ["%time x = 42", "%%time\nx = 42", "%%time x = 42", "%time x = 41; x += 1;"])
async def test_time_accepts_statements(session, code):
    cell = await session.run(code)

    assert TIMES.fullmatch(cell.text)
    assert await session.value("x") == 42


async def test_time_of_an_error_is_an_error(session):
    assert (await session.run("%time 1 / 0")).error.ename == "ZeroDivisionError"


async def test_a_semicolon_hides_the_value_that_was_timed(session):
    cell = await session.run("%time 1;")

    assert cell.result is None
    assert TIMES.fullmatch(cell.text)


@pytest.mark.parametrize("code", ["%timeit leftover = x + 1", "%%timeit y = 2\nleftover = x + y"])
async def test_timeit_prints_a_mean_and_binds_no_names(session, code):
    await session.run("x = 1")
    text = await session.text(code)

    assert re.fullmatch(
        r"[\d.]+ (ns|μs|ms|s) ± [\d.]+ (ns|μs|ms|s) per loop \(mean ± std\. dev\. of 7 runs, [\d,]+ loops? each\)\n",
        text,
    )
    assert await session.value("{'leftover', 'y'} & globals().keys() == set()") is True


async def test_bash_runs_a_script(session):
    assert await session.text("%%bash\nfor i in {1..3}; do echo $i; done\necho done") == "1\n2\n3\ndone\n"


async def test_sh_is_bash_too(session):
    assert await session.text("%%sh\necho x") == "x\n"


async def test_a_failed_script_makes_the_cell_fail(session):
    cell = await session.run("%%bash\necho before\nexit 3")

    assert (cell.text, cell.error.ename) == ("before\n", "CalledProcessError")


async def test_writefile_writes_or_appends_and_reports_it(session, tmp_path):
    assert await session.text("%%writefile notes.txt\nline one\n%not a magic") == "Writing notes.txt\n"
    assert await session.text("%%writefile -a notes.txt\nline three\n") == "Appending to notes.txt\n"
    assert await session.text("%%writefile 'with space.txt'\nx") == "Writing with space.txt\n"

    assert (tmp_path / "notes.txt").read_text() == "line one\n%not a magicline three\n"
    assert await session.text("%%writefile notes.txt\nnew") == "Overwriting notes.txt\n"


@pytest.mark.parametrize("line", ["%matplotlib inline", "%matplotlib", "%load_ext autoreload", "%autoreload 0"])
async def test_magics_that_request_the_default_behaviour_are_accepted(session, line):
    cell = await session.run(f"{line}\nx = 5\nx")

    assert (cell.value, cell.text, cell.notices) == (5, "", [])


@pytest.mark.parametrize(
    "line",
    [
        "%config InlineBackend.figure_format = 'retina'",
        "%load_ext sql",
        "%reload_ext x",
        "%precision 3",
        "%matplotlib widget",
        "%xmode Verbose",
    ],
)
async def test_magics_without_an_effect_show_a_warning(session, line):
    cell = await session.run(f"{line}\nx = 5\nx")

    assert (cell.value, cell.text) == (5, "")
    assert [notice.category for notice in cell.notices] == ["magic"]


MARKUP = {
    "html": "text/html",
    "HTML": "text/html",
    "javascript": "application/javascript",
    "js": "application/javascript",
    "latex": "text/latex",
    "markdown": "text/markdown",
    "svg": "image/svg+xml",
    "SVG": "image/svg+xml",
}


@pytest.mark.parametrize(("magic", "mime"), MARKUP.items())
async def test_a_cell_of_markup_is_displayed_unchanged(session, magic, mime):
    cell = await session.run(f"%%{magic}\n<b>'100 %'</b>\n")

    assert (cell.status, cell.text) == ("finished", "")
    assert [display.bundle[mime] for display in cell.displays] == ["<b>'100 %'</b>\n"]


async def test_a_captured_cell_runs_like_any_other(session):
    await session.run("%%capture\nx = 5\nx")

    assert await session.value("x, _") == (5, 5)


@pytest.mark.parametrize("code", ["area?", "?area", "area??", "x = 1\narea?"])
async def test_a_question_mark_prints_help(session, code):
    await session.run("def area(r: float) -> float:\n    '''Give the area.'''")
    cell = await session.run(code)

    assert "Signature: area(r: float) -> float" in cell.text
    assert "Give the area." in cell.text


async def test_a_question_about_an_unknown_name_is_answered(session):
    assert await session.text("nothing_here?") == "Object `nothing_here` not found.\n"


@pytest.mark.parametrize(
    "code", ["%levitate", "%levitate now", "x = %levitate", "%%levitate\nbody", "if True:\n    %levitate"]
)
async def test_an_unknown_magic_is_an_error_that_names_it_and_the_known_ones(session, code):
    cell = await session.run(f"ran = True\n{code}" if not code.startswith("%%") else code)

    assert (cell.status, cell.error.ename) == ("failed", "UnknownMagic")
    assert re.match(r"unknown magic %%?levitate; known are %%?\w+, ", cell.error.evalue)
    assert 'File "<cell 1>"' in cell.error.traceback
    assert await session.value("'ran' in globals()") is False


ONLY_LOOKING_LIKE_ONE = {
    "string": ("'''\n%time x\n!ls\nx?\n'''", "\n%time x\n!ls\nx?\n"),
    "single line string": ("'%pwd !ls ?'", "%pwd !ls ?"),
    "f-string": ("x = 5\nf'''\n%cd {x}\n'''", "\n%cd 5\n"),
    "modulo": ("a, b = 7, 4\na \\\n% b", 3),
    "modulo in brackets": ("x = (7\n% 4)\nx", 3),
    "format": ("('%s-%s'\n% (1, 2))", "1-2"),
    "not equal": ("x = (1\n!= 2)\nx", True),
    "comment": ("x = 1  # what? !ls %time\nx", 1),
    "string with a question": ("x = 'why?'\nx", "why?"),
    "dict over lines": ("{\n'%a': 1,\n'b?': 2}", {"%a": 1, "b?": 2}),
}


@pytest.mark.parametrize(("code", "value"), ONLY_LOOKING_LIKE_ONE.values(), ids=ONLY_LOOKING_LIKE_ONE.keys())
async def test_python_that_only_looks_like_a_magic_is_unchanged(session, code, value):
    cell = await session.run(code)

    assert (cell.value, cell.text) == (value, "")


async def test_a_cell_may_have_magics_and_strings_that_look_like_them(session):
    cell = await session.run("text = '''\n!echo no\n'''\n!echo yes\ntext")

    assert (cell.text, cell.value) == ("yes\n", "\n!echo no\n")


@pytest.mark.parametrize("first", ["!true", "%cd .", "x = !true", "%time 1", "len?", "%matplotlib inline"])
async def test_line_numbers_after_magics_are_unchanged(session, first):
    cell = await session.run(f"{first}\n\n1 / 0")

    assert 'File "<cell 1>", line 3, in <module>\n    1 / 0' in cell.error.traceback


async def test_line_numbers_of_a_cell_magic_are_those_of_the_cell(session):
    cell = await session.run("%%time\nx = 1\n1 / 0")

    assert 'File "<cell 1>", line 3, in <module>\n    1 / 0' in cell.error.traceback


async def test_a_syntax_error_next_to_magics_refers_to_the_users_text(session):
    cell = await session.run("!true\ndef f(:\n    pass")

    assert cell.error.traceback == '  File "<cell 1>", line 2\n    def f(:\n          ^\nSyntaxError: invalid syntax\n'


async def test_magics_bind_no_names(session):
    await session.run("!true\n%cd .")

    assert await session.ask("variables") == []


@pytest.mark.parametrize("magic", ["python", "python3", "python -I", "script sh -c 'cat >&2; echo 42'"])
async def test_a_script_of_another_program_has_its_own_namespace(session, magic):
    cell = await session.run(f"%%{magic}\nbound = 42\nprint(bound)\n")

    assert cell.error is None, cell.error.traceback
    assert cell.stdout == "42\n"
    assert await session.value("'bound' in globals()") is False


async def test_a_failed_script_of_another_program_makes_the_cell_fail(session):
    cell = await session.run("%%python\nraise SystemExit(3)")

    assert (cell.status, cell.error.ename) == ("failed", "CalledProcessError")


async def test_files_are_handled_by_the_commands_of_the_shell(session):
    cell = await session.run("%mkdir d\n%cp /dev/null d/a\n%mv d/a d/b\n%ls d\n%cat d/b\n%rm d/b\n%rmdir d\n%ls")

    assert cell.error is None, cell.error.traceback
    assert cell.text == "b\n"


async def test_who_prints_the_names_that_cells_have_bound(session):
    assert await session.text("%who") == "Interactive namespace is empty.\n"
    await session.run("b = 1\n_hidden = 2\ndef a(): pass")
    assert await session.text("%who") == "a\tb\n"


async def test_pylab_binds_its_names(session):
    pytest.importorskip("matplotlib")
    cell = await session.run("%pylab inline\n(np.pi == pi, plt is pyplot, linspace(0, 1, 3).tolist())")

    assert cell.value == (True, True, [0.0, 0.5, 1.0])


@pytest.mark.parametrize(
    ("code", "text"), [("exit(3)", "3"), ("import sys; sys.exit(3)", "3"), ("import sys; sys.exit('bye')", "bye")]
)
async def test_exit_makes_the_cell_fail_with_its_status(session, code, text):
    cell = await session.run(code)

    assert (cell.status, cell.error.ename, cell.error.evalue) == ("failed", "SystemExit", text)
    assert await session.value("'the session lives'") == "the session lives"


CAPTURED = "(got.stdout, got.stderr, [bundle['text/plain'] for bundle in got.outputs])"


async def test_capture_stores_the_output_of_a_cell_in_the_named_variable(session):
    cell = await session.run(
        "%%capture got\nimport sys, os\nprint('one')\nprint('two', file=sys.stderr)\n!echo three\n"
        "os.write(1, b'four\\n')\ndisplay({'a': 1})\n'five'"
    )

    assert (cell.status, cell.kinds) == ("finished", ["Done"])
    assert await session.value(CAPTURED) == ("one\nthree\nfour\n", "two\n", ["{'a': 1}", "'five'"])
    assert await session.value("str(got)") == "one\nthree\nfour\n"
    assert (await session.run("got.show()")).text == "one\nthree\nfour\ntwo\n"


@pytest.mark.parametrize(
    ("options", "shown", "kept"),
    [
        ("--no-stdout", [("stdout", "out\n")], ("", "err\n", ["1"])),
        ("--no-stderr", [("stderr", "err\n")], ("out\n", "", ["1"])),
        ("--no-display", [], ("out\n", "err\n", [])),
    ],
)
async def test_capture_does_not_capture_excluded_kinds_of_output(session, options, shown, kept):
    cell = await session.run(f"%%capture {options} got\nimport sys\nprint('out')\nprint('err', file=sys.stderr)\n1")

    assert cell.outputs == shown
    assert (cell.result is not None) is (options == "--no-display")
    assert await session.value(CAPTURED) == kept


@pytest.mark.parametrize("wait", ["", "import time; time.sleep(0)", "import asyncio; await asyncio.sleep(0)"])
async def test_capture_ends_however_its_cell_ends(session, wait):
    cell = await session.run(f"%%capture got\nprint('kept')\n{wait}\n1 / 0")

    assert (cell.status, cell.error.ename, cell.text) == ("failed", "ZeroDivisionError", "")
    assert await session.text("print(got.stdout + 'shown')") == "kept\nshown\n"


async def test_capture_ends_with_a_cell_that_is_interrupted(session):
    cell = await session.submit(
        "%%capture --no-stderr got\nimport sys\nprint('kept')\nprint('ready', file=sys.stderr)\nwhile True: pass"
    ).said("ready")
    session.interrupt(cell)

    assert (await cell.ended()).status == "interrupted"
    assert await session.text("print(got.stdout + 'shown')") == "kept\nshown\n"


async def test_later_output_of_tasks_of_a_captured_cell_is_shown(session):
    first = await session.run(
        "%%capture got\nimport asyncio\nmay_print = asyncio.Event()\nasync def later():\n    await may_print.wait()\n"
        "    print('later')\ntask = asyncio.create_task(later())\nprint('now')"
    )
    cell = await session.run("may_print.set()\nawait task\ngot.stdout")

    assert (cell.value, first.text) == ("now\n", "later\n")


async def test_capture_without_a_name_only_hides_output(session):
    cell = await session.run("%%capture\nprint('hidden')\n1")

    assert (cell.status, cell.kinds) == ("finished", ["Done"])


async def test_a_capture_with_bad_options_names_the_valid_ones(session):
    cell = await session.run("%%capture one two\n1")

    assert (cell.status, cell.error.ename) == ("failed", "BadMagic")
    assert "--no-stdout, --no-stderr, --no-display and one name, not 'two'" in cell.error.evalue


async def test_captured_output_exists_after_a_restore(open_session):
    session = open_session()
    (await session.run("%%capture got\nprint('kept')\ndisplay(1)")).raise_for_status()
    await session.hibernate()

    assert (await session.run(CAPTURED)).value == ("kept\n", "", ["1"])
