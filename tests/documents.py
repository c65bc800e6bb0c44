"""The pages that people read, and what is in them. `python -m tests.documents` writes the generated parts of docs/ again."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from adapters.cli.commands.config import all_variables
from broker.contract import streams
from broker.runtime.settings import ROOT
from controllers.fastening.transitions import diagram

README = ROOT / "README.md"
DOCS = ROOT / "docs"
LEVELS = ("debug", "info", "warning", "error", "critical", "exception")
PACKAGES = ("broker", "controllers", "adapters", "sim", "storage")
PAGES = (README, *sorted(page for page in DOCS.glob("*.md") if page.name != "cli.md"))
"""The README and the pages of docs/, without the generated reference of the command line."""

NOT_RUN = {
    "$ SCAUP_TORQUE_DRIVER_URL=openprotocol://192.168.1.40 make up": "it needs a tool",
    "make test": "it is what runs this test",
    "$ scaup run sim-rooms --rooms 50 --fault stuck --fault drift": "the simulator runs already",
    "$ scaup run sim-torque-driver --fault silent=0.1 --fault duplicate=0.2": "the simulator runs already",
    "$ SCAUP_COMPONENTS=recorder,heating make up": "everything runs already",
    "$ sudo apt-get install prometheus": "it installs a package of the system; `tests/deploy` runs promtool",
    "$ sudo .venv/bin/scaup service install": "it installs a unit in the system",
    "$ echo SCAUP_HOME_ASSISTANT=yes >> .env": "it starts everything again",
    "$ scaup account add garage --role device": "tests/adapters/outside/test_chargers.py",
    "$ scaup chargers start garage --tag 04AABBCC --connector 1": "needs an OCPP charger: tests/system/test_ocpp.py",
    "$ scaup account add zigbee2mqtt --role device --topics 'zigbee2mqtt/#'": "tests/system/test_accounts.py",
    "$ scaup account add shelly --role device --topics 'shellypro3em-ab12/#'": "needs a device: tests/system/test_devices.py",
    "$ scaup devices draft zigbee2mqtt/office_trv > office.toml": "needs a device: tests/system/test_devices.py",
    "$ scaup devices check office.toml": "needs a device: tests/system/test_devices.py",
    "$ scaup account add home-assistant-1 --role operator": "tests/system/test_accounts.py",
    "$ SCAUP_HOME_ASSISTANT=no scaup run home-assistant": "it runs until Ctrl-C",
    "export PGPASSWORD=… AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=…": "an example host: tests/system/test_lake.py",
    "INSTALL ducklake; INSTALL postgres;": "statements of DuckDB",
    "$ make up RUNTIME=docker": "needs a container engine",
    "$ install -d -o 1883 -g 1883 -m 700 /backups/scaup": "needs a container engine",
    "$ scaup backup /backups/scaup": "tests/system/test_upgrade.py upgrades; backups are above",
    "$ SCAUP_MQTT_HOST=broker.example SCAUP_MQTT_USERNAME=heating SCAUP_MQTT_PASSWORD=… scaup run heating": "an example host",
    "$ echo SCAUP_BIND=192.0.2.7 >> .env": "an example address",
    "$ SCAUP_MQTT_HOST=plant.example SCAUP_MQTT_PORT=8883 SCAUP_MQTT_CA=ca.pem SCAUP_MQTT_USERNAME=… SCAUP_MQTT_PASSWORD=… "
    "scaup status": "an example host",
}
"""First line of each block that the system test does not run, and why."""

TOPIC_TABLE_HEAD = "| topic | from → to | retained |\n|---|---|---|\n"

SETTINGS_TABLE_HEAD = "| setting | default | meaning |\n|---|---|---|\n"

EVENTS_TABLE_HEAD = "| event | level | fields | example of its text |\n|---|---|---|---|\n"

METRICS_TABLE_HEAD = "| metric | labels | meaning |\n|---|---|---|\n"

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """A code block: its page, the language after its fence, and its text."""

    page: str
    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    """Return the code blocks of a page in their order."""
    return [Block(page.name, language, text) for language, text in _FENCE.findall(page.read_text())]


def section(page: Path, heading: str) -> str:
    """Return the text below a heading of the second level, up to the next one."""
    return page.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def targets(page: Path) -> list[str]:
    """Return the addresses of the links and pictures of a page, without those on other servers."""
    found: list[str] = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    return [target for target in found if "://" not in target]


def topic_table() -> str:
    """Return the rows of the topic table, made from the contract."""
    rows = (f"| `{each.template.text}` | {each.summary} | {'yes' if each.retain else 'no'} |\n" for each in streams())
    return TOPIC_TABLE_HEAD + "".join(rows)


def settings_table() -> str:
    """Return the rows of the settings table, made from the declarations."""
    rows = (f"| `{each.name}` | {f'`{each.default}`' if each.default else ''} | {each.meaning} |\n" for each in all_variables())
    return SETTINGS_TABLE_HEAD + "".join(rows)


def metrics_table() -> str:
    """Return the rows of the metrics table, made from what the component `web` answers."""
    from tests.adapters.web.world import families

    rows = []
    for each in families():
        if not each.name.startswith("scaup_web_"):
            labels = ", ".join(f"`{name}`" for name in each.samples[0].labels)
            rows.append(f"| `{each.samples[0].name}` | {labels} | {each.documentation.rstrip('.')} |\n")
    return METRICS_TABLE_HEAD + "".join(rows)


@dataclass(frozen=True, slots=True)
class LogCall:
    """A call such as `log.warning("event", "text %(field)s", field=…)`; `event` is None if it is no literal."""

    place: str
    level: str
    event: str | None
    text: str
    fields: tuple[str, ...]


def log_calls() -> list[LogCall]:
    """Return every log call of the packages."""
    files = [path for folder in PACKAGES for path in sorted((ROOT / folder).rglob("*.py"))]
    return [call for path in files for call in _log_calls(path)]


def _log_calls(path: Path) -> Iterator[LogCall]:
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        if isinstance(node.func.value, ast.Name) and node.func.value.id == "log" and node.func.attr in LEVELS:
            words = [each.value if isinstance(each, ast.Constant) else None for each in node.args]
            event, text = (*words, None, None)[:2]
            place = f"{path.relative_to(ROOT)}:{node.lineno}"
            fields = tuple(each.arg or "" for each in node.keywords)
            yield LogCall(place, node.func.attr, event if isinstance(event, str) else None, str(text), fields)


def events_table() -> str:
    """Return the rows of the table of log events, each with the fields of all its calls."""
    calls: dict[tuple[str, str], list[LogCall]] = {}
    for each in log_calls():
        calls.setdefault((str(each.event), "error" if each.level == "exception" else each.level), []).append(each)
    rows = []
    for (event, level), same in sorted(calls.items()):
        fields = dict.fromkeys(f"`{name}`" for each in same for name in each.fields)
        text = re.sub(r"%\((\w+)\)[.\d]*\w", r"‹\1›", same[0].text).replace("\n", " ")
        rows.append(f"| `{event}` | {level} | {', '.join(fields)} | {text} |\n")
    return EVENTS_TABLE_HEAD + "".join(rows)


def _replace(page: Path, begin: str, end: str, text: str) -> None:
    before, _, rest = page.read_text().partition(begin)
    _, _, after = (begin[-1] + rest).partition(end)  # the part may be empty, and the end then overlaps with the beginning
    page.write_text(before + text + end + after)


if __name__ == "__main__":
    _replace(DOCS / "topics.md", TOPIC_TABLE_HEAD, "\n\n", topic_table().rstrip("\n"))
    _replace(DOCS / "operations.md", SETTINGS_TABLE_HEAD, "\n\n", settings_table().rstrip("\n"))
    _replace(DOCS / "operations.md", EVENTS_TABLE_HEAD, "\n\n", events_table().rstrip("\n"))
    _replace(DOCS / "operations.md", METRICS_TABLE_HEAD, "\n\n", metrics_table().rstrip("\n"))
    _replace(DOCS / "fastening.md", "```mermaid\n", "```\n", f"```mermaid\n{diagram()}")
