"""The lake with real servers: how fast sites write their outbox and catch up, one and several at once, and what is stored.

`python -m tests.bench.lake --sites 1,4,16 --messages 200000`. Every site's messages are recorded beforehand; servers and
forwarders share this machine.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import click

from broker.contract.outbox import Range
from storage.outbox.export import LARGEST_RANGE, OutboxFiles
from tests.databases import open_database
from tests.real_lake import Servers, scaup
from tests.storage.conftest import Past
from tests.storage.databases.make import STAMP

RECORDED_AT_ONCE = 10_000
LIMIT_S = 600


class Cell:
    """A site whose messages are recorded, and in its outbox."""

    def __init__(self, servers: Servers, site_file: Path, folder: Path, messages: int) -> None:
        self.name, self.folder, self._servers = folder.name, folder, servers
        self.environment = {**os.environ, "SCAUP_DATA_DIR": str(folder), "SCAUP_MQTT_PORT": "9"}
        folder.mkdir()
        variables = {**self.environment, **servers.variables}
        scaup(variables, "lake", "join", str(site_file), "--site", self.name)
        chance = random.Random(self.name)
        database = open_database(folder / "scaup.duckdb")
        past = Past(database)
        for first in range(0, messages, RECORDED_AT_ONCE):
            readings = (
                (f"/readings/room-{n % 20}/temperature", _reading(n, chance))
                for n in range(min(RECORDED_AT_ONCE, messages - first))
            )
            past.record(date(2026, 11, 30), readings, properties=STAMP)
        files, started_s = OutboxFiles(database), time.monotonic()
        while (closed := files.closed()) < messages:
            files.write(Range(closed + 1, min(messages, closed + LARGEST_RANGE)))
        self.exported_s = time.monotonic() - started_s
        files.note_recorded(messages)
        database.close()

    def forward(self) -> "subprocess.Popen[bytes]":
        with (self.folder / "forwarder.log").open("ab") as log:
            return subprocess.Popen([sys.executable, "-m", "adapters.lake"], env=self.environment, stdout=log, stderr=log)


def _reading(number: int, chance: random.Random) -> bytes:
    return json.dumps(
        {"sensorID": f"sensor-{number % 100}", "type": "temperature", "value": round(20 + chance.gauss(0, 1), 2)}
    ).encode()


def measure(sites: int, messages: int) -> None:
    """Let sites catch up side by side, and print what it took."""
    servers, folder = Servers.started(), Path(tempfile.mkdtemp(prefix="scaup-bench-lake-"))
    try:
        site_file = folder / "site.toml"
        site_file.write_text(scaup({**os.environ, **servers.variables}, "lake", "init", *servers.options))
        cells = [Cell(servers, site_file, folder / f"site-{number}", messages) for number in range(sites)]
        started_s, load = time.monotonic(), os.getloadavg()[0]
        running = [each.forward() for each in cells]
        first_s = 0.0
        while (done := int(servers.postgres.sql("SELECT sum(upto) FROM scaup_site"))) < sites * messages:
            assert time.monotonic() - started_s < LIMIT_S, (cells[0].folder / "forwarder.log").read_text()[-2000:]
            first_s = first_s or (time.monotonic() - started_s if done else 0.0)
            time.sleep(0.05)
        took_s = time.monotonic() - started_s
        for process in running:
            process.terminate()
        for process in running:
            process.wait(60)
        commits = int(servers.postgres.sql("SELECT count(*) FROM ducklake_snapshot_changes WHERE author = 'scaup-forward'"))
        stored = int(servers.postgres.sql("SELECT sum(file_size_bytes) FROM ducklake_data_file WHERE end_snapshot IS NULL"))
        count_s = time.monotonic()
        sql = "SELECT count(*) AS n, count(DISTINCT (site, number)) AS d FROM messages"
        found = json.loads(scaup(cells[0].environment, "lake", "query", sql, "--lake-only", "-o", "jsonl"))
        count_s = time.monotonic() - count_s
        assert found == {"n": sites * messages, "d": sites * messages}
    finally:
        servers.remove()
        shutil.rmtree(folder, ignore_errors=True)
    exported = sites * messages / sum(each.exported_s for each in cells)
    size = stored / sites / messages
    click.echo(
        f"{sites} sites × {messages:,} messages: outbox {exported:,.0f}/s, caught up in {took_s:.1f} s with start, "
        f"{sites * messages / took_s:,.0f}/s; first commit after {first_s:.1f} s, {commits} commits, {size:.1f} bytes each, "
        f"distinct count of all {count_s:.1f} s, load {load:.0f}"
    )


@click.command()
@click.option("--sites", default="1,4,16", show_default=True, help="Numbers of sites, one after the other.")
@click.option("--messages", default=100_000, show_default=True, type=click.IntRange(1_000), help="Messages of each site.")
def main(sites: str, messages: int) -> None:
    """Measure how sites catch up."""
    for each in sites.split(","):
        measure(int(each), messages)


if __name__ == "__main__":
    main()
