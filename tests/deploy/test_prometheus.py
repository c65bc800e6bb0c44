"""Scrape configuration, alert rules and dashboard: checked with promtool, and against the metrics that exist."""

import re
import subprocess
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from adapters.listening import Listening
from adapters.web.broker import TOPICS
from adapters.web.component import Web
from adapters.web.declaration import PORT
from broker.message import Message
from broker.runtime.settings import ROOT
from tests.adapters.web.test_overview import samples, stats
from tests.deploy.prometheus import (
    CONFIGURATION,
    RULE_TESTS,
    RULES,
    alerts,
    expressions,
    metric_names,
    needs_prometheus,
    panels,
)


def promtool(*words: object) -> str:
    command = ["promtool", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_prometheus
def test_promtool_accepts_configuration_and_rules() -> None:
    assert f"{len(alerts())} rules found" in promtool("check", "rules", RULES)
    promtool("check", "config", CONFIGURATION)


@needs_prometheus
def test_alert_rules_fire_when_they_should_and_only_then() -> None:
    assert "SUCCESS" in promtool("test", "rules", RULE_TESTS)


def test_every_alert_is_tested() -> None:
    text = RULE_TESTS.read_text()
    assert [name for name in alerts() if not re.search(rf'"{name}"|alertname: {name}\b', text)] == []


@pytest.mark.parametrize("name", alerts())
def test_an_alert_says_how_urgent_it_is_and_what_to_read(name: str) -> None:
    rule = alerts()[name]
    assert re.search(r"severity: (critical|warning) ", rule)
    assert 'summary: "' in rule
    match = re.search(r"runbook: (docs/\S+\.md)#(\S+)$", rule, re.MULTILINE)
    assert match is not None
    headings = re.findall(r"^#+ (.+)$", (ROOT / match[1]).read_text(), re.MULTILINE)
    assert match[2] in [re.sub(r"[^a-z0-9 -]", "", each.lower()).replace(" ", "-") for each in headings]


@needs_prometheus
def test_every_expression_of_the_dashboard_is_promql(tmp_path: Path) -> None:
    rules = "".join(f"  - record: panel_{n}\n    expr: {each!r}\n" for n, each in enumerate(expressions()))
    path = tmp_path / "dashboard.yml"
    path.write_text(f"groups:\n- name: dashboard\n  rules:\n{rules}")
    assert f"{len(expressions())} rules found" in promtool("check", "rules", path)


def test_metrics_of_alerts_and_dashboard_exist() -> None:
    certificate = "scaup_certificate_expiry_seconds"  # only with TLS
    assert metric_names() - known_metrics() == {certificate}


def known_metrics() -> set[str]:
    web = Web(Listening(("127.0.0.1",), 0, PORT.name))
    for topic in TOPICS:
        web.on_message(Message(topic=topic, payload=b"1"), 0.0)
    web.on_message(stats(), 0.0)
    web.on_message(Message(topic="heating/r/state", payload=HEATING), 0.0)
    web._recording.recorded.restart(1, 0)
    return {name for name, _ in samples([*web._figures(None, datetime.now(UTC))])}


HEATING = b'{"mode":"heating","error":0.1,"alarms":["no trustworthy sensor"],"sensors_left_out":{"a":"stale"}}'


def test_panels_of_the_dashboard_do_not_overlap() -> None:
    assert max(Counter(each["id"] for each in panels()).values()) == 1
    cells = [
        (x, y)
        for each in panels()
        for x in range(each["gridPos"]["x"], each["gridPos"]["x"] + each["gridPos"]["w"])
        for y in range(each["gridPos"]["y"], each["gridPos"]["y"] + each["gridPos"]["h"])
    ]
    assert max(Counter(cells).values()) == 1
    assert max(x for x, _ in cells) == 23
