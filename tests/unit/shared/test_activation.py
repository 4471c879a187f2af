"""The encoding of jobs: what goes in comes out."""

import pytest

from skep_shared.broker.activation import SUBMIT_JOB, pack_job, pack_submit_job, unpack_job


@pytest.mark.parametrize("job", [{}, {"f": "activate", "a": ["s"], "k": {"x": None, "y": b"\0"}, 1: 2.5}])
def test_a_job_comes_back_as_it_was_packed(job):
    assert unpack_job(pack_job(job)) == job


def test_an_exception_in_a_result_travels_as_its_text():
    assert unpack_job(pack_job({"r": ValueError("bad")})) == {"r": "ValueError('bad')"}


def test_a_deferred_cell_keeps_its_code_and_options():
    job = unpack_job(pack_submit_job("s", "1", {"timeout": 5, "inputs": b"x"}))

    assert (job["f"], job["a"], job["k"]) == (SUBMIT_JOB, ["s", "1"], {"timeout": 5, "inputs": b"x"})


@pytest.mark.parametrize("packed", [b"", b"\xc1", b"\x90", b"\x01", b"\x81\x90\x01", b"\x81\xa1\xff\x01"])
def test_other_bytes_are_no_job(packed):
    with pytest.raises(ValueError, match="a job was expected"):
        unpack_job(packed)
