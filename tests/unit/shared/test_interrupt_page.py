"""The memory that a worker shares with a session process: which cells are to end, and which cell has begun."""

import pytest

from skep_shared.protocol.interrupt_page import PLACES, InterruptPage, make_page


@pytest.fixture
def page():
    page = InterruptPage(make_page())
    yield page
    page.close()


def test_a_new_page_is_about_no_cell(page):
    assert not any(page.has((seq, 1)) for seq in range(1, 2 * PLACES))
    assert page.begun() == 0


def test_cells_that_are_with_a_process_at_the_same_time_are_named_side_by_side(page):
    cells = [(seq, 1) for seq in range(1000, 1000 + PLACES)]
    for cell in cells[::2]:
        page.write(*cell)
    page.record_begin(999)

    assert [page.has(cell) for cell in cells] == [True, False] * (PLACES // 2)
    assert page.begun() == 999


def test_a_cell_is_named_with_its_attempt(page):
    page.write(5, 1)

    assert page.has((5, 1))
    assert not page.has((5, 2))
    assert not page.has((5 + PLACES, 1))


def test_the_last_cell_that_has_begun_is_apart_from_the_cells_to_interrupt(page):
    page.write(2**63, 2**63)
    page.record_begin(2**64 - 1)

    assert page.begun() == 2**64 - 1
    assert page.has((2**63, 2**63))
