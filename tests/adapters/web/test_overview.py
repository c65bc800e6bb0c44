"""Health of the whole system, and the metrics of components and recorder."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from prometheus_client.metrics_core import Metric

from adapters.web.overview import MOST_COMPONENTS, OLDEST_STATS_S, Overview, Status
from broker.contract.components.topics import ComponentState, ComponentWarning, Presence, RejectedMessage
from broker.contract.storage.topics import RecorderStats
from broker.errors import Rejected
from broker.message import Message, encode

NOW_AT = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
STATS = RecorderStats(
    at=NOW_AT,
    received=100,
    committed=90,
    acknowledged=90,
    duplicates=4,
    rejected=2,
    dropped=0,
    queued=3,
    commit_p50_s=0.01,
    commit_p99_s=0.2,
    database_bytes=10,
    wal_bytes=5,
    free_bytes=1_000,
    last_error=None,
)
ONLINE, OFFLINE = Presence.ONLINE, Presence.OFFLINE


def overview(*expected: str) -> Overview:
    return Overview(("web", ComponentState(ONLINE, "", "1.0")), expected)


def state(name: str, presence: Presence = ONLINE, boot: str = "a") -> Message:
    return Message(topic=f"components/{name}/state", payload=encode(ComponentState(presence, boot, "1.0")), retain=True)


def stats(**changed: Any) -> Message:
    return Message(topic="storage/stats", payload=encode(msgspec.structs.replace(STATS, **changed)), retain=True)


def healthy() -> Overview:
    made = overview()
    for message in (state("recorder"), state("heating"), stats()):
        assert made.take(message)
    return made


def status(of: Overview, broker_error: str | None = None, now_at: datetime = NOW_AT) -> tuple[Status, list[str]]:
    found, document = of.health(broker_error, now_at)
    assert document["status"] == found.name.lower()
    return found, [each["text"] for each in document["problems"]]


def samples(metrics: list[Metric]) -> dict[tuple[str, str], float]:
    return {(each.name, ",".join(each.labels.values())): float(each.value) for metric in metrics for each in metric.samples}


def test_all_online_and_recording_is_ok() -> None:
    assert status(healthy()) == (Status.OK, [])


@pytest.mark.parametrize(
    ("message", "found", "text"),
    [
        (state("heating", OFFLINE), Status.FAILED, "heating is not online; see `scaup logs heating`"),
        (stats(last_error="the disk is full"), Status.FAILED, "cannot record: the disk is full"),
        (stats(warning="the wall clock moved"), Status.WARNING, "recorder: the wall clock moved"),
    ],
)
def test_what_is_wrong_is_named(message: Message, found: Status, text: str) -> None:
    seen = healthy()
    seen.take(message)
    assert status(seen)[0] is found
    assert text in status(seen)[1][0]


def test_a_silent_recorder_fails_after_ten_seconds() -> None:
    edge = NOW_AT + timedelta(seconds=OLDEST_STATS_S)
    assert status(healthy(), now_at=edge)[0] is Status.OK
    found, (text,) = status(healthy(), now_at=edge + timedelta(seconds=1))
    assert found is Status.FAILED
    assert "silent for 11 s" in text


def test_a_recorder_that_never_reported_fails() -> None:
    seen = overview()
    seen.take(state("recorder"))
    assert status(seen) == (Status.FAILED, ["the recorder has not reported yet; see `scaup logs recorder`"])


def test_without_the_broker_only_that_is_reported() -> None:
    seen = healthy()
    seen.take(state("heating", OFFLINE))
    assert status(seen, "no answer") == (Status.FAILED, ["broker: no answer; see `scaup logs broker`"])
    found = samples([*seen.metrics("no answer", NOW_AT)])
    assert found["scaup_broker_up", ""] == 0
    assert found["scaup_component_up", "recorder"] == 0


def test_only_expected_components_are_needed() -> None:
    seen = overview("web", "heating")
    seen.take(state("charging", OFFLINE))
    assert status(seen) == (Status.FAILED, ["heating is not online; see `scaup logs heating`"])
    seen.take(state("heating"))
    assert status(seen)[0] is Status.OK
    assert ("scaup_component_up", "charging") not in samples([*seen.metrics(None, NOW_AT)])


def test_a_warning_of_an_earlier_start_does_not_count() -> None:
    seen = healthy()
    topic = "components/heating/warning"
    seen.take(Message(topic=topic, payload=encode(ComponentWarning("too much", "a"))))
    assert status(seen) == (Status.WARNING, ["heating: too much"])
    seen.take(state("heating", boot="b"))
    assert status(seen)[0] is Status.OK
    assert samples([*seen.metrics(None, NOW_AT)])["scaup_component_starts_total", "heating"] == 1


def test_rejected_messages_count_as_many_as_they_stand_for() -> None:
    seen = healthy()
    one = RejectedMessage(topic="t", reason="r", payload="p", at=NOW_AT)
    for payload in (encode(one), encode(msgspec.structs.replace(one, count=500)), b"\xff"):
        seen.take(Message(topic="rejected/heating", payload=payload))
    found = samples([*seen.metrics(None, NOW_AT)])
    assert found["scaup_rejected_total", "heating"] == 502
    assert found["scaup_rejected_total", "recorder"] == STATS.rejected


def test_metrics_of_the_recorder() -> None:
    found = samples([*healthy().metrics(None, NOW_AT + timedelta(seconds=3))])
    assert found["scaup_messages_recorded_total", ""] == 90
    assert found["scaup_commit_seconds", "0.99"] == 0.2
    assert found["scaup_recorder_behind_messages", ""] == 6
    assert found["scaup_recorder_report_age_seconds", ""] == 3
    assert found["scaup_disk_free_bytes", ""] == 1_000


def test_a_forgotten_component_is_no_longer_needed() -> None:
    seen = healthy()
    seen.take(Message(topic="components/heating/state", payload=b"", retain=True))
    assert status(seen)[0] is Status.OK
    assert "heating" not in seen.components


def test_the_number_of_components_is_bounded() -> None:
    seen = overview()
    for number in range(MOST_COMPONENTS - 1):
        seen.take(state(f"c{number}"))
    with pytest.raises(Rejected, match="the limit"):
        seen.take(state("one-more"))
    assert len(seen.components) == MOST_COMPONENTS


def test_other_topics_are_not_taken() -> None:
    assert not overview().take(Message(topic="machines/1/reading", payload=b"{}"))
