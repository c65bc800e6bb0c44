import itertools
import math

import pytest

from sim.ships.faults import GARBAGE, Reading, Wire

READINGS: list[Reading] = [(n, float(n)) for n in range(12)]


def sent(share: float, posts: int = 500, seed: int = 1) -> list[list[Reading]]:
    wire = Wire(share, seed)
    return [post for n in range(posts) for post in wire.send([(at_s + 12 * n, value + 1) for at_s, value in READINGS])]


def test_without_faults_readings_arrive_unchanged() -> None:
    assert Wire(0.0, 1).send(READINGS) == [READINGS]


def test_every_fault_occurs() -> None:
    posts = sent(0.2)
    readings = [each for post in posts for each in post]
    values = [value for _, value in readings]
    assert {str(each) for each in GARBAGE} <= {str(value) for value in values}
    times = [at_s for at_s, _ in readings]
    assert len(set(times)) < 6000  # missing
    assert any(first == second for post in posts for first, second in itertools.pairwise(post))  # repeated
    assert any(post != sorted(post, key=lambda each: each[0]) for post in posts)  # out of order
    assert [post[0][0] for post in posts] != sorted(post[0][0] for post in posts)  # late
    assert max(value for value in values if isinstance(value, float)) > 12


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 1.0])
def test_the_share_counts_readings(share: float) -> None:
    wrong = 1 - sum(post == sorted(post) and len(post) == 12 for post in sent(share) if _plain(post)) / 500
    assert wrong == pytest.approx(1 - (1 - share) ** 12, abs=0.1)


def _plain(post: list[Reading]) -> bool:
    return all(isinstance(value, float) and math.isclose(value, at_s % 12 + 1) for at_s, value in post)


def test_the_same_seed_gives_the_same_faults() -> None:
    assert sent(0.1, seed=3) == sent(0.1, seed=3)
    assert sent(0.1, seed=3) != sent(0.1, seed=4)
