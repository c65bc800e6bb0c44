"""The quarters of a period: the query, and the HTTP body made of its rows. Pure.

DuckDB writes the JSON: neither the recorder nor this API touches a single quarter in Python. Ten years of a ship are one row,
in an abbreviated form.
"""

import msgspec

from adapters.client.aio_recorder import Rows
from adapters.energy_api.parameters import Period, spelled
from broker.contract.storage.topics import QueryRequest

_SHORT = {
    "|": '{"datetime":"',
    "=": '","value":',
    "!": ',"quality":"measured","coverage":1.0}',
    "?": ',"quality":"estimated","coverage":1.0}',
    "^": '"',
}
"""Abbreviations of frequent text on the bus: characters that occur in no time and no number."""
_SQL = """
SELECT string_agg(
        concat(
            '|', strftime(make_timestamp(begin_us), '%Y-%m-%dT%H:%M:%SZ'),
            '=', CASE WHEN kwh = trunc(kwh) AND abs(kwh) < 1e15 THEN kwh::BIGINT::VARCHAR ELSE kwh::VARCHAR END,
            CASE WHEN coverage = 1 AND NOT negative AND quality = 'measured' THEN '!'
                WHEN coverage = 1 AND NOT negative AND quality = 'estimated' THEN '?'
                ELSE concat(',^quality^:^', quality, '^,^coverage^:', coverage,
                    CASE WHEN negative THEN ',^negative^:true' END, '}')
            END),
        ',' ORDER BY begin_us) AS quarters
FROM (SELECT epoch_us(start_at) AS begin_us, arg_max_null(kwh, number) AS kwh, arg_max(quality, number) AS quality,
        arg_max(coverage, number) AS coverage, arg_max(negative, number) AS negative
      FROM energy_revision WHERE ship = $ship AND start_at >= $start::TIMESTAMPTZ AND start_at < $end::TIMESTAMPTZ
      GROUP BY begin_us)
WHERE kwh IS NOT NULL AND coverage IS NOT NULL AND quality IN ('measured', 'partial', 'estimated')
GROUP BY begin_us // {ten_years_us} ORDER BY begin_us // {ten_years_us}
""".replace("{ten_years_us}", str(3_652 * 86_400_000_000))
"""The rows of `energy_interval`, made from `energy_revision` column by column, which is faster than the view."""


def request_for(period: Period, timeout_s: float) -> QueryRequest:
    """Return the query."""
    parameters = {"ship": period.ship, "start": period.start, "end": period.end}
    return QueryRequest(sql=_SQL, parameters=parameters, timeout_s=timeout_s)


def body_of(period: Period, rows: Rows) -> bytes:
    """Return the body of the HTTP answer."""
    quarters = ",".join(row["quarters"] for row in rows)
    for short, text in _SHORT.items():
        quarters = quarters.replace(short, text)
    return b'{"spaceship_id":%s,"units":"kWh","data":[%s]}' % (msgspec.json.encode(spelled(period.ship)), quarters.encode())
