import errno
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from broker.contract.charging.topics import Pairs
from controllers.charging.declaration import DECLARATION, PAIRS_FILE
from controllers.charging.files import SHIPPED, PairsFile
from controllers.charging.pairs import InvalidPairs, PairRefused, with_pair


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_the_shipped_pairs() -> None:
    shipped = PairsFile().read().pairs
    assert shipped["c1234"] == "wABCD"
    assert {f"sim-c{n}": f"sim-w{n}" for n in range(1, 6)}.items() <= shipped.items()
    assert PAIRS_FILE in DECLARATION.variables


def pair(charger: str, widget: str) -> Callable[[Mapping[str, str]], dict[str, str]]:
    return lambda pairs: with_pair(pairs, charger, widget)


def test_change_is_kept_and_read_by_the_next_start(tmp_path: Path) -> None:
    path = written(tmp_path / "pairs.json", '{"c1":"w1"}')
    path.chmod(0o640)
    file = PairsFile(str(path))
    assert file.change(pair("c2", "wÄ")).pairs == {"c1": "w1", "c2": "wÄ"}
    assert file.poll() is None
    assert PairsFile(str(path)).read().pairs == {"c1": "w1", "c2": "wÄ"}
    assert (path.stat().st_mode & 0o777, [*tmp_path.iterdir()]) == (0o640, [path])


def test_first_change_leaves_the_shipped_file_alone(tmp_path: Path) -> None:
    before, own = SHIPPED.read_bytes(), tmp_path / "data" / "charger-pairs.json"
    file = PairsFile("", own)
    shipped = file.read().pairs
    assert file.change(pair("c9", "w9")).pairs == {**shipped, "c9": "w9"}
    assert (SHIPPED.read_bytes(), PairsFile("", own).read().pairs) == (before, {**shipped, "c9": "w9"})


def test_own_file_counts_as_soon_as_it_is_there(tmp_path: Path) -> None:
    own = tmp_path / "charger-pairs.json"
    file = PairsFile("", own)
    file.read()
    written(own, '{"c1":"w1"}')
    assert file.poll() == Pairs({"c1": "w1"})


def test_change_by_hand_is_not_overwritten(tmp_path: Path) -> None:
    path = written(tmp_path / "pairs.json", '{"c1":"w1"}')
    file = PairsFile(str(path))
    file.read()
    written(path, '{"c1":"w1","c2":"w2"}')
    assert file.change(pair("c3", "w3")).pairs == {"c1": "w1", "c2": "w2", "c3": "w3"}
    written(path, '{"c1":')
    with pytest.raises(PairRefused, match="correct them first"):
        file.change(pair("c4", "w4"))
    assert path.read_text() == '{"c1":'


def test_unwritable_file_refuses_the_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "pairs.json", '{"c1":"w1"}')

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(PairRefused, match=r"pairs\.json cannot be written: No space left on device"):
        PairsFile(str(path)).change(pair("c2", "w2"))
    assert (path.read_text(), [*tmp_path.iterdir()]) == ('{"c1":"w1"}', [path])


def test_linked_file_stays_a_link(tmp_path: Path) -> None:
    path = written(tmp_path / "pairs.json", '{"c1":"w1"}')
    (tmp_path / "link").symlink_to(path)
    PairsFile(str(tmp_path / "link")).change(pair("c2", "w2"))
    assert (tmp_path / "link").is_symlink()
    assert PairsFile(str(path)).read().pairs == {"c1": "w1", "c2": "w2"}


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
