"""Errors of the bus.

BusError
├── InvalidTopic      a topic or filter that MQTT does not allow
├── Rejected          bad input: a message that a component cannot use, with the reason
├── InvalidSetting    an environment variable whose value cannot be used
├── BrokerUnavailable the broker cannot be reached or refused the connection
├── TakenOver         another instance of the same component took over
├── NotAllowedHere    a component that may not run in this place, such as a copy of its data directory
├── CannotStart       something that a component needs is missing; the text names the fix
└── BrokerUnusable    Mosquitto is not installed, or too old (`broker.launch.mosquitto`)
"""

from collections.abc import Sequence
from typing import Any

TAKEN_OVER_EXIT = 75
"""Exit code of a process that ends with `TakenOver`: a supervisor must not restart it."""
NOT_ALLOWED_EXIT = 4
"""Exit code of a process that ends with `NotAllowedHere`: a supervisor must not restart it either."""


class BusError(Exception):
    """Root of every error of the bus."""


class InvalidTopic(BusError, ValueError):
    """A topic name, filter or topic level that MQTT 5 (section 4.7) does not allow."""


class Rejected(BusError, ValueError):
    """A message that cannot be used. The runtime publishes it whole, with this reason, to `rejected/{component}`.

    Args:
        reason: text for people.
        consequences: instances of `Publication` that follow from it all the same.
    """

    def __init__(self, reason: str, consequences: Sequence[Any] = ()) -> None:
        super().__init__(reason)
        self.consequences = consequences


class InvalidSetting(BusError, ValueError):
    """An environment variable whose value cannot be used; the text names the variable and what it accepts."""


class BrokerUnavailable(BusError):
    """The broker cannot be reached, did not answer in time, or refused the connection; the text names the cause."""


class LoginRefused(BrokerUnavailable):
    """The broker refused the connection because of its name, its password or its certificate."""


class NotAllowed(BrokerUnavailable):
    """The broker refused a publication because of its access rules."""


class TakenOver(BusError):
    """Another client has or took this one's client id, which only one may use at a time (MQTT 5 section 3.1.4)."""


class NotAllowedHere(BusError):
    """A component may not run in this place, such as a copy of its data directory; the text names the fix."""


class CannotStart(BusError):
    """A component cannot start because something it needs is missing or in use by another process; the text names the fix."""
