"""Measure charging: `python -m tests.bench.charging [--pairs 10000] [--rounds 6]`.

10,000 chargers and 10,000 widgets, each with its own websocket to one adapter, or as many as the limit of open files
allows; every charger sends once in 10 s, and each message changes the status of its widget. Adapter, controller, recorder and
broker are processes. Counted end to end: messages sent, statuses at the widgets, rows in `charger_soc`.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from broker.runtime.settings import ROOT, Settings
from tests.bench.figures import Figure, at_least, below, exactly, progress, quantile, table
from tests.bench.machines import busy_s, component
from tests.bench.recorder_world import broker_process, running_broker
from tests.real_broker import RealBroker, free_ports

CROWDS = 2
"""Processes that run the clients."""
PERIOD_S = 10.0
KEPT_FREE = 200


def pairs_that_fit(wanted: int) -> int:
    """Return how many pairs one adapter may hold with this limit of open files."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    fit = wanted if hard == resource.RLIM_INFINITY else min(wanted, (hard - KEPT_FREE) // 2)
    if fit < wanted:
        progress(f"{fit} pairs instead of {wanted}: this user may not open more than {hard} files per process (ulimit -Hn)")
    return fit - fit % CROWDS


@contextmanager
def system(broker: RealBroker, pairs: int) -> Iterator[tuple[dict[str, psutil.Process], RealBroker]]:
    """Run recorder, controller and adapter."""
    file = broker.data_dir / "pairs.json"
    file.write_text(json.dumps({f"c{number}": f"w{number}" for number in range(pairs)}))
    charger_port, widget_port = free_ports(2)
    environment = {
        **broker.settings.environment,
        "SCAUP_CHARGER_PAIRS": str(file),
        "SCAUP_CHARGER_PORT": str(charger_port),
        "SCAUP_WIDGET_PORT": str(widget_port),
    }
    with_pairs = replace(broker, settings=Settings.load(environment))
    with ExitStack() as stack:
        running = {
            "recorder": stack.enter_context(component(with_pairs, "storage")),
            "controller": stack.enter_context(component(with_pairs, "controllers.charging")),
            "adapter": stack.enter_context(component(with_pairs, "adapters.chargers")),
            "broker": broker_process(broker),
        }
        wait_for_port(running["adapter"], charger_port)
        yield running, with_pairs


def wait_for_port(process: psutil.Process, port: int) -> None:
    """Wait until a process listens.

    Raises:
        TimeoutError: it does not.
    """
    deadline_s = time.monotonic() + 20
    while time.monotonic() < deadline_s:
        if any(each.laddr.port == port for each in process.net_connections("tcp") if each.status == "LISTEN"):
            return
        time.sleep(0.1)
    raise TimeoutError(f"nothing listens on {port}")


def crowd(broker: RealBroker, first: int, pairs: int, rounds: int) -> "subprocess.Popen[str]":
    """Start a part of the clients."""
    settings = broker.settings.environment
    options = {
        "first": first,
        "pairs": pairs,
        "rounds": rounds,
        "period-s": PERIOD_S,
        "charger-port": settings["SCAUP_CHARGER_PORT"],
        "widget-port": settings["SCAUP_WIDGET_PORT"],
    }
    command = [sys.executable, "-m", "tests.bench.charging_crowd"]
    command += [f"--{name}={value}" for name, value in options.items()]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def measure(pairs: int, rounds: int) -> list[Figure]:
    """Run the bench once."""
    with ExitStack() as stack:
        processes, broker = stack.enter_context(system(stack.enter_context(running_broker()), pairs))
        empty_mib = _mib(processes["adapter"])
        share = pairs // CROWDS
        crowds = [crowd(broker, number * share, share, rounds) for number in range(CROWDS)]
        connecting_s = max(float(_line(each).split()[1]) for each in crowds)
        progress(f"{pairs} chargers and {pairs} widgets connected in {connecting_s:.1f} s")
        time.sleep(5)
        full_mib = _mib(processes["adapter"])
        busy, began_s = {name: busy_s(each) for name, each in processes.items()}, time.monotonic()
        results = [json.loads(each) for each in _request(crowds, "send")]
        took_s = time.monotonic() - began_s
        shares = {name: (busy_s(each) - busy[name]) / took_s for name, each in processes.items()}
        for name, part in shares.items():
            progress(f"{name}: {100 * part:.0f} % of one core, {_mib(processes[name]):.0f} MiB")
        progress(f"clients: {100 * sum(each['busy_s'] for each in results) / took_s:.0f} % of one core, connecting included")
        storm = _storm(stack, processes, broker, crowds)
        sent = sum(each["sent"] for each in results)
        recorded = _recorded(processes["recorder"], broker.data_dir, sent)
    return [*_figures(pairs, connecting_s, full_mib - empty_mib, results, recorded), *storm]


def _storm(
    stack: ExitStack, processes: dict[str, psutil.Process], broker: RealBroker, crowds: "list[subprocess.Popen[str]]"
) -> list[Figure]:
    """Kill and restart the adapter while all clients reconnect at once."""
    for each in crowds:
        _send(each, "storm")
    processes["adapter"].kill()
    processes["adapter"].wait(20)
    stack.enter_context(component(broker, "adapters.chargers"))
    results = [json.loads(_line(each)) for each in crowds]
    return [
        Figure("after kill -9 of the adapter: all reconnected after", max(each["took_s"] for each in results), "s"),
        Figure("handshakes that failed", sum(each["failed"] for each in results)),
    ]


def _figures(pairs: int, connecting_s: float, grown_mib: float, results: list[dict[str, Any]], recorded: int) -> list[Figure]:
    delays_s = [each for result in results for each in result["delays_s"]]
    sent = sum(each["sent"] for each in results)
    return [
        Figure("pairs connected to one adapter", pairs, "", at_least(10_000)),
        Figure("all connected after", connecting_s, "s"),
        Figure("memory per connection", grown_mib * 1024 / (2 * pairs), "KiB"),
        Figure("messages sent", sent),
        Figure("statuses that did not reach the widget", sum(each["owed"] for each in results), "", exactly(0)),
        Figure("unexpected statuses", sum(each["unexpected"] for each in results), "", exactly(0)),
        Figure("connections lost", sum(sum(each["closed"].values()) for each in results), "", exactly(0)),
        Figure("messages not recorded once", abs(sent - recorded), "", exactly(0)),
        Figure("charger → widget, median", 1000 * quantile(delays_s, 0.5), "ms", below(50, "ms")),
        Figure("charger → widget, p99", 1000 * quantile(delays_s, 0.99), "ms"),
        Figure("charger → widget, longest", 1000 * max(delays_s), "ms"),
    ]


def _request(crowds: "list[subprocess.Popen[str]]", what: str) -> list[str]:
    for each in crowds:
        _send(each, what)
    return [_line(each) for each in crowds]


def _send(process: "subprocess.Popen[str]", what: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{what}\n")
    process.stdin.flush()


def _line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def _recorded(recorder: psutil.Process, data_dir: Path, wanted: int) -> int:
    """Stop the recorder, which commits everything, and count the rows."""
    import duckdb

    recorder.terminate()
    recorder.wait(30)
    with duckdb.connect(str(data_dir / "scaup.duckdb"), read_only=True) as database:
        row = database.execute("SELECT count(*) FROM charger_soc").fetchone()
    assert row is not None
    progress(f"{row[0]} of {wanted} recorded")
    return int(row[0])


def _mib(process: psutil.Process) -> float:
    return float(process.memory_info().rss) / 2**20


def main() -> int:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=6, help="how often each charger sends")
    given = parser.parse_args()
    figures = measure(pairs_that_fit(given.pairs), given.rounds)
    print(table(("figure", "target", "measured", "reached"), [figure.row for figure in figures]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
