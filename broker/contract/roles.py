"""Roles of accounts, and what each of them may do. The topics that it follows from are declared with the systems' topics."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from broker.contract import admin_streams, answers, device_filters, device_topics, operator_streams, replay, streams
from broker.errors import InvalidTopic
from broker.mqtt.topics import covers, validate_filter

STATISTICS = "$SYS/#"
"""What a broker publishes about itself."""


class Role(Enum):
    """What an account is for."""

    DEVICE = "device"
    """Publishes the readings of one room, machine or ship, and receives what is meant for that."""
    VIEWER = "viewer"
    """Reads everything, except answers to others."""
    OPERATOR = "operator"
    """Reads the same, steers the plant, and queries the recording."""
    ADMIN = "admin"
    """Operates, archives, makes views and replays. Accounts are managed on the broker's machine only, with `scaup account`."""


@dataclass(frozen=True, slots=True)
class Rights:
    """Topic filters to which an account may publish, and which it may read. What `hides` selects is denied, to publish too.

    Every account may also read the answers to its own requests: `answer_patterns`.
    """

    publishes: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    hides: tuple[str, ...] = ()


def rights(role: Role, name: str, topics: tuple[str, ...] = (), further: Iterable[str] = ()) -> Rights:
    """Return what an account may do.

    Args:
        role: its role.
        name: the account, for a device also the name of its room, machine and ship.
        topics: filters that a device may publish to in place of its own, or to which a viewer is confined. Those that no system
            uses a device may read, too: commands for it are there.
        further: filters beside those of the contract, on which devices publish.
    """
    if role is Role.DEVICE:
        publishes, receives = device_topics(name)
        return Rights(topics or publishes, (*receives, *filter(is_further, topics)))
    if role is Role.VIEWER:
        return Rights((), topics or ("#", STATISTICS), answer_filters())
    publishes = tuple(each.template.filter for each in operator_streams())
    if role is Role.ADMIN:
        publishes += (*(each.template.filter for each in admin_streams()), f"{replay.PREFIX}#", *device_filters())
    return Rights(publishes, (*readable_filters(), *further, STATISTICS))


def anonymous_rights() -> Rights:
    """Return what a client without an account may do, on the listeners that let it in."""
    return Rights(device_filters(), ("#", STATISTICS), answer_filters())


def answer_filters() -> tuple[str, ...]:
    """Return the filters of all answers."""
    return tuple(each.template.filter for each in answers())


def free_answers() -> tuple[str, ...]:
    """Return the filters of answers to clients whose response topic does not begin with their account."""
    return tuple(each.template.filter.removesuffix("#") + "+" for each in answers())


def answer_patterns() -> tuple[str, ...]:
    """Return what every account may read of the answers, with `%u` for its name (mosquitto.conf(5)).

    A client names its account in its response topics: `storage/answer/{account}/{anything}`. Its client id would prove nothing:
    anyone may choose any, also one that contains slashes.
    """
    return tuple(each.template.filter.removesuffix("#") + "%u/#" for each in answers())


def readable_filters() -> tuple[str, ...]:
    """Return filters for everything in the contract except answers, as few as possible."""
    hidden = set(answers())
    found = [*device_filters(), f"{replay.PREFIX}#", *(each.template.filter for each in streams() if each not in hidden)]
    return tuple(each for each in dict.fromkeys(found) if not any(each != other and covers(other, each) for other in found))


def check_topics(role: Role, topics: Iterable[str]) -> None:
    """Check the filters that are given to an account.

    A device may get filters on which devices publish, and topics of its own that no system uses.

    Raises:
        InvalidTopic: a filter is not valid, or gives more than the role may have; the text says why.
    """
    for each in topics:
        validate_filter(each)
        if any(not character.isprintable() or character == "\ufeff" for character in each) or each != each.strip():
            raise InvalidTopic(
                f"{each!r}: the access file cannot hold it, with a space at an end or a character that is not printable"
            )
        if each.startswith("$"):
            raise InvalidTopic(f"{each!r}: topics that begin with $ are the broker's own")
        if role in (Role.OPERATOR, Role.ADMIN):
            raise InvalidTopic(f"an account with the role {role.value} has all its topics: --topics is for devices and viewers")
        if role is Role.DEVICE and not any(covers(allowed, each) for allowed in device_filters()) and _is_ours(each):
            raise InvalidTopic(
                f"{each!r} is more than a device may publish: give it filters within {', '.join(device_filters())}, "
                "or with a first level that no system uses"
            )


def is_further(topic_filter: str) -> bool:
    """Return whether a device's filter selects topics that no system uses."""
    return not _is_ours(topic_filter)


def _is_ours(topic_filter: str) -> bool:
    """Return whether a filter may select topics that a system uses: its first level is one of theirs, or a wildcard."""
    first = topic_filter.split("/")[0]
    used = {each.template.text.split("/")[0] for each in streams()} | {replay.PREFIX.rstrip("/")}
    return first in used | {"+", "#", "device", "devices"}
