"""Scrape configuration, alert rules and dashboard: checked with promtool, and against the metrics that exist."""

import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from broker.runtime.settings import ROOT
from tests.adapters.web.test_overview import samples
from tests.adapters.web.world import families
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
    assert metric_names() - {name for name, _ in samples([*families()])} == set()


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
