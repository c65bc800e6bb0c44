"""The files in deploy/prometheus, and Prometheus itself where it is installed."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from broker.runtime.settings import ROOT

FOLDER = ROOT / "deploy" / "prometheus"
CONFIGURATION, RULES = FOLDER / "prometheus.yml", FOLDER / "scaup.rules.yml"
RULE_TESTS, DASHBOARD = FOLDER / "scaup.rules.test.yml", FOLDER / "grafana-dashboard.json"

needs_prometheus = pytest.mark.skipif(
    not (shutil.which("promtool") and shutil.which("prometheus")),
    reason="prometheus and promtool are not installed: sudo apt-get install prometheus",
)
"""`make test` installs it where that works without questions (`python -m adapters.launcher need-prometheus`)."""

_NAME = re.compile(r"\bscaup_[a-z0-9_]+")


def alerts() -> dict[str, str]:
    """Return the text of every alert rule, by its name."""
    _, *rules = re.split(r"^ +- alert: ", RULES.read_text(), flags=re.MULTILINE)
    return {rule.partition("\n")[0]: rule for rule in rules}


def panels() -> list[dict[str, Any]]:
    """Return the panels of the dashboard."""
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return found


def expressions() -> list[str]:
    """Return every expression of the dashboard, with values in place of Grafana's variables."""
    found = [target["expr"] for panel in panels() for target in panel.get("targets", ())]
    return [each.replace("$__rate_interval", "1m").replace("$instance", ".*") for each in found]


def metric_names() -> set[str]:
    """Return the names of all metrics that alerts and dashboard use."""
    texts = [
        *(re.sub(r"^ +(summary|runbook): .*$", "", each, flags=re.MULTILINE) for each in alerts().values()),
        *expressions(),
    ]
    return {name for text in texts for name in _NAME.findall(text)}


def quick_rules(path: Path) -> Path:
    """Write the shipped rules with alerts that fire after a second, and return the path."""
    path.write_text(re.sub(r"for: \S+", "for: 1s", RULES.read_text()))
    return path
