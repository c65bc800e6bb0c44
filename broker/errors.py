"""Errors of the bus.

BusError
├── InvalidTopic      a topic or filter that MQTT does not allow
├── Rejected          bad input: a message that a component cannot use, with the reason
├── InvalidSetting    an environment variable whose value cannot be used
├── BrokerUnavailable the broker cannot be reached or refused the connection
├── TakenOver         another client connected with the same client id
├── CannotStart       a component lacks what it needs; the text names the fix
└── BrokerUnusable    there is no Mosquitto here, or one that is too old (`broker.launch.mosquitto`)
"""


class BusError(Exception):
    """Root of every error of the bus."""


class InvalidTopic(BusError, ValueError):
    """A topic name, filter or topic level that MQTT 5 (section 4.7) does not allow."""


class Rejected(BusError, ValueError):
    """A message that cannot be used. The runtime publishes it whole, with this reason, to `rejected/{component}`."""


class InvalidSetting(BusError, ValueError):
    """An environment variable whose value cannot be used; the text names the variable and what it accepts."""


class BrokerUnavailable(BusError):
    """The broker cannot be reached, did not answer in time, or refused the connection; the text says which."""


class TakenOver(BusError):
    """Another client has, or took, this one's place: only one may have a client id (MQTT 5 section 3.1.4)."""


class CannotStart(BusError):
    """A component cannot start because something it needs is missing or held by another; the text names the fix."""
