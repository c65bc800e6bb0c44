"""Warnings about security: plain text, logins in plain text, certificates that end."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from adapters.client.errors import Failed
from adapters.launcher import security
from adapters.launcher.checks import Verdict
from broker.errors import InvalidSetting
from broker.launch import certificates, tls
from broker.runtime.settings import Settings


def settings(folder: Path, **variables: str) -> Settings:
    return Settings.load({"SCAUP_DATA_DIR": str(folder), **variables})


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        ({}, None),
        ({"SCAUP_BIND": "0.0.0.0"}, None),
        ({"SCAUP_PLAINTEXT": "yes"}, None),
        ({"SCAUP_PLAINTEXT": "yes", "SCAUP_BIND": "0.0.0.0"}, "passwords and messages pass the network in plain text"),
        ({"SCAUP_MQTT_HOST": "plant.example", "SCAUP_MQTT_USERNAME": "a"}, "SCAUP_MQTT_PASSWORD passes the network"),
        ({"SCAUP_MQTT_HOST": "plant.example", "SCAUP_MQTT_USERNAME": "a", "SCAUP_MQTT_CA": "ca.pem"}, None),
        ({"SCAUP_MQTT_HOST": "plant.example"}, None),
        ({"SCAUP_MQTT_USERNAME": "a"}, None),
    ],
)
def test_plain_text_causes_a_warning(tmp_path: Path, variables: dict[str, str], text: str | None) -> None:
    found = security.complaints(settings(tmp_path, **variables))
    checked = [each.detail for each in security.check(settings(tmp_path, **variables))]
    assert found == checked == [] if text is None else text in found[0] and text in checked[0]


def test_an_ending_certificate_causes_a_warning(tmp_path: Path) -> None:
    certificates.ensure(settings(tmp_path), now=datetime.now(UTC) - timedelta(days=390))
    (complaint,) = security.complaints(settings(tmp_path))
    assert "in 6 days" in complaint
    assert complaint.endswith("type `scaup tls renew`")
    security.renew(settings(tmp_path))
    assert security.complaints(settings(tmp_path)) == []


def test_listeners_on_loopback_need_no_certificate(tmp_path: Path) -> None:
    assert security.secure(settings(tmp_path)) == []
    assert security.secure(settings(tmp_path, SCAUP_BIND="0.0.0.0", SCAUP_PLAINTEXT="yes")) == []
    assert not (tmp_path / tls.FOLDER).exists()


def test_listeners_for_others_get_a_certificate_once(tmp_path: Path) -> None:
    used = settings(tmp_path, SCAUP_BIND="192.0.2.7")
    first = security.secure(used)
    assert first[:2] == ["made a certificate authority for this installation", "made a certificate for this machine"]
    assert str(tmp_path / tls.AUTHORITY) in first[2]
    assert security.secure(used) == []


def test_a_damaged_authority_names_the_fix(tmp_path: Path) -> None:
    security.make(settings(tmp_path))
    (tmp_path / "tls/ca.key").write_text("damaged")
    with pytest.raises(Failed, match="cannot be used") as caught:
        security.renew(settings(tmp_path))
    assert "restore both" in caught.value.fix


def test_a_renewal_without_a_certificate_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match="scaup tls init"):
        security.renew(settings(tmp_path))


def test_private_keys_that_others_may_read_are_found(tmp_path: Path) -> None:
    security.make(settings(tmp_path))
    verdicts = [each.verdict for each in security._keys(settings(tmp_path))]
    (tmp_path / tls.SERVER).chmod(0o640)
    (found,) = security._keys(settings(tmp_path))
    assert (verdicts, found.verdict) == ([Verdict.OK], Verdict.FAILED)
    assert found.fix == f"chmod go= {tmp_path / tls.SERVER}"
