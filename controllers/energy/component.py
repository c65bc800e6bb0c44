"""The energy normalizer: turns posts of readings into quarters of an hour.

When a ship is first seen after a start, its recorded data is queried; its posts wait meanwhile. If the recorded quarters differ
from those of the recorded readings, because an earlier normalizer was killed, the difference is published then.
"""

from dataclasses import dataclass, field

import numpy as np

from broker.admission import Admission
from broker.contract.components.topics import FORGET, STATE, Presence, read_forget
from broker.contract.energy.topics import ANOMALY, ANSWER, INTERVAL, RAW, Anomaly, Intervals, Stored
from broker.contract.storage.topics import QUERY
from broker.errors import Rejected
from broker.message import Message, Publication, because, encode
from broker.stamp import MOST_CAUSES
from controllers.energy.anomaly import ReportedAnomalies, Unusual, anomalies
from controllers.energy.history import ANSWER_TOPIC, Answered, History
from controllers.energy.interval import INTERVAL_NEEDED, UnknownInterval
from controllers.energy.post import Post, read_post, ship_id
from controllers.energy.quarters import NO_QUARTERS, QUARTER_US, Quarters, Readings
from controllers.energy.series import EMPTY, Changes, Series, TooManyRegisters, merged, quarters_of, rows_of, start_text

MOST_QUARTERS = 200_000
"""Quarters in a message, more than one post can span: so the changes of a post are published as a whole."""
MOST_SHIPS = 100_000
MOST_NEW_SHIPS, NEW_SHIPS_PER_S = 1_000, 10.0
"""Ships that may be new at once, and then per wall second: each one costs two queries."""
MOST_HELD = 10_000
"""Most posts that may wait for the recorder."""
NO_CHANGES = Changes(NO_QUARTERS, ())
_INTERVAL_ERROR = f"data: {INTERVAL_NEEDED}"


@dataclass(slots=True)
class _Ship:
    series: Series = field(default_factory=Series)
    reported: ReportedAnomalies = field(default_factory=ReportedAnomalies)
    known: bool = False
    recorded: list[Readings] = field(default_factory=list)
    """Readings of the posts that the recorder has returned so far."""
    held: list[tuple[Message, Post]] = field(default_factory=list)


class EnergyNormalizer:
    """Sans-I/O component that turns the posts of ships into quarters of an hour.

    `time_scale` is plant seconds per wall second; `start` is a token of this start, unlike those of earlier ones.
    """

    def __init__(self, time_scale: float = 1.0, start: bytes = b"start") -> None:
        self._ships: dict[str, _Ship] = {}
        self._history = History(time_scale, start)
        self._admission = Admission("ships", MOST_SHIPS, MOST_NEW_SHIPS, NEW_SHIPS_PER_S, time_scale)
        self._held = 0
        self._looked = False

    def on_message(self, message: Message, now_s: float) -> list[Publication]:
        """Take a post, an answer of the recorder, or the recorder's presence.

        Raises:
            Rejected: the post cannot be used, is of another ship than its topic, or there is no room for it.
        """
        if levels := RAW.parse(message.topic):
            if message.retain:  # of any age; the recording has it in its order
                return [] if levels["ship"] in self._ships else self._look_up(levels["ship"], now_s)
            return self._take_post(levels["ship"], message, now_s)
        if message.topic == ANSWER_TOPIC:
            answered = self._history.take(message, now_s)
            publications = [] if answered is None else self._take_answer(answered, now_s)
            return publications + self._history.next(now_s)
        if FORGET.parse(message.topic) is not None:
            return self._forget(message)
        return self._take_presence(message, now_s)

    def on_tick(self, now_s: float) -> list[Publication]:
        """Repeat queries that the recorder has not answered."""
        return self._history.tick(now_s)

    def _take_presence(self, message: Message, now_s: float) -> list[Publication]:
        if STATE.decode(message).state is not Presence.ONLINE:
            return []
        repeated = self._history.restart(now_s)  # also those that were sent before there was a recorder
        if self._looked:
            return repeated
        self._looked = True
        return [*repeated, *self._history.request(None, now_s)]

    def _take_post(self, topic_ship: str, message: Message, now_s: float) -> list[Publication]:
        try:
            post = read_post(message.payload)
            if str(post.ship) != topic_ship:
                raise Rejected(f"spaceship_id: is {post.ship!r}, but the topic is of ship {topic_ship!r}")
            return self._hold(topic_ship, message, post, now_s)
        except Rejected as error:
            if _response_topic(message) is None:
                raise
            return [_answer(message, Stored(_ship_or_none(topic_ship), error=str(error)))]

    def _hold(self, name: str, message: Message, post: Post, now_s: float) -> list[Publication]:
        ship = self._ships.get(name)
        if ship is not None and ship.known:
            return _posted(ship, message, post)
        if self._held >= MOST_HELD:
            raise Rejected("there is no room for more posts that wait for the recorder")
        if ship is None:
            try:
                self._admission.check(name, len(self._ships), now_s)
            except Rejected as error:
                raise Rejected(f"there is no room for another ship now: {error}") from None
        queries = [] if ship is not None else self._history.request(name, now_s)
        ship = self._ships.setdefault(name, _Ship())
        ship.held.append((message, post))
        self._held += 1
        return queries

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
        posts = [message.reference for message, _ in held[:-MOST_CAUSES:-1]]
        return because(_restore(ship, ship_id(answered.ship), held), *posts, QUERY.template.topic())

    def _forget(self, message: Message) -> list[Publication]:
        """Remove a ship from memory; what was recorded of it is queried again with its next post."""
        name = read_forget(message, "ship")
        if name is not None and (ship := self._ships.get(name)) is not None:
            if not ship.known:
                raise Rejected(f"the recorded data of ship {name} is just being read: repeat the request")
            del self._ships[name]
        return []

    def _look_up(self, name: str, now_s: float) -> list[Publication]:
        if _ship_or_none(name) is None or len(self._ships) >= MOST_SHIPS:
            return []
        self._ships[name] = _Ship()
        return self._history.request(name, now_s)


def _take_page(ship: _Ship, answered: Answered) -> None:
    """Take the published quarters and anomalies of a ship, or some of its posts."""
    published = [row for row in answered.rows if "start_us" in row]
    if published:
        ship.series.quarters = quarters_of([row for row in published if row["kind"] is None])
        ship.reported.add((int(row["start_us"]), str(row["kind"])) for row in published if row["kind"] is not None)
        return
    for row in sorted(answered.rows, key=lambda row: int(row["number"])):
        post = _usable(row["payload"])
        if post is None or str(post.ship) != answered.ship:
            continue
        if post.register is None:
            ship.recorded.append(post.readings)
        else:
            _add_register(ship, post)


def _restore(ship: _Ship, name: int | str, held: list[tuple[Message, Post]]) -> list[Publication]:
    """Continue from the recorded posts and those that waited; publish the changes once, then the answers."""
    recorded, ship.recorded, ship.known = ship.recorded, [], True
    posted = recorded + [EMPTY if post.register is not None else post.readings for _, post in held]
    begin = next((n for n, each in enumerate(posted) if len(each) and not _lacks_interval(each)), len(posted))
    errors = [_add_register(ship, post) for _, post in held]
    for n, each in enumerate(posted[len(recorded) : begin]):
        errors[n] = errors[n] or (_INTERVAL_ERROR if _lacks_interval(each) else None)
    answers = [_outcome(*each, error) for each, error in zip(held, errors, strict=True) if _response_topic(each[0])]
    if begin < len(posted):
        ship.series.add(merged(*posted[begin:]))
    first_us, published = ship.series.first_us, ship.series.quarters
    if first_us is None:
        return answers
    return [*_publications(ship, name, _recent(ship.series.refresh(), first_us, published)), *answers]


def _recent(changes: Changes, first_us: int, published: Quarters) -> Changes:
    """Leave out what only seems to have changed, because earlier posts may have been purged, but not their quarters."""
    place = np.searchsorted(published.start_us, changes.quarters.start_us)
    is_published = np.isin(changes.quarters.start_us, published.start_us)
    covered = np.append(published.coverage, 0.0)[place]
    is_cut = is_published & (changes.quarters.start_us < first_us) & (covered > changes.quarters.coverage)
    return Changes(changes.quarters.only(~is_cut), tuple(each for each in changes.removed_us if each >= first_us))


def _add_register(ship: _Ship, post: Post) -> str | None:
    """Add the values of a register, if it is one; return the error if there is no room for it."""
    try:
        if post.register is not None:
            ship.series.add_register(post.register, post.readings, post.falls)
    except TooManyRegisters as error:
        return f"register: {error}"
    return None


def _lacks_interval(posted: Readings) -> bool:
    """Return whether this is a single reading without an interval, with which a series cannot begin."""
    readings = merged(posted)
    return len(readings) == 1 and not readings.given_us[0] and not np.isnan(readings.value[0])


def _usable(payload: str) -> Post | None:
    try:
        return read_post(payload.encode())
    except Rejected:
        return None


def _posted(ship: _Ship, message: Message, post: Post) -> list[Publication]:
    """Add a post to its series; the answer comes after the quarters."""
    answering = _response_topic(message) is not None
    try:
        publications = _publications(ship, post.ship, _changes(ship.series, post))
    except (UnknownInterval, TooManyRegisters) as error:
        text = f"data: {error}" if isinstance(error, UnknownInterval) else f"register: {error}"
        if not answering:
            raise Rejected(text) from None
        return [_outcome(message, post, text)]
    return [*publications, _outcome(message, post)] if answering else publications


def _changes(series: Series, post: Post) -> Changes:
    if post.register is None:
        return series.post(post.readings)
    span = series.add_register(post.register, post.readings, post.falls)
    return NO_CHANGES if span is None else series.refresh(span)


def _outcome(message: Message, post: Post, error: str | None = None) -> Publication:
    if error is not None:
        return _answer(message, Stored(post.ship, error=error))
    return _answer(message, Stored(post.ship, int((~np.isnan(post.readings.value)).sum()), post.skipped))


def _publications(ship: _Ship, name: int | str, changes: Changes) -> list[Publication]:
    """Publish anomalies, then quarters: after a kill in between, the quarters are found unpublished, and the rest follows."""
    rows = rows_of(changes)
    messages = (rows[first : first + MOST_QUARTERS] for first in range(0, len(rows), MOST_QUARTERS))
    quarters = [INTERVAL.publication(Intervals(name, each), ship=str(name)) for each in messages]
    return [*_anomalies(ship, name, changes), *quarters]


def _anomalies(ship: _Ship, name: int | str, changes: Changes) -> list[Publication]:
    starts_us = [*changes.quarters.start_us.tolist(), *changes.removed_us]
    if not starts_us:
        return []
    changed = min(starts_us), max(starts_us) + QUARTER_US
    new = ship.reported.new(anomalies(ship.series.quarters, *changed), *changed)
    return [ANOMALY.publication(_anomaly(name, each), ship=str(name)) for each in new]


def _anomaly(ship: int | str, unusual: Unusual) -> Anomaly:
    return Anomaly(ship, start_text(unusual.start_us), unusual.kind, unusual.kwh, unusual.expected_kwh, unusual.text)


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
