from controllers.charging.deadlines import MOST_AT_ONCE, Deadlines


def test_those_that_are_due_come_with_since_when() -> None:
    deadlines = Deadlines()
    deadlines.wait("c1", since_s=1.0, patience_s=5.0)
    deadlines.wait("c2", since_s=0.0, patience_s=15.0)
    assert deadlines.expired(5.9) == []
    assert deadlines.expired(6.0) == [("c1", 1.0)]
    assert deadlines.expired(100.0) == [("c2", 0.0)]
    assert deadlines.expired(100.0) == []


def test_a_shorter_deadline_takes_the_place_of_a_longer_one() -> None:
    deadlines = Deadlines()
    deadlines.wait("c1", since_s=0.0, patience_s=15.0)
    deadlines.wait("c1", since_s=2.0, patience_s=5.0)
    deadlines.wait("c1", since_s=3.0, patience_s=15.0)
    assert deadlines.expired(7.0) == [("c1", 2.0)]
    assert deadlines.expired(100.0) == []


def test_who_is_cancelled_is_not_due() -> None:
    deadlines = Deadlines()
    deadlines.wait("c1", since_s=0.0, patience_s=5.0)
    deadlines.cancel("c1")
    deadlines.cancel("c2")
    assert deadlines.expired(100.0) == []


def test_of_very_many_some_wait_for_the_next_look() -> None:
    deadlines = Deadlines()
    for number in range(MOST_AT_ONCE + 10):
        deadlines.wait(f"c{number:05}", since_s=0.0, patience_s=5.0)
    assert len(deadlines.expired(5.0)) == MOST_AT_ONCE
    assert len(deadlines.expired(5.0)) == 10
