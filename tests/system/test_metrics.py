"""A real Prometheus scrapes a running system: its metrics arrive, and an alert fires and resolves."""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from broker.runtime.settings import ROOT
from tests.deploy.prometheus import metric_names, needs_prometheus, quick_rules
from tests.real_broker import RealBroker, free_ports

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]
WITHIN_S = 60.0


def until(condition: Callable[[], Any]) -> Any:
    deadline_s = time.monotonic() + WITHIN_S
    while not (found := condition()):
        assert time.monotonic() < deadline_s
        time.sleep(0.1)
    return found


@contextmanager
def running(command: list[str], environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def fetch(port: int, path: str) -> tuple[int, bytes]:
    """Return status and body; 0 while the port is closed."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (ConnectionError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


def prometheus_data(port: int, path: str) -> Any:
    status, body = fetch(port, f"/api/v1/{path}")
    return json.loads(body)["data"] if status == 200 else None


def firing(port: int) -> set[tuple[str, str]]:
    found = prometheus_data(port, "alerts") or {"alerts": []}
    labels = [each["labels"] for each in found["alerts"] if each["state"] == "firing"]
    return {(each["alertname"], each.get("component", "")) for each in labels}


def configuration(folder: Path, web_port: int) -> Path:
    rules = quick_rules(folder / "rules.yml")
    path = folder / "prometheus.yml"
    path.write_text(
        "global: { scrape_interval: 1s, evaluation_interval: 1s }\n"
        f"rule_files: [{rules}]\n"
        "scrape_configs:\n"
        f"  - {{ job_name: scaup, static_configs: [{{ targets: ['127.0.0.1:{web_port}'] }}] }}\n"
    )
    return path


@needs_prometheus
def test_an_alert_fires_and_resolves_in_prometheus(own_broker: RealBroker, tmp_path: Path) -> None:
    web_port, port = free_ports(2)
    environment = {**own_broker.environment, "SCAUP_WEB_PORT": str(web_port), "SCAUP_COMPONENTS": "web,recorder,heating"}
    environment["SCAUP_LOG"] = "json"
    prometheus = ["prometheus", f"--config.file={configuration(tmp_path, web_port)}", f"--storage.tsdb.path={tmp_path}/tsdb"]
    with ExitStack() as stack:

        def start(module: str) -> subprocess.Popen[bytes]:
            command = [sys.executable, "-m", module]
            return stack.enter_context(running(command, environment, tmp_path / f"{module}.log"))

        heating = [start(each) for each in ("storage", "adapters.web", "controllers.heating")][-1]
        until(lambda: fetch(web_port, "/health")[0] == 200)
        listen = f"--web.listen-address=127.0.0.1:{port}"
        stack.enter_context(running([*prometheus, listen], {**os.environ}, tmp_path / "prometheus.log"))

        until(lambda: fetch(port, "/-/ready")[0] == 200)
        until(lambda: has_sample(port, 'scaup_component_up{component="heating"} == 1'))
        until(lambda: not firing(port))

        os.kill(heating.pid, signal.SIGKILL)
        until(lambda: firing(port) == {("ScaupComponentDown", "heating")})
        assert fetch(web_port, "/health")[0] == 503

        start("controllers.heating")
        until(lambda: not firing(port))
        assert fetch(web_port, "/health")[0] == 200
        until(lambda: has_sample(port, "scaup_gaps_total == 0"))
        lint(fetch(web_port, "/metrics")[1])
        names = set(prometheus_data(port, "label/__name__/values"))
        assert metric_names() - names <= UNSEEN_HERE
        check_logs(own_broker, tmp_path)
        assert all(each.startswith("scaup_") for each in names if not each.startswith(("up", "scrape_", "ALERTS")))


UNSEEN_HERE = {
    "scaup_certificate_expiry_seconds",
    "scaup_heating_alarms",
    "scaup_heating_rooms",
    "scaup_heating_sensors_left_out",
}
"""They have no sample without TLS and without rooms; `tests/deploy` checks their names."""


def check_logs(broker: RealBroker, folder: Path) -> None:
    """Check that every line is an event in JSON, and that no password is in one."""
    secrets = [path.read_text().strip() for path in (broker.data_dir / "credentials").iterdir() if path.is_file()]
    for module in ("storage", "adapters.web", "controllers.heating"):
        text = (folder / f"{module}.log").read_text()
        lines = [json.loads(line) for line in text.splitlines()]
        assert all({*each} == {"time", "level", "component", "event", "fields", "message"} for each in lines)
        assert "broker-connected" in [each["event"] for each in lines]
        assert not [secret for secret in secrets if len(secret) > 8 and secret in text]


def has_sample(port: int, expression: str) -> bool:
    found = prometheus_data(port, f"query?query={quote(expression)}")
    return bool(found and found["result"])


def lint(text: bytes) -> None:
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, timeout=20, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
