import duckdb
import pyarrow as pa
import pytest

from broker.contract.storage.values import python_values


@pytest.mark.parametrize(
    ("sql", "value"),
    [
        ("'infinity'::DATE", "infinity"),
        ("'-infinity'::DATE", "-infinity"),
        ("'infinity'::TIMESTAMP", "infinity"),
        ("'-infinity'::TIMESTAMPTZ", "-infinity"),
        ("DATE '290000-01-02'", "290000-01-02"),
        ("TIMESTAMP '290000-01-02 03:04:05'", "290000-01-02 03:04:05"),
        ("TIMESTAMPTZ '290000-01-02 03:04:05Z'", "290000-01-02 03:04:05Z"),
        ("DATE '0044-03-15 (BC)'", "0044-03-15 (BC)"),
        ("DATE '5877642-06-25 (BC)'", "5877642-06-25 (BC)"),
        ("DATE '10000-02-29'", "10000-02-29"),
        ("TIMESTAMP_NS '2026-01-02 03:04:05.123456789'", "2026-01-02 03:04:05.123456789"),
        ("'23:59:59.123456789'::TIME_NS", "23:59:59.123456789"),
        ("[DATE 'infinity', NULL]", ["infinity", None]),
        ("{'d': DATE '-infinity', 'n': 1}", {"d": "-infinity", "n": 1}),
        ("MAP {'k': DATE 'infinity'}", [("k", "infinity")]),
        ("[DATE 'infinity']::DATE[1]", ["infinity"]),
    ],
)
def test_values_without_a_python_type_become_text(sql: str, value: object) -> None:
    found = duckdb.sql(f"SELECT {sql} AS v")
    assert found is not None
    assert python_values(found.to_arrow_table().column("v")) == [value]


def test_one_value_as_text_leaves_the_others_unchanged() -> None:
    column = pa.array([0, 2**31 - 1, None], pa.date32())
    first, second, third = python_values(column)
    assert (str(first), second, third) == ("1970-01-01", "infinity", None)
