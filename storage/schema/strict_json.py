r"""The rule for JSON that components apply (`broker.message.decode_json`), in SQL: what they refuse has no typed row.

DuckDB reads more than they do: NaN and infinity, numbers beyond a double, trailing commas, any nesting, and of a name that an
object has twice it takes the first value, where others take the last.
"""

from broker.message import DEEPEST

_SPACE = r"[ \t\r\n]*"
_STRING = r'"[^"\\\x00-\x1f]*"'
_MEMBER = f"{_STRING}{_SPACE}:{_SPACE}(?:{_STRING}|-?(?:0|[1-9][0-9]*)(?:\\.[0-9]+)?|true|false|null){_SPACE}"
_PLAIN = f"{_SPACE}\\{{{_SPACE}{_MEMBER}(?:,{_SPACE}{_MEMBER})*\\}}{_SPACE}"
_LONGEST_PLAIN = 300
"""Bytes; a shorter number has no exponent that is too large, and not enough digits for infinity."""


def plain_sql(payload: str) -> str:
    """Return the condition that a payload is a flat object without anything unusual; a name may occur twice in it."""
    return f"coalesce(regexp_full_match({payload}, '{_PLAIN}') AND strlen({payload}) < {_LONGEST_PLAIN}, false)"


def bare_sql(payload: str) -> str:
    """Return the SQL of a valid payload without the text of its strings."""
    return rf"""regexp_replace({payload}, '"([^"\\]|\\.)*"', '""', 'g')"""


def fault_sql(payload: str, bare: str) -> str:
    """Return the SQL of the reason why components refuse a valid `payload`, null where they take it. `bare`: see `bare_sql`."""
    return rf"""
        CASE WHEN regexp_matches({bare}, '(?i)nan|inf|,\s*[\]}}]') THEN 'not JSON: NaN, infinity, or a comma too many'
             WHEN regexp_matches({bare}, '\d[eE]|\d{{100}}') AND NOT {_FINITE.format(bare=bare)}
                THEN 'not JSON: a number is too large'
             WHEN NOT {_SHALLOW.format(bare=bare)} THEN 'nested more than {DEEPEST} levels deep'
             WHEN len(list_filter(list_concat([json_keys({payload})], json_keys({payload}, '$..*')),
                lambda x: len(list_distinct(x)) < len(x))) > 0
                THEN 'a name occurs twice in an object: which value counts?' END"""


_FINITE = r"""coalesce(list_bool_and([isfinite(x::DOUBLE) FOR x IN regexp_extract_all({bare}, '-?\d[\d.eE+-]*')]), true)"""


def _nested(levels: int) -> str:
    """Return the pattern of brackets, `a` and `b`, that are nested up to so many levels deep: RE2 matches it in linear time."""
    pattern = "ab"
    for _ in range(levels - 1):
        pattern = f"a({pattern})*b"
    return f"({pattern})?"


_BRACKETS = "translate(regexp_replace({bare}, '[^][{{}}]', '', 'g'), '[{{]}}', 'aabb')"
_SHALLOW = f"regexp_full_match({_BRACKETS}, '{_nested(DEEPEST)}')"
