from datetime import UTC, datetime

import pytest

from broker.contract import answers, streams
from broker.contract.heating import topics as heating
from broker.contract.roles import Role, check_topics
from broker.errors import InvalidTopic
from broker.launch.access import access_file, publish_filters, with_declared
from broker.launch.accounts import Account
from broker.mqtt.topics import covers, matches
from broker.runtime.declaration import Declaration

HEATING = Declaration(name="heating", summary="", publishes=(heating.VALVE_LEVEL, heating.STATE))


def test_publish_filters_cover_declaration_state_and_rejections() -> None:
    assert publish_filters(HEATING) == [
        "/actuators/+",
        "heating/+/state",
        "components/heating/state",
        "components/heating/warning",
        "rejected/heating",
    ]


def blocks(text: str) -> dict[str, list[str]]:
    """Return the lines of each account, under "" those for clients without one, under "pattern" those for all."""
    found: dict[str, list[str]] = {"": [], "pattern": []}
    account = ""
    for line in filter(None, text.splitlines()[1:]):
        if line.startswith("user "):
            account = line.removeprefix("user ")
            assert account not in found, "an account has one block"
            found[account] = []
        else:
            found["pattern" if line.startswith("pattern ") else account].append(line)
    return found


def test_anonymous_clients_publish_only_device_topics() -> None:
    found = blocks(access_file([HEATING]))
    writable = [line.removeprefix("topic write ") for line in found[""] if line.startswith("topic write")]
    assert sorted(writable) == ["/readings/#", "energy/+/raw", "machines/+/reading", "machines/+/status"]
    assert "topic read #" in found[""]
    assert "topic write /actuators/+" in found["heating"]
    assert not [line for line in found["heating"] if "/readings" in line]
    assert found[""] == found["device"]


def test_answers_are_denied_to_those_who_read_everything() -> None:
    found = blocks(access_file([HEATING], [account("carol", Role.VIEWER)]))
    denied = ["charging/answer/#", "energy/answer/#", "fastening/+/answer/#", "storage/answer/#"]
    for reader in ("", "carol"):
        assert [line for line in found[reader] if "answer" in line] == [f"topic deny {each}" for each in denied]
    assert "pattern read storage/answer/%u/#" in found["pattern"]
    assert all("%u" in line for line in found["pattern"])  # a client id proves nothing


def test_a_device_has_its_own_topics_or_those_given() -> None:
    found = blocks(access_file([], [account("office", Role.DEVICE), account("hall", Role.DEVICE, "/readings/#", "press/4/#")]))
    assert found["office"] == [
        "topic read /actuators/office",
        "topic read machines/office/status",
        "topic write energy/office/raw",
        "topic write /readings/office/#",
        "topic write machines/office/reading",
    ]
    assert [line for line in found["hall"] if "write" in line] == ["topic write /readings/#", "topic write press/4/#"]


def test_operators_read_all_topics_but_answers() -> None:
    found = blocks(access_file([], [account("alice", Role.OPERATOR), account("x", Role.DEVICE, "press/4/#")]))["alice"]
    readable = [line.removeprefix("topic read ") for line in found if line.startswith("topic read ")]
    for stream in set(streams()) - set(answers()):
        assert any(covers(each, stream.template.filter) for each in readable), stream.template.text
    for stream in answers():
        assert not any(covers(each, stream.template.filter) for each in readable)
        levels = dict.fromkeys(stream.template.parameters, "x/y")
        topic = stream.template.text.format(**levels)
        assert not any(matches(each, topic) for each in readable)
    assert "press/4/#" in readable
    assert "topic write heating/+/setpoint" in found


def test_only_an_admin_has_storage_requests() -> None:
    found = blocks(access_file([], [account(role.value, role) for role in Role if role is not Role.DEVICE]))
    having = [name for name, lines in found.items() if "topic write storage/request" in lines]
    assert having == ["admin"]
    assert not [line for line in found["viewer"] if "write" in line]


def test_a_component_wins_over_an_account_of_its_name() -> None:
    found = blocks(access_file([HEATING], [account("heating", Role.ADMIN)]))
    assert "topic write storage/request" not in found["heating"]


@pytest.mark.parametrize(
    "each", ["#", "+/x", "/#", "/actuators/x", "heating/x/setpoint", "storage/#", "replay/x", "$SYS/#", "a+", " a", ""]
)
def test_a_filter_beyond_a_device_is_refused(each: str) -> None:
    with pytest.raises(InvalidTopic):
        check_topics(Role.DEVICE, [each])


def test_filters_are_for_devices_and_viewers() -> None:
    check_topics(Role.DEVICE, ["/readings/a/temperature", "machines/+/status", "press/#"])
    check_topics(Role.VIEWER, ["#", "heating/#"])
    with pytest.raises(InvalidTopic, match="devices and viewers"):
        check_topics(Role.ADMIN, ["press/#"])


def account(name: str, role: Role, *topics: str) -> Account:
    now = datetime(2026, 1, 2, tzinfo=UTC)
    return Account(name=name, role=role, topics=topics, password_hash="", made_at=now, changed_at=now)


def test_declared_rights_are_put_into_their_block_only() -> None:
    text = "user a\ntopic read x\n\nuser devices\ntopic write d\n\nuser e\ntopic read y\n"
    declared = with_declared(text, ["p", "q r"], ["f/+"])
    assert declared == (
        "user a\ntopic read x\n\nuser devices\ntopic write d\n# what the declarations of devices name\n"
        "topic read f/+\ntopic write p\ntopic write q r\n\nuser e\ntopic read y\n"
    )
    assert with_declared(declared, [], []) == text
    assert with_declared(with_declared(declared, ["z"], []), ["p", "q r"], ["f/+"]) == declared
    assert with_declared("user a\n", ["p"], []) == "user a\n"
