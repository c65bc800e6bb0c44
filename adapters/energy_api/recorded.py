"""Whether the recorder has a post and what the normalizer made of it, for certain: a post is answered 201 after that only.

A question that the recorder answers comes behind all that was published before it, so any answer would do, were it not for a
broker that is killed and forgets what it had not passed on. So the messages themselves are asked for: the post, known by its
digest, and the normalizer's answer with the message before it, which holds the quarters. Posts that wait share a question.
"""

import asyncio
import hashlib
import logging
from dataclasses import dataclass, field

from adapters.energy_api.recorder import Recorder, Rows
from adapters.http.errors import Unavailable
from broker.contract.storage.topics import QueryRequest
from broker.message import Message
from broker.runtime.component import Bus

log = logging.getLogger(__name__)

ANSWER_TIMEOUT_S = 1.5
"""Then the same is asked again: the question may have been lost with a recorder that was killed."""
PAUSE_S = 0.1
MOST_SHARING = 250
_WITHIN = "INTERVAL 1 MINUTE"
_SQL = f"""
SELECT DISTINCT topic || ' ' || md5(payload) AS mark FROM messages WHERE received_at >= now() - {_WITHIN}
AND source = 'energy-api' AND list_contains($topics, topic) AND list_contains($sizes, strlen(payload))
UNION ALL
SELECT DISTINCT boot || ' ' || seq AS mark FROM messages WHERE received_at >= now() - {_WITHIN}
AND source = 'energy' AND list_contains($boots, boot) AND list_contains($seqs, seq)
"""  # noqa: S608, it is made of constants


@dataclass(frozen=True, slots=True)
class Post:
    """A post that the normalizer has answered."""

    topic: str
    size: int
    digest: str
    boot: str | None
    seqs: tuple[int, ...]
    """Numbers, within that start of the normalizer, of its answer and of what it said before."""

    @property
    def marks(self) -> frozenset[str]:
        """How the recorder's answer names the messages that have to be there."""
        return frozenset([f"{self.topic} {self.digest}", *(f"{self.boot} {each}" for each in self.seqs)])


@dataclass(slots=True)
class _Waiting:
    post: Post
    recorded: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


def post_of(topic: str, body: bytes, answer: Message) -> Post:
    """Return what to look for: a body in UTF-8 that was published on `topic`, and the normalizer's answer to it."""
    boot, seq = answer.stamp.boot, answer.stamp.seq
    known = boot is not None and seq is not None
    seqs = tuple(each for each in (seq - 1, seq) if each > 0) if known and seq is not None else ()
    return Post(topic, len(body), hashlib.md5(body, usedforsecurity=False).hexdigest(), boot, seqs)


class Recorded:
    """Waits until the recorder has posts."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._waiting: list[_Waiting] = []
        self._asking: asyncio.Task[None] | None = None

    async def require(self, bus: Bus, post: Post, timeout_s: float) -> None:
        """Return once the recorder has committed a post and its quarters.

        Raises:
            Unavailable: the recorder has not said so in time.
        """
        waiting = _Waiting(post)
        self._waiting.append(waiting)
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask(bus), name="recorded")
        try:
            async with asyncio.timeout(timeout_s):
                await waiting.recorded
        except TimeoutError:
            raise Unavailable("the recorder has not said in time that it has the post: post it again") from None

    async def _ask(self, bus: Bus) -> None:
        """Ask until nobody waits any more; who comes meanwhile shares the next question."""
        while waiting := [each for each in self._waiting if not each.recorded.done()]:
            asked, self._waiting = waiting[:MOST_SHARING], waiting[MOST_SHARING:]
            found = await self._found(bus, [each.post for each in asked])
            missing = [each for each in asked if not each.post.marks <= found]
            for each in asked:
                if each.post.marks <= found and not each.recorded.done():
                    each.recorded.set_result(None)
            if missing:
                self._waiting += missing
                await asyncio.sleep(PAUSE_S)
        self._waiting = []

    async def _found(self, bus: Bus, posts: list[Post]) -> set[str]:
        try:
            rows: Rows = await self._recorder.ask(bus, request_for(posts), ANSWER_TIMEOUT_S)
        except Unavailable as error:
            log.info("%d posts wait for the recorder: %s", len(posts), error.text)
            return set()
        return {str(row["mark"]) for row in rows}


def request_for(posts: list[Post]) -> QueryRequest:
    """Return the question which of the messages of these posts are recorded."""
    parameters = {
        "topics": sorted({each.topic for each in posts}),
        "sizes": sorted({each.size for each in posts}),
        "boots": sorted({each.boot for each in posts if each.boot is not None}) or [""],
        "seqs": sorted({seq for each in posts for seq in each.seqs}) or [0],
    }
    return QueryRequest(sql=_SQL, parameters=parameters, timeout_s=ANSWER_TIMEOUT_S)
