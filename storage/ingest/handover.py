"""The change from one recording session to another, without a message lost or recorded twice.

Earlier releases recorded in a session whose client id anyone could guess. The first start of this release moves over to one
with a secret id. From then on both sessions hold every new message, and which of the two records it is decided by a mark: a
message of ours, which the broker puts into both of them at the same place of the same order.

1. The new session is subscribed and left. What the earlier one will hold, and what the broker had retained, lies before the
   mark; nothing is acknowledged.
2. The mark is published, with a new id at each attempt.
3. The earlier session is recorded and acknowledged as usual, up to its mark. What follows there stays unacknowledged.
4. The mark is noted durably. The earlier session is ended.
5. The new session is acknowledged without being recorded, up to its mark, which is not acknowledged. This is noted as done.

A crash before the note of step 4 starts again at step 1: what was recorded in step 3 is in the database, a message that is
delivered again is recognised by the earlier session's number, and all before the *new* mark is skipped in the new session. A
crash after it goes on with step 4: the mark is still in the new session, as it is acknowledged only after the note of step 5.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path

from broker.contract.storage.topics import HANDOVER, Handover
from broker.errors import BrokerUnavailable, Rejected
from broker.log import Log
from broker.message import Publication, decode
from broker.mqtt.options import Address, Options
from broker.mqtt.packets import Delivery
from broker.mqtt.visit import Visit, end_session
from broker.runtime.client_id import DONE, read_note, write_note
from storage.ingest.session import RecordingSession

log = Log(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
"""Between two attempts."""
MARK_TIMEOUT_S = 60.0
"""Time to record up to a mark; then there is another one, further on."""

_TOPIC = HANDOVER.template.topic()
_RECORDING, _SKIPPING = "recording", "skipping"
"""Notes of an unfinished handover: `recording` and the number of the earlier session, or `skipping` and the id of the mark."""


class SessionHandover:
    """Moves a recording from the session `earlier` to the session `new`, once.

    Args:
        address: the broker's address and the login.
        earlier: the options of the earlier session.
        new: the options of the new one.
        recording: records what the earlier session holds.
        deliver: publishes on another connection and waits for the broker's acknowledgement.
        data_dir: the data directory, whose credentials have the note.
        name: the component's name.
    """

    def __init__(
        self,
        address: Address,
        earlier: Options,
        new: Options,
        recording: RecordingSession,
        deliver: Callable[[Publication], Awaitable[None]],
        data_dir: Path,
        name: str,
    ) -> None:
        self._address, self._earlier, self._new = address, earlier, new
        self._recording, self._deliver = recording, deliver
        self._data_dir, self._name = data_dir, name
        self._mark = ""
        self._mark_is_ahead = False

    async def run(self) -> None:
        """Return when the new session holds what is to be recorded next, and nothing else. Try until it succeeds."""
        pause_s = FIRST_PAUSE_S
        while self._note() != DONE:
            try:
                await self._step()
            except (BrokerUnavailable, OSError) as error:
                self._mark_is_ahead = False
                self._recording.report(False)
                log.warning("broker-unreachable", "%(error)s; trying again in %(pause_s).1f s", error=error, pause_s=pause_s)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _step(self) -> None:
        stage, _, detail = self._note().partition(" ")
        if stage == _SKIPPING:
            self._mark = detail
            await end_session(self._address, self._earlier)
            await self._skip()
        elif await self._find_earlier():
            if stage != _RECORDING:
                detail = str(await self._recording.last_session())
                self._write(f"{_RECORDING} {detail}")
                log.info("session-moving", "moving from the session of an earlier release to one with a secret client id")
            await self._subscribe(int(detail))
            await self._publish_mark(secrets.token_hex(16))
            if await self._record(int(detail)):
                self._write(f"{_SKIPPING} {self._mark}")
        else:
            self._write(DONE)

    async def _find_earlier(self) -> bool:
        """Return whether there is an earlier session; without one there is nothing to wait for.

        It is subscribed again, which changes nothing unless it is a leftover without a subscription, which gets no mark.
        """
        async with Visit(self._address, self._earlier) as earlier:
            if earlier.present:
                await earlier.subscribe()
        if not earlier.present:
            await end_session(self._address, self._earlier)
        return earlier.present

    async def _subscribe(self, earlier_number: int) -> None:
        """Let the broker fill the new session."""
        async with Visit(self._address, self._new) as new:
            if not new.present or await self._recording.last_session() == earlier_number:
                await self._recording.begin_session()
            await new.subscribe()

    async def _publish_mark(self, mark: str) -> None:
        """Publish a mark, as soon as the other connection is up.

        Raises:
            BrokerUnavailable: the broker could not be reached, or refuses the mark, for some time.
        """
        self._mark = mark
        for _ in range(100):
            try:
                await self._deliver(HANDOVER.publication(Handover(mark)))
            except BrokerUnavailable as error:
                reason = error
                await asyncio.sleep(0.05)
            else:
                self._mark_is_ahead = True
                return
        raise BrokerUnavailable(f"{_TOPIC} cannot be published ({reason}); `scaup doctor` checks login and access rules")

    async def _record(self, earlier_number: int) -> bool:
        """Record the earlier session up to the mark, and return whether it was reached in time.

        A broker that had no room for the mark in the earlier session has some, once a part of it is recorded.
        """
        reached = asyncio.Event()

        def record(deliveries: list[Delivery]) -> None:
            before, after = deliveries, []
            if reached.is_set():
                before, after = [], deliveries
            elif (index := self._find_mark(deliveries)) is not None:
                before, after = deliveries[:index], deliveries[index:]
                reached.set()
            # At QoS 0 only a session that is connected gets a message, and that is this one.
            wanted = [*before, *(each for each in after if not each.qos)]
            if wanted:
                self._recording.on_deliveries(wanted)

        visit = Visit(self._address, self._earlier, record)
        await self._recording.record_from(visit, earlier_number)
        async with visit:
            if not visit.present:
                raise BrokerUnavailable("the session of the earlier release no longer exists")
            self._recording.report(True)
            try:
                async with asyncio.timeout(MARK_TIMEOUT_S):
                    await visit.wait(reached.wait())
            except TimeoutError:
                log.info("session-earlier", "still recording the session of the earlier release")
            await visit.wait(self._recording.until_committed())
        return reached.is_set()

    async def _skip(self) -> None:
        """Acknowledge what the new session holds before the mark, which the earlier one had, too."""
        if not self._mark_is_ahead:  # a broker that was killed may have lost it: the session would be skipped without an end
            await self._publish_mark(self._mark)
        reached = asyncio.Event()

        def skip(deliveries: list[Delivery]) -> None:
            if at_once := [each for each in deliveries if not each.qos]:  # of QoS 0, so the earlier session had none of them
                self._recording.on_deliveries(at_once)
            if reached.is_set():
                return
            if (index := self._find_mark(deliveries)) is not None:
                deliveries = deliveries[:index]
                reached.set()
            new.acknowledge(deliveries)

        new = Visit(self._address, self._new, skip)
        await self._recording.record_from(new, await self._recording.last_session())
        async with new:
            if new.present:
                await new.wait(reached.wait())
                await new.ping()
        self._write(DONE)
        log.info("session-moved", "recording in the new session")

    def _find_mark(self, deliveries: list[Delivery]) -> int | None:
        return next((index for index, each in enumerate(deliveries) if each.topic == _TOPIC and self._is_mark(each)), None)

    def _is_mark(self, delivery: Delivery) -> bool:
        try:
            return decode(delivery.payload, Handover).id == self._mark
        except Rejected:
            return False

    def _note(self) -> str:
        return read_note(self._data_dir, self._name) or ""

    def _write(self, note: str) -> None:
        write_note(self._data_dir, self._name, note)
