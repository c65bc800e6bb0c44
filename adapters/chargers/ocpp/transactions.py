"""Transactions of one OCPP charger: how they begin, what is measured in them, how they end, and their charging sessions. Pure.

Whatever a charger repeats, because it did not get the answer or sends late what it kept while it was offline, changes nothing:
what a transaction knows is merged by the instants of the charger, and not by the order in which messages arrive.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from adapters.chargers.ocpp.reports import Sample
from broker.contract.charging.topics import ChargePoint, ChargingSession, EndedBy, Transaction

MOST_OPEN_OF_CONNECTOR = 2
"""One of which the end has not been reported and may still come."""
MOST_OPEN, MOST_ENDED = 64, 4
"""Transactions of a charger that are remembered; a charger repeats the last one at most."""
KWH_DECIMALS = 6


def running(point: ChargePoint, connector: int | None = None) -> Transaction | None:
    """Return the newest transaction that has not ended, on a connector where that is given."""
    found = (each for each in reversed(point.transactions) if each.ended_at is None)
    return next((each for each in found if connector is None or each.connector == connector), None)


def find(point: ChargePoint, transaction_id: str | None, connector: int | None = None) -> Transaction | None:
    """Return the transaction with an id, or the one that is running on a connector where there is no id."""
    if transaction_id is None:
        return running(point, connector)
    return next((each for each in reversed(point.transactions) if each.id == transaction_id), None)


def begin(
    point: ChargePoint, charger: str, connector: int, at: str, register_kwh: float | None, new_number: Callable[[], int]
) -> tuple[ChargePoint, Transaction]:
    """Begin a transaction of OCPP 1.6. One with the same connector, instant and register is the same: it keeps its number."""
    for each in point.transactions:
        if (each.connector, each.started_at) == (connector, at) and register_kwh in (None, each.register_start_kwh):
            return point, each
    number = str(new_number())
    begun = Transaction(id=number, session=session_name(charger, number), connector=connector, started_at=at)
    if register_kwh is not None:
        begun = replace(begun, register_start_kwh=register_kwh, register_kwh=register_kwh, register_at=at)
    return with_transaction(point, begun), begun


def session_name(charger: str, transaction_id: str) -> str:
    """Return the name of the charging session of a transaction."""
    return f"{charger}#{transaction_id}"


def merged(transaction: Transaction, samples: Iterable[Sample], **changes: Any) -> Transaction:
    """Return a transaction with what was measured in it, and with other changes; one that has ended stays as it is."""
    if transaction.ended_at is not None:
        return transaction
    for each in sorted(samples, key=lambda each: each.at):
        changes |= _register(transaction, each) | _soc(transaction, each)
        transaction, changes = replace(transaction, **changes), {}
    return replace(transaction, **changes) if changes else transaction


def ended(transaction: Transaction, at: str, register_kwh: float | None = None) -> Transaction:
    """Return a transaction that has ended, with the register at its end where it is known; the first end counts."""
    if transaction.ended_at is not None:
        return transaction
    if register_kwh is not None:
        transaction = replace(transaction, register_kwh=register_kwh, register_at=at)
    return replace(transaction, ended_at=at, charging_state=None)


def with_transaction(point: ChargePoint, transaction: Transaction) -> ChargePoint:
    """Return a charger with a transaction that is new or has changed; the oldest beyond the limits are forgotten."""
    known = [each.id for each in point.transactions]
    if transaction.id in known:
        changed = tuple(transaction if each.id == transaction.id else each for each in point.transactions)
        return point if changed == point.transactions else replace(point, transactions=changed)
    return replace(point, transactions=_kept((*point.transactions, transaction)))


def with_status(point: ChargePoint, connector: int, status: str) -> ChargePoint:
    """Return a charger one of whose connectors has reported a status."""
    if point.connectors.get(str(connector)) == status:
        return point
    return replace(point, connectors={**point.connectors, str(connector): status})


def session(transaction: Transaction, widget: str | None) -> ChargingSession:
    """Return the charging session of a transaction."""
    begun = ChargingSession(
        session=transaction.session,
        widget=widget,
        started_at=transaction.started_at,
        soc_start=transaction.soc_start,
        connector=transaction.connector,
    )
    if transaction.ended_at is None:
        return begun
    duration = datetime.fromisoformat(transaction.ended_at) - datetime.fromisoformat(transaction.started_at)
    return replace(
        begun,
        ended_at=transaction.ended_at,
        soc_end=transaction.soc,
        duration_s=max(0.0, duration.total_seconds()),
        ended_by=EndedBy.STOPPED,
        kwh=_energy(transaction),
    )


def _energy(transaction: Transaction) -> float | None:
    """Return the difference of the registers; None where one is not known, or the register has gone back."""
    first, last = transaction.register_start_kwh, transaction.register_kwh
    return None if first is None or last is None or last < first else round(last - first, KWH_DECIMALS)


def _register(transaction: Transaction, sample: Sample) -> dict[str, Any]:
    if sample.register_kwh is None:
        return {}
    changes: dict[str, Any] = {}
    start_kwh, start_at = transaction.register_start_kwh, transaction.register_start_at
    if start_kwh is None or (start_at is not None and sample.at < start_at):
        changes |= {"register_start_kwh": sample.register_kwh, "register_start_at": sample.at}
    if transaction.register_at is None or sample.at >= transaction.register_at:
        changes |= {"register_kwh": sample.register_kwh, "register_at": sample.at}
    return changes


def _soc(transaction: Transaction, sample: Sample) -> dict[str, Any]:
    if sample.soc is None:
        return {}
    changes: dict[str, Any] = {} if transaction.soc_start is not None else {"soc_start": sample.soc}
    if transaction.soc_at is None or sample.at >= transaction.soc_at:
        changes |= {"soc": sample.soc, "soc_at": sample.at}
    return changes


def _kept(transactions: Sequence[Transaction]) -> tuple[Transaction, ...]:
    """Return those that are remembered, oldest first."""
    kept: list[Transaction] = []
    open_of, count_open, count_ended = Counter[int | None](), 0, 0
    for each in reversed(transactions):
        if each.ended_at is not None:
            count_ended += 1
            keep = count_ended <= MOST_ENDED
        else:
            open_of[each.connector] += 1
            count_open += 1
            keep = open_of[each.connector] <= MOST_OPEN_OF_CONNECTOR and count_open <= MOST_OPEN
        if keep:
            kept.append(each)
    return tuple(reversed(kept))
