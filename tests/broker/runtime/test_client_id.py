import stat
from pathlib import Path

import pytest

from broker.mqtt.options import Options
from broker.runtime.client_id import DONE, keep_secrets, random_secret, read_note, read_secret, write_note
from broker.runtime.declaration import Declaration
from broker.runtime.runtime import Runtime
from broker.runtime.settings import Settings
from tests.broker.runtime.test_runtime import Quiet


def test_secrets_are_generated_once_and_private(tmp_path: Path) -> None:
    first = keep_secrets(tmp_path, ["heating", "recorder"])
    second = keep_secrets(tmp_path, ["heating", "recorder", "energy"])
    assert second["heating"] == first["heating"] == read_secret(tmp_path, "heating")
    assert len(set(second.values())) == 3
    assert all(len(secret) == 32 for secret in second.values())
    files = list((tmp_path / "credentials").iterdir())
    assert sorted(each.name for each in files) == ["energy.client", "heating.client", "recorder.client"]
    assert {stat.S_IMODE(each.stat().st_mode) for each in files} == {0o600}
    assert stat.S_IMODE((tmp_path / "credentials").stat().st_mode) == 0o700


def test_a_note_replaces_the_one_before(tmp_path: Path) -> None:
    assert read_note(tmp_path, "recorder") is None
    for note in ("recording 7", DONE):
        write_note(tmp_path, "recorder", note)
        assert read_note(tmp_path, "recorder") == note
    (file,) = (tmp_path / "credentials").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_secret_part_is_not_shown() -> None:
    options = Options(client_id="heating", secret="0123")
    assert options.full_client_id == "heating-0123"
    assert "0123" not in repr(options)
    assert Options(client_id="heating").full_client_id == "heating"


@pytest.mark.parametrize("session_s", [0, 60])
@pytest.mark.parametrize("kept", [False, True])
def test_a_component_alone_has_a_secret_id(tmp_path: Path, session_s: int, kept: bool) -> None:
    """It keeps its secret where the broker keeps a session for it; otherwise each start has another one."""
    if kept:
        keep_secrets(tmp_path, ["heating"])
    declaration = Declaration(name="heating", summary="runs alone", session_s=session_s)
    settings = Settings.load({"SCAUP_DATA_DIR": str(tmp_path)})
    first, second = (Runtime(declaration, Quiet(), settings)._options.full_client_id for _ in range(2))
    assert first.startswith("heating-")
    assert len(first) == len("heating-") + len(random_secret())
    assert (first == second) is bool(kept or session_s)
    assert bool(read_secret(tmp_path, "heating")) is bool(kept or session_s)


def test_no_data_directory_means_a_random_id(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    settings = Settings.load({"SCAUP_DATA_DIR": str(tmp_path / "file" / "data")})
    declaration = Declaration(name="heating", summary="runs alone", session_s=60)
    first, second = (Runtime(declaration, Quiet(), settings)._options.full_client_id for _ in range(2))
    assert first != second
