"""The commands of the README and of the pages in docs/, run as they stand there, one after the other, on one system."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from broker.runtime.settings import ROOT
from tests.documents import NOT_RUN, PAGES, README, blocks
from tests.real_broker import own_ports

pytestmark = [pytest.mark.system, pytest.mark.timeout(540)]

# The pages have the default ports. Each command is printed before it runs, so that a failure shows which one it was.
_ON_OWN_PORTS = """
set -euo pipefail
export PATH="$PWD/.venv/bin:$PATH"
mosquitto_sub() { timeout 60 "$(type -P mosquitto_sub)" -p "$SCAUP_MQTT_PORT" "$@"; }
mosquitto_pub() { "$(type -P mosquitto_pub)" -p "$SCAUP_MQTT_PORT" "$@"; }
curl() {
    local own=("${@//localhost:5000/localhost:$SCAUP_MACHINE_API_PORT}")
    own=("${own[@]//localhost:8080/localhost:$SCAUP_WEB_PORT}")
    "$(type -P curl)" --fail-with-body "${own[@]//localhost:8000/localhost:$SCAUP_ENERGY_API_PORT}"
}
trap 'make down' EXIT
set -x
"""


def commands() -> str:
    run = [block.text for page in PAGES for block in blocks(page) if block.language == "sh"]
    assert len(run) > len(PAGES)
    return "".join(text for text in run if text.strip() not in NOT_RUN)


def test_commands_of_all_pages_work(tmp_path: Path) -> None:
    if shutil.which("mosquitto_sub") is None and "CI" not in os.environ:
        pytest.skip("needs mosquitto_sub and mosquitto_pub: apt-get install mosquitto-clients")
    assert PAGES[0] == README, "its first command starts the system"
    environment = {**os.environ, "RUNTIME": "native", "SCAUP_DATA_DIR": str(tmp_path), **own_ports()}
    typed = subprocess.run(
        ["bash", "-c", _ON_OWN_PORTS + commands()], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=500
    )
    assert typed.returncode == 0, typed.stdout + typed.stderr
    for expected in (
        "Scaup runs natively",
        "Job Complete:",
        "/readings/room-",
        '"readings":',
        '"payload":"nineteen"',
    ):
        assert expected in typed.stdout
