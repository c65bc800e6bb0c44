from broker.contract.heating import topics as heating
from broker.launch.access import access_file, publish_filters
from broker.runtime.declaration import Declaration

HEATING = Declaration(name="heating", summary="", publishes=(heating.VALVE_LEVEL, heating.STATE))


def test_a_component_may_publish_its_declaration_its_state_and_its_rejects() -> None:
    assert publish_filters(HEATING) == [
        "/actuators/+",
        "heating/+/state",
        "components/heating/state",
        "rejected/heating",
    ]


def test_the_access_file_begins_with_what_devices_may_do() -> None:
    anonymous, heating_block = access_file([HEATING]).split("user heating\n")
    writable = [line.removeprefix("topic write ") for line in anonymous.splitlines() if line.startswith("topic write")]
    assert writable == ["/readings/#", "machines/+/reading", "machines/+/status", "energy/+/raw"]
    assert "topic read #" in anonymous
    assert "topic write /actuators/+" in heating_block
    assert "/readings" not in heating_block
