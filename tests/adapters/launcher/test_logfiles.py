"""Log files: their ends, and new lines through a rotation."""

from pathlib import Path

from adapters.launcher import logfiles
from adapters.launcher.logfiles import _Follower


def test_last_lines_are_prefixed_where_there_are_several_files(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("1\n2\n3\n")
    (tmp_path / "bb.log").write_text("4\n")
    written: list[str] = []
    logfiles.show({"a": tmp_path / "a.log", "bb": tmp_path / "bb.log"}, 2, follow=False, write=written.append)
    assert written == ["a  | 2", "a  | 3", "bb | 4"]


def test_log_is_followed_through_rotation(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    follower = _Follower("", path)
    assert follower.new() == []
    path.write_text("one\nhalf")
    assert follower.new() == ["one"]
    with path.open("a") as file:
        file.write(" done\n")
    assert follower.new() == ["half done"]
    path.rename(tmp_path / "a.log.1")
    path.write_text("two\n")
    assert follower.new() == ["two"]
