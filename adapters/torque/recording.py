"""What the recorder knows of a tool's results: those that it has had, and which of the latest events it has committed."""

import asyncio
import hashlib
from dataclasses import dataclass, field

from adapters.client.aio_recorder import RecorderClient
from adapters.client.errors import ClientError
from adapters.torque.open_protocol.ledger import MOST_KEYS, Ledger
from adapters.torque.open_protocol.results import result_key
from broker.contract.storage.topics import QueryRequest
from broker.log import Log
from broker.message import Publication
from broker.runtime.component import Bus

log = Log(__name__)

ANSWER_TIMEOUT_S = 3.0
"""After this time the query is repeated: it may have been lost with a recorder that was killed."""
PAUSE_S = 0.1
LOST_AFTER = 5
"""Answers of the recorder in which an event is missing, before it is published again."""
MOST_SHARING = 250
"""Events in one query."""
_MARGIN_S = 60.0

_HISTORY = """
SELECT number, TRY_CAST(payload->>'$.data.tighteningId' AS BIGINT) AS id, payload->>'$.data.time' AS at,
    payload->>'$.type' = 'operation' AS operation
FROM (
    SELECT number, CASE WHEN json_valid(payload) THEN payload END AS payload FROM messages
    WHERE topic = $topic AND source = $source AND payload LIKE '%"tighteningId":%'
    AND ($days = 0 OR received_at >= now() - to_days($days)) ORDER BY number DESC LIMIT $most
) WHERE id IS NOT NULL ORDER BY number
"""
_COMMITTED = """
SELECT DISTINCT md5(payload) AS digest FROM messages WHERE received_at >= now() - to_seconds($seconds)
AND source = $source AND list_contains($topics, topic) AND list_contains($digests, md5(payload))
"""


@dataclass(frozen=True, slots=True)
class Recording:
    """The recorder as a tool's connection sees it; `online` is set while the recorder is."""

    recorder: RecorderClient
    watch: "CommitWatch"
    online: asyncio.Event


async def read_history(recorder: RecorderClient, bus: Bus, source: str, topic: str, timeout_s: float) -> Ledger:
    """Return the ledger of the tool whose events are on `topic`, published by `source`.

    The last 30 days are searched first: the whole recording may be years long. Each search may take `timeout_s`.

    Raises:
        ClientError: the recorder has not answered.
    """
    for days in (30, 0):
        parameters = {"topic": topic, "source": source, "days": days, "most": MOST_KEYS}
        request = QueryRequest(sql=_HISTORY, parameters=parameters, timeout_s=timeout_s)
        rows = await recorder.query(bus, request, timeout_s)
        if rows:
            break
    ledger = Ledger()
    for row in rows:
        ledger.last_id, ledger.last_at = int(row["id"]), str(row["at"] or "")
        ledger.note(result_key(ledger.last_id, ledger.last_at), recorded=True)
    return ledger


@dataclass(slots=True)
class _Event:
    publication: Publication
    digest: str
    since_s: float
    missed: int = 0
    """Answers in which it was missing."""
    committed: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class CommitWatch:
    """Waits until events are committed. Events that wait share a query.

    The recorder takes messages in order, so it has every event that was published before a query that it answers, unless the
    broker was killed and lost it. Such an event is published again.
    """

    def __init__(self, recorder: RecorderClient, source: str, online: asyncio.Event) -> None:
        self._recorder, self._source, self._online = recorder, source, online
        self._waiting: list[_Event] = []
        self._querying: asyncio.Task[None] | None = None

    async def committed(self, bus: Bus, publication: Publication) -> None:
        """Return once the recorder has committed this event, which was published, however long that takes."""
        digest = hashlib.md5(publication.payload, usedforsecurity=False).hexdigest()
        event = _Event(publication, digest, asyncio.get_running_loop().time())
        self._waiting.append(event)
        if self._querying is None or self._querying.done():
            self._querying = asyncio.create_task(self._query(bus), name="commit-watch")
        try:
            await event.committed
        finally:
            event.committed.cancel()

    async def _query(self, bus: Bus) -> None:
        while self._waiting:
            await self._online.wait()
            waiting = [each for each in self._waiting if not each.committed.done()]
            batch, self._waiting = waiting[:MOST_SHARING], waiting[MOST_SHARING:]
            if not batch:
                return
            found = await self._found(bus, batch)
            if found is None:
                self._waiting += batch
                await asyncio.sleep(PAUSE_S)
                continue
            missing = [each for each in batch if each.digest not in found]
            for each in batch:
                if each.digest in found and not each.committed.done():
                    each.committed.set_result(None)
            for each in missing:
                each.missed += 1
                if each.missed % LOST_AFTER == 0:
                    log.warning("result-lost", "the recorder has not got a result: publishing it again")
                    bus.publish(each.publication)
            if missing:
                self._waiting += missing
                await asyncio.sleep(PAUSE_S)

    async def _found(self, bus: Bus, batch: list[_Event]) -> set[str] | None:
        """Return the digests of those that are committed, None if the recorder has not answered."""
        oldest_s = min(each.since_s for each in batch)
        parameters = {
            "seconds": asyncio.get_running_loop().time() - oldest_s + _MARGIN_S,
            "source": self._source,
            "topics": sorted({each.publication.topic for each in batch}),
            "digests": sorted({each.digest for each in batch}),
        }
        request = QueryRequest(sql=_COMMITTED, parameters=parameters, timeout_s=ANSWER_TIMEOUT_S)
        try:
            rows = await self._recorder.query(bus, request, ANSWER_TIMEOUT_S)
        except ClientError as error:
            log.info("results-wait", "%(results)d results wait for the recorder: %(error)s", results=len(batch), error=error)
            return None
        return {str(row["digest"]) for row in rows}
