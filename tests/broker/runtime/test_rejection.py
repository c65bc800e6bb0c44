import logging

import msgspec
import pytest

from broker.contract.components.topics import RejectedMessage
from broker.runtime.rejection import CALM_S, MOST_LOGGED, MOST_PUBLISHED, SUMMARY_S, Overload


def test_rejections_beyond_the_limit_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    overload = Overload("heating")
    with caplog.at_level(logging.WARNING):
        published = [overload.reject(f"/readings/r{n}/temperature", b"{}", "too many", 0.0) for n in range(20_000)]
        (summary,) = overload.summary(0, 1.0)
    assert sum(each is not None for each in published) == MOST_PUBLISHED
    assert len(caplog.records) == MOST_LOGGED + 1
    message = msgspec.json.decode(summary.payload, type=RejectedMessage)
    assert message.topic == "/readings/r19999/temperature"
    assert message.reason.startswith(f"{20_000 - MOST_PUBLISHED} more messages were rejected")
    assert message.reason.endswith("the last: too many")
    assert overload.warning is not None
    assert f"{20_000 - MOST_PUBLISHED} messages" in overload.warning


def test_a_few_rejections_are_published_and_no_warning() -> None:
    overload = Overload("heating")
    assert all(overload.reject("t", b"{}", "no", 0.0) is not None for _ in range(1000))
    assert overload.summary(0, 1.0) == []
    assert overload.warning is None


def test_dropped_publications_are_a_warning_too() -> None:
    overload = Overload("heating")
    overload.summary(0, 1.0)
    assert overload.summary(7, 2.0) == []
    assert overload.warning == "7 publications were dropped: they come faster than the broker takes them"


def test_a_warning_is_removed_when_it_is_over() -> None:
    overload = Overload("heating")
    overload.summary(7, 0.0)
    overload.summary(7, SUMMARY_S)
    assert overload.warning is not None
    overload.summary(7, CALM_S)
    assert overload.warning is None
