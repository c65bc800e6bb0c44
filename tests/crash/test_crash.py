"""A small crash test for every test run, and tests that the count finds faults."""

from pathlib import Path

import pytest

from tests.crash.causes import freeze_broker_once, kill_recorder
from tests.crash.count import Count, count
from tests.crash.sending import Record, Sending
from tests.crash.trial import Cause, Load, Options, Trial, run


@pytest.mark.system
@pytest.mark.timeout(120)
def test_nothing_is_lost_or_doubled_under_load(tmp_path: Path) -> None:
    def inflict(trial: Trial) -> int:
        return kill_recorder(trial) + freeze_broker_once(trial, 1.5)

    cause = Cause(name="quick", inflict=inflict, load=Load(publishers=2, rate=1_500))
    outcome = run(cause, Options(kills=3, seed=1), tmp_path / "crash")
    assert outcome.count is not None, outcome.notes
    assert outcome.count.published > 1_000
    assert outcome.count.exact, outcome.count
    assert outcome.count.sound, outcome.count


FIRST, SECOND = Sending(1, 1, 1), Sending(1, 2, 1)
ACKNOWLEDGED_S, KILLED_S = 5.0, 7.5


def _count(sent: set[Sending], acknowledged: set[Sending], rows: list[tuple[str, int]]) -> Count:
    """Count rows of payload and second of arrival; the broker was killed once."""
    record = Record(sent, dict.fromkeys(acknowledged, ACKNOWLEDGED_S))
    return count(record, [(payload, at_s * 1_000_000) for payload, at_s in rows], [KILLED_S], untyped=0, recognised=0)


@pytest.mark.parametrize(
    ("rows", "field"),
    [
        ([(FIRST.payload, 5)], "lost"),
        ([(FIRST.payload, 5), (FIRST.payload, 5), (SECOND.payload, 9)], "doubled"),
        ([(FIRST.payload, 8), (FIRST.payload, 9), (SECOND.payload, 9)], "doubled"),
        ([(FIRST.payload, 5), (FIRST.payload, 8), (SECOND.payload, 9)], "delivered_as_new"),
    ],
)
def test_the_count_finds_faults(rows: list[tuple[str, int]], field: str) -> None:
    counted = _count({FIRST, SECOND}, {FIRST, SECOND}, rows)
    assert getattr(counted, field) == 1
    assert not counted.exact
    assert counted.oldest_lost_s == (KILLED_S - ACKNOWLEDGED_S if field == "lost" else None)


def test_a_message_sent_twice_is_no_fault() -> None:
    second = FIRST.retry()
    counted = _count({FIRST, second}, {second}, [(FIRST.payload, 5), (second.payload, 6)])
    assert counted.sent_twice == 1
    assert counted.exact


def test_a_payload_that_was_never_sent_is_a_fault() -> None:
    counted = _count({FIRST}, {FIRST}, [(FIRST.payload, 5), (FIRST.payload[:-1], 6)])
    assert counted.unknown == 1
    assert not counted.sound


def test_a_loss_without_a_broker_kill_has_no_age() -> None:
    counted = count(Record({FIRST}, {FIRST: 5.0}), [], [], untyped=0, recognised=0)
    assert counted.lost == 1
    assert counted.oldest_lost_s is None
