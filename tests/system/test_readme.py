"""The commands of the README, run as they stand there, one after the other."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from broker.runtime.settings import ROOT
from tests.real_broker import own_ports

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

_ON_OUR_PORT = """
set -euo pipefail
mosquitto_sub() { timeout 60 "$(type -P mosquitto_sub)" -p "$SCAUP_MQTT_PORT" "$@"; }
mosquitto_pub() { "$(type -P mosquitto_pub)" -p "$SCAUP_MQTT_PORT" "$@"; }
trap 'make down' EXIT
"""


def commands() -> str:
    blocks = re.findall(r"^```sh\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 5
    return "".join(block for block in blocks if block != "make test\n")  # that is this run


def test_the_readme_can_be_typed(tmp_path: Path) -> None:
    if shutil.which("mosquitto_sub") is None and "CI" not in os.environ:
        pytest.skip("needs mosquitto_sub and mosquitto_pub: apt-get install mosquitto-clients")
    environment = {
        **os.environ,
        "RUNTIME": "native",
        "SCAUP_DATA_DIR": str(tmp_path),
        **own_ports(),
    }
    typed = subprocess.run(
        ["bash", "-c", _ON_OUR_PORT + commands()], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=150
    )
    assert typed.returncode == 0, typed.stdout + typed.stderr
    for expected in (
        "Scaup runs natively",
        "Job Complete:",
        "/readings/room-1/temperature {",
        '"readings":',
        '"payload":"nineteen"',
    ):
        assert expected in typed.stdout
