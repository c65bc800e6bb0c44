"""Measure machines: `python -m tests.bench.machines`.

10,000 simulated machines, one reading per 10 s each, averaged in real time by one controller through a real broker; then
`analyze_values` over a million pairs.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import psutil

from broker.runtime.settings import ROOT
from controllers.moving_average.analysis import analyze_values
from tests.bench.recorder_world import broker_process, running_broker
from tests.real_broker import RealBroker

MACHINES = 10_000
WARM_UP_S = 15.0
MEASURED_S = 30.0
PAIRS = 1_000_000
PERIOD_S = 10.0


@contextmanager
def component(broker: RealBroker, *arguments: str) -> Iterator[psutil.Process]:
    """Run a component in its own process until the block is left."""
    command = [sys.executable, "-m", *arguments]
    with (broker.data_dir / f"{arguments[0]}.log").open("ab") as log:
        running = subprocess.Popen(command, cwd=ROOT, env=broker.environment, stderr=log)
    try:
        yield psutil.Process(running.pid)
    finally:
        running.terminate()
        with suppress(subprocess.TimeoutExpired):
            running.wait(30)
        running.kill()


class Averages:
    """Counts what is published on `machines/+/average`, with `mosquitto_sub` out of the way: plain paho."""

    def __init__(self, broker: RealBroker) -> None:
        import paho.mqtt.client as paho
        from paho.mqtt.enums import CallbackAPIVersion

        self.count = 0
        self.latest: dict[str, float] = {}
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self._client.on_message = self._heard
        self._client.connect(broker.host, broker.port)
        self._client.subscribe("machines/+/average", qos=0)
        self._client.loop_start()

    def _heard(self, _client: object, _userdata: object, message: object) -> None:
        self.count += 1
        self.latest[message.topic] = time.monotonic()  # type: ignore[attr-defined]

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()


def busy_s(process: psutil.Process) -> float:
    """Return the processor seconds that a process has used."""
    times = process.cpu_times()
    return float(times.user + times.system)


def measure_controller() -> None:
    """Print the processor share of simulator, controller and broker."""
    with running_broker() as broker, ExitStack() as stack:
        controller = stack.enter_context(component(broker, "controllers.moving_average"))
        time.sleep(2)
        machines = stack.enter_context(component(broker, "sim.machines", "--machines", str(MACHINES)))
        averages = Averages(broker)
        time.sleep(WARM_UP_S)
        processes = {"controller": controller, "simulator": machines, "broker": broker_process(broker)}
        before = {name: busy_s(each) for name, each in processes.items()}
        counted, began_s = averages.count, time.monotonic()
        time.sleep(MEASURED_S)
        took_s, counted = time.monotonic() - began_s, averages.count - counted
        print(f"{MACHINES} machines, {counted / took_s:.0f} averages/s (wanted {MACHINES / PERIOD_S:.0f})", end="")
        print(f", received {len(averages.latest)} machines")
        for name, each in processes.items():
            print(f"  {name}: {100 * (busy_s(each) - before[name]) / took_s:.1f} % of one core, {_mib(each):.0f} MiB")
        averages.close()


def measure_analysis() -> None:
    """Print how long a million pairs take, with few anomalies and with many."""
    data = [(f"2023-11-01T{n % 24:02}:00:00Z", 20.0 + n % 97 / 50) for n in range(PAIRS)]
    for threshold in (0.2, 0.04, 0.0):
        began_s = time.perf_counter()
        found = analyze_values(data, threshold)
        took_s = time.perf_counter() - began_s
        print(f"analyze_values, {PAIRS} pairs, {len(found['anomalies'])} anomalies: {took_s:.2f} s")


def _mib(process: psutil.Process) -> float:
    return float(process.memory_info().rss) / 2**20


def main() -> None:
    """Run the bench."""
    measure_analysis()
    measure_controller()


if __name__ == "__main__":
    main()
