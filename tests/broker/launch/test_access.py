from broker.contract.heating import topics as heating
from broker.launch.access import access_file, publish_filters
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


def test_anonymous_clients_publish_only_device_topics() -> None:
    anonymous, accounts = access_file([HEATING]).split("user heating\n")
    heating_block, device_block = accounts.split("user device\n")
    writable = [line.removeprefix("topic write ") for line in anonymous.splitlines() if line.startswith("topic write")]
    assert sorted(writable) == ["/readings/#", "energy/+/raw", "machines/+/reading", "machines/+/status"]
    assert "topic read #" in anonymous
    assert "topic write /actuators/+" in heating_block
    assert "/readings" not in heating_block
    assert [line for line in anonymous.splitlines() if line.startswith("topic")] == device_block.splitlines()
