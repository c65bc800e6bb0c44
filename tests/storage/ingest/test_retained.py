"""Limits on what devices let the broker retain."""

import pytest

from storage.ingest import retained
from storage.ingest.retained import RetainedLimits


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> RetainedLimits:
    for name, value in {"MOST_OF_ONE": 3, "MOST_BYTES_OF_ONE": 100, "MOST": 5, "MOST_BYTES": 250}.items():
        monkeypatch.setattr(retained, name, value)
    return RetainedLimits()


def test_a_device_keeps_what_is_within_its_limit(limits: RetainedLimits) -> None:
    for turn in range(50):
        assert limits.take(f"/readings/office/{turn % 3}", 10) is None
    reason = limits.take("/readings/office/3", 10)
    assert reason is not None
    assert "/readings/office" in reason
    assert limits.take("/readings/hall/temperature", 10) is None
    assert limits.to_remove(10) == ["/readings/office/3"]
    assert limits.to_remove(10) == []


def test_bytes_count_as_well(limits: RetainedLimits) -> None:
    assert limits.take("machines/7/reading", 101) is not None
    assert limits.take("machines/7/reading", 100) is None
    assert limits.take("machines/7/status", 1) is not None
    assert limits.to_remove(1) == ["machines/7/status"]


def test_a_removed_message_makes_room(limits: RetainedLimits) -> None:
    for each in "abc":
        limits.take(f"/readings/office/{each}", 30)
    assert limits.take("/readings/office/a", 0) is None
    assert limits.take("/readings/office/d", 30) is None
    assert limits.take("/readings/office/a", 30) is not None


def test_a_removal_in_time_needs_no_other(limits: RetainedLimits) -> None:
    assert limits.take("machines/7/reading", 101) is not None
    assert limits.take("machines/7/reading", 0) is None
    assert limits.to_remove(10) == []


def test_all_devices_together_are_limited(limits: RetainedLimits) -> None:
    refused = [limits.take(f"/readings/room-{number}/temperature", 1) for number in range(20_000)]
    assert refused[:5] == [None] * 5
    assert all(refused[5:])
    found = [topic for _ in range(50) for topic in limits.to_remove(500)]
    assert len(set(found)) == len(found) == 19_995


@pytest.mark.parametrize("topic", ["heating/office/state", "/actuators/office", "storage/stats", "components/x/state"])
def test_messages_of_components_do_not_count(limits: RetainedLimits, topic: str) -> None:
    assert [limits.take(topic, 1_000) for _ in range(10)] == [None] * 10


def test_topics_of_no_system_belong_to_their_first_level(limits: RetainedLimits) -> None:
    assert [limits.take(f"press/{number}/torque", 1) is None for number in range(4)] == [True, True, True, False]
