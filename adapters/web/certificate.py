"""The certificate of the listeners: how long it is still valid."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from adapters.web.overview import Problem, Status
from broker.errors import InvalidSetting
from broker.launch import tls
from broker.runtime.settings import Settings

READ_EVERY = timedelta(minutes=1)


class Certificate:
    """Reads the certificate that the listeners serve, at most once a minute; nothing where TLS is not set up."""

    def __init__(self, settings: Settings | None) -> None:
        self._settings = settings
        self._read_at: datetime | None = None
        self._not_after: datetime | None = None
        self._complaint: str | None = None

    def problems(self, now_at: datetime) -> list[Problem]:
        """Return what is wrong with it, with the fix: it ends within 30 days, has ended, or cannot be read."""
        self._read(now_at)
        if self._complaint is None:
            return []
        ended = self._not_after is not None and self._not_after <= now_at
        return [(Status.FAILED if ended else Status.WARNING, self._complaint)]

    def metrics(self, now_at: datetime) -> Iterator[Metric]:
        """Yield the time until its end, if there is one."""
        self._read(now_at)
        if self._not_after is not None:
            left_s = (self._not_after - now_at).total_seconds()
            yield GaugeMetricFamily("scaup_certificate_expiry_seconds", "Time until the certificate ends.", left_s)

    def _read(self, now_at: datetime) -> None:
        if self._settings is None or (self._read_at is not None and abs(now_at - self._read_at) < READ_EVERY):
            return
        self._read_at, self._not_after, self._complaint = now_at, None, None
        if not tls.is_set_up(self._settings):
            return
        from broker.launch import certificates  # takes 10 MB, which most installations do not need

        self._complaint = certificates.complaint(self._settings, now_at)
        try:
            served = certificates.served(self._settings)
        except (InvalidSetting, PermissionError):
            return
        self._not_after = served.not_after if served else None
