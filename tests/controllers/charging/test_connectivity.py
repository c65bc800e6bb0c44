from controllers.charging.connectivity import MOST_EXPIRED, GracePeriods


def test_expired_periods_come_with_their_start() -> None:
    periods = GracePeriods()
    periods.start("c1", since_s=1.0, grace_s=5.0)
    periods.start("c2", since_s=0.0, grace_s=15.0)
    assert periods.expired(5.9) == []
    assert periods.expired(6.0) == [("c1", 1.0)]
    assert periods.expired(100.0) == [("c2", 0.0)]
    assert periods.expired(100.0) == []


def test_an_earlier_deadline_replaces_a_later_one() -> None:
    periods = GracePeriods()
    periods.start("c1", since_s=0.0, grace_s=15.0)
    periods.start("c1", since_s=2.0, grace_s=5.0)
    periods.start("c1", since_s=3.0, grace_s=15.0)
    assert periods.expired(7.0) == [("c1", 2.0)]
    assert periods.expired(100.0) == []


def test_a_cancelled_period_does_not_expire() -> None:
    periods = GracePeriods()
    periods.start("c1", since_s=0.0, grace_s=5.0)
    periods.cancel("c1")
    periods.cancel("c2")
    assert periods.expired(100.0) == []


def test_at_most_a_thousand_expire_at_once() -> None:
    periods = GracePeriods()
    for number in range(MOST_EXPIRED + 10):
        periods.start(f"c{number:05}", since_s=0.0, grace_s=5.0)
    assert len(periods.expired(5.0)) == MOST_EXPIRED
    assert len(periods.expired(5.0)) == 10
