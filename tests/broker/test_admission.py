import pytest

from broker.admission import Admission, TokenBucket
from broker.errors import Rejected


def admitted(admission: Admission, names: int, now_s: float, known: int = 0) -> int:
    count = 0
    for number in range(names):
        try:
            admission.check(f"r{number}", known + count, now_s)
        except Rejected:
            continue
        count += 1
    return count


def test_a_bucket_allows_a_burst_and_refills() -> None:
    bucket = TokenBucket(3, 0.5)
    assert [bucket.take(100.0) for _ in range(5)] == [True, True, True, False, False]
    assert [bucket.take(102.0) for _ in range(2)] == [True, False]
    assert [bucket.take(1e9) for _ in range(5)] == [True, True, True, False, False]


def test_invented_names_are_admitted_slowly() -> None:
    admission = Admission("rooms", 20_000, 1_000, 10.0)
    assert admitted(admission, 20_000, 0.0) == 1_000
    assert admitted(admission, 20_000, 60.0, 1_000) == 600


def test_the_rate_is_in_wall_time_at_any_scale() -> None:
    admission = Admission("rooms", 20_000, 1_000, 10.0, time_scale=60.0)
    assert admitted(admission, 20_000, 0.0) == 1_000
    assert admitted(admission, 20_000, 60.0, 1_000) == 10


def test_there_is_a_limit_to_all_names() -> None:
    with pytest.raises(Rejected, match="there are 5 ships already, which is the limit"):
        Admission("ships", 5, 1_000, 10.0).check("6", 5, 0.0)


def test_the_reason_names_the_rate() -> None:
    admission = Admission("rooms", 5, 1, 10.0)
    admission.check("one", 0, 0.0)
    with pytest.raises(Rejected, match="'two' is new: too many new rooms at once: after 1 at most 10 a second are taken"):
        admission.check("two", 1, 0.0)
