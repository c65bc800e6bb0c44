"""The recorder and the components: online, up to date, and with a plausible clock."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from adapters.client.bus import Received
from adapters.launcher.checks import Finding, failed, ok, warning
from broker.contract.components.topics import ComponentState, Presence
from broker.contract.storage.topics import CLOCK_WARNING, STATS, RecorderStats
from broker.errors import Rejected
from broker.message import decode

STATS_TOPIC = STATS.template.topic()
OLDEST_STATS_S, MOST_BEHIND, MOST_AHEAD_S = 10.0, 50_000, 2.0
_LOGS = "see `scaup logs recorder`"
_CLOCK_FIX = "if the clock is right now (timedatectl), nothing; order messages by `number`, the warning ends by itself"


def check_components(expected: Iterable[str], states: Mapping[str, ComponentState]) -> list[Finding]:
    """Check that every expected component is online."""
    missing = [name for name in expected if name not in states or states[name].state is not Presence.ONLINE]
    if missing:
        return [failed("components", f"not online: {', '.join(missing)}", f"type `make up`; see `scaup logs {missing[0]}`")]
    return [ok("components", f"online: {', '.join(expected) or 'none expected'}")]


def check_recorder(retained: Mapping[str, Received], now_at: datetime) -> list[Finding]:
    """Check the statistics that the recorder publishes every second."""
    message = retained.get(STATS_TOPIC)
    if message is None:
        return [warning("recorder", "it has never published its statistics", f"start it with `make up`; {_LOGS}")]
    try:
        stats = decode(message.payload, RecorderStats)
    except Rejected as error:
        return [failed("recorder", f"its statistics cannot be read: {error}", "use the same release on both sides")]
    return [statistics(stats, now_at)]


def statistics(stats: RecorderStats, now_at: datetime) -> Finding:
    """Check age, lag and errors."""
    age_s = (now_at - stats.at).total_seconds()
    behind = stats.received - stats.committed - stats.duplicates
    detail = f"{stats.committed:,} committed, {behind:,} behind, p99 {1000 * stats.commit_p99_s:.0f} ms, {age_s:.0f} s ago"
    if age_s > OLDEST_STATS_S:
        return failed("recorder", f"silent: {detail}", f"start it with `make up`; {_LOGS}")
    if stats.last_error:
        return failed("recorder", f"{stats.last_error}; {detail}", f"{_LOGS}; it continues when the cause is removed")
    if stats.warning:
        fix = _CLOCK_FIX if stats.warning.startswith(CLOCK_WARNING) else f"{_LOGS}; `scaup config` shows SCAUP_RETENTION"
        return warning("recorder", f"{stats.warning}; {detail}", fix)
    if max(behind, stats.queued) > MOST_BEHIND:
        return warning(
            "recorder", f"behind: {detail}", "nothing is lost while the broker's queue has room; slow the publishers"
        )
    return ok("recorder", detail)


def clock(newest_at: datetime | None, now_at: datetime) -> Finding:
    """Check that the wall clock is not before the newest recorded message, which is the one with the highest number."""
    if newest_at is None:
        return ok("clock", f"{now_at:%Y-%m-%d %H:%M:%S}Z, nothing recorded yet")
    ahead_s = (newest_at - now_at).total_seconds()
    if ahead_s > MOST_AHEAD_S:
        detail = f"the newest recorded message is {ahead_s:.0f} s in the future: the recorder's clock, or this one, is wrong"
        return failed("clock", detail, "compare with the real time (timedatectl) and set the clock; `number` is the order")
    return ok("clock", f"{now_at:%Y-%m-%d %H:%M:%S}Z, newest message {-ahead_s:.0f} s ago")


def as_instant(value: object) -> datetime | None:
    """Return an aware instant in UTC, None for everything else."""
    return value.astimezone(UTC) if isinstance(value, datetime) else None
