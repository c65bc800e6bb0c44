from datetime import date, timedelta
from pathlib import Path

import pytest

import storage.retention
from storage.errors import InvalidPolicy
from storage.retention.policy import Policy, Rule, parse_policy, read_policy

DAY = date(2026, 11, 1)


def after(days: int) -> date:
    return DAY + timedelta(days=days)


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("a/b forever", Rule("a/b")),
        ("a/b keep 7d raw", Rule("a/b", 7, 0)),
        ("a/b keep 0d raw", Rule("a/b", 0, 0)),
        ("a/b keep 2w raw, keep 1y 15-min means", Rule("a/b", 14, 365)),
        ("a/b keep 1y 15-min means, keep 6mo raw", Rule("a/b", 180, 365)),
        ("\ta/+/c   keep  7d   raw,keep 1y 15-min means ", Rule("a/+/c", 7, 365)),
        ("# forever", Rule("#")),
        ('"#"    keep 7d raw', Rule("#", 7, 0)),
        ('"#" forever', Rule("#")),
        ("/readings/# keep 7d raw", Rule("/readings/#", 7, 0)),
        ("a/b keep 7d raw # it doesn't matter", Rule("a/b", 7, 0)),
        ("a/b forever #", Rule("a/b")),
        ('"a b/#" keep 7d raw', Rule("a b/#", 7, 0)),
        ("'a \"b' keep 7d raw", Rule('a "b', 7, 0)),
        ("größe/€ forever", Rule("größe/€")),
        ("it's forever", Rule("it's")),
        ("'it s' forever", Rule("it s")),
    ],
)
def test_line_sets_the_time_for_a_filter(line: str, rule: Rule) -> None:
    assert parse_policy(line) == Policy((rule,))


@pytest.mark.parametrize(
    "line", ["", "   ", "#", "# a comment", "#comment", "#keep 7d raw", "# keeps 7d raw", "##", "\t# 'quoted"]
)
def test_comments_and_empty_lines_are_ignored(line: str) -> None:
    assert parse_policy(line) == Policy()


@pytest.mark.parametrize(
    ("line", "fix"),
    [
        ("a/b", "should be 'forever', 'keep 7d raw' or"),
        ("a/b keep", "should be 'forever'"),
        ("a/b keep 7d", "'keep 7d' should be 'forever', 'keep 7d raw'"),
        ("a/b keep -7d raw", "should be 'forever'"),
        ("a/b keep 7 d raw", "should be 'forever'"),
        ("a/b keep 7m raw", "should be 'forever'"),
        ("a/b keep 1.5y raw", "should be 'forever'"),
        ("a/b keep 7d raw,", "'' should be 'forever'"),
        ("a/b keep 7d raw keep 1y 15-min means", "should be 'forever'"),
        ("a/b keep 1y 15-min means", "add for instance 'keep 7d raw'"),
        ("a/b keep 7d raw, keep 8d raw", "set twice"),
        ("a/b keep 7d raw, keep 7d 15-min means", "keep them for longer"),
        ("a/b keep 7d raw, keep 1d 15-min means", "keep them for longer"),
        ("a/b forever, keep 7d raw", "should be 'forever'"),
        ("a/#/b forever", "#"),
        ("a#/b forever", "#"),
        ("a+/b forever", "\\+"),
        ('"" forever', "at least one character"),
        ('"a/b forever', "a quote is not closed"),
        ('"a/b"x forever', "a quote is not closed"),
        ("# keep 7d raw", 'write "#" in quotes'),
        ("floor", "such as 'floor 1GB'"),
        ("floor 1", "such as 'floor 1GB'"),
        ("floor 1GiB", "such as 'floor 1GB'"),
        ("floor -1GB", "such as 'floor 1GB'"),
        ("floor keep 7d raw", "such as 'floor 1GB'"),
        ("live", "such as 'live 1d'"),
        ("live 1", "such as 'live 1d'"),
        ("live 999999999y", "at most"),
        ("floor 1GB\nfloor 2GB", "'floor' is set twice"),
        ("live 1d\nlive 1d", "'live' is set twice"),
    ],
)
def test_wrong_line_is_named_with_the_fix(line: str, fix: str) -> None:
    number = 3 + line.count("\n")
    with pytest.raises(InvalidPolicy, match=f"^policy.conf, line {number}: .*{fix}"):
        parse_policy(f"# comment\n\n{line}\n# forever", "policy.conf")


def test_settings_may_stand_among_rules() -> None:
    policy = parse_policy("floor 20 GB # a lot\na keep 1d raw\nlive 2w\n")
    assert policy == Policy((Rule("a", 1, 0),), 20_000_000_000, 14)
    assert parse_policy("floor 5MB").floor_bytes == 5_000_000
    assert parse_policy("floor 1TB").floor_bytes == 10**12


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_line_ends_and_byte_order_marks_are_accepted(ending: str, bom: bytes, tmp_path: Path) -> None:
    path = tmp_path / "retention.conf"
    path.write_bytes(bom + ending.join(["a keep 1d raw", "# what follows is kept", "b forever", ""]).encode())
    assert read_policy(path) == Policy((Rule("a", 1, 0), Rule("b")))


@pytest.mark.parametrize("content", [None, b"a \xff forever"])
def test_unreadable_file_is_named_with_its_setting(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "retention.conf"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidPolicy, match=r"retention\.conf cannot be read: .*SCAUP_RETENTION names it"):
        read_policy(path)


def test_shipped_policy_keeps_everything() -> None:
    policy = read_policy(Path(storage.retention.__file__).with_name("retention.conf"))
    assert policy == Policy((Rule("#"),), 1_000_000_000, 0)


def test_first_matching_line_applies() -> None:
    policy = parse_policy('a/keep forever\na/# keep 1d raw\n"#" keep 9d raw\na/late keep 3d raw')
    assert [policy.rule(topic).raw_days for topic in ("a/keep", "a", "a/x/y", "a/late", "b")] == [None, 1, 1, 1, 9]


def test_unmatched_topics_are_kept_for_ever() -> None:
    assert parse_policy("a keep 1d raw").expired("b", DAY, after(9_999), early=True) is None


@pytest.mark.parametrize(("days", "expired"), [(0, False), (6, False), (7, False), (8, True), (9, True)])
def test_raw_messages_are_kept_for_whole_days(days: int, expired: bool) -> None:
    policy = parse_policy("a keep 7d raw, keep 14d 15-min means")
    assert (policy.expired("a", DAY, after(days)) is not None) is expired
    assert policy.has_expired(DAY, after(days)) is expired


@pytest.mark.parametrize(("days", "expired"), [(7, False), (8, False), (14, False), (15, True)])
def test_means_are_kept_for_whole_days(days: int, expired: bool) -> None:
    policy = parse_policy("a keep 7d raw, keep 14d 15-min means")
    assert policy.means_expired("a", DAY, after(days)) is expired


def test_zero_days_expire_when_the_day_is_over() -> None:
    policy = parse_policy("a keep 0d raw")
    assert policy.expired("a", DAY, DAY) is None
    assert policy.expired("a", DAY, after(1)) is not None
    assert policy.means_expired("a", DAY, after(1))


def test_early_expires_rules_with_a_limit_only() -> None:
    policy = parse_policy("a keep 1y raw, keep 2y 15-min means\nb forever")
    assert policy.expired("a", DAY, DAY, early=True) is not None
    assert policy.means_expired("a", DAY, DAY, early=True)
    assert policy.expired("b", DAY, after(9_999), early=True) is None
    assert not policy.means_expired("b", DAY, after(9_999), early=True)


def test_policy_without_limits_never_expires() -> None:
    assert not parse_policy("a forever\n# forever").has_expired(DAY, after(9_999))
