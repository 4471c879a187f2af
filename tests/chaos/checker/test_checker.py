"""Each anomaly is found in a history that has just that one, and a good history has none."""

import copy

import pytest

from .anomalies import ANOMALIES
from .checker import check
from .history import History
from .oracle import NOTHING, absorb, lines_of

CELLS = ("a", "b", "c")


def good():
    """Return a history of three cells and one reader, as it should be."""
    ops, number, state = [], 0, NOTHING
    for seq, cell in enumerate(CELLS, 1):
        ops.append({"op": "submit", "client": "k", "session": "s", "cell": cell, "status": "ok", "seq": seq,
                    "from": seq * 10, "to": seq * 10 + 1, "lines": 2, "kind": "oracle"})  # fmt: skip
        first, state = number + 1, absorb(state, cell)
        said = [("cell.queued", {}), ("cell.started", {}), *(("output", {"text": line}) for line in lines_of(cell, 2)),
                ("result", {"value": list(state)}), ("cell.finished", {"status": "finished"})]  # fmt: skip
        for kind, extra in said:
            number += 1
            ops.append({"op": "event", "session": "s", "id": number, "digest": f"d{number}", "kind": kind, "epoch": 1,
                        "at": 100.0 + number, "cell": cell, "seq": seq, "attempt": 1, **extra})  # fmt: skip
            ops.append({"op": "read", "reader": "r", "session": "s", "id": number, "digest": f"d{number}"})
        ops.append({"op": "place", "session": "s", "cell": cell, "entry": f"d:{seq}:{first}:{number}"})
    ops.append({"op": "reader", "reader": "r", "session": "s", "after": 0})
    ops.append({"op": "final", "session": "s", "seq": 3, "cursor": 3, "last": number, "epoch": 1, "state": "open",
                "head": "3-0", "checkpoint": list(state), "missing": 0})  # fmt: skip
    return History({"drained": True}, ops)


def pick(history, **wanted):
    """Return the operations with these fields."""
    return [op for op in history.ops if all(op.get(name) == value for name, value in wanted.items())]


def change(values, **wanted):
    """Return a corruption: set these values in the first operation with those fields."""
    return lambda history: pick(history, **wanted)[0].update(values)


def drop(**wanted):
    """Return a corruption: leave out the first operation with these fields."""
    return lambda history: history.ops.remove(pick(history, **wanted)[0])


def add(op):
    """Return a corruption: one more operation."""
    return lambda history: history.ops.append(op)


def say_again(history):
    """Repeat the last end of a cell, as the next event."""
    last = copy.deepcopy(pick(history, op="event", kind="cell.finished")[-1])
    last["id"] += 1
    history.ops.append(last)


CORRUPTIONS = {
    "hole": drop(op="event", id=3),
    "epoch going back": change({"epoch": 2}, op="event", id=3),
    "stale-epoch write": add(
        {
            "op": "claim",
            "session": "s",
            "worker": "w",
            "epoch": 2,
            "cursor": 1,
            "last": 6,
            "losses": 1,
            "previous": "v",
            "at": 100,
        }
    ),
    "weaker sandbox": lambda history: [
        change({"sandbox": "basic"}, op="submit", cell="a")(history),
        add(
            {
                "op": "claim",
                "session": "s",
                "worker": "w",
                "epoch": 1,
                "cursor": 0,
                "last": 0,
                "losses": 0,
                "previous": "",
                "at": 1,
                "sandbox": "none",
            }
        )(history),
    ],
    "lost cell": drop(op="event", kind="cell.finished", cell="c"),
    "second commit": say_again,
    "phantom commit": change({"status": "fail"}, op="submit", cell="c"),
    "unknown cell": drop(op="submit", cell="c"),
    "output after result": change({"kind": "cell.started"}, op="event", id=5),
    "incomplete final attempt": change({"text": "a 1 \n"}, op="event", id=4),
    "aborted attempt is no prefix": lambda history: [
        change({"text": "nonsense"}, op="event", id=3)(history),
        change({"status": "failed"}, op="event", id=6)(history),
    ],
    "unannounced attempt": change({"attempt": 2}, op="event", id=4),
    "misplaced outcome": change({"entry": "d:1:1:5"}, op="place", cell="a"),
    "order of commits": lambda history: [op.update(seq=4) for op in pick(history, cell="c") if "seq" in op],
    "two positions": change({"seq": 3}, op="submit", cell="b"),
    "order of submits": change({"from": 1, "to": 2}, op="submit", cell="c"),
    "ran after a failure": lambda history: [
        change({"after": "b"}, op="submit", cell="c")(history),
        change({"status": "timed_out"}, op="event", cell="b", kind="cell.finished")(history),
    ],
    "stopped without cause": change({"status": "cancelled", "stopped_by": "b"}, kind="cell.finished", cell="c"),
    "state divergence": change({"value": [2, "other"]}, op="event", id=11),
    "checkpoint mismatch": change({"checkpoint": [2, "other"]}, op="final"),
    "damaged checkpoint": change({"category": "checkpoint.damaged"}, op="event", id=2),
    "cursor mismatch": change({"cursor": 4}, op="final"),
    "skip": drop(op="read", id=4),
    "non-monotonic read": change({"id": 3}, op="read", id=5),
    "two contents": change({"digest": "other"}, op="read", id=5),
    "unseen tail": drop(op="read", id=18),
    "vanished event": add({"op": "read", "reader": "r", "session": "s", "id": 19, "digest": "d19"}),
    "not drained": change({"seq": 4}, op="final"),
    "worker exit": add({"op": "fault", "kind": "worker exit", "node": "w", "at": 1, "seconds": 0, "text": ""}),
    "broken protocol": add({"op": "fault", "kind": "protocol", "node": "w", "at": 1, "seconds": 0, "text": ""}),
    "unhandled": add({"op": "fault", "kind": "unhandled", "node": "w", "at": 1, "seconds": 0, "text": ""}),
}


def test_a_good_history_is_valid():
    verdict = check(good())
    assert verdict.anomalies == []
    assert (verdict.metrics["cells"], verdict.metrics["events"], verdict.metrics["reads"]) == (3, 18, 18)


def test_every_anomaly_has_a_corruption():
    assert set(CORRUPTIONS) == set(ANOMALIES)


@pytest.mark.parametrize("name", ANOMALIES)
def test_an_anomaly_is_found(name):
    history = good()
    CORRUPTIONS[name](history)
    assert name in check(history).names


def test_losses_by_a_rollback_are_counted_separately():
    history = good()
    history.meta["rollback"] = True
    CORRUPTIONS["vanished event"](history)
    verdict = check(history)
    assert verdict.is_valid
    assert [reset.name for reset in verdict.resets] == ["vanished event"]


def test_an_interrupted_cell_may_have_had_its_effect_or_not():
    for has_effect in (True, False):
        history = good()
        change({"status": "interrupted"}, op="event", cell="b", kind="cell.finished")(history)
        change({"kind": "error"}, op="event", cell="b", kind="result")(history)
        before = absorb(NOTHING, "a")
        state = absorb(absorb(before, "b") if has_effect else before, "c")
        change({"value": list(state)}, op="event", cell="c", kind="result")(history)
        change({"checkpoint": list(state)}, op="final")(history)
        assert check(history).is_valid


def test_a_cell_of_a_batch_is_cancelled_for_one_before_it_that_did_not_succeed():
    history = good()
    for cell, before in (("b", "a"), ("c", "b")):
        change({"after": before}, op="submit", cell=cell)(history)
    change({"status": "failed"}, op="event", cell="b", kind="cell.finished")(history)
    change({"kind": "error"}, op="event", cell="b", kind="result")(history)
    change({"status": "cancelled", "stopped_by": "b"}, op="event", cell="c", kind="cell.finished")(history)
    change({"kind": "error"}, op="event", cell="c", kind="result")(history)
    change({"checkpoint": list(absorb(NOTHING, "a"))}, op="final")(history)
    assert check(history).is_valid


def test_effects_without_a_checkpoint_may_be_lost_with_their_process_if_every_loss_is_reported():
    said = [
        ("checkpoint.failed", {"after": 2}), ("warning", {"category": "checkpoint.behind"}),
        ("session.restored", {"checkpoint": "1-0"}),
    ]  # fmt: skip
    for left_out in (None, *said):
        history = good()
        state = absorb(absorb(NOTHING, "a"), "c")
        change({"value": list(state)}, op="event", cell="c", kind="result")(history)
        change({"checkpoint": list(state)}, op="final")(history)
        told = [each for each in said if each is not left_out]
        insert(history, behind=pick(history, op="event", cell="b", kind="cell.finished")[0], told=told)
        assert check(history).is_valid == (left_out is None)


def insert(history, *, behind, told):
    """Insert these events, and a read of each, after that event of the session."""
    shift, at = len(told), behind["id"]
    for op in history.ops:
        if op["op"] in {"event", "read"} and op["id"] > at:
            op |= {"id": op["id"] + shift, "digest": f"d{op['id'] + shift}"}
        if op["op"] == "place" and op["cell"] == "c":
            first, last = (int(number) + shift for number in op["entry"].split(":")[2:])
            op["entry"] = f"d:3:{first}:{last}"
        if op["op"] == "final":
            op["last"] += shift
    place = history.ops.index(behind) + 2
    for number, (kind, extra) in enumerate(told, at + 1):
        event = {
            "op": "event",
            "session": "s",
            "id": number,
            "digest": f"d{number}",
            "kind": kind,
            "epoch": 1,
            "at": 1.0,
        }
        read = {"op": "read", "reader": "r", "session": "s", "id": number, "digest": f"d{number}"}
        history.ops[place:place] = [event | extra, read]
        place += 2
