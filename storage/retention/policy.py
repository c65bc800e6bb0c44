"""The retention policy: how long the messages of each topic are kept, as a text file says (`retention.conf` by default).

`maintenance.py` applies it once a day and whenever free disk is short: `archive.py` moves days that are over from the database
to the archive, and `purge.py` deletes from the archive what the policy no longer keeps.

    # filter          how long; the first line that matches a topic applies
    storage/stats     keep 7d raw
    /readings/#       keep 30d raw, keep 1y 15-min means
    #                 forever

    floor 1GB         # free disk below which messages with a limit are deleted early, oldest first
    live 1d           # whole days that stay in the database file before they move to the archive

Durations are days (`7d`), weeks (`2w`), months of 30 days (`6mo`) or years of 365 days (`1y`) from the end of a message's day.
"""

import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from broker.errors import InvalidTopic
from broker.mqtt.topics import matches, validate_filter
from storage.errors import InvalidPolicy

SHIPPED_POLICY = Path(__file__).with_name("retention.conf")
"""The policy that applies unless SCAUP_RETENTION names another file: it keeps everything."""
_DAYS = {"d": 1, "w": 7, "mo": 30, "y": 365}
_BYTES = {"MB": 1_000_000, "GB": 1_000_000_000, "TB": 1_000_000_000_000}
_KEEP = re.compile(r"keep (\d+)(d|w|mo|y) (raw|15-min means)")
_SIZE = re.compile(r"(\d+) ?(MB|GB|TB)")
_LIVE = re.compile(r"(\d+)(d|w|mo|y)")
_FIRST_WORD = re.compile(r"""(?:"([^"]*)"|'([^']*)'|([^\s"']\S*))(?=\s|$)""")
_MAX_LIVE_DAYS = 36_500


@dataclass(frozen=True, slots=True)
class Rule:
    """Days for which the messages of a topic filter are kept, None for ever; `means_days` is 0 if no means are kept."""

    topic_filter: str
    raw_days: int | None = None
    means_days: int | None = 0


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules in their order, the floor of free disk, and the whole days before a day moves to the archive."""

    rules: tuple[Rule, ...] = ()
    floor_bytes: int = 0
    live_days: int = 0

    def rule(self, topic: str) -> Rule:
        """Return the first rule that matches a topic. Topics that no rule matches are kept for ever."""
        return next((rule for rule in self.rules if matches(rule.topic_filter, topic)), _FOREVER)

    def expired(self, topic: str, day: date, today: date, early: bool = False) -> Rule | None:
        """Return the rule by which messages on `topic` of `day` are no longer kept raw, None if they are kept.

        With `early`, for a disk that is nearly full, every limit counts as exceeded.
        """
        rule = self.rule(topic)
        return rule if _over(rule.raw_days, day, today, early) else None

    def means_expired(self, topic: str, day: date, today: date, early: bool = False) -> bool:
        """Return whether the means of messages on `topic` of `day` are no longer kept."""
        rule = self.rule(topic)
        return rule.raw_days is not None and _over(rule.means_days, day, today, early)

    @property
    def deletes_anything(self) -> bool:
        """Whether any rule has a limit."""
        return any(rule.raw_days is not None for rule in self.rules)

    def has_expired(self, day: date, today: date) -> bool:
        """Return whether any rule's limit is over for `day`: only then its topics have to be read."""
        return any(_over(days, day, today, False) for rule in self.rules for days in (rule.raw_days, rule.means_days or None))


_FOREVER = Rule("#")


def _over(days: int | None, day: date, today: date, early: bool) -> bool:
    return days is not None and (early or (today - day).days > days)


def read_policy(path: Path) -> Policy:
    """Read the policy from a file.

    Raises:
        InvalidPolicy: it cannot be read, or a line is wrong; the text names the line and the reason.
    """
    try:
        text = path.read_text("utf-8-sig")  # some editors write a byte order mark
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidPolicy(f"the retention policy {path} cannot be read: {error}; SCAUP_RETENTION names it") from error
    return parse_policy(text, str(path))


def parse_policy(text: str, name: str = "the retention policy") -> Policy:
    """Parse a policy.

    Raises:
        InvalidPolicy: a line is wrong; the text names the line and the reason.
    """
    rules: list[Rule] = []
    settings: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        try:
            words = _words(line)
            if not words:
                continue
            if words[0] in settings:
                raise ValueError(f"{words[0]!r} is set twice: keep one of the lines")
            if words[0] in _SETTINGS:
                settings[words[0]] = _SETTINGS[words[0]](words[1:])
            else:
                rules.append(_rule(words[0], " ".join(words[1:])))
        except (ValueError, InvalidTopic) as error:
            raise InvalidPolicy(f"{name}, line {number}: {error}") from error
    return Policy(tuple(rules), settings.get("floor", 0), settings.get("live", 0))


def _words(line: str) -> list[str]:
    """Split a line. A line that begins with `#` is a comment, except `# forever`; `"#"` in quotes is always the filter."""
    stripped = line.strip()
    if re.match(r"#\s+keep \d", stripped):
        raise ValueError('this could be a comment or a rule for every topic. For a rule, write "#" in quotes')
    if stripped.startswith("#") and not re.fullmatch(r"#\s+forever", stripped):
        return []
    if not stripped:
        return []
    first = _FIRST_WORD.match(stripped)
    if first is None:
        raise ValueError(f"a quote is not closed in {stripped!r}: put a topic filter with spaces between two quotes")
    word = next(group for group in first.groups() if group is not None)
    return [word, *re.split(r"(?:^|\s)#", stripped[first.end() :])[0].split()]


def _rule(topic_filter: str, kept: str) -> Rule:
    validate_filter(topic_filter)
    if kept == "forever":
        return Rule(topic_filter)
    days: dict[str, int] = {}
    for clause in kept.split(","):
        found = _KEEP.fullmatch(clause.strip())
        if found is None:
            raise ValueError(f"{clause.strip()!r} should be 'forever', 'keep 7d raw' or 'keep 1y 15-min means'")
        if found[3] in days:
            raise ValueError(f"{found[3]!r} is set twice: keep one of the clauses")
        days[found[3]] = int(found[1]) * _DAYS[found[2]]
    if "raw" not in days:
        raise ValueError("means only exist of messages that are no longer kept raw: add for instance 'keep 7d raw'")
    if 0 < days.get("15-min means", 0) <= days["raw"]:
        raise ValueError("means only exist of messages that are no longer kept raw: keep them for longer, or not at all")
    return Rule(topic_filter, days["raw"], days.get("15-min means", 0))


def _size(words: list[str]) -> int:
    found = _SIZE.fullmatch(" ".join(words))
    if found is None:
        raise ValueError("the floor is a size such as 'floor 1GB' (MB, GB or TB)")
    return int(found[1]) * _BYTES[found[2]]


def _live(words: list[str]) -> int:
    found = _LIVE.fullmatch(" ".join(words))
    if found is None:
        raise ValueError("the time that days stay in the database file is a duration such as 'live 1d'")
    if (days := int(found[1]) * _DAYS[found[2]]) > _MAX_LIVE_DAYS:
        raise ValueError(f"days can stay in the database file for {_MAX_LIVE_DAYS} days at most")
    return days


_SETTINGS = {"floor": _size, "live": _live}
