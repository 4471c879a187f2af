"""What the benches make of their numbers: percentiles, goals, the table and the exit status."""

import json

import pytest
from tests.bench.figures import Figure, Goal, Row, percentile, short
from tests.bench.table import Report, Section


def _report(*rows: Row) -> Report:
    return Report(is_quick=True, sections=[Section("bench", rows, seconds=1.0, busy=0.25)])


def test_a_figure_of_samples_is_their_median_with_the_99th_percentile():
    figure = Figure.of("skep", [float(number) for number in range(101)])
    assert (figure.value, figure.p99, figure.count) == (50.0, 99.0, 101)
    assert figure.text == "50.0 / 99.0 ms"


def test_a_few_samples_are_reported_by_their_median_alone():
    assert Figure.of("skep", [1.0, 2.0, 30.0]).text == "2.00 ms"


def test_one_sample_has_no_percentile_but_itself():
    assert percentile([7.0], 99) == 7.0
    assert Figure.of("skep", [7.0]).text == "7.00 ms"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0.00"), (0.0123, "0.012"), (1.234, "1.23"), (12.34, "12.3"), (123.4, "123"), (1234567.0, "1,234,567")],
)
def test_numbers_have_three_digits_that_count(value, text):
    assert short(value) == text


@pytest.mark.parametrize(
    ("measured", "at_least", "is_met"),
    [
        (1.9, False, True),
        (2.0, False, True),
        (2.1, False, False),
        (1.9, True, False),
        (2.0, True, True),
        (2.1, True, True),
    ],
)
def test_a_goal_is_met_up_to_its_limit_and_at_it(measured, at_least, is_met):
    assert Goal("ratio", measured, 2.0, at_least=at_least).is_met is is_met


@pytest.mark.parametrize("at_least", [True, False])
def test_what_is_not_a_number_meets_no_goal(at_least):
    assert not Goal("ratio", float("nan"), 2.0, at_least=at_least).is_met


def test_a_report_is_good_while_every_goal_is_met():
    assert _report(Row("a", goals=(Goal("ratio", 1.0, 2.0),)), Row("b")).is_good


def test_one_missed_goal_spoils_the_report_and_is_named_in_its_summary():
    report = _report(Row("a", goals=(Goal("ratio", 1.0, 2.0), Goal("rate", 1.0, 2.0, at_least=True))))
    assert not report.is_good
    assert report.summary == "1 of 2 goals met.\n- bench, a: rate ≥ 2: 1.00, **missed**"


def test_a_bench_that_failed_spoils_the_report():
    report = _report(Row("the bench itself", note="it broke", failed=True))
    assert not report.is_good
    assert "it broke" in report.summary


def test_a_row_shows_the_limit_the_peers_and_us():
    row = Row("x | y", Figure("skep", 2.0, "ms"), Figure("floor", 1.0, "ms"), (Figure("peer", 9.0, "ms"),), note="n")
    line = _report(row).as_markdown().splitlines()[2]
    assert line == "| bench | x \\| y | floor: 1.00 ms | peer: 9.00 ms | 2.00 ms |  | n |"


def test_the_json_has_what_the_table_has():
    given = json.loads(_report(Row("a", Figure("skep", 2.0, "ms"), goals=(Goal("ratio", 3.0, 2.0),))).as_json())
    assert not given["good"]
    (row,) = given["benches"][0]["rows"]
    assert row["ours"]["value"] == 2.0
    assert row["goals"][0] == {"wanted": "ratio", "measured": 3.0, "limit": 2.0, "at_least": False, "met": False}
