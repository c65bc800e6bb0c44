"""Request and response over MQTT 5 (section 4.10): a publication with a response topic, and the answer it gets."""

import asyncio
import itertools
import secrets
from dataclasses import dataclass, replace

from adapters.http.errors import Unavailable
from broker.errors import BrokerUnavailable
from broker.message import Message, Publication
from broker.runtime.component import Bus

MOST_WAITING = 1_000


@dataclass(frozen=True, slots=True)
class _Question:
    came: list[Message]
    """What was answered so far."""
    complete: asyncio.Future[None]


class Exchange:
    """Questions that wait for their answers, told apart by correlation data.

    The component subscribes to the response topic and gives `on_answer` every message that comes on it.

    Args:
        response_topic: where answers are to go; nobody else's.
    """

    def __init__(self, response_topic: str) -> None:
        self._response_topic = response_topic
        self._boot, self._numbers = secrets.token_bytes(8), itertools.count(1)
        self._waiting: dict[bytes, _Question] = {}

    async def ask(self, bus: Bus, question: Publication, timeout_s: float) -> Message:
        """Publish a question, with response topic and correlation data added, and return its answer.

        Args:
            bus: where to publish.
            question: what to publish, at QoS 1.
            timeout_s: wall time in which the broker's acknowledgement and the answer have to come.

        Raises:
            Unavailable: the broker is away, nobody answered in time, or too many questions wait already.
        """
        return (await self.ask_all(bus, question, timeout_s))[-1]

    async def ask_all(self, bus: Bus, question: Publication, timeout_s: float) -> list[Message]:
        """Publish a question as `ask` does, and return all messages of its answer, in their order.

        Raises:
            Unavailable: the broker is away, the answer is not complete in time, or too many questions wait already.
        """
        if len(self._waiting) >= MOST_WAITING:
            raise Unavailable(f"{MOST_WAITING} requests wait for an answer already")
        correlation = self._boot + next(self._numbers).to_bytes(8)
        marked = replace(question, response_topic=self._response_topic, correlation_data=correlation)
        asked = self._waiting[correlation] = _Question([], asyncio.get_running_loop().create_future())
        try:
            async with asyncio.timeout(timeout_s):
                await bus.deliver(marked, timeout_s)
                await asked.complete
        except BrokerUnavailable as error:
            raise Unavailable(str(error)) from error
        except TimeoutError:
            raise Unavailable(f"nobody answered on {question.topic} within {timeout_s:g} s") from None
        finally:
            del self._waiting[correlation]
        return asked.came

    def on_answer(self, message: Message, *, last: bool = True) -> bool:
        """Take a message of the response topic; tell whether somebody waited for it (not: too late, or not ours).

        Args:
            message: what came.
            last: it completes the answer; otherwise more of it will come.
        """
        asked = self._waiting.get(message.correlation_data or b"")
        if asked is None or asked.complete.done():
            return False
        asked.came.append(message)
        if last:
            asked.complete.set_result(None)
        return True
