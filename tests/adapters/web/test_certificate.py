"""The certificate of the listeners in health and metrics."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from adapters.web.certificate import Certificate
from adapters.web.overview import Status
from broker.launch import certificates
from broker.runtime.settings import Settings
from tests.adapters.web.test_overview import samples


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    found = Settings.load({"SCAUP_DATA_DIR": str(tmp_path_factory.mktemp("data"))})
    certificates.ensure(found)
    return found


@pytest.mark.parametrize(
    ("left", "found"),
    [
        (timedelta(days=31), None),
        (timedelta(days=29), Status.WARNING),
        (timedelta(seconds=-1), Status.FAILED),
    ],
)
def test_an_end_that_is_near_is_a_problem(settings: Settings, left: timedelta, found: Status | None) -> None:
    served = certificates.served(settings)
    assert served is not None
    now_at = served.not_after - left
    certificate = Certificate(settings)
    assert samples([*certificate.metrics(now_at)]) == {("scaup_certificate_expiry_seconds", ""): left.total_seconds()}
    problems = certificate.problems(now_at)
    assert [status for status, _ in problems] == ([] if found is None else [found])
    assert all("scaup tls renew" in text for _, text in problems)


def test_without_tls_there_is_nothing(tmp_path: Path) -> None:
    for settings in (None, Settings.load({"SCAUP_DATA_DIR": str(tmp_path)})):
        certificate = Certificate(settings)
        assert certificate.problems(datetime.now(UTC)) == []
        assert [*certificate.metrics(datetime.now(UTC))] == []


def test_a_damaged_certificate_is_reported(settings: Settings, tmp_path: Path) -> None:
    other = Settings.load({"SCAUP_DATA_DIR": str(tmp_path)})
    certificates.ensure(other)
    (tmp_path / "tls" / "server.pem").write_text("nonsense")
    certificate = Certificate(other)
    assert "cannot be read" in certificate.problems(datetime.now(UTC))[0][1]
    assert [*certificate.metrics(datetime.now(UTC))] == []
