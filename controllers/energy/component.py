"""The energy normalizer on the bus: posts in, quarters out.

A ship that is heard of for the first time after a start is looked up in the recording first; its posts wait so long. Quarters
that the recording shows otherwise than the readings do, since an earlier normalizer was killed, are published then.
"""

from dataclasses import dataclass, field

import numpy as np

from broker.contract.components.topics import STATE, Presence
from broker.contract.energy.topics import ANOMALY, ANSWER, INTERVAL, RAW, Intervals, Stored
from broker.errors import Rejected
from broker.message import Message, Publication, encode
from controllers.energy.anomaly import Watch, anomalies
from controllers.energy.history import ANSWER_TOPIC, Answered, History
from controllers.energy.interval import ALONE, UnknownInterval
from controllers.energy.post import Post, read_post, ship_id
from controllers.energy.quarters import QUARTER_US, Readings
from controllers.energy.rows import anomaly_of, quarters_of, rows_of
from controllers.energy.series import Changes, Series, merged

MOST_TOLD = 200_000
"""Quarters in a message, more than one post can span: so what a post changes is told as a whole."""
MOST_SHIPS = 100_000
MOST_HELD = 10_000
"""Posts that wait for the recorder, at most."""


@dataclass(slots=True)
class _Ship:
    series: Series = field(default_factory=Series)
    watch: Watch = field(default_factory=Watch)
    known: bool = False
    recorded: list[Readings] = field(default_factory=list)
    """Of the posts that the recorder has given back so far."""
    held: list[tuple[Message, Post]] = field(default_factory=list)


class EnergyNormalizer:
    """Sans-I/O component: what ships post becomes quarters of an hour.

    `time_scale` is plant seconds per wall second; `start` is a token of this start, unlike those of earlier ones.
    """

    def __init__(self, time_scale: float = 1.0, start: bytes = b"start") -> None:
        self._ships: dict[str, _Ship] = {}
        self._history = History(time_scale, start)
        self._held = 0
        self._looked = False

    def on_message(self, message: Message, now_s: float) -> list[Publication]:
        """Take a post, an answer of the recorder, or that there is one.

        Raises:
            Rejected: the post cannot be used, is of another ship than its topic says, or there is no place for it.
        """
        if levels := RAW.parse(message.topic):
            if message.retain:  # from any time; the recording has it in its place
                return [] if levels["ship"] in self._ships else self._look_up(levels["ship"], now_s)
            return self._take_post(levels["ship"], message, now_s)
        if message.topic == ANSWER_TOPIC:
            answered = self._history.take(message, now_s)
            told = [] if answered is None else self._take_answer(answered, now_s)
            return told + self._history.next(now_s)
        return self._take_presence(message, now_s)

    def on_tick(self, now_s: float) -> list[Publication]:
        """Ask the recorder again where it has not answered."""
        return self._history.tick(now_s)

    def _take_presence(self, message: Message, now_s: float) -> list[Publication]:
        if STATE.decode(message).state is not Presence.ONLINE:
            return []
        if self._looked:
            return self._history.restart(now_s)
        self._looked = True
        return self._history.request(None, now_s)

    def _take_post(self, topic_ship: str, message: Message, now_s: float) -> list[Publication]:
        try:
            post = read_post(message.payload)
            if str(post.ship) != topic_ship:
                raise Rejected(f"spaceship_id: is {post.ship!r}, and the topic is that of {topic_ship!r}")
            return self._hold(topic_ship, message, post, now_s)
        except Rejected as error:
            if _response_topic(message) is None:
                raise
            return [_answer(message, Stored(_ship_or_none(topic_ship), error=str(error)))]

    def _hold(self, name: str, message: Message, post: Post, now_s: float) -> list[Publication]:
        ship = self._ships.get(name)
        if ship is not None and ship.known:
            return _posted(ship, message, post)
        if self._held >= MOST_HELD or (ship is None and len(self._ships) >= MOST_SHIPS):
            raise Rejected("there is no place for more posts that wait for the recorder, or for more ships")
        asked = [] if ship is not None else self._history.request(name, now_s)
        ship = self._ships.setdefault(name, _Ship())
        ship.held.append((message, post))
        self._held += 1
        return asked

    def _take_answer(self, answered: Answered, now_s: float) -> list[Publication]:
        if answered.ship is None:
            behind = [str(row.get("ship")) for row in answered.rows]
            return [each for name in behind if name not in self._ships for each in self._look_up(name, now_s)]
        ship = self._ships[answered.ship]
        if answered.after is not None:
            _take_page(ship, answered)
            return []
        held, ship.held = ship.held, []
        self._held -= len(held)
        return _recall(ship, ship_id(answered.ship), held)

    def _look_up(self, name: str, now_s: float) -> list[Publication]:
        if _ship_or_none(name) is None or len(self._ships) >= MOST_SHIPS:
            return []
        self._ships[name] = _Ship()
        return self._history.request(name, now_s)


def _take_page(ship: _Ship, answered: Answered) -> None:
    """Take what was told of a ship, or some of its posts."""
    told = [row for row in answered.rows if "start_us" in row]
    if told:
        ship.series.quarters = quarters_of([row for row in told if row["kind"] is None])
        ship.watch.remember((int(row["start_us"]), str(row["kind"])) for row in told if row["kind"] is not None)
        return
    for row in sorted(answered.rows, key=lambda row: int(row["number"])):
        post = _usable(row["payload"])
        if post is not None and str(post.ship) == answered.ship:
            ship.recorded.append(post.readings)


def _recall(ship: _Ship, name: int | str, held: list[tuple[Message, Post]]) -> list[Publication]:
    """Go on from what is recorded and from what has waited for it; tell once what that changes, and answer then."""
    recorded, ship.recorded, ship.known = ship.recorded, [], True
    posted = recorded + [post.readings for _, post in held]
    begin = next((n for n, each in enumerate(posted) if len(each) and not _is_alone(each)), len(posted))
    refused = [n + len(recorded) < begin and _is_alone(post.readings) for n, (_, post) in enumerate(held)]
    answers = [_outcome(*each, refused=no) for each, no in zip(held, refused, strict=True) if _response_topic(each[0])]
    if begin == len(posted):
        return answers
    readings = merged(*posted[begin:])
    changes = ship.series.post(readings)
    oldest_us = int(readings.time_us[0])  # what was posted earlier may be forgotten, and its quarters not
    changes = Changes(changes.quarters, tuple(each for each in changes.gone_us if each >= oldest_us))
    return [*_told(ship, name, changes), *answers]


def _is_alone(posted: Readings) -> bool:
    """Tell whether a series cannot begin with this: a single reading without an interval."""
    together = merged(posted)
    return len(together) == 1 and not together.given_us[0] and not np.isnan(together.value[0])


def _usable(payload: str) -> Post | None:
    try:
        return read_post(payload.encode())
    except Rejected:
        return None


def _posted(ship: _Ship, message: Message, post: Post) -> list[Publication]:
    """Add a post to its series; the answer comes after the quarters."""
    answering = _response_topic(message) is not None
    try:
        changes = ship.series.post(post.readings)
    except UnknownInterval as error:
        if not answering:
            raise Rejected(f"data: {error}") from None
        return [_outcome(message, post, refused=True)]
    told = _told(ship, post.ship, changes)
    return [*told, _outcome(message, post, refused=False)] if answering else told


def _outcome(message: Message, post: Post, *, refused: bool) -> Publication:
    if refused:
        return _answer(message, Stored(post.ship, error=f"data: {ALONE}"))
    return _answer(message, Stored(post.ship, int((~np.isnan(post.readings.value)).sum()), post.skipped))


def _told(ship: _Ship, name: int | str, changes: Changes) -> list[Publication]:
    """Say what is unusual, then the quarters: whoever comes after a kill in between finds those untold, and says the rest."""
    rows = rows_of(changes)
    told = (rows[first : first + MOST_TOLD] for first in range(0, len(rows), MOST_TOLD))
    quarters = [INTERVAL.publication(Intervals(name, each), ship=str(name)) for each in told]
    return [*_unusual(ship, name, changes), *quarters]


def _unusual(ship: _Ship, name: int | str, changes: Changes) -> list[Publication]:
    """Say what is unusual about quarters that have changed, once."""
    starts_us = [*changes.quarters.start_us.tolist(), *changes.gone_us]
    if not starts_us:
        return []
    changed = min(starts_us), max(starts_us) + QUARTER_US
    news = ship.watch.news(anomalies(ship.series.quarters, *changed), *changed)
    return [ANOMALY.publication(anomaly_of(name, each), ship=str(name)) for each in news]


def _response_topic(message: Message) -> str | None:
    topic = message.response_topic
    return topic if topic is not None and ANSWER.parse(topic) is not None else None


def _ship_or_none(name: str) -> int | str | None:
    try:
        return ship_id(name)
    except Rejected:
        return None


def _answer(message: Message, stored: Stored) -> Publication:
    return Publication(topic=message.response_topic or "", payload=encode(stored), correlation_data=message.correlation_data)
