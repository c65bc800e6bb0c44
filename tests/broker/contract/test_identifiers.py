"""Identifiers: the same text is the same number, or text, in Python and in the views."""

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.contract.identifiers import LARGEST_NUMBER, number_of, number_sql, parse_identifier

_TEXTS = st.one_of(
    st.text(max_size=20),
    st.integers(-(2**65), 2**65).map(str),
    st.integers(-LARGEST_NUMBER - 2, -LARGEST_NUMBER + 2).map(str),
    st.integers(LARGEST_NUMBER - 2, LARGEST_NUMBER + 2).map(str),
    st.from_regex(r"[-+ ]?0{0,3}[0-9]{0,20}(\.0|e0|\n)?", fullmatch=True),
)


@pytest.mark.parametrize(
    ("text", "identifier"),
    [
        *[("7", 7), ("0", 0), ("-4", -4), ("9007199254740991", 2**53 - 1), ("-9007199254740991", 1 - 2**53)],
        *[(text, text) for text in ("007", "-0", "+7", "7.0", "7\n", "\u0667", "", "9007199254740992", "123456789012345678")],
    ],
)
def test_only_canonical_whole_numbers_are_numbers(text: str, identifier: int | str) -> None:
    found = parse_identifier(text)
    assert (found, type(found), str(found)) == (identifier, type(identifier), text)


def test_large_number_stays_exact_as_text() -> None:
    assert parse_identifier(123456789012345678) == "123456789012345678"


@given(st.lists(_TEXTS, min_size=1, max_size=20))
def test_views_read_the_same_number_as_python(texts: list[str]) -> None:
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE given (place INTEGER, text VARCHAR)")
        connection.executemany("INSERT INTO given VALUES (?, ?)", list(enumerate(texts)))
        found = connection.execute(f"SELECT {number_sql('text')} FROM given ORDER BY place").fetchall()
    assert [number for (number,) in found] == [number_of(text) for text in texts]
