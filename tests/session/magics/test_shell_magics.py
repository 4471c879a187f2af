"""Commands and scripts in cells: replaced names, and what is stored of their output and status."""

import pytest

pytestmark = pytest.mark.anyio

FILLED_IN = {
    '!echo "{ $word}"': "{ w}\n",
    "!echo '$word' \\$word": "$word $word\n",
    "!echo {word.upper()} {len(word) + 1} {word[:1]}": "W 2 w\n",
    "!echo '{word}' {word!r} {number:.2f} '{number!r:>5}'": "w w 1.50   1.5\n",
    "!echo '{{word}}' {{{word}}} '{{.Names}}'": "{word} {w} {.Names}\n",
    "!echo $word.txt $word.real {held.x} $held.x": "w.txt w.real 5 5\n",
    '!echo \'{"a": 1, "b": "{word}"}\'': '{"a": 1, "b": "w"}\n',
    "!echo '{print}' '{}' {1..3} '{a: 1}'": "{print} {} 1 2 3 {a: 1}\n",
    '!echo "it\'s {word}" \'{d["k"]}\'': "it's w v\n",
    "!printf '%s\\n' {word} $(echo $word)": "w\nw\n",
}
NAMES = "word, number, d = 'w', 1.5, {'k': 'v'}\nclass held:\n    x = 5\n"


@pytest.mark.parametrize(("line", "text"), FILLED_IN.items())
async def test_names_and_expressions_are_replaced_by_their_values(session, line, text):
    cell = await session.run(NAMES + line)

    assert (cell.text, cell.notices) == (text, [])


@pytest.mark.parametrize(("place", "problem"), [("{no}", "NameError"), ("{1/0}", "ZeroDivisionError")])
async def test_an_expression_that_fails_is_left_unchanged_with_a_warning(session, place, problem):
    cell = await session.run(f"word = 'w'\n!echo '{place}' {{word}}")

    assert cell.text == f"{place} w\n"
    assert cell.notices[0].message.startswith(f"{place} is left unchanged: {problem}: ")


async def test_a_command_line_in_a_function_uses_names_of_the_function(session):
    code = "class C:\n    word = 'mine'\n    def run(self, command):\n        !{command} {self.word}\nC().run('echo')"

    assert await session.text(code) == "mine\n"


@pytest.mark.parametrize(
    ("line", "status"), [("!true", 0), ("!exit 3", 3), ("x = !exit 4", 4), ("!kill -ALRM $$", -14), ("!!exit 5", 5)]
)
async def test_the_status_of_a_command_is_stored(session, line, status):
    await session.run("_exit_code = 'before'")
    await session.run(line)

    assert await session.value("_exit_code") == status


async def test_the_output_of_a_command_is_lines_and_text(session):
    await session.run("lines = !printf 'a 1\\nb 2\\n'; echo wrong >&2")

    assert await session.value("lines") == ["a 1", "b 2", "wrong"]
    assert await session.value("lines.n, lines.s, lines.l[0]") == ("a 1\nb 2\nwrong", "a 1 b 2 wrong", "a 1")
    assert await session.value("lines.grep('^A'), lines.fields(1), len(lines)") == (["a 1"], ["1", "2"], 3)


@pytest.mark.parametrize("code", ["!!echo a", "%sx echo a", "%system echo a", "%%sx\necho a", "%%!\necho a"])
async def test_the_lines_of_a_command_can_be_the_value_of_a_cell(session, code):
    cell = await session.run(code)

    assert (cell.value, cell.text) == (["a"], "")


async def test_the_output_of_a_command_can_be_assigned_to_any_target(session):
    assert await session.value("d = {}\nd['k'] = !echo a\nx = y = !echo b\nd, x, y") == ({"k": ["a"]}, ["b"], ["b"])


async def test_names_in_the_arguments_of_magics_are_replaced(session):
    await session.run("a, name = 3, 'f'")

    assert await session.text("%env PATHX={a + 1}/x") == "env: PATHX=4/x\n"
    assert await session.text("%%bash -s {a} $name\necho got $1 $2 $#") == "got 3 f 2\n"
    assert await session.text("%%writefile {name}.txt\nx") == "Writing f.txt\n"
    assert await session.text("%cat $name.txt") == "x"


async def test_env_hides_secrets_and_reports_missing_variables(session):
    await session.run("%env MY_TOKEN=secret")

    assert (await session.value("%env"))["MY_TOKEN"] == "<hidden>"
    assert (await session.run("%env NO_SUCH_NAME")).error.ename == "ValueError"


async def test_the_output_of_a_script_can_be_bound(session):
    cell = await session.run("%%bash --out out --err err --no-raise-error\necho a; echo b >&2; exit 3")

    assert (cell.status, cell.text) == ("finished", "")
    assert await session.value("out, err, _exit_code") == ("a\n", "b\n", 3)


@pytest.mark.parametrize("options", ["--bg", "--out", "--out 1x"])
async def test_an_unsupported_option_of_a_script_is_refused(session, options):
    assert (await session.run(f"%%bash {options}\necho a")).error.ename == "ValueError"


@pytest.mark.parametrize("code", ["!echo one \\\n  two", "for i in [1]:\n    !echo one \\\n  two"])
async def test_a_command_continues_after_a_backslash(session, code):
    assert await session.text(code) == "one two\n"


async def test_an_assigned_command_continues_after_a_backslash(session):
    assert await session.value("b = !echo \\\n  bar\nb") == ["bar"]


async def test_a_script_has_the_line_ends_of_the_system(session, tmp_path):
    assert await session.text("%%bash\r\nfor i in 1 2; do\r\n  echo $i\r\ndone\r\n") == "1\n2\n"
    await session.run("%%writefile w.txt\r\na\r\nb\r\n")

    assert (tmp_path / "w.txt").read_bytes() == b"a\nb\n"


async def test_variables_bound_by_commands_exist_after_a_restore(open_session):
    session = open_session()
    (await session.run("lines = !echo a b\nt = %timeit -o -q -n 1 -r 1 pass")).raise_for_status()
    await session.hibernate()

    assert (await session.run("lines.fields(1), t.loops")).value == (["b"], 1)


async def test_the_lines_of_a_command_can_be_sent_to_another_process(session):
    assert await session.value("import pickle\nlines = !echo a\npickle.loads(pickle.dumps(lines))") == ["a"]


async def test_a_problem_in_a_loop_is_reported_once(session):
    cell = await session.run("for _ in range(5):\n    !echo {no}")

    assert (cell.text, len(cell.notices)) == ("{no}\n" * 5, 1)
