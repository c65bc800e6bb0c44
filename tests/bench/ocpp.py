"""Measure OCPP: `python -m tests.bench.ocpp [--chargers 1000] [--rounds 6]`.

1,000 chargers, half of them OCPP 1.6 and half 2.0.1, connect at once, begin a transaction, and send meter values every 10 s.
Each is answered after the broker has it. In the middle the adapter is killed. Then every transaction ends. Adapter, controller,
recorder and broker are processes. Counted in the recording: meter values, sessions and their energy.
"""

import argparse
import asyncio
import itertools
import json
import random
import subprocess
import sys
import time
from contextlib import ExitStack
from typing import Any

import psutil
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.typing import Subprotocol

from broker.runtime.settings import ROOT
from tests.bench.charging import system
from tests.bench.figures import Figure, below, exactly, progress, quantile, table
from tests.bench.machines import busy_s, component
from tests.bench.recorder_world import running_broker

PERIOD_S = 10.0
WH = 100
"""Energy of a round."""
VERSIONS = ("ocpp1.6", "ocpp2.0.1")
PATIENCE_S = 60.0


class Charger:
    """A charger that repeats what is not answered, as real ones do."""

    def __init__(self, number: int, port: int) -> None:
        self.name, self.version = f"box-{number}", VERSIONS[number % 2]
        self._url = f"ws://127.0.0.1:{port}/ocpp/{self.name}"
        self._line: ClientConnection | None = None
        self._ids, self.delays_s = itertools.count(), list[float]()
        self.repeated, self._register, self._transaction = 0, 0, 0

    async def run(self, rounds: int) -> None:
        """Live through one transaction."""
        await self.call("BootNotification", self._boot())
        begun = await self.call(*self._event("Started"))
        self._transaction = begun.get("transactionId", 0)
        await asyncio.sleep(random.uniform(0, PERIOD_S))
        for _ in range(rounds):
            self._register += WH
            began_s = time.perf_counter()
            await self.call(*self._event("Updated"))
            self.delays_s.append(time.perf_counter() - began_s)
            await asyncio.sleep(PERIOD_S)
        await self.call(*self._event("Ended"))

    async def call(self, action: str, payload: dict[str, Any]) -> dict[str, Any]:
        """Call until there is an answer."""
        while True:
            try:
                line = self._line or await self._connect()
                await line.send(json.dumps([2, str(next(self._ids)), action, payload]))
                async with asyncio.timeout(PATIENCE_S):
                    kind, _, answer, *_ = json.loads(await line.recv())
                assert kind == 3, answer
                found: dict[str, Any] = answer
                return found
            except (OSError, WebSocketException, TimeoutError) as error:
                self._line = None
                self.repeated += not isinstance(error, InvalidStatus)
                await asyncio.sleep(random.uniform(0.2, 1.0))

    async def _connect(self) -> ClientConnection:
        self._line = await connect(self._url, subprotocols=[Subprotocol(self.version)], ping_interval=None, compression=None)
        return self._line

    def _boot(self) -> dict[str, Any]:
        if self.version == VERSIONS[0]:
            return {"chargePointVendor": "bench", "chargePointModel": "box"}
        return {"reason": "PowerUp", "chargingStation": {"vendorName": "bench", "model": "box"}}

    def _event(self, kind: str) -> tuple[str, dict[str, Any]]:
        minute = self._register // WH
        at = f"2026-11-30T10:{minute:02}:00Z"
        sampled: list[dict[str, Any]] = [{"value": self._register, "measurand": "Energy.Active.Import.Register"}]
        if self.version == VERSIONS[1]:
            fields = {"eventType": kind, "timestamp": at, "triggerReason": "MeterValuePeriodic", "seqNo": minute}
            info = {"transactionId": f"T-{self.name}"}
            values = [{"timestamp": at, "sampledValue": sampled}]
            return "TransactionEvent", {**fields, "transactionInfo": info, "evse": {"id": 1}, "meterValue": values}
        if kind == "Started":
            return "StartTransaction", {"connectorId": 1, "idTag": "T", "meterStart": 0, "timestamp": at}
        if kind == "Ended":
            return "StopTransaction", {"transactionId": self._transaction, "meterStop": self._register, "timestamp": at}
        values = [{"timestamp": at, "sampledValue": [{**sampled[0], "value": str(self._register), "unit": "Wh"}]}]
        return "MeterValues", {"connectorId": 1, "transactionId": self._transaction, "meterValue": values}


async def crowd(chargers: int, rounds: int, port: int) -> None:
    """Run the chargers, and print what they saw."""
    everyone = [Charger(number, port) for number in range(chargers)]
    await asyncio.gather(*(each.run(rounds) for each in everyone))
    delays_s = [delay for each in everyone for delay in each.delays_s]
    print(json.dumps({"delays_s": delays_s, "repeated": sum(each.repeated for each in everyone)}))


def measure(chargers: int, rounds: int) -> list[Figure]:
    """Run the bench once."""
    with ExitStack() as stack:
        processes, broker = stack.enter_context(system(stack.enter_context(running_broker()), 10))
        port = broker.settings.environment["SCAUP_CHARGER_PORT"]
        command = [sys.executable, "-m", "tests.bench.ocpp", f"--crowd={port}", f"--chargers={chargers}", f"--rounds={rounds}"]
        clients = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        time.sleep(PERIOD_S * 1.5)
        adapter = processes["adapter"]
        busy, mib, began_s = busy_s(adapter), adapter.memory_info().rss / 2**20, time.monotonic()
        time.sleep(PERIOD_S * (rounds // 2 - 1))
        share = (busy_s(adapter) - busy) / (time.monotonic() - began_s)
        progress(f"adapter: {100 * share:.0f} % of one core, {mib:.0f} MiB, at {chargers / PERIOD_S:.0f} meter values a second")
        adapter.kill()
        adapter.wait(20)
        stack.enter_context(component(broker, "adapters.chargers"))
        assert clients.stdout is not None
        seen = json.loads(clients.stdout.readline())
        values, sessions, right = _recorded(processes["recorder"], broker.data_dir, rounds * WH / 1000)
    delays_s = seen["delays_s"]
    return [
        Figure("OCPP chargers on one adapter", chargers, "", exactly(chargers)),
        Figure("processor time of the adapter for a meter value", 1e6 * share / (chargers / PERIOD_S), "µs"),
        Figure("meter value → answer, median", 1000 * quantile(delays_s, 0.5), "ms", below(50, "ms")),
        Figure("meter value → answer, p99, over the kill", 1000 * quantile(delays_s, 0.99), "ms"),
        Figure("calls repeated after kill -9 of the adapter", seen["repeated"]),
        Figure("meter values not recorded", chargers * rounds - values, "", exactly(0)),
        Figure("sessions", sessions, "", exactly(chargers)),
        Figure("sessions without all of their energy", chargers - right, "", exactly(0)),
    ]


def _recorded(recorder: psutil.Process, data_dir: Any, kwh: float) -> tuple[int, int, int]:
    """Stop the recorder, which commits everything, and count: different meter values, sessions, those with all their energy."""
    import duckdb

    recorder.terminate()
    recorder.wait(30)
    with duckdb.connect(str(data_dir / "scaup.duckdb"), read_only=True) as database:
        values = database.execute(
            "SELECT count(DISTINCT (topic, payload->'$[3].meterValue')) FROM messages WHERE topic LIKE 'chargers/%/ocpp' "
            "AND (payload LIKE '%\"MeterValues\"%' OR payload LIKE '%\"Updated\"%')"
        ).fetchone()
        sessions = database.execute(
            "SELECT count(*), count(*) FILTER (abs(kwh - ?) < 1e-6 AND ended_by = 'stopped') FROM charging_session", [kwh]
        ).fetchone()
    assert values is not None
    assert sessions is not None
    return int(values[0]), int(sessions[0]), int(sessions[1])


def main() -> int:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chargers", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=6, help="how often each charger sends")
    parser.add_argument("--crowd", type=int, default=0, help="run the chargers only, against this port")
    given = parser.parse_args()
    if given.crowd:
        asyncio.run(crowd(given.chargers, given.rounds, given.crowd))
        return 0
    figures = measure(given.chargers, given.rounds)
    print(table(("figure", "target", "measured", "reached"), [figure.row for figure in figures]))
    return int(any(figure.missed for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
