"""Request and response over MQTT 5 (section 4.10): a publication with a response topic, and the answer it gets."""

import asyncio
import itertools
import secrets
from dataclasses import replace

from adapters.http.errors import Unavailable
from broker.component import Bus
from broker.errors import BrokerUnavailable
from broker.message import Message, Publication

MOST_WAITING = 1_000


class Exchange:
    """Questions that wait for their answers, told apart by correlation data.

    The component subscribes to the response topic and gives `on_answer` every message that comes on it.

    Args:
        response_topic: where answers are to go; nobody else's.
    """

    def __init__(self, response_topic: str) -> None:
        self._response_topic = response_topic
        self._boot, self._numbers = secrets.token_bytes(8), itertools.count(1)
        self._waiting: dict[bytes, asyncio.Future[Message]] = {}

    async def ask(self, bus: Bus, question: Publication, timeout_s: float) -> Message:
        """Publish a question, with response topic and correlation data added, and return its answer.

        Args:
            bus: where to publish.
            question: what to publish, at QoS 1.
            timeout_s: wall time in which the broker's acknowledgement and the answer have to come.

        Raises:
            Unavailable: the broker is away, nobody answered in time, or too many questions wait already.
        """
        if len(self._waiting) >= MOST_WAITING:
            raise Unavailable(f"{MOST_WAITING} requests wait for an answer already")
        correlation = self._boot + next(self._numbers).to_bytes(8)
        marked = replace(question, response_topic=self._response_topic, correlation_data=correlation)
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting[correlation] = answer
        try:
            async with asyncio.timeout(timeout_s):
                await bus.deliver(marked, timeout_s)
                return await answer
        except BrokerUnavailable as error:
            raise Unavailable(str(error)) from error
        except TimeoutError:
            raise Unavailable(f"nobody answered on {question.topic} within {timeout_s:g} s") from None
        finally:
            del self._waiting[correlation]

    def on_answer(self, message: Message) -> bool:
        """Take a message of the response topic; tell whether somebody waited for it (not: too late, or not ours)."""
        waiting = self._waiting.get(message.correlation_data or b"")
        if waiting is None or waiting.done():
            return False
        waiting.set_result(message)
        return True
