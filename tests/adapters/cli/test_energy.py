"""energy import, show and ships, with the real normalizer behind the bus."""

import csv
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from adapters.client.energy import files
from adapters.client.errors import Failed
from broker.contract.energy.topics import INTERVAL
from broker.message import Message, Publication
from controllers.energy.component import EnergyNormalizer
from tests.adapters.cli.conftest import Scaup
from tests.adapters.client.fakes import FakeBus, FakeSession, recording_bus

TABLES = """
CREATE TABLE energy_interval (spaceship_id BIGINT, start_at TIMESTAMPTZ, kwh DOUBLE, quality VARCHAR, coverage DOUBLE,
    revised_at TIMESTAMPTZ, negative BOOLEAN, ship VARCHAR);
CREATE TABLE energy_anomaly (number BIGINT, received_at TIMESTAMPTZ, event_at TIMESTAMPTZ, ship VARCHAR, start_at TIMESTAMPTZ,
    kind VARCHAR, kwh DOUBLE, expected_kwh DOUBLE, text VARCHAR);
"""
START_AT = datetime(2018, 8, 24, tzinfo=UTC)
ONLINE = '{"state":"online","boot":"b","version":"1"}'
PNG = b"\x89PNG\r\n\x1a\n"


class NormalizingBus(FakeBus):
    """A bus with a normalizer without earlier readings; `mute` holds its answers back."""

    mute: bool = False
    stopping: bool = False

    def publish(self, publication: Publication, expiry_s: int | None = None) -> bool:
        if not publication.topic.endswith("/raw"):
            return super().publish(publication, expiry_s)
        self.published.append((publication, expiry_s))
        if self.stopping:
            self.deliver("components/energy/state", ONLINE.replace("online", "offline").encode())
        if self.mute or self.stopping:
            return True
        normalizer = self.__dict__.setdefault("normalizer", EnergyNormalizer())
        message = Message(
            topic=publication.topic,
            payload=publication.payload,
            response_topic=publication.response_topic,
            correlation_data=publication.correlation_data,
        )
        self._spread(normalizer, normalizer.on_message(message, 0.0))
        return True

    def _spread(self, normalizer: EnergyNormalizer, publications: list[Publication]) -> None:
        for each in publications:
            if each.topic == "storage/query":
                end = Message(
                    topic=each.response_topic or "",
                    payload=b'{"rows":0,"chunks":0,"elapsed_s":0,"columns":[],"truncated":false,"error":null}',
                    correlation_data=each.correlation_data,
                )
                self._spread(normalizer, normalizer.on_message(end, 0.0))
            else:
                self.deliver(each.topic, each.payload, each.correlation_data)
                self._keep(each)

    def _keep(self, publication: Publication) -> None:
        if (levels := INTERVAL.parse(publication.topic)) is None:
            return
        for row in json.loads(publication.payload)["data"]:
            keep(self.database, levels["ship"], row["datetime"], row["value"], row["quality"], row["coverage"])

    @property
    def database(self) -> Any:
        assert self.recorder is not None
        return self.recorder.database


def keep(database: Any, ship: str, at: object, kwh: float, quality: str = "measured", coverage: float = 1.0) -> None:
    negative = kwh < 0
    row = [ship, at, kwh, quality, coverage, datetime.now(UTC), negative, ship]
    database.execute("DELETE FROM energy_interval WHERE ship = ? AND start_at = ?::TIMESTAMPTZ", [ship, at])
    database.execute("INSERT INTO energy_interval VALUES (TRY_CAST(? AS BIGINT), ?, ?, ?, ?, ?, ?, ?)", row)


def tell(database: Any, at: datetime, kind: str, kwh: float | None, text: str = "why") -> None:
    row = [1, at, at, "1", at, kind, kwh, 3.0, text]
    database.execute("INSERT INTO energy_anomaly VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)


@pytest.fixture
def bus() -> FakeBus:
    made = recording_bus()
    found = NormalizingBus(made.recorder, made.kept)
    found.retain("components/energy/state", ONLINE)
    found.database.execute(TABLES)
    return found


@pytest.fixture
def database(bus: NormalizingBus) -> Any:
    return bus.database


def post(
    ship: object = 1, units: str = "kWh", values: tuple[object, ...] = (12, 26, 18), minutes: int = 60, **more: object
) -> dict[str, Any]:
    rows = [
        {"datetime": (START_AT + timedelta(minutes=minutes * n)).isoformat().replace("+00:00", "Z"), "value": value}
        for n, value in enumerate(values)
    ]
    return {"spaceship_id": ship, "units": units, "data": rows, **more}


def write(path: Path, document: object) -> str:
    path.write_bytes(orjson.dumps(document))
    return str(path)


def lines(text: str) -> list[Any]:
    return [json.loads(each) for each in text.splitlines()]


def test_json_is_posted_verbatim_and_becomes_quarters(scaup: Scaup, bus: NormalizingBus, tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", post())
    result = scaup("energy", "import", path)
    assert (result.exit_code, result.stderr) == (0, ""), result.exception
    assert lines(result.stdout) == [{"file": path, "stored": 3, "skipped": 0, "refused": 0}]
    assert json.loads(bus.published[0][0].payload) == post()
    shown = lines(scaup("energy", "show", "1").stdout)
    assert [each["kwh"] for each in shown] == [3] * 4 + [6.5] * 4 + [4.5] * 4


def test_an_array_of_posts_and_several_files(scaup: Scaup, bus: NormalizingBus, tmp_path: Path) -> None:
    first = write(tmp_path / "a.json", [post(1), post(2, "kW", (22, 24, 23, 18), 5)])
    second = write(tmp_path / "b.json", post("x", "kWh", (2, 5), 15))
    result = scaup("energy", "import", first, second)
    assert [each["stored"] for each in lines(result.stdout)] == [7, 2]
    assert [each[0].topic for each in bus.published] == ["energy/1/raw", "energy/2/raw", "energy/x/raw"]


def test_skipped_values_are_named_by_their_row(scaup: Scaup, tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", post(values=(1, None, "n/a", 2, "3", True)))
    result = scaup("energy", "import", path)
    assert result.exit_code == 0
    assert lines(result.stdout)[0] == {"file": path, "stored": 3, "skipped": 3, "refused": 0}
    assert "skipped: a.json, row 1: null\n" in result.stderr
    assert "skipped: a.json, row 2: not a number: 'n/a'" in result.stderr


def test_only_the_first_ten_are_named(scaup: Scaup, tmp_path: Path) -> None:
    result = scaup("energy", "import", write(tmp_path / "a.json", post(values=(1, 2, *[None] * 13))))
    assert result.stderr.count("skipped: a.json, row") == 10
    assert "and 3 more" in result.stderr


def test_infinite_numbers_are_skipped_as_such(scaup: Scaup, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(post(values=(1, 2, 77))).replace("77", "1e999"))
    assert "row 2: not a finite number" in scaup("energy", "import", str(path)).stderr


def test_csv_with_options(scaup: Scaup, bus: NormalizingBus, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(
        "\ufeffdatetime,value\n2018-08-24T00:00:00Z,22\n2018-08-24T00:05:00Z,\n2018-08-24T00:10:00Z,n/a\n2018-08-24T00:15:00Z,18\n\n"
    )
    result = scaup("energy", "import", str(path), "--ship", "2", "--units", "kw", "--interval-minutes", "5")
    assert (result.exit_code, lines(result.stdout)[0]["stored"]) == (0, 2)
    assert "a.csv, line 3: empty" in result.stderr
    assert "a.csv, line 4: not a number" in result.stderr
    sent = json.loads(bus.published[0][0].payload)
    assert (sent["spaceship_id"], sent["units"], sent["interval_minutes"]) == (2, "kW", 5)


@pytest.mark.parametrize("ship", ["007", "123456789012345678", "9007199254740992", "-0", "Nostromo"])
def test_ship_keeps_the_text_that_it_was(scaup: Scaup, bus: NormalizingBus, tmp_path: Path, ship: str) -> None:
    table, document, number = tmp_path / "a.csv", tmp_path / "b.json", tmp_path / "c.json"
    table.write_text("datetime,value\n2018-08-24T00:00:00Z,22\n")
    document.write_text(json.dumps(post(ship=ship)))
    number.write_text(document.read_text().replace(f'"{ship}"', ship))
    files = [table, document, number] if len(ship) > 15 else [table, document]
    result = scaup("energy", "import", *map(str, files), "--ship", ship, "--units", "kW", "--interval-minutes", "60")
    assert (result.exit_code, [each["stored"] for each in lines(result.stdout)]) == (0, [1, *[3] * (len(files) - 1)])
    sent = [each for each, _ in bus.published if each.topic.endswith("/raw")]
    assert {each.topic for each in sent} == {f"energy/{ship}/raw"}
    assert [json.loads(each.payload)["spaceship_id"] for each in sent] == [ship] * len(files)


def test_only_decimal_text_of_a_csv_is_a_number(scaup: Scaup, bus: NormalizingBus, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(
        "datetime,value\n2018-08-24T00:00:00Z,1e1\n2018-08-24T01:00:00Z,1_000\n2018-08-24T02:00:00Z,１２\n", encoding="utf-8"
    )
    result = scaup("energy", "import", str(path), "--ship", "1", "--units", "kWh", "--interval-minutes", "60")
    assert "a.csv, line 3: not a number" in result.stderr
    assert "a.csv, line 4: not a number" in result.stderr
    assert "a.csv, line 2" not in result.stderr


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("datetime,kwh\n", "line 1"),
        ("", "line 1"),
        ("datetime,value\n2018-08-24T00:00Z,1\n2018-08-24T01:00Z\n", "line 3"),
        ("datetime,value\n2018-08-24T00:00Z,1\n\nsoon,2\n", "line 4"),
        ("datetime,value\n2018-08-24T00:00Z,1\n", "interval_minutes"),
    ],
)
def test_a_wrong_csv_is_refused_with_its_line(scaup: Scaup, tmp_path: Path, content: str, named: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(content)
    result = scaup("energy", "import", str(path), "--ship", "2", "--units", "kWh")
    assert result.exit_code == 1
    assert lines(result.stdout)[0]["refused"] == 1
    assert "a.csv" in result.stderr
    assert named in result.stderr


def test_import_of_nothing_exits_with_1(scaup: Scaup, tmp_path: Path) -> None:
    path, good = tmp_path / "a.csv", write(tmp_path / "b.json", post())
    path.write_text("datetime,value\n2018-08-24T00:00Z,n/a\n2018-08-24T01:00Z,\n")
    result = scaup("energy", "import", str(path), good, "--ship", "2", "--units", "kWh")
    assert (result.exit_code, [each["stored"] for each in lines(result.stdout)]) == (1, [0, 3])
    assert "nothing was stored from a.csv" in result.stderr


def test_utility_file_is_read_and_explained(scaup: Scaup, bus: NormalizingBus, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(
        b"\xef\xbb\xbfZeitstempel;Verbrauch (kWh)\r\n24.08.2018 00:00;0,25\r\n\r\n"
        b"24.08.2018 00:15;1.000,5\r\nSumme;1.000,75\r\n"
    )
    result = scaup("energy", "import", str(path), "--ship", "2")
    assert (result.exit_code, lines(result.stdout)[0]["stored"]) == (0, 2), result.stderr
    sent = json.loads(bus.published[0][0].payload)
    assert sent["data"] == [
        {"datetime": "2018-08-24T00:00:00Z", "value": 0.25},
        {"datetime": "2018-08-24T00:15:00Z", "value": 1000.5},
    ]
    for part in (
        "Zeitstempel",
        "Verbrauch (kWh)",
        "semicolon",
        "decimal comma",
        "line 5: left out as a footer: Summe 1.000,75",
    ):
        assert part in result.stderr


@pytest.mark.parametrize("kind", [pa.timestamp("us", "UTC"), pa.timestamp("ns"), pa.timestamp("s", "Asia/Tokyo"), pa.string()])
def test_parquet(scaup: Scaup, bus: NormalizingBus, tmp_path: Path, kind: Any) -> None:
    times = [START_AT + timedelta(minutes=15 * n) for n in range(3)]
    column = (
        pa.array([f"{at:%Y-%m-%dT%H:%M:%SZ}" for at in times])
        if kind == pa.string()
        else pa.array(times, pa.timestamp("us", "UTC")).cast(kind)
    )
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"value": pa.array([1.5, None, float("nan")]), "datetime": column, "more": ["a", "b", "c"]}), path)
    result = scaup("energy", "import", str(path), "--ship", "7", "--units", "kWh", "--interval-minutes", "15")
    assert (result.exit_code, lines(result.stdout)[0]["stored"]) == (0, 1)
    sent = json.loads(bus.published[0][0].payload)["data"]
    assert [each["datetime"] for each in sent] == [f"{at:%Y-%m-%dT%H:%M:%SZ}" for at in times]
    assert "row 2: not a finite number: 'nan'" in result.stderr


def test_parquet_keeps_microseconds_and_refuses_null_times(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    times = pa.array([START_AT + timedelta(microseconds=5), None], pa.timestamp("us"))
    pq.write_table(pa.table({"datetime": times, "value": [1, 2]}), path)
    (found,) = files.read(path, files.Defaults("1", "kW"))
    assert [each["datetime"] for each in found.data] == ["2018-08-24T00:00:00.000005Z", None]


def test_no_parquet_and_other_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR")
    with pytest.raises(Failed, match=r"a\.parquet"):
        files.read(path, files.Defaults("1", "kW"))
    pq.write_table(pa.table({"datetime": [1, 2], "kwh": [1, 2]}), path)
    with pytest.raises(Failed, match=r"a\.parquet"):
        files.read(path, files.Defaults("1", "kW"))
    pq.write_table(pa.table({"datetime": [1, 2], "value": [1, 2]}), path)
    with pytest.raises(Failed, match="int64"):
        files.read(path, files.Defaults("1", "kW"))


def test_a_long_post_is_split_and_rows_are_those_of_the_file(
    scaup: Scaup, bus: NormalizingBus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MOST_VALUES", 4)
    document = post(values=(1, 2, 3, 4, 5, None, 7, 8, 9), minutes=15)
    document["data"][8]["datetime"] = "soon"
    result = scaup("energy", "import", write(tmp_path / "a.json", document))
    assert [len(json.loads(each[0].payload)["data"]) for each in bus.published] == [4, 4, 1]
    assert "skipped: a.json, row 5: null" in result.stderr
    assert "refused: a.json, row 8: data[8].datetime: must be ISO 8601" in result.stderr
    assert (result.exit_code, lines(result.stdout)[0]) == (
        1,
        {"file": str(tmp_path / "a.json"), "stored": 7, "skipped": 1, "refused": 1},
    )


def test_twenty_years_go_in_pieces_of_four(scaup: Scaup, bus: NormalizingBus, tmp_path: Path) -> None:
    document = post(values=(*range(20),), minutes=366 * 1440, interval_minutes=60)
    result = scaup("energy", "import", write(tmp_path / "a.json", document))
    assert (result.exit_code, lines(result.stdout)[0]["stored"]) == (0, 20)
    assert [len(json.loads(each[0].payload)["data"]) for each in bus.published] == [4, 4, 4, 4, 4]
    assert [row for each in bus.published for row in json.loads(each[0].payload)["data"]] == document["data"]


def test_a_file_that_is_refused_does_not_stop_the_others(scaup: Scaup, tmp_path: Path) -> None:
    wrong = write(tmp_path / "a.json", [post(), {"units": "kW"}])
    units = write(tmp_path / "b.json", post(units="MW"))
    slash = write(tmp_path / "c.json", post(ship="a/b"))
    good = write(tmp_path / "d.json", post())
    result = scaup("energy", "import", wrong, units, slash, good)
    assert result.exit_code == 1
    assert [(each["stored"], each["refused"]) for each in lines(result.stdout)] == [(0, 1), (0, 1), (0, 1), (3, 0)]
    for named in ("a.json: post 1, ", "b.json", "units: must be", "c.json"):
        assert named in result.stderr


@pytest.mark.parametrize(
    "arguments", [["{}.csv"], ["{}.csv", "--ship", "1"], ["{}.txt"], ["{}.none"], ["{}.csv", "--ship", "a/b"], []]
)
def test_wrong_usage_of_import(scaup: Scaup, tmp_path: Path, arguments: list[str]) -> None:
    for ending in ("csv", "txt"):
        (tmp_path / f"a.{ending}").write_text("datetime,value\n")
    assert scaup("energy", "import", *(each.format(tmp_path / "a") for each in arguments)).exit_code == 2


def test_without_a_normalizer_it_ends_with_3(scaup: Scaup, bus: NormalizingBus, tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", post())
    bus.mute = True
    assert "did not answer" in (found := scaup("energy", "import", path)).stderr
    assert found.exit_code == 3
    bus.stopping = True
    assert "stopped before it had answered" in (found := scaup("energy", "import", path)).stderr
    assert found.exit_code == 3
    bus.kept.pop("components/energy/state")
    assert scaup("energy", "import", path).exit_code == 3
    assert scaup("energy", "import", path, session=FakeSession(None)).exit_code == 3


@pytest.fixture
def week(database: Any) -> Any:
    """Three days of ship 1 with a gap, a partial quarter, and an outlier."""
    for n in range(3 * 96):
        if not 200 <= n < 208:
            kwh, partial = (30.0 if n == 250 else 3.0), n == 260
            keep(
                database,
                "1",
                START_AT + timedelta(minutes=15 * n),
                kwh,
                "partial" if partial else "measured",
                0.3 if partial else 1,
            )
    tell(database, START_AT + timedelta(minutes=15 * 250), "outlier", 30.0)
    tell(database, START_AT + timedelta(minutes=15 * 200), "missing", None, "8 quarters missing")
    tell(database, START_AT + timedelta(minutes=15 * 251), "outlier", 99.0, "revised since")
    tell(database, START_AT + timedelta(minutes=15 * 252), "missing", None, "came later")
    return database


def show(scaup: Scaup, *arguments: str) -> list[Any]:
    result = scaup("energy", "show", "1", *arguments)
    assert result.exit_code == 0, result.stderr
    return lines(result.stdout)


@pytest.mark.parametrize(
    ("arguments", "first", "count"),
    [
        ([], "2018-08-26T00:00:00Z", 88),
        (["--since", "1h"], "2018-08-26T23:00:00Z", 4),
        (["--since", "2018-08-24T00:00:00Z", "--until", "2018-08-24T01:00:00Z"], "2018-08-24T00:00:00Z", 4),
        (["--since", "1900-01-01T00:00Z"], "2018-08-24T00:00:00Z", 280),
        (["--since", "3d", "--until", "2d"], "2018-08-24T00:00:00Z", 96),
        (["--since", "2018-08-24T00:01Z", "--until", "2018-08-24T00:16Z"], "2018-08-24T00:15:00Z", 1),
    ],
)
def test_periods_are_in_the_time_of_the_data(scaup: Scaup, week: Any, arguments: list[str], first: str, count: int) -> None:
    found = show(scaup, *arguments)
    assert (found[0]["start_at"], len(found)) == (first, count)


def test_only_anomalies_that_still_hold_are_shown(scaup: Scaup, week: Any) -> None:
    found = show(scaup, "--anomalies")
    assert [(each["anomaly"], each["kwh"], each["text"]) for each in found] == [
        ("missing", None, "8 quarters missing"),
        ("outlier", 30.0, "why"),
    ]
    assert show(scaup, "--anomalies", "--since", "1h") == []


def test_the_total_is_reported(scaup: Scaup, week: Any) -> None:
    result = scaup("energy", "show", "1", "-o", "table")
    assert "total 291.000 kWh in 88 quarters; 8 quarters missing" in result.stderr
    assert max(map(len, result.stdout.splitlines())) < 80
    assert len(list(csv.reader(scaup("energy", "show", "1", "-o", "csv").stdout.splitlines()))) == 89


def test_it_draws(scaup: Scaup, week: Any, tmp_path: Path) -> None:
    path = tmp_path / "week.png"
    show(scaup, "--since", "3d", "--png", str(path))
    assert path.read_bytes().startswith(PNG)
    refused = scaup("energy", "show", "1", "--png", str(tmp_path / "no" / "such.png"))
    assert (refused.exit_code, "cannot write" in refused.stderr) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["9"], 1),
        (["1", "--since", "2019-01-01"], 1),
        (["1", "--since", "1h", "--until", "2h"], 1),
        (["1", "--since", "2018-08-26T02:00Z", "--until", "2018-08-26T04:00Z"], 1),
        (["1", "--since", "soon"], 2),
        (["a/b"], 2),
    ],
)
def test_nothing_to_show(scaup: Scaup, week: Any, arguments: list[str], code: int) -> None:
    assert scaup("energy", "show", *arguments).exit_code == code


def test_ships_are_listed(scaup: Scaup, week: Any) -> None:
    keep(week, "10", START_AT, 1.0)
    keep(week, "2", START_AT, 1.0, "partial", 0.5)
    keep(week, "x", START_AT, 1.0)
    found = lines(scaup("energy", "ships").stdout)
    assert [each["ship"] for each in found] == ["1", "2", "10", "x"]
    assert (found[0]["quarters"], found[0]["coverage"]) == (280, pytest.approx((280 - 0.7) / 288))
    assert found[1]["coverage"] == 0.5
    table = scaup("energy", "ships", "-o", "table").stdout
    assert "97.0 %" in table


def test_no_ship_ends_with_1(scaup: Scaup) -> None:
    assert scaup("energy", "ships").exit_code == 1
