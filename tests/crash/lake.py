"""Kill forwarder, recorder, PostgreSQL and S3 at random while a site records: `python -m tests.crash.lake --kills 200`.

Afterwards what the site recorded and what is in the lake are compared by count and hash, per day, of messages and typed rows.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click

from tests import real_broker
from tests.real_broker import RealBroker
from tests.real_lake import Servers, scaup

SITE = "crash"
BATCH = 400
DAYS = """
SELECT received_at::DATE AS day, count(*) AS n, count(DISTINCT number) AS d,
    sum(hash(number, received_at, event_at, topic, payload, payload_raw, qos, retain, source, boot, seq))::VARCHAR AS h
FROM messages GROUP BY day ORDER BY day
"""
READINGS = "SELECT count(*) AS n, sum(hash(number, room, sensor, celsius))::VARCHAR AS h FROM room_temperature"


class World:
    """One site with its broker, and the servers of the lake."""

    def __init__(self, broker: RealBroker, servers: Servers) -> None:
        self.broker, self.servers = broker, servers
        self.environment = broker.environment
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self.published = 0

    def prepare(self) -> None:
        variables = {**self.environment, **self.servers.variables}
        site_file = self.broker.data_dir / "site.toml"
        site_file.write_text(scaup(variables, "lake", "init", *self.servers.options))
        scaup(variables, "lake", "join", str(site_file), "--site", SITE)
        self.start("storage")
        self.start("adapters.lake")
        self.wait_for(lambda: "new session" in self.log("storage"), 60)

    def start(self, module: str) -> None:
        with (self.broker.data_dir / f"{module}.log").open("ab") as log:
            command = [sys.executable, "-m", module]
            self._running[module] = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)

    def kill(self, module: str) -> None:
        process = self._running[module]
        assert process.poll() is None, f"{module} ended with {process.returncode}:\n{self.log(module)[-2000:]}"
        process.kill()
        process.wait(10)
        self.start(module)

    def stop(self, module: str) -> None:
        process = self._running.pop(module)
        process.terminate()
        process.wait(60)

    def log(self, module: str) -> str:
        return (self.broker.data_dir / f"{module}.log").read_text()

    def publish(self) -> None:
        values = ({"sensorID": f"s-{n % 7}", "type": "temperature", "value": n % 50} for n in range(BATCH))
        lines = "".join(json.dumps(each) + "\n" for each in values)
        command = ["mosquitto_pub", "-h", self.broker.host, "-p", str(self.broker.port), "-q", "1", "-l"]
        subprocess.run([*command, "-t", "/readings/crash/temperature"], input=lines.encode(), check=True, timeout=60)
        self.published += BATCH

    def wait_for(self, condition: Callable[[], bool], seconds: float) -> None:
        ends_s = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < ends_s, self.log("adapters.lake")[-3000:]
            time.sleep(0.2)

    def end(self) -> None:
        for process in self._running.values():
            process.kill()
            process.wait(10)


def run(kills: int, seed: int) -> bool:
    """Kill, count and print; return whether nothing is lost or doubled."""
    chance = random.Random(seed)
    servers, broker = Servers.started(), real_broker.create(Path(tempfile.mkdtemp(prefix="scaup-crash-lake-")))
    broker.start()
    world = World(broker, servers)
    counts = dict.fromkeys(("forwarder", "recorder", "postgresql", "s3"), 0)
    try:
        world.prepare()
        started_s = time.monotonic()
        for number in range(kills):
            world.publish()
            time.sleep(chance.uniform(0.1, 2.0))
            what = chance.choices([*counts], weights=(6, 3, 2, 1))[0]
            counts[what] += 1
            match what:
                case "forwarder":
                    world.kill("adapters.lake")
                case "recorder":
                    world.kill("storage")
                case "postgresql":
                    servers.postgres.kill()
                    time.sleep(chance.uniform(0, 1))
                    servers.postgres.start()
                case "s3":
                    servers.store.kill()
                    time.sleep(chance.uniform(0, 1))
                    servers.store.start()
            click.echo(f"\r{number + 1} of {kills} kills", nl=False, err=True)
        time.sleep(5)
        world.stop("storage")
        number = json.loads(scaup(world.environment, "query", "SELECT max(number) AS n FROM messages", "-o", "jsonl"))["n"]
        row = f"SELECT upto FROM scaup_site WHERE site = '{SITE}'"
        world.wait_for(lambda: servers.postgres.sql(row) == str(number), 120)
        world.stop("adapters.lake")
        site, lake = (
            [scaup(world.environment, *command, sql, "-o", "jsonl") for sql in (DAYS, READINGS)]
            for command in (("query",), ("lake", "query", "--lake-only"))
        )
        readings = json.loads(lake[1])["n"]
    finally:
        world.end()
        real_broker.remove(broker)
        servers.remove()
        shutil.rmtree(broker.data_dir, ignore_errors=True)
    equal = site == lake and readings == world.published
    killed = ", ".join(f"{name} {count}" for name, count in counts.items())
    click.echo(
        f"{kills} kills ({killed}) in {time.monotonic() - started_s:.0f} s, seed {seed}: {world.published:,} published, "
        f"{readings:,} in the lake, {number:,} messages; {'nothing lost or doubled' if equal else 'NOT EQUAL'}"
    )
    if not equal:
        click.echo(f"site:\n{site}\nlake:\n{lake}")
    return equal


@click.command()
@click.option("--kills", default=200, show_default=True, type=click.IntRange(1))
@click.option("--seed", default=lambda: int.from_bytes(os.urandom(3)), type=int, help="Repeat a run.")
def main(kills: int, seed: int) -> None:
    """Kill what forwards to the lake at random; exit with 1 if anything is lost or doubled."""
    sys.exit(not run(kills, seed))


if __name__ == "__main__":
    main()
