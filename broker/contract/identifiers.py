"""Identifiers, such as that of a ship: one rule for what is a number, in files, JSON, HTTP, topics and SQL.

The canonical form of a whole number below 2^53 in magnitude (`7`, `-4`, `0`) is a number. Every other text stays
the text that it is: `007`, `+7`, `7.0`, or a metering point of 18 digits, which a reader of JSON may round.
"""

import re

LARGEST_NUMBER = 2**53 - 1
_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,15}")


def parse_identifier(given: int | str) -> int | str:
    """Return the number where `given` is the canonical form of one, else the text. `str` of it is the level of its topic."""
    text = str(given)
    number = number_of(text)
    return text if number is None else number


def number_of(text: str) -> int | None:
    """Return the number of which `text` is the canonical form, None for every other text."""
    if _NUMBER.fullmatch(text) is None:
        return None
    number = int(text)
    return number if abs(number) <= LARGEST_NUMBER else None


def number_sql(column: str) -> str:
    """Return the SQL of the number that the text in `column` is, null where it is none.

    In `views.sql` it is written `identifier_number(column)`.
    """
    number = f"TRY_CAST({column} AS BIGINT)"
    return f"CASE WHEN regexp_full_match({column}, '{_NUMBER.pattern}') AND abs({number}) <= {LARGEST_NUMBER} THEN {number} END"
