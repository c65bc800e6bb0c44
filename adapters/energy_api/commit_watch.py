"""Waits until the recorder has committed a post and its quarters; only then is the post answered with 201.

The recorder takes messages in order, so it has every message that was published before a query that it answers, unless the
broker was killed and lost messages that it had not passed on. So the query looks for the messages themselves: the post, by its
digest, and the normalizer's answer together with the message before it, which holds the quarters. Posts that wait share a
query.
"""

import asyncio
import hashlib
from dataclasses import dataclass, field

from adapters.client.aio_recorder import RecorderClient
from adapters.client.errors import ClientError, NoReply
from broker.contract.storage.topics import QueryRequest
from broker.log import Log
from broker.message import Message
from broker.runtime.component import Bus

log = Log(__name__)

ANSWER_TIMEOUT_S = 1.5
"""After this time the query is repeated: it may have been lost with a recorder that was killed."""
PAUSE_S = 0.1
MAX_SHARING = 250
"""Posts in one query."""
_WITHIN = "INTERVAL 1 MINUTE"
_NORMALIZER = "starts_with(topic, 'energy/') AND NOT regexp_full_match(topic, 'energy/[^/]*/raw')"
"""Topics of the normalizer alone: elsewhere, anyone could have written its stamp."""
_SQL = f"""
SELECT DISTINCT topic || ' ' || md5(payload) AS mark FROM messages WHERE received_at >= now() - {_WITHIN}
AND source = 'energy-api' AND list_contains($topics, topic) AND list_contains($sizes, strlen(payload))
UNION ALL
SELECT DISTINCT boot || ' ' || seq AS mark FROM messages WHERE received_at >= now() - {_WITHIN}
AND source = 'energy' AND {_NORMALIZER} AND list_contains($boots, boot) AND list_contains($seqs, seq)
"""  # noqa: S608, it is made of constants


@dataclass(frozen=True, slots=True)
class Post:
    """A post that the normalizer has answered."""

    topic: str
    size: int
    digest: str
    boot: str | None
    seqs: tuple[int, ...]
    """Sequence numbers, within that boot of the normalizer, of its answer and of the message before it."""

    @property
    def marks(self) -> frozenset[str]:
        """The messages that have to be recorded, as the rows of the query identify them."""
        return frozenset([f"{self.topic} {self.digest}", *(f"{self.boot} {each}" for each in self.seqs)])


@dataclass(slots=True)
class _Waiting:
    post: Post
    recorded: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


def post_of(topic: str, body: bytes, answer: Message) -> Post:
    """Return the post with this body in UTF-8, published on `topic`, and the normalizer's answer to it."""
    boot, seq = answer.stamp.boot, answer.stamp.seq
    known = boot is not None and seq is not None
    seqs = tuple(each for each in (seq - 1, seq) if each > 0) if known and seq is not None else ()
    return Post(topic, len(body), hashlib.md5(body, usedforsecurity=False).hexdigest(), boot, seqs)


class CommitWatch:
    """Waits until posts are committed."""

    def __init__(self, recorder: RecorderClient) -> None:
        self._recorder = recorder
        self._waiting: list[_Waiting] = []
        self._querying: asyncio.Task[None] | None = None

    async def require(self, bus: Bus, post: Post, timeout_s: float) -> None:
        """Return once the recorder has committed a post and its quarters.

        Raises:
            NoReply: the recorder has not confirmed it in time.
        """
        waiting = _Waiting(post)
        self._waiting.append(waiting)
        if self._querying is None or self._querying.done():
            self._querying = asyncio.create_task(self._query(bus), name="commit-watch")
        try:
            async with asyncio.timeout(timeout_s):
                await waiting.recorded
        except TimeoutError:
            raise NoReply("the recorder has not confirmed in time that it has the post: post it again") from None

    async def _query(self, bus: Bus) -> None:
        """Query until no post waits; posts that come meanwhile share the next query."""
        while waiting := [each for each in self._waiting if not each.recorded.done()]:
            batch, self._waiting = waiting[:MAX_SHARING], waiting[MAX_SHARING:]
            found = await self._found(bus, [each.post for each in batch])
            missing = [each for each in batch if not each.post.marks <= found]
            for each in batch:
                if each.post.marks <= found and not each.recorded.done():
                    each.recorded.set_result(None)
            if missing:
                self._waiting += missing
                await asyncio.sleep(PAUSE_S)
        self._waiting = []

    async def _found(self, bus: Bus, posts: list[Post]) -> set[str]:
        try:
            rows = await self._recorder.query(bus, request_for(posts), ANSWER_TIMEOUT_S)
        except ClientError as error:
            log.info("posts-wait", "%(posts)d posts wait for the recorder: %(error)s", posts=len(posts), error=error)
            return set()
        return {str(row["mark"]) for row in rows}


def request_for(posts: list[Post]) -> QueryRequest:
    """Return the query for the messages of these posts that are recorded."""
    parameters = {
        "topics": sorted({each.topic for each in posts}),
        "sizes": sorted({each.size for each in posts}),
        "boots": sorted({each.boot for each in posts if each.boot is not None}) or [""],
        "seqs": sorted({seq for each in posts for seq in each.seqs}) or [0],
    }
    return QueryRequest(sql=_SQL, parameters=parameters, timeout_s=ANSWER_TIMEOUT_S)
