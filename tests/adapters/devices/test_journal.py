"""The journal of what foreign messages became."""

from pathlib import Path

import pytest

from adapters.devices.journal import WINDOW, Entry, Journal
from adapters.devices.warm_start import Found, published_of, published_query


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "devices.journal"


def test_an_entry_survives_a_kill(path: Path) -> None:
    first = Journal(path, "one")
    first.note(7, "t", b"1", 10, 2)
    second = Journal(path, "two")  # the first was not closed
    assert second.find(7, "t", b"1") == Entry("one", 10, 2)
    assert second.earlier() == {"one": 10}
    second.note(7, "t", b"1", 1, 1)
    assert Journal(path, "three").find(7, "t", b"1") == Entry("two", 1, 1)


def test_another_message_is_not_mistaken_for_it(path: Path) -> None:
    journal = Journal(path, "one")
    journal.note(7, "t", b"1", 10, 2)
    assert journal.find(7, "t", b"2") is None
    assert journal.find(7, "u", b"1") is None
    assert journal.find(8, "t", b"1") is None


def test_an_entry_of_long_ago_is_of_another_message(path: Path) -> None:
    journal = Journal(path, "one")
    journal.note(7, "t", b"1", 1, 1)
    for number in range(WINDOW + 1):
        journal.note(1_000 + number % 20_000, "t", b"1", number, 1)
    assert journal.find(7, "t", b"1") is None


def test_a_damaged_file_is_begun_again(path: Path) -> None:
    path.write_bytes(b"nonsense")
    journal = Journal(path, "one")
    assert journal.find(7, "t", b"1") is None
    journal.note(7, "t", b"1", 1, 1)
    assert journal.find(7, "t", b"1") == Entry("one", 1, 1)


def test_what_the_recorder_does_not_have_is_missing() -> None:
    found = published_of("now", [{"boot": "one", "seqs": [10, 12]}])
    assert found.missing(Entry("one", 10, 3)) == [1]
    assert found.missing(Entry("gone", 1, 1)) == [0]
    assert found.missing(Entry("now", 1, 2)) == []  # on its way
    assert Found("now").missing(Entry("one", 1, 1)) == [0]
    assert published_query({"one": 10}).parameters == ["one", 10]
