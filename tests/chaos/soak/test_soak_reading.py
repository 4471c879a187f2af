"""What the soak counts as a complaint in a worker's log."""

import json

from .soak_reading import complaints


def test_as_many_zygotes_may_die_at_their_start_as_were_killed(tmp_path):
    died = json.dumps({"level": "error", "event": "zygote.start_failed", "error": "StartError: it died; see stderr"})
    silent = json.dumps({"level": "error", "event": "zygote.start_failed", "error": "StartError: no answer after 10 s"})
    log = tmp_path / "log"
    log.write_text(f"{died}\n{silent}\n{died}\nno log line")

    assert complaints(log, zygote_kills=2) == [silent, "no log line"]
    assert complaints(log, zygote_kills=1) == [silent, died, "no log line"]
    assert complaints(log, zygote_kills=0) == [died, silent, died, "no log line"]
