"""Topics and filters: validate, build, parse and match them.

Rules from MQTT 5.0 section 4.7: levels are separated by `/`, `+` matches one level, a trailing `#` matches the parent and
everything below it, and a wildcard at the first level does not match topics that begin with `$`.
"""

import re
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import zip_longest

from broker.errors import InvalidTopic

_MAX_BYTES = 65_535
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_NO_CHARACTER = re.compile("[\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
"""Section 1.5.4: surrogates must not be sent, noncharacters should not. Mosquitto disconnects a client that sends them."""
_PARAMETER = re.compile(r"\{([a-z_]+)\}")


def validate_topic(topic: str) -> str:
    """Return `topic` if it may be published to.

    Raises:
        InvalidTopic: it is empty, longer than 65,535 bytes of UTF-8, or holds a wildcard or a control character.
    """
    _check_text(topic)
    if "+" in topic or "#" in topic:
        raise InvalidTopic(f"topic {topic!r} contains a wildcard: + and # belong in filters")
    return topic


def validate_filter(topic_filter: str) -> str:
    """Return `topic_filter` if it may be subscribed to.

    Raises:
        InvalidTopic: it is empty or too long, a wildcard is only part of a level, or `#` is not last.
    """
    _check_text(topic_filter)
    levels = topic_filter.split("/")
    for index, level in enumerate(levels):
        if len(level) > 1 and ("+" in level or "#" in level):
            raise InvalidTopic(f"filter {topic_filter!r}: a wildcard must be a whole level, not part of {level!r}")
        if level == "#" and index != len(levels) - 1:
            raise InvalidTopic(f"filter {topic_filter!r}: # must be the last level")
    return topic_filter


def matches(topic_filter: str, topic: str) -> bool:
    """Return whether a valid `topic_filter` selects `topic`, by the rules of a broker."""
    return _compiled(topic_filter).fullmatch(topic) is not None


def covers(wider: str, narrower: str) -> bool:
    """Return whether the valid filter `wider` selects every topic that the valid filter `narrower` selects."""
    if narrower.startswith("$") and wider.startswith(("+", "#")):
        return False
    for mine, theirs in zip_longest(wider.split("/"), narrower.split("/")):
        if mine == "#":
            return True
        if mine is None or theirs in (None, "#") or mine not in ("+", theirs):
            return False
    return True


def overlaps(one: str, other: str) -> bool:
    """Return whether there is a topic that both valid filters select."""
    for first, second in ((one, other), (other, one)):
        if first.startswith("$") and second.startswith(("+", "#")):
            return False
    for mine, theirs in zip_longest(one.split("/"), other.split("/")):
        if "#" in (mine, theirs):
            return True
        if mine is None or theirs is None or (mine != theirs and "+" not in (mine, theirs)):
            return False
    return True


def filter_pattern(topic_filter: str) -> str:
    """Return the regular expression that whole topics match where a valid filter selects them, for Python's `re` and for RE2.

    Its `.` must match a line end too. It leaves out the rule about topics that begin with `$`, which RE2 cannot express.
    """
    levels = topic_filter.split("/")
    body = "/".join("[^/]*" if level == "+" else re.escape(level) for level in levels if level != "#")
    if levels[-1] == "#":
        return f"{body}(?:/.*)?" if len(levels) > 1 else ".*"
    return body


def _check_text(topic: str) -> None:
    if not topic:
        raise InvalidTopic("a topic must have at least one character")
    if _NO_CHARACTER.search(topic):
        raise InvalidTopic(f"topic {topic!a} contains a noncharacter or surrogate: brokers may disconnect")
    if _CONTROL.search(topic):
        raise InvalidTopic(f"topic {topic!r} contains a control character: brokers may disconnect")
    if len(topic.encode("utf-8", "surrogatepass")) > _MAX_BYTES:
        raise InvalidTopic(f"topic of {len(topic)} characters is longer than {_MAX_BYTES} bytes")


@lru_cache(maxsize=1024)
def _compiled(topic_filter: str) -> re.Pattern[str]:
    not_system = "(?!\\$)" if topic_filter.startswith(("+", "#")) else ""
    return re.compile(not_system + filter_pattern(topic_filter), re.DOTALL)


@dataclass(frozen=True, slots=True)
class TopicTemplate:
    """A family of topics with named levels, such as `/readings/{room}/temperature`.

    Raises:
        InvalidTopic: the text with its parameters filled in would not be a topic.
    """

    text: str
    deep: bool = False
    """The last level is a parameter whose value may have several levels."""
    filter: str = field(init=False)
    """The MQTT filter that selects the whole family: `/readings/+/temperature`."""
    parameters: tuple[str, ...] = field(init=False)
    pattern: str = field(init=False, repr=False, compare=False)
    """The regular expression of the family's topics, for Python's `re` and for RE2, with a group for each parameter."""
    _compiled: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        validate_topic(self.text)
        topic_filter = _PARAMETER.sub("+", self.text)
        object.__setattr__(self, "filter", validate_filter(topic_filter[:-1] + "#" if self.deep else topic_filter))
        object.__setattr__(self, "parameters", tuple(_PARAMETER.findall(self.text)))
        *levels, last = self.text.split("/")
        pattern = "/".join([*map(_level_pattern, levels), _level_pattern(last, self.deep)])
        object.__setattr__(self, "pattern", pattern)
        object.__setattr__(self, "_compiled", re.compile(pattern))

    def topic(self, **levels: str) -> str:
        """Build one topic of the family from its named levels.

        Raises:
            InvalidTopic: a level is missing, unknown, empty, or holds `/`, a wildcard or a null character.
        """
        if set(levels) != set(self.parameters):
            raise InvalidTopic(f"{self.text} needs exactly {', '.join(self.parameters) or 'no levels'}")
        for name, level in levels.items():
            refused = "+#\0" if self.deep and name == self.parameters[-1] else "/+#\0"
            if not level or any(character in level for character in refused):
                raise InvalidTopic(f"{level!r} cannot be the {name} of {self.text}")
        return validate_topic(self.text.format(**levels))

    def parse(self, topic: str) -> dict[str, str] | None:
        """Return the named levels of `topic`, None if it is not of this family (an empty level does not match)."""
        match = self._compiled.fullmatch(topic)
        return match.groupdict() if match else None


def _level_pattern(level: str, deep: bool = False) -> str:
    parameter = _PARAMETER.fullmatch(level)
    more = "(?:/[^/+#\\x00]+)*" if deep else ""
    return f"(?P<{parameter[1]}>[^/+#\\x00]+{more})" if parameter else re.escape(level)
