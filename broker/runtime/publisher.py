"""A publisher: stamps and numbers the publications of one start of a component."""

import gmqtt

from broker.message import Publication
from broker.mqtt.connection import Connection
from broker.mqtt.topics import validate_topic
from broker.runtime.clock import PlantClock, new_boot
from broker.stamp import CAUSE, HISTORY, MOST_CAUSES, Stamp


class Publisher:
    """Stamps publications with `source`, `boot` and `seq` (1, 2, 3…), and with `plant-time` where they describe the plant."""

    def __init__(self, source: str, clock: PlantClock) -> None:
        self.source = source
        self.boot = new_boot()
        self._clock = clock
        self._seq = self._history_seq = 0

    @property
    def seq(self) -> int:
        """The number of the latest publication."""
        return self._seq

    def publish(
        self, publication: Publication, connection: Connection, urgent: bool = False, causes: tuple[str, ...] = ()
    ) -> None:
        """Stamp a publication and hand it to the connection, which sends an urgent one before all others.

        Args:
            publication: what to send.
            connection: where to.
            urgent: before all others.
            causes: those of a publication that names none itself.

        Raises:
            InvalidTopic: the topic may not be published to: the broker would disconnect, again after each reconnect.
        """
        connection.publish(self.stamped(publication, causes), urgent)

    def stamped(self, publication: Publication, causes: tuple[str, ...] = ()) -> gmqtt.Message:
        """Return the packet of a publication, numbered, with its own causes, or else with these.

        Raises:
            InvalidTopic: the topic may not be published to.
        """
        validate_topic(publication.topic)
        user = [*self._stamp(publication).user_properties(), *publication.properties]
        user += [(CAUSE, each) for each in (publication.causes or causes)[:MOST_CAUSES]]
        properties: dict[str, object] = {"user_property": user}
        if publication.response_topic is not None:
            properties["response_topic"] = publication.response_topic
        if publication.correlation_data is not None:
            properties["correlation_data"] = publication.correlation_data
        if publication.content_type is not None:
            properties["content_type"] = publication.content_type
        return _packet(publication, properties)

    def _stamp(self, publication: Publication) -> Stamp:
        if publication.history_at is not None:
            self._history_seq += 1
            return Stamp(self.source, HISTORY + self.boot, self._history_seq, publication.history_at)
        self._seq += 1
        plant_at = publication.plant_at
        if plant_at is None and publication.plant:
            plant_at = self._clock.at()
        return Stamp(self.source, self.boot, self._seq, plant_at)

    def will(self, publication: Publication) -> gmqtt.Message:
        """Make a publication the will: stamped but not numbered, since the broker may never publish it."""
        return _packet(publication, {"user_property": list(Stamp(self.source, self.boot).user_properties())})


def _packet(publication: Publication, properties: dict[str, object]) -> gmqtt.Message:
    return gmqtt.Message(publication.topic, publication.payload, qos=publication.qos, retain=publication.retain, **properties)
