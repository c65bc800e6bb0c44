from adapters.cli.running.guardian import supervisor_environment
from adapters.cli.running.orphans import MARK
from adapters.cli.running.supervision import AUTOSTART


def test_new_supervisor_gets_its_own_mark_and_nothing_of_the_old_one() -> None:
    old = {"SUPERVISOR_GROUP_NAME": "guardian", "SUPERVISOR_ENABLED": "1", MARK: "old", AUTOSTART: "false", "PATH": "/bin"}
    assert supervisor_environment(old, "new", autostart=True) == {"PATH": "/bin", MARK: "new", AUTOSTART: "true"}
