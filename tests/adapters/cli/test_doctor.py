"""`scaup doctor`, whose checks are tested in `tests/adapters/launcher`."""

import json
from pathlib import Path

from broker.runtime.settings import Settings
from tests.adapters.cli.conftest import Scaup
from tests.adapters.client.fakes import FakeSession


def test_doctor_goes_on_after_a_failure_and_exits_with_1(scaup: Scaup, tmp_path: Path) -> None:
    session = FakeSession(None, Settings.load({"SCAUP_DATA_DIR": str(tmp_path)}))
    result = scaup("doctor", session=session)
    found = {each["check"]: each for each in map(json.loads, result.stdout.splitlines())}
    assert result.exit_code == 1
    assert found["broker"]["result"] == "failed"
    assert found["clock"]["result"] == "warning"
    assert all(each["fix"] for each in found.values() if each["result"] != "ok")
