import orjson
import pytest

from broker.contract.charging.topics import PAIRS, ChargerState, EndedBy, Pairs, Status
from broker.errors import Rejected
from broker.message import Message, decode
from broker.stamp import Stamp
from controllers.charging.component import ADAPTER_GRACE_S, GRACE_S
from tests.controllers.charging.world import PAIRS_OF_TESTS, World, at, calendar, soc_message, started

BOUNDARIES = [
    (0, "charging"),
    (79.99, "charging"),
    (80, "charging80"),
    (99.99, "charging80"),
    (100, "charged"),
]


@pytest.mark.parametrize(("soc", "status"), BOUNDARIES)
def test_a_widget_shows_its_chargers_status(soc: float, status: str) -> None:
    world = started()
    session = "session charged" if soc == 100 else "session begun"
    assert world.soc(soc) == [f"w1 {status}", session, "state online"]
    status_of_w1 = next(each for each in world.published if each.topic == "widgets/w1/status")
    assert status_of_w1.payload == f'{{"event":"chargingStatus","data":{{"status":"{status}"}}}}'.encode()
    assert status_of_w1.retain
    assert status_of_w1.plant


def frame(data: bytes) -> bytes:
    return b'{"event":"StateOfCharge","data":' + data + b"}"


@pytest.mark.parametrize(
    "payload",
    [
        *map(frame, [b'{"soc":"70"}', b'{"soc":true}', b'{"soc":NaN}', b'{"soc":"NaN"}', b'{"soc":1e999}', b'{"soc":-1}']),
        *map(frame, [b'{"soc":100.5}', b'{"soc":-0.01}', b'{"soc":null}', b'{"soc":[70]}', b"{}", b"[]", b"null", b"70"]),
        b'{"event":"stateOfCharge","data":{"soc":70}}',
        b'{"event":"chargingStatus","data":{"status":"charging"}}',
        b'{"data":{"soc":70}}',
        b'{"event":"StateOfCharge"}',
        b'[{"event":"StateOfCharge","data":{"soc":70}}]',
        b"soc 70",
        b"\xff",
        b"",
    ],
)
def test_an_invalid_soc_is_rejected_and_changes_nothing(payload: bytes) -> None:
    world = started()
    world.soc(50)
    with pytest.raises(Rejected):
        world.receive(Message(topic="chargers/c1/soc", payload=payload))
    assert world.soc(50) == []


def test_a_retained_soc_is_rejected() -> None:
    message = soc_message(70)
    with pytest.raises(Rejected, match="any age"):
        started().receive(Message(topic=message.topic, payload=message.payload, retain=True))


@pytest.mark.parametrize("charger", ["c9", "C1", " c1", "c\x01", "w1"])
def test_a_charger_in_no_pair_is_rejected_by_name(charger: str) -> None:
    with pytest.raises(Rejected, match="is in no pair") as error:
        started().receive(soc_message(70, charger))
    assert repr(charger) in str(error.value)


def test_other_topics_are_rejected() -> None:
    with pytest.raises(Rejected, match="names no charger"):
        started().receive(Message(topic="chargers/c1/other", payload=b"{}"))


def test_a_status_is_published_only_when_it_changes() -> None:
    world = started()
    for soc in (10, 10, 40, 79.9, 80, 95, 100, 100, 20, 90, 30):
        world.soc(soc)
    assert [status for _, status in world.statuses] == [
        "charging",
        "charging80",
        "charged",
        "charging",
        "charging80",
        "charging",
    ]


def test_a_repeated_soc_publishes_nothing() -> None:
    world = started()
    world.soc(50)
    assert world.soc(50) == []
    assert world.soc(50.5) == ["state online"]
    assert world.state().soc_at == at(world.now_s)
    assert world.soc(49.6) == ["state online"]
    assert world.soc(20) == ["session replaced", "session begun", "state online"]


def test_the_instant_of_a_repeated_soc_is_known() -> None:
    world = started()
    world.soc(50)
    world.soc(50)
    repeated_at = at(world.now_s)
    world.soc(10)
    assert world.sessions[-2].ended_at == repeated_at


def test_instants_are_the_chargers_or_else_of_arrival() -> None:
    world = started()
    world.now_s = 500
    world.receive(soc_message(50, stamp=Stamp(plant_at=calendar(7))))
    world.receive(soc_message(60, "c2"))
    world.receive(soc_message(60, "c3", Stamp(plant_at=calendar(0).replace(year=1))))
    assert [each.started_at for each in world.sessions] == [at(7), at(500), at(500)]
    assert world.sessions[0].session == f"c1@{at(7)}"


def test_a_redelivered_frame_changes_nothing() -> None:
    world = started()
    messages = [soc_message(soc, stamp=Stamp("a", "b", seq, calendar(seq))) for seq, soc in enumerate((50, 100, 20, 100), 1)]
    replies = [world.receive(each) for each in messages]
    assert all(replies)
    assert [world.receive(each) for each in messages] == [[]] * 4
    world.restart()
    assert [world.receive(each) for each in messages] == [[]] * 4


def test_frames_without_number_are_compared_by_instant() -> None:
    world = started()
    world.now_s = 20
    messages = [soc_message(soc, stamp=Stamp(plant_at=calendar(instant))) for instant, soc in ((5, 50), (6, 90), (7, 20))]
    assert all(world.receive(each) for each in messages)
    assert [world.receive(each) for each in messages] == [[]] * 3
    assert world.receive(soc_message(30, stamp=Stamp(plant_at=calendar(7))))  # another frame of the same instant


def test_a_restarted_adapter_may_have_set_its_clock_back() -> None:
    world = started()
    world.now_s = 7200
    assert world.receive(soc_message(50, stamp=Stamp("a", "b1", 9, calendar(7200))))
    assert world.receive(soc_message(81, stamp=Stamp("a", "b2", 1, calendar(3600))))
    assert world.statuses[-1] == ("w1", "charging80")


def test_a_redelivered_frame_of_a_lost_charger_begins_nothing() -> None:
    world = started()
    world.link()
    message = soc_message(50, stamp=world.stamp())
    world.receive(message)
    world.link(False)
    assert world.tick(5) == ["w1 unavailable", "session offline", "state offline"]
    assert world.receive(message) == []
    world.restart()
    assert world.receive(message) == []


def test_frames_count_after_the_clock_was_set_back() -> None:
    world = started()
    world.now_s = 100_000
    world.soc(50)
    world.now_s = 0
    assert world.soc(60) == ["state online"]  # the sequence number decides
    world.now_s = 100_000
    world.soc(70)
    world.now_s = 0
    world.restart()
    assert world.soc(80) == ["w1 charging80", "state online"]  # the known state is in the future
    world.soc(100)
    assert world.sessions[-1].duration_s == 0


def test_a_short_disconnection_has_no_effect() -> None:
    world = started()
    assert world.link() == ["state online"]
    world.soc(50)
    assert world.link(False) == ["state offline"]
    assert world.tick(GRACE_S - 0.01) == []
    assert world.link(connection="b") == ["state online"]
    assert world.tick(GRACE_S) == []
    assert world.soc(50) == []
    assert world.statuses == [("w1", "charging")]
    assert [each.ended_by for each in world.sessions] == [None]


def test_a_long_disconnection_ends_the_session() -> None:
    world = started()
    world.link()
    world.soc(50, after_s=10)
    world.link(False)
    lost_at = at(world.now_s)
    assert world.tick(GRACE_S) == ["w1 unavailable", "session offline", "state offline"]
    ended = world.sessions[-1]
    assert (ended.ended_by, ended.ended_at, ended.soc_end) == (EndedBy.OFFLINE, lost_at, 50)
    assert world.tick(100) == []
    assert world.link(connection="b") == ["state online"]
    assert world.shown() == "unavailable"
    assert world.soc(50) == ["w1 charging", "session begun", "state online"]


def test_a_session_begun_while_disconnected_ends_too() -> None:
    world = started()
    world.link()
    world.link(False)
    assert world.tick(100) == []
    assert world.soc(50) == ["w1 charging", "session begun", "state offline"]
    assert world.tick(GRACE_S) == ["w1 unavailable", "session offline", "state offline"]


def test_grace_is_in_wall_seconds() -> None:
    world = started(time_scale=60.0)
    world.link()
    world.soc(50)
    world.link(False)
    assert world.tick(GRACE_S * 60 - 1) == []
    assert "w1 unavailable" in world.tick(1)


def test_a_full_battery_stays_full_while_disconnected() -> None:
    world = started()
    world.link()
    world.soc(100)
    world.link(False)
    assert world.tick(GRACE_S) == ["w1 unavailable", "state offline"]
    world.link(connection="b")
    assert world.soc(100) == ["w1 charged", "state online"]
    assert world.soc(99) == ["w1 charging80", "state online"]
    assert world.soc(98.9) == ["session begun", "state online"]


def test_a_soc_counts_while_the_link_is_down() -> None:
    world = started()
    world.link()
    world.soc(50)
    world.link(False)
    assert world.soc(85, after_s=1) == ["w1 charging80", "state offline"]
    assert world.tick(GRACE_S - 1) == ["w1 unavailable", "session offline", "state offline"]
    assert world.sessions[-1].ended_at == at(world.now_s - GRACE_S + 1)  # not before its last frame
    assert world.soc(86) == ["w1 charging80", "session begun", "state offline"]


def test_the_end_of_an_earlier_connection_is_ignored() -> None:
    world = started()
    world.link(connection="a")
    assert world.link(connection="b", adapter="charger-adapter-2") == []
    assert world.link(False, connection="a") == []
    assert world.link(False, connection="b", adapter="charger-adapter-2") == ["state offline"]


def test_the_link_of_an_unpaired_charger_is_ignored() -> None:
    assert started().link(charger="c9") == []
    with pytest.raises(Rejected):
        started().receive(Message(topic="chargers/c9/link", payload=b"{}"))


@pytest.mark.parametrize("stamped", [True, False])
def test_chargers_of_a_dead_adapter_must_reconnect(stamped: bool) -> None:
    world = started()
    for charger in ("c1", "c2", "c3"):
        adapter = "charger-adapter-2" if charger == "c3" else "charger-adapter"
        world.link(charger=charger, adapter=adapter, stamped=stamped)
        world.soc(50, charger)
    died_at = at(world.now_s)
    assert world.adapter("offline") == []
    assert world.tick(10) == []
    assert world.adapter("online", boot="boot-2") == []
    assert world.link(charger="c1", connection="b", stamped=stamped) == []
    assert world.tick(ADAPTER_GRACE_S - 10.01) == []
    assert world.tick(0.01) == ["w2 unavailable", "session offline", "state offline"]
    assert world.sessions[-1].ended_at == died_at
    assert world.tick(100) == []
    assert world.shown("w1") == world.shown("w3") == "charging"


def test_an_adapter_that_lost_the_broker_keeps_its_chargers() -> None:
    world = started()
    world.link()
    world.soc(50)
    assert world.adapter("offline") == []
    assert world.adapter("online") == []
    assert world.tick(100) == []
    world.adapter("offline")
    assert world.tick(ADAPTER_GRACE_S) == ["w1 unavailable", "session offline", "state offline"]
    assert world.adapter("online") == ["state online"]
    assert world.soc(50) == ["w1 charging", "session begun", "state online"]


def test_an_adapter_restarted_unseen_has_no_chargers() -> None:
    world = started()
    world.link()
    world.soc(50)
    assert world.adapter("online", boot="boot-2") == []
    assert world.tick(ADAPTER_GRACE_S - 0.01) == []
    assert "w1 unavailable" in world.tick(0.01)


@pytest.mark.parametrize("stamped", [True, False])
def test_a_link_before_its_adapter_is_online_holds(stamped: bool) -> None:
    world = started()
    world.adapter("offline")
    world.boots["charger-adapter"] = "boot-2"
    world.link(stamped=stamped)
    world.soc(50)
    assert world.adapter("online", boot="boot-2") == ["state online"]
    assert world.tick(100) == []


def test_reconnecting_through_an_unseen_adapter_has_grace() -> None:
    world = started()
    world.link()
    world.soc(50)
    world.link(False)
    world.adapter("offline")
    world.boots["charger-adapter"] = "boot-2"
    assert world.link(connection="b") == []
    assert world.tick(ADAPTER_GRACE_S - 0.01) == []
    assert world.adapter("online", boot="boot-2") == ["state online"]
    assert world.tick(100) == []


def test_a_frame_through_the_new_adapter_confirms_the_link() -> None:
    world = started()
    world.link()
    world.soc(50)
    world.adapter("offline")
    assert world.soc(51) == ["state online"]  # sent before the adapter died
    world.adapter("online", boot="boot-2")
    assert world.soc(52, after_s=1) == ["state online"]
    assert world.tick(100) == []


def test_a_charger_without_adapter_is_online() -> None:
    world = started()
    world.soc(50)
    assert world.state().state == "online"
    world.restart()
    assert world.tick() == ["pairs"]
    assert world.tick(100) == []
    assert world.soc(50) == []


@pytest.mark.parametrize("order", [1, -1])
def test_a_restarted_controller_continues(order: int) -> None:
    world = started()
    world.link()
    for soc in (20, 50, 80):
        world.soc(soc)
    session = world.sessions[-1].session
    world.restart(order=order)
    assert world.tick() == ["pairs"]
    assert [world.tick() for _ in range(50)] == [[]] * 50
    assert world.soc(80) == []
    assert world.soc(100) == ["w1 charged", "session charged", "state online"]
    assert world.sessions[-1].session == session
    assert world.sessions[-1].soc_start == 20
    world.restart(order=order)
    assert world.soc(100) == []
    assert world.state().full


@pytest.mark.parametrize("order", [1, -1])
def test_a_restarted_controller_finds_a_disconnected_charger(order: int) -> None:
    world = started()
    world.link()
    world.soc(50)
    world.link(False)
    world.restart(order=order)
    assert [world.tick(), world.tick()] == [["pairs"], []]
    assert world.tick(GRACE_S) == ["w1 unavailable", "session offline", "state offline"]
    world.restart(order=order)
    assert [*world.tick(), *world.tick(), *world.tick(100)] == ["pairs"]


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(("state", "boot"), [("offline", "boot-1"), ("online", "boot-2")])
def test_a_restarted_controller_finds_a_dead_adapter(order: int, state: str, boot: str) -> None:
    world = started()
    world.link()
    world.soc(50)
    payload = {"state": state, "boot": boot, "version": "1"}
    world.retained["components/charger-adapter/state"] = orjson.dumps(payload), Stamp()
    world.restart(order=order)
    assert [*world.tick(), *world.tick(), *world.tick(ADAPTER_GRACE_S - 0.5)] == ["pairs"]
    assert world.tick(0.5) == ["w1 unavailable", "session offline", "state offline"]
    world.restart(order=order)
    assert [*world.tick(), *world.tick(), *world.tick(100)] == ["pairs"]


def test_missed_messages_follow_retained_ones() -> None:
    world = started()
    world.link()
    world.soc(50)
    world.restart()
    assert world.soc(20, after_s=1) == ["session replaced", "session begun", "state online"]


def test_an_outdated_retained_state_is_corrected() -> None:
    world = started()
    world.soc(50)
    old = world.retained["chargers/c1/state"][0]
    world.soc(85)
    message = Message(topic="chargers/c1/state", payload=old, retain=True)
    assert world.receive(message) == ["w1 charging80", "state online"]  # the broker crashed and restored an old state
    assert world.state().soc == 85
    assert world.receive(Message(topic="chargers/c1/state", payload=world.retained["chargers/c1/state"][0], retain=True)) == []
    assert world.receive(Message(topic="chargers/c1/state", payload=b"ignored: our own echo")) == []


@pytest.mark.parametrize(
    "given",
    [
        {"widget": "w/1"},
        {"widget": ""},
        {"soc_at": "yesterday"},
        {"soc_at": "2026-01-31T08:00:00"},
        {"soc_at": "0001-01-01T00:00:00+01:00"},
        {"session": {"session": "s", "started_at": "", "soc_start": 1, "soc_highest": 1}},
        {"state": "away"},
    ],
)
def test_an_invalid_retained_state_is_rejected(given: dict[str, object]) -> None:
    payload = orjson.dumps({"state": "online", "widget": "w1", "soc": 5, **given})
    with pytest.raises(Rejected):
        started().receive(Message(topic="chargers/c1/state", payload=payload, retain=True))
    good = orjson.dumps({"state": "online", "widget": "w1"})
    with pytest.raises(Rejected):
        started().receive(Message(topic="chargers/c\x01/state", payload=good, retain=True))


def test_pairs_are_published_at_start_and_on_change() -> None:
    world = World()
    assert world.tick() == ["pairs"]
    assert world.tick() == []
    assert world.reload(dict(PAIRS_OF_TESTS)) == []
    assert world.reload({**PAIRS_OF_TESTS, "c4": "w4"}) == ["pairs"]
    assert decode(world.retained[PAIRS.template.text][0], Pairs).pairs["c4"] == "w4"
    assert world.soc(70, "c4") == ["w4 charging", "session begun", "state online"]


def test_an_unpaired_charger_is_removed() -> None:
    world = started()
    world.link()
    world.soc(50)
    assert world.reload({"c2": "w2"}) == ["pairs", "w1 unavailable", "session unpaired", "state offline"]
    ended = world.sessions[-1]
    assert (ended.ended_by, ended.ended_at, ended.soc_end, ended.widget) == (EndedBy.UNPAIRED, at(world.now_s), 50, "w1")
    with pytest.raises(Rejected, match="in no pair"):
        world.soc(51)
    world.restart()
    assert [*world.tick(), *world.tick(), *world.tick(100)] == ["pairs"]
    assert world.reload(PAIRS_OF_TESTS) == ["pairs"]
    assert world.soc(51) == ["w1 charging", "session begun", "state online"]


def test_a_charger_gets_another_widget() -> None:
    world = started()
    world.soc(50)
    assert world.reload({"c1": "w9"}) == ["pairs", "w1 unavailable", "w9 charging", "state online"]
    assert world.state().widget == "w9"
    assert world.soc(100) == ["w9 charged", "session charged", "state online"]
    assert world.sessions[-1].widget == "w9"
    assert world.sessions[-1].session == world.sessions[0].session


def test_chargers_exchange_their_widgets() -> None:
    world = started()
    for charger, soc in (("c1", 50), ("c2", 90), ("c3", 50)):
        world.soc(soc, charger)
    assert world.reload({"c1": "w2", "c2": "w1", "c3": "w3"}) == [
        *("pairs", "w1 charging80", "w2 charging"),
        *("state online", "state online"),
    ]
    assert world.reload({"c1": "w3", "c2": "w1", "c3": "w2"}) == ["pairs", "state online", "state online"]  # both are charging


def test_a_widget_of_a_silent_charger_is_unavailable() -> None:
    world = started()
    world.soc(50)
    assert world.reload({"c2": "w1", "c3": "w3"}) == ["pairs", "w1 unavailable", "session unpaired", "state offline"]
    assert world.soc(100, "c2") == ["w1 charged", "session charged", "state online"]


def test_a_silent_charger_moves_without_widget_statuses() -> None:
    world = started()
    world.link()
    assert world.reload({"c1": "w9", "c2": "w1"}) == ["pairs", "state online"]


@pytest.mark.parametrize("order", [1, -1])
def test_pairs_that_changed_while_the_controller_was_down(order: int) -> None:
    world = started()
    for charger, soc in (("c1", 50), ("c2", 90), ("c3", 100)):
        world.link(charger=charger)
        world.soc(soc, charger)
    world.pairs = {"c1": "w2", "c2": "w1"}
    world.restart(order=order)
    assert world.tick() == ["pairs"]
    published = world.tick()
    assert sorted(published[:3]) == ["w1 charging80", "w2 charging", "w3 unavailable"]
    assert sorted(published[3:]) == ["state offline", "state online", "state online"]
    assert world.tick(100) == []
    world.restart(order=order)
    assert [*world.tick(), *world.tick(), *world.tick(100)] == ["pairs"]


def test_presence_of_components_without_links_is_bounded() -> None:
    world = started()
    for number in range(2_000):
        assert world.adapter("online", adapter=f"other-{number}") == []
    assert len(world.controller._links._presence) <= 1_001


def test_fields_of_the_published_state() -> None:
    world = started()
    world.soc(85)
    assert world.state() == ChargerState(
        state="online", widget="w1", soc=85, soc_at=at(10.5), status=Status.CHARGING_80, session=world.state().session
    )
    running = world.state().session
    assert running is not None
    assert (running.soc_start, running.soc_highest) == (85, 85)


def forget(world: World, charger: str) -> list[str]:
    payload = orjson.dumps({"kind": "charger", "name": charger})
    publications = world.controller.on_message(Message(topic="components/forget", payload=payload), world.now_s)
    return [f"{each.topic} {each.payload.decode()}" for each in publications]


def test_a_connected_charger_is_not_forgotten() -> None:
    world = started()
    world.link()
    world.soc(50)
    with pytest.raises(Rejected, match="is connected"):
        forget(world, "c1")


def test_a_disconnected_charger_is_forgotten() -> None:
    world = started()
    world.link()
    world.soc(50)
    world.link(False)
    found = forget(world, "c1")
    assert found[0].startswith("widgets/w1/status")
    assert "unavailable" in found[0]
    assert found[-3:] == ["chargers/c1/state ", "chargers/c1/link ", "chargers/c1/charge-point "]
    world.retained.clear()
    assert world.tick(60.0) == []
    kinds = ("state", "link", "charge-point")
    assert forget(world, "unknown") == [f"chargers/unknown/{each} " for each in kinds]
