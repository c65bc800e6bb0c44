"""The README says what the code does: its tables are checked here, its commands are run by a system test."""

import re

from broker.contract import DEVICE_FILTERS, STREAMS
from broker.runtime.settings import ROOT

README = (ROOT / "README.md").read_text()


def test_the_topic_table_is_the_contract() -> None:
    told = {
        topic: retained == "yes" for topic, retained in re.findall(r"^\| `([^`]+)` \|.*\| (yes|no) \|$", README, re.MULTILINE)
    }
    assert told == {stream.template.text: stream.retain for stream in STREAMS}


def test_what_devices_may_publish_is_told() -> None:
    assert all(f"`{each}`" in README for each in DEVICE_FILTERS)


def test_every_decision_record_is_numbered_once() -> None:
    numbers = [path.name[:4] for path in sorted((ROOT / "docs" / "decisions").glob("*.md"))]
    assert numbers == [f"{n:04}" for n in range(1, len(numbers) + 1)]


def test_links_lead_somewhere() -> None:
    targets = [target for target in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in target]
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_every_dependency_is_named_with_its_reason() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [re.split(r"[<>=]", each)[0] for each in project["project"]["dependencies"] + project["dependency-groups"]["dev"]]
    without = [name for name in wanted if name.lower() not in README.lower() and not name.startswith("types-")]
    assert without == []
