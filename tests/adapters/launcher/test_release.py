"""Which changes of a checkout make it another release."""

from pathlib import Path

import pytest

from adapters.launcher import upgrade


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("adapters/a.py", True),
        ("mosquitto.conf", True),
        ("adapters/node_modules/a.js", False),
        ("sim/__pycache__/a.pyc", False),
    ],
)
def test_installed_packages_are_no_other_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, other: bool
) -> None:
    monkeypatch.setattr(upgrade, "ROOT", tmp_path)
    before = upgrade.this().code
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("new")
    assert (upgrade.this().code != before) is other
