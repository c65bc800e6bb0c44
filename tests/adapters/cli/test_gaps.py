"""scaup gaps, and the sequences behind it."""

import json
import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st

from adapters.cli.ledger.sequence import Expired, FindingKind, NumberRun, PublisherSequence
from tests.adapters.cli.conftest import Scaup
from tests.adapters.cli.recording import Recording
from tests.adapters.client.fakes import START_AT

DAY = date(2026, 1, 31)
LATER = 100
"""Seconds after the start of the recording: too late for messages from before it."""


@pytest.fixture
def recording(tmp_path: Path) -> Iterator[Recording]:
    made = Recording(tmp_path)
    yield made
    made.database.close()


def gaps(scaup: Scaup, recording: Recording, *arguments: str) -> tuple[int, list[tuple[Any, ...]], Result]:
    with recording.closed() as session:
        result = scaup("gaps", *arguments, session=session)
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    return result.exit_code, [(each["kind"], each["first_seq"], each["last_seq"], each["count"]) for each in rows], result


@pytest.mark.parametrize(
    ("seqs", "code", "found"),
    [
        ([1], 0, []),
        ([1, 2, 3], 0, []),
        ([1, 2, 4], 1, [("missing", 3, 3, 1)]),
        ([1, 5, 9], 1, [("missing", 2, 4, 3), ("missing", 6, 8, 3)]),
        ([1, 2, 2, 3], 1, [("doubled", 2, 2, 1)]),
        ([1, 2, 3, 1, 2, 3, 4], 1, [("doubled", 1, 3, 3)]),
        ([1, 3, 2, 4], 0, [("late", 2, 2, 1)]),
        ([1, 4, 2, 3, 5], 0, [("late", 2, 3, 2)]),
        ([2, 1], 0, [("late", 1, 1, 1)]),
        ([1, 4, 2], 1, [("late", 2, 2, 1), ("missing", 3, 3, 1)]),
        ([1, 3, 2, 2], 1, [("late", 2, 2, 1), ("doubled", 2, 2, 1)]),
        ([1, 5, 4, 3, 2, 3], 1, [("late", 2, 2, 1), ("late", 3, 3, 1), ("doubled", 3, 3, 1), ("late", 4, 4, 1)]),
    ],
)
def test_findings_of_one_start(
    scaup: Scaup, recording: Recording, seqs: list[int], code: int, found: list[tuple[Any, ...]]
) -> None:
    recording.publish("heating", *seqs)
    exit_code, rows, result = gaps(scaup, recording)
    assert (exit_code, sorted(rows)) == (code, sorted(found)), result.stderr


STATE, READINGS = "heating/room-1/state", "/readings/room-1/temperature"


def test_forged_stamp_on_a_device_topic_proves_nothing(scaup: Scaup, recording: Recording) -> None:
    recording.publish("heating", 1, 2, 3, topic=STATE, at_s=LATER)
    recording.publish("heating", 1_000_000_000_000_000, topic=READINGS, at_s=LATER)
    recording.publish("heating", 2, topic=READINGS, at_s=LATER)
    recording.publish("heating", 4, 5, topic=STATE, at_s=LATER)
    code, rows, result = gaps(scaup, recording)
    assert code == 0, result.stdout
    assert ("claimed missing", 6, 999_999_999_999_999, 999_999_999_999_994) in rows
    assert all(kind.startswith("claimed ") for kind, *_ in rows)


def test_stamp_of_a_component_on_a_foreign_topic_is_a_claim(scaup: Scaup, recording: Recording) -> None:
    recording.publish("heating", 1, topic=STATE, at_s=LATER)
    recording.publish("heating", 9, topic="energy/1/interval", at_s=LATER)
    assert gaps(scaup, recording)[:2] == (0, [("claimed missing", 2, 8, 7)])


def test_claimed_numbers_fill_holes_and_losses_still_show(scaup: Scaup, recording: Recording) -> None:
    recording.publish("sim-rooms", 1, topic="components/sim-rooms/state", at_s=LATER)
    recording.publish("sim-rooms", 2, 3, 5, 5, topic=READINGS, at_s=LATER)
    recording.publish("sim-rooms", 6, topic="components/sim-rooms/state", at_s=LATER)
    code, rows, _ = gaps(scaup, recording)
    assert (code, rows) == (1, [("missing", 4, 4, 1), ("claimed doubled", 5, 5, 1)])


def test_claims_before_the_window_do_not_move_its_beginning(scaup: Scaup, recording: Recording) -> None:
    recording.publish("heating", 1, 2, topic=STATE)
    recording.publish("heating", 1_000_000_000, topic=READINGS)
    recording.publish("heating", 3, 4, 6, topic=STATE, at_s=7200)
    since = (START_AT + timedelta(hours=1)).isoformat()
    code, rows, _ = gaps(scaup, recording, "--since", since)
    assert (code, [row for row in rows if not row[0].startswith("claimed")]) == (1, [("missing", 5, 5, 1)])


def test_nothing_recorded_and_nothing_of_a_source(scaup: Scaup, recording: Recording) -> None:
    code, rows, result = gaps(scaup, recording)
    assert (code, rows, "no stamped messages" in result.stderr) == (0, [], True)
    code, rows, result = gaps(scaup, recording, "heating")
    assert (code, rows, "no messages of heating" in result.stderr) == (0, [], True)


def test_starts_and_sources_are_separate_and_devices_ignored(scaup: Scaup, recording: Recording) -> None:
    for seq in range(1, 5):
        recording.publish("heating", seq, boot="b1")
        recording.read(20.0)
        recording.publish("heating", seq, boot="b2")
        recording.publish("energy", seq, boot="b1")
    code, rows, result = gaps(scaup, recording)
    assert (code, rows) == (0, [])
    assert "12 messages of publishers in 3 starts" in result.stderr


def test_only_one_source_of_an_export_may_be_given(scaup: Scaup, recording: Recording) -> None:
    recording.publish("heating", 1, 3)
    recording.publish("energy", 1, 4)
    assert gaps(scaup, recording, "energy")[:2] == (1, [("missing", 2, 3, 2)])


def test_a_hole_lies_between_the_instants_of_its_neighbours(scaup: Scaup, recording: Recording) -> None:
    recording.publish("heating", 1, at_s=10)
    recording.publish("heating", 5, at_s=20)
    row = json.loads(gaps(scaup, recording)[2].stdout)
    assert (row["source"], row["boot"]) == ("heating", "b1")
    assert (row["after_at"], row["before_at"]) == ("2026-01-31T08:00:10Z", "2026-01-31T08:00:20Z")


def test_a_table_for_people_names_the_kinds(scaup: Scaup, recording: Recording) -> None:
    recording.publish("heating", 1, 1, 4)
    text = gaps_table(scaup, recording)
    assert "missing" in text
    assert "doubled" in text


def gaps_table(scaup: Scaup, recording: Recording) -> str:
    with recording.closed() as session:
        return scaup("gaps", "-o", "table", session=session).stdout


@pytest.mark.parametrize(
    ("first_s", "seqs", "code", "found"),
    [
        (1, [7, 8], 0, [("before the recording", 1, 6, 6)]),
        (61, [7, 8], 0, [("before the recording", 1, 6, 6)]),
        (62, [7, 8], 1, [("missing", 1, 6, 6)]),
        (62, [1, 2], 0, []),
    ],
)
def test_a_start_seen_in_the_first_minute_began_before(
    scaup: Scaup, recording: Recording, first_s: int, seqs: list[int], code: int, found: list[tuple[Any, ...]]
) -> None:
    recording.read(20.0)
    recording.publish("heating", *seqs, at_s=first_s)
    assert gaps(scaup, recording)[:2] == (code, found)


def test_retained_messages_from_before_leave_no_gap(scaup: Scaup, recording: Recording) -> None:
    recording.publish("heating", 1, 500, retain=True, at_s=0)
    recording.publish("heating", 900, 901, at_s=LATER)
    recording.publish("heating", 903, at_s=LATER)
    code, rows, _ = gaps(scaup, recording)
    before = [("before the recording", 2, 499, 498), ("before the recording", 501, 899, 399)]
    assert (code, rows) == (1, [*before, ("missing", 902, 902, 1)])


@pytest.mark.parametrize(
    ("removed", "counted", "found"),
    [
        ((3, 4), 2, []),
        ((3, 4, 6), 2, [("missing", 3, 6, 1)]),
        ((3, 4), 3, []),
    ],
)
def test_expired_messages_are_not_missing(
    scaup: Scaup, recording: Recording, removed: tuple[int, ...], counted: int, found: list[tuple[Any, ...]]
) -> None:
    recording.read(20.0)
    recording.publish("heating", *range(1, 9), at_s=LATER)
    recording.change(
        f"DELETE FROM live.messages WHERE seq IN {removed}",
        f"INSERT INTO expired_message VALUES ('{DAY + timedelta(days=1)}', 'heating', 'b1', {counted}, now())",
        "UPDATE live.messages SET received_at = received_at + INTERVAL 1 DAY WHERE seq BETWEEN 1 AND 8",
    )
    assert gaps(scaup, recording)[:2] == (len(found), found)


def test_gaps_since_a_time_examines_later_messages_only(scaup: Scaup, recording: Recording) -> None:
    recording.publish("heating", 1, 3, 4)
    recording.publish("heating", 5, 6, 8, 9, at_s=3600)
    recording.publish("energy", 2, at_s=3600)
    code, rows, _ = gaps(scaup, recording, "--since", "2026-01-31T08:30:00Z")
    assert (code, rows) == (1, [("missing", 1, 1, 1), ("missing", 7, 7, 1)])


@pytest.mark.parametrize(
    ("before", "since", "found"),
    [
        ([1, 2, 4], [3, 5], [("late", 3, 3, 1)]),
        ([1, 2, 3], [3, 4], [("doubled", 3, 3, 1)]),
        ([1, 2], [4], [("missing", 3, 3, 1)]),
        ([1, 2], [3], []),
    ],
)
def test_rows_of_messages_before_the_window_are_ignored(
    scaup: Scaup, recording: Recording, before: list[int], since: list[int], found: list[tuple[Any, ...]]
) -> None:
    recording.publish("heating", *before)
    recording.publish("heating", *since, at_s=3600)
    assert gaps(scaup, recording, "--since", "2026-01-31T08:30:00Z")[1] == found


def test_no_result_since_a_time(scaup: Scaup, recording: Recording) -> None:
    recording.publish("heating", 1, 3)
    assert gaps(scaup, recording, "--since", "2026-02-01")[:2] == (0, [])


def test_an_overtaken_message_is_awaited_over_the_bus(scaup: Scaup, recording: Recording) -> None:
    recording.publish("heating", 1, 3)
    session = recording.online()
    asked = session._bus.recorder  # type: ignore[union-attr]
    assert asked is not None
    answer = asked.answer

    def late(payload: bytes) -> Any:
        if b"edges" in payload and len(asked.requests) < 8:
            recording.publish("heating", 2)
        return answer(payload)

    asked.answer = late  # type: ignore[method-assign]
    result = scaup("gaps", session=session)
    assert (result.exit_code, result.stdout) == (0, "")


def test_a_limit_of_the_recorder_is_met_with_smaller_pieces(
    scaup: Scaup, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording.publish("heating", *range(1, 40, 2))
    session = recording.online()
    session._bus.recorder.most_rows = 7  # type: ignore[union-attr]
    monkeypatch.setattr("adapters.cli.ledger.ledger.PIECE", 1_000)
    result = scaup("gaps", session=session)
    assert (result.exit_code, len(result.stdout.splitlines())) == (1, 19)


def test_a_database_of_an_earlier_release_is_named(scaup: Scaup) -> None:
    result = scaup("gaps")
    assert result.exit_code == 1
    assert "earlier release" in result.stderr


def test_without_recorder_and_file_there_is_no_answer(scaup: Scaup, tmp_path: Path, recording: Recording) -> None:
    with recording.closed() as session:
        (recording.folder / "scaup.duckdb").unlink()
        assert scaup("gaps", session=session).exit_code == 3


def sequence_of(seqs: list[int], rng: random.Random | None = None) -> PublisherSequence:
    sequence = PublisherSequence("heating", "b1")
    while seqs:
        length = 1
        while length < len(seqs) and seqs[length] == seqs[0] + length and not (rng and rng.random() < 0.3):
            length += 1
        sequence.add(NumberRun(seqs[0], seqs[length - 1], START_AT, START_AT))
        seqs = seqs[length:]
    return sequence


@given(st.lists(st.integers(1, 30), min_size=1, max_size=60), st.randoms(use_true_random=False))
def test_a_sequence_matches_a_simple_model(seqs: list[int], rng: random.Random) -> None:
    sequence = sequence_of(seqs, rng)
    findings = sequence.findings(None)
    known: set[int] = set()
    expected: dict[FindingKind, list[int]] = {FindingKind.DOUBLED: [], FindingKind.LATE: []}
    for seq in seqs:
        if seq in known:
            expected[FindingKind.DOUBLED].append(seq)
        elif seq < max(known, default=0):
            expected[FindingKind.LATE].append(seq)
        known.add(seq)
    expected[FindingKind.MISSING] = [seq for seq in range(1, max(seqs)) if seq not in known]
    for kind, wanted in expected.items():
        found = [seq for each in findings if each.kind is kind for seq in range(each.first, each.last + 1)]
        assert sorted(found) == sorted(wanted)
        assert sum(each.count for each in findings if each.kind is kind) == len(wanted)
    assert (sequence.recorded, sequence.doubled, sequence.published) == (len(known), len(seqs) - len(known), max(seqs))


@pytest.mark.parametrize(("expired", "kinds"), [(3, []), (2, [FindingKind.MISSING]), (4, [])])
def test_missing_beyond_expired_is_one_finding(expired: int, kinds: list[FindingKind]) -> None:
    days = Expired(expired, DAY, DAY)
    found = sequence_of([1, 3, 4, 7]).findings(None, days)
    assert [each.kind for each in found] == kinds
    assert [(each.first, each.last, each.count) for each in found] == ([(2, 6, 1)] if kinds else [])


def test_missing_on_the_first_day_counts_as_before_the_recording() -> None:
    found = sequence_of([1, 9]).findings(START_AT + timedelta(hours=1), Expired(3, DAY, DAY))
    assert [(each.kind, each.count) for each in found] == [(FindingKind.BEFORE, 4)]


def test_holes_after_the_expired_days_are_missing() -> None:
    sequence = PublisherSequence("heating", "b1")
    sequence.add(NumberRun(1, 5, START_AT, START_AT))
    later = datetime(2026, 2, 3, tzinfo=UTC)
    sequence.add(NumberRun(8, 9, later, later))
    sequence.add(NumberRun(11, 11, later, later))
    found = sequence.findings(None, Expired(2, DAY, DAY))
    assert [(each.kind, each.first, each.last) for each in found] == [(FindingKind.MISSING, 10, 10)]
