"""Limits on wrong logins: who has to wait, who has not, and how much memory they take."""

import pytest

from adapters.outside import attempts
from adapters.outside.attempts import ADDRESS, MOST_ENTRIES, NAME, PAIR, Attempts, network_of

HOME, ELSEWHERE = "192.0.2.1", "198.51.100.1"


def guess(limits: Attempts, times: int, name: str, address: str, now_s: float = 0.0) -> int:
    """Return how many of these wrong logins were read."""
    read = 0
    for _ in range(times):
        if not limits.wait_s(name, address, now_s):
            limits.wrong(name, address, now_s)
            read += 1
    return read


def test_guesses_at_one_name_from_one_address_have_to_wait() -> None:
    limits = Attempts()
    assert guess(limits, 1_000, "anna", ELSEWHERE) == PAIR.burst
    assert limits.wait_s("anna", ELSEWHERE, 0.0) == PAIR.every_s
    assert guess(limits, 1_000, "anna", ELSEWHERE, PAIR.every_s) == 1
    assert guess(limits, 1_000, "anna", ELSEWHERE, 1_000.0) == PAIR.burst


def test_right_user_elsewhere_is_not_locked_out() -> None:
    limits = Attempts()
    guess(limits, 1_000, "anna", ELSEWHERE)
    assert limits.wait_s("anna", HOME, 0.0) == 0


def test_guesses_at_many_names_from_one_address_have_to_wait() -> None:
    limits = Attempts()
    assert sum(guess(limits, 1, f"name-{number}", ELSEWHERE) for number in range(1_000)) == ADDRESS.burst
    assert limits.wait_s("anna", ELSEWHERE, 0.0) > 0


def test_device_behind_a_guessers_address_goes_on() -> None:
    limits = Attempts()
    limits.right("anna", HOME)
    for number in range(1_000):
        guess(limits, 1, f"name-{number}", HOME)
    assert limits.wait_s("anna", HOME, 0.0) == 0
    assert guess(limits, 1_000, "anna", HOME) == PAIR.burst  # but its password cannot be guessed without limit


def test_many_addresses_that_guess_at_one_name_have_to_wait() -> None:
    limits = Attempts()
    limits.right("anna", HOME)
    assert sum(guess(limits, 5, "anna", f"10.0.0.{number}") for number in range(200)) == NAME.burst
    assert limits.wait_s("anna", "10.1.1.1", 0.0) > 0
    assert limits.wait_s("anna", HOME, 0.0) == 0
    assert limits.wait_s("ben", "10.1.1.1", 0.0) == 0


def test_a_success_gives_no_further_guesses() -> None:
    limits = Attempts()
    guess(limits, PAIR.burst, "anna", HOME)
    limits.right("anna", HOME)
    assert limits.wait_s("anna", HOME, 0.0) == PAIR.every_s


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("?", "?"),
    ],
)
def test_one_customer_is_one_address(address: str, expected: str) -> None:
    assert network_of(address) == expected


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "MOST_ENTRIES", 100)
    limits = Attempts()
    for number in range(1_000):
        limits.wrong(f"name-{number}", f"10.0.{number // 250}.{number % 250}", 0.0)
        limits.right(f"name-{number}", f"10.0.{number // 250}.{number % 250}")
    tables = limits._pairs._empty_at_s, limits._addresses._empty_at_s, limits._names._empty_at_s, limits._known
    assert [len(each) for each in tables] == [100] * 4
    assert MOST_ENTRIES == 4_096
