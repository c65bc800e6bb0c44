"""Every log line of ours is an event: a stable name, and fields that its text has."""

import re

import pytest

from broker.runtime.settings import ROOT
from tests.documents import PACKAGES, LogCall, log_calls

SECRETS = re.compile(r"password|secret|token|credential")


@pytest.mark.parametrize("call", log_calls(), ids=lambda call: call.place)
def test_a_log_line_names_its_event_and_fields(call: LogCall) -> None:
    assert call.event is not None, f"{call.place}: the first argument is the name of the event"
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", call.event)
    assert set(re.findall(r"%\((\w+)\)", call.text)) == set(call.fields)
    assert not re.search(r"%[^(]", call.text)
    assert not [name for name in call.fields if SECRETS.search(name)]


def test_nothing_of_ours_logs_in_another_way() -> None:
    files = [path for folder in PACKAGES for path in (ROOT / folder).rglob("*.py") if path.name != "log.py"]
    assert [str(path) for path in files if re.search(r"^log = logging\.", path.read_text(), re.MULTILINE)] == []
