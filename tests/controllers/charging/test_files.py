import logging
import os
from pathlib import Path

import pytest

from controllers.charging.declaration import DECLARATION, PAIRS_FILE
from controllers.charging.files import PairsFile
from controllers.charging.pairs import InvalidPairs


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_the_shipped_pairs() -> None:
    shipped = PairsFile().read().pairs
    assert shipped["c1234"] == "wABCD"
    assert {f"sim-c{n}": f"sim-w{n}" for n in range(1, 6)}.items() <= shipped.items()
    assert PAIRS_FILE in DECLARATION.variables


def test_a_changed_file_is_reloaded(tmp_path: Path) -> None:
    path = written(tmp_path / "pairs.json", '{"c1":"w1"}')
    file = PairsFile(str(path))
    assert file.read().pairs == {"c1": "w1"}
    assert file.poll() is None
    written(path, '{"c1":"w1","c2":"w2"}')
    pairs = file.poll()
    assert pairs is not None
    assert pairs.pairs == {"c1": "w1", "c2": "w2"}
    assert file.poll() is None


def test_a_replaced_file_of_same_size_and_time_is_reloaded(tmp_path: Path) -> None:
    path = written(tmp_path / "pairs.json", '{"c1":"w1"}')
    file = PairsFile(str(path))
    file.read()
    found = path.stat()
    os.utime(written(tmp_path / "new.json", '{"c1":"w2"}'), ns=(found.st_atime_ns, found.st_mtime_ns))
    (tmp_path / "new.json").replace(path)
    pairs = file.poll()
    assert pairs is not None
    assert pairs.pairs == {"c1": "w2"}


def test_each_unusable_version_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = written(tmp_path / "pairs.json", '{"c1":"w1"}')
    file = PairsFile(str(path))
    file.read()
    written(path, '{"c1":"w1","c2"')
    assert [file.poll() for _ in range(3)] == [None] * 3
    assert len(caplog.records) == 1
    assert caplog.records[0].levelno == logging.ERROR
    assert "SCAUP_CHARGER_PAIRS" in caplog.text
    assert str(path) in caplog.text
    written(path, '{"c1":"w1","c2":"w1"}')
    assert [file.poll() for _ in range(3)] == [None] * 3
    assert len(caplog.records) == 2
    assert "widget 'w1' is assigned to 'c1', 'c2'" in caplog.text
    written(path, '{"c1":"w1","c2":"w2"}')
    assert file.poll() is not None


def test_a_deleted_file_is_awaited(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = written(tmp_path / "pairs.json", '{"c1":"w1"}')
    file = PairsFile(str(path))
    file.read()
    path.unlink()
    assert [file.poll() for _ in range(3)] == [None] * 3
    assert len(caplog.records) == 1
    assert caplog.messages[0].startswith(f"SCAUP_CHARGER_PAIRS: {path}: No such file or directory")
    path.mkdir()
    assert [file.poll() for _ in range(3)] == [None] * 3
    assert caplog.messages[1].startswith(f"SCAUP_CHARGER_PAIRS: {path}: it is not a file")
    path.rmdir()
    written(path, '{"c1":"w1"}')
    assert file.poll() is not None
    path.unlink()
    assert file.poll() is None
    assert len(caplog.records) == 3


@pytest.mark.parametrize(
    ("text", "reason"),
    [(None, "No such file"), ("{", "not JSON"), ('{"c1":1}', "charger 'c1'"), ("[]", "JSON object")],
)
def test_start_without_pairs_is_an_error(tmp_path: Path, text: str | None, reason: str) -> None:
    path = tmp_path / "pairs.json"
    if text is not None:
        written(path, text)
    with pytest.raises(InvalidPairs, match=reason) as error:
        PairsFile(str(path)).read()
    assert str(error.value).startswith(f"SCAUP_CHARGER_PAIRS: {path}: ")


def test_only_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (str(tmp_path), str(tmp_path / "pipe"), "/dev/zero"):
        with pytest.raises(InvalidPairs, match="not a file"):
            PairsFile(path).read()
    with pytest.raises(InvalidPairs, match="SCAUP_CHARGER_PAIRS"):
        PairsFile("~nobody-of-this-name/pairs.json").read()
    with pytest.raises(InvalidPairs, match="SCAUP_CHARGER_PAIRS"):
        PairsFile("a\0b").read()
