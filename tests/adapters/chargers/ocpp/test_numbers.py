from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from adapters.chargers.ocpp.numbers import EPOCH_AT, PLACES, TransactionNumbers

NOW = datetime(2026, 1, 31, 8, tzinfo=UTC)


def test_no_number_is_used_twice_over_kills_and_adapters(tmp_path: Path) -> None:
    taken = [
        numbers.take()
        for _ in range(3)
        for place in range(PLACES)
        for numbers in [TransactionNumbers(tmp_path / str(place), place, NOW)]
        for _ in range(150)
    ]
    assert len(set(taken)) == len(taken)
    assert all(0 < each < 2**31 for each in taken)


def test_without_the_file_the_brokers_numbers_count() -> None:
    numbers = TransactionNumbers(Path("/proc/numbers"), 3, NOW)
    last = numbers.take()
    again = TransactionNumbers(Path("/proc/numbers"), 3, NOW)
    again.seen(last)
    again.seen(last + 1)  # another adapter's
    assert again.take() == last + PLACES


def test_an_old_file_is_overtaken_by_the_calendar(tmp_path: Path) -> None:
    file = tmp_path / "numbers"
    numbers = TransactionNumbers(file, 0, NOW)
    before, used = file.exists(), [numbers.take() for _ in range(200)]
    file.write_text("5\n")
    assert not before
    assert TransactionNumbers(file, 0, NOW + timedelta(hours=1)).take() > max(used)


@pytest.mark.parametrize("content", ["", "x", "\xff"])
def test_a_damaged_file_is_replaced(tmp_path: Path, content: str) -> None:
    file = tmp_path / "numbers"
    file.write_text(content)
    assert TransactionNumbers(file, 0, NOW).take() > 0
    assert int(file.read_text()) > 0


def test_the_numbers_last_for_a_century() -> None:
    later = TransactionNumbers(Path("/proc/numbers"), 7, EPOCH_AT + timedelta(days=365 * 120))
    assert later.take() < 2**31
