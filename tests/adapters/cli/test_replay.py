"""replay: published messages, excluded topics, exit codes."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from adapters.client.errors import ConnectionLost
from broker.message import Publication
from tests.adapters.cli.conftest import Scaup
from tests.adapters.cli.recording import SavedRecording
from tests.adapters.client.fakes import START_AT, FakeBus, FakeSession

ROOM_1 = "/readings/room-1/temperature"
SINCE = ("--since", "2026-01-01")


@pytest.fixture
def recording(tmp_path: Path) -> SavedRecording:
    made = SavedRecording(tmp_path)
    made.add(ROOM_1, b"1", source="sim-rooms", boot="b", seq="1", plant_time="2025-12-24T00:00:00Z")
    made.add("raw/one", b"\xff\x00", qos=0)
    made.add("heating/room-1/state", b"{}", qos=2)
    for own in ("storage/query", "storage/stats", "storage/drift", "storage/answer/me", "replay/old", "$odd/one"):
        made.add(own, b"{}")
    made.add("plant/again", b"{}", source="replay", boot="r", seq="1")
    made.add("storage/shelf-1", b"{}")
    return made


@pytest.fixture
def broker() -> FakeBus:
    """A broker without a recorder: the file answers."""
    return FakeBus()


@pytest.fixture
def session(recording: SavedRecording, broker: FakeBus) -> FakeSession:
    return recording.session(broker)


def posted(broker: FakeBus) -> list[tuple[str, bytes, int]]:
    return [(publication.topic, publication.payload, qos) for publication, qos in broker.posted]


def test_everything_is_replayed_except_internal_topics(scaup: Scaup, session: FakeSession, broker: FakeBus) -> None:
    result = scaup("replay", *SINCE, "--speed", "max", session=session)
    assert result.exit_code == 0, result.stderr
    assert posted(broker) == [
        (f"replay/{ROOM_1}", b"1", 1),
        ("replay/raw/one", b"\xff\x00", 0),
        ("replay/heating/room-1/state", b"{}", 2),
        ("replay/storage/shelf-1", b"{}", 1),
    ]
    assert not any(publication.retain for publication, _ in broker.posted)
    report = json.loads(result.stdout)
    assert (report["published"], report["skipped"], report["first_at"]) == (4, 0, "2026-01-31T08:00:01Z")


def test_the_marks(scaup: Scaup, session: FakeSession, broker: FakeBus) -> None:
    scaup("replay", ROOM_1, *SINCE, "--speed", "0", session=session)
    (publication, _) = broker.posted[0]
    properties = dict(publication.properties)
    assert (properties["source"], properties["seq"], properties["plant-time"]) == ("replay", "1", "2025-12-24T00:00:00.000000Z")
    assert properties["replayed"] == "2026-01-31T08:00:01.000000Z"
    assert (properties["replayed-source"], properties["replayed-boot"], properties["replayed-seq"]) == ("sim-rooms", "b", "1")


def test_the_spacing_is_divided_by_the_speed(scaup: Scaup, session: FakeSession, broker: FakeBus) -> None:
    assert scaup("replay", *SINCE, "--speed", "100", session=session).exit_code == 0
    assert len(broker.posted) == 4
    assert broker.idled_s >= 0.09, "10 s between the first and the last message; the fake bus does not really wait"


@pytest.mark.parametrize(
    ("since", "until", "expected"), [(2, None, 3), (2, 3, 1), (1, 3, 2), (50, None, 0)], ids=["since", "one", "both", "none"]
)
def test_times(scaup: Scaup, session: FakeSession, broker: FakeBus, since: int, until: int | None, expected: int) -> None:
    at = [(START_AT + timedelta(seconds=each)).isoformat() for each in (since, until) if each is not None]
    period = ["--since", at[0], *(["--until", at[1]] if until is not None else [])]
    result = scaup("replay", *period, "--speed", "max", session=session)
    assert (result.exit_code, len(broker.posted)) == (0, expected)
    assert ("no message was recorded" in result.stderr) is (expected == 0)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "--since 1h --speed 10"),
        (["#"], "--all"),
        (["--all", *SINCE], "contradict"),
        (["--since", "1h", "--until", "2h"], "not after"),
        ([*SINCE, "--speed", "-1"], "10 or 0.5, or max"),
        ([*SINCE, "--speed", "fast"], "10 or 0.5, or max"),
        ([*SINCE, "--speed", "inf"], "10 or 0.5, or max"),
        ([*SINCE, "--speed", "nan"], "10 or 0.5, or max"),
        ([*SINCE, "--to-prefix", "replay"], "replay/monday/"),
        ([*SINCE, "--to-prefix", "+/"], "wildcard"),
        (["a+", *SINCE], "Examples"),
    ],
)
def test_wrong_usage(scaup: Scaup, session: FakeSession, broker: FakeBus, arguments: list[str], text: str) -> None:
    result = scaup("replay", *arguments, session=session)
    assert (result.exit_code, result.stdout, broker.posted) == (2, "", [])
    assert text in result.stderr


def test_all_is_from_the_beginning(scaup: Scaup, session: FakeSession, broker: FakeBus) -> None:
    assert scaup("replay", "raw/#", "--all", "--speed", "max", session=session).exit_code == 0
    assert len(broker.posted) == 1


def test_a_dry_run_publishes_nothing(scaup: Scaup, session: FakeSession, broker: FakeBus) -> None:
    result = scaup("replay", *SINCE, "--speed", "10", "--dry-run", session=session)
    assert (result.exit_code, broker.posted) == (0, [])
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert next((each["topic"], each["to"], each["messages"]) for each in found) == (ROOM_1, f"replay/{ROOM_1}", 1)
    assert "would publish 4 messages of 0:10 in 0:01" in result.stderr


@pytest.mark.parametrize(("prefix", "expected"), [("replay/x/", "replay/x/raw/one"), ("", "raw/one")])
def test_prefixes(scaup: Scaup, session: FakeSession, broker: FakeBus, prefix: str, expected: str) -> None:
    result = scaup("replay", "raw/#", *SINCE, "--speed", "max", "--to-prefix", prefix, session=session)
    assert [topic for topic, _, _ in posted(broker)] == [expected]
    assert ("original topics" in result.stderr) is (prefix == "")


def test_topics_below_the_prefix_are_not_replayed(scaup: Scaup, session: FakeSession, broker: FakeBus) -> None:
    scaup("replay", "heating/#", *SINCE, "--speed", "max", "--to-prefix", "heating/", session=session)
    assert broker.posted == []


def test_a_refusal_names_topic_and_fix(scaup: Scaup, session: FakeSession, broker: FakeBus) -> None:
    broker.refuse = True
    result = scaup("replay", "raw/#", *SINCE, session=session)
    assert (result.exit_code, result.stdout) == (4, "")
    assert "replay/raw/one" in result.stderr
    assert "may publish below replay/" in result.stderr


class Stopping(FakeBus):
    """Something happens after one message."""

    event: BaseException = KeyboardInterrupt()

    def post(self, publication: Publication, qos: int) -> None:
        if self.posted:
            raise self.event
        super().post(publication, qos)


@pytest.mark.parametrize(("event", "code"), [(KeyboardInterrupt(), 130), (ConnectionLost("the connection was lost"), 3)])
def test_a_stopped_replay_reports_its_progress(
    scaup: Scaup, recording: SavedRecording, event: BaseException, code: int
) -> None:
    broker = Stopping()
    broker.event = event
    result = scaup("replay", *SINCE, "--speed", "max", session=recording.session(broker))
    assert (result.exit_code, result.stdout) == (code, "")
    assert "stopped after 1 of 4 messages, the last one of 2026-01-31T08:00:01+00:00" in result.stderr


def test_a_running_recorder_answers_the_ledger(scaup: Scaup, recording: SavedRecording) -> None:
    bus = recording.recorder()
    assert scaup("replay", *SINCE, "--speed", "max", session=FakeSession(bus)).exit_code == 0
    assert len(bus.posted) == 4


def test_without_a_broker_there_is_no_replay(scaup: Scaup, recording: SavedRecording) -> None:
    result = scaup("replay", *SINCE, session=recording.session())
    assert result.exit_code == 3
    assert "no broker" in result.stderr
