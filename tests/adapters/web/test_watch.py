"""The watch on the recording: what is counted, and when a missing number is a loss."""

from typing import Any

from adapters.web.watch import MOST_STARTS, Recorded
from tests.adapters.web.test_overview import samples

BEGAN_MS = 1_800_000_000_000
EARLIER, LATER = f"{BEGAN_MS - 1:012x}aaaaaaaa", f"{BEGAN_MS + 1:012x}aaaaaaaa"


def recorded() -> Recorded:
    return Recorded(BEGAN_MS, after=1_000)


def piece(*rows: dict[str, Any], high: int = 2_000) -> list[dict[str, Any]]:
    return [row("piece", None, high, 10), *rows]


def row(kind: str, name: str | None, high: int | None, count: int, boot: str | None = None) -> dict[str, Any]:
    return {"kind": kind, "name": name, "boot": boot, "low": None, "high": high, "count": count}


def publisher(high: int, count: int, boot: str = LATER) -> dict[str, Any]:
    return row("publisher", "heating", high, count, boot)


def test_the_next_look_begins_after_this_one() -> None:
    seen = recorded()
    seen.add(piece(high=2_000))
    assert seen.after == 2_000
    seen.add([row("piece", None, None, 0)])
    assert seen.after == 2_000


def test_a_number_missing_in_two_looks_is_lost_once() -> None:
    seen = recorded()
    seen.add(piece(publisher(10, 8)))
    assert seen.gaps == 0
    seen.add(piece(publisher(20, 10)))
    assert seen.gaps == 2
    seen.add(piece(publisher(30, 10)))
    assert seen.gaps == 2


def test_a_number_that_came_late_is_not_lost() -> None:
    seen = recorded()
    seen.add(piece(publisher(10, 8)))
    seen.add(piece(publisher(20, 12)))
    seen.add(piece(publisher(30, 10)))
    assert seen.gaps == 0


def test_numbers_before_the_first_look_are_not_judged() -> None:
    seen = recorded()
    seen.add(piece(publisher(500, 3, EARLIER)))
    seen.add(piece(publisher(510, 10, EARLIER)))
    assert seen.gaps == 0
    seen.add(piece(publisher(520, 9, EARLIER)))
    seen.add(piece(publisher(530, 10, EARLIER)))
    assert seen.gaps == 1


def test_a_restart_keeps_the_counts() -> None:
    seen = recorded()
    seen.add(piece(publisher(10, 8), row("messages", "heating", None, 7)))
    seen.add(piece(publisher(20, 10)))
    seen.restart(9_000, BEGAN_MS)
    assert (seen.after, seen.gaps, seen.messages["heating"]) == (9_000, 2, 7)


def test_first_levels_of_topics_are_counted_by_system() -> None:
    seen = recorded()
    names = ("readings", "actuators", "heating", "widgets", "chargers", "nonsense")
    seen.add(piece(*(row("messages", each, None, 1) for each in names), row("readings", "readings", None, 4)))
    found = samples([*seen.metrics()])
    assert found["scaup_system_messages_total", "heating"] == 3
    assert found["scaup_system_messages_total", "charging"] == 2
    assert found["scaup_system_messages_total", "other"] == 1
    assert found["scaup_system_readings_total", "heating"] == 4


def test_machines_are_counted_by_known_status() -> None:
    seen = recorded()
    seen.add(piece(row("machines", "IDLE", None, 3), row("machines", "whatever", None, 2), row("machines", "", None, 1)))
    found = samples([*seen.metrics()])
    assert found["scaup_machines", "IDLE"] == 3
    assert found["scaup_machines", "other"] == 3
    seen.add(piece())
    assert samples([*seen.metrics()])["scaup_machines", "IDLE"] == 0


def test_nothing_is_claimed_before_the_first_look() -> None:
    assert [*Recorded(BEGAN_MS).metrics()] == []


def test_the_number_of_followed_starts_is_bounded() -> None:
    seen = recorded()
    seen.add(piece(*(publisher(1, 1, f"{BEGAN_MS + number:012x}") for number in range(MOST_STARTS + 10))))
    assert len(seen._starts) == MOST_STARTS
