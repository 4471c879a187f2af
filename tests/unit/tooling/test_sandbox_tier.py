"""The tiers of the sandbox that tests can run in."""

import subprocess

from tests.sandbox_tier import main

from skep_shared.isolation.sandbox_tiers import STRENGTH


def test_each_tier_is_printed_or_left_out_with_the_reason(capsys):
    main([*STRENGTH])

    works, left_out = capsys.readouterr()
    assert works.split()[0] == "none"
    assert len(works.split()) + len(left_out.splitlines()) == len(STRENGTH)
    assert all(line.startswith("tier ") and "it doesn't work here: " in line for line in left_out.splitlines())


def test_a_tier_that_does_not_work_here_is_left_out(capsys, monkeypatch):
    report = '{"tiers": {"userns": {"works": true}, "strict": {"works": false, "reason": "not root"}}}'
    monkeypatch.setattr(subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 0, report))
    main(["userns", "strict"])

    assert capsys.readouterr() == ("userns\n", "tier strict is not tested, it doesn't work here: not root\n")
