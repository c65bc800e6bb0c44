import os
from pathlib import Path

import pytest

from adapters.chargers.ocpp.tags import IdTags
from broker.errors import InvalidSetting


def test_without_a_file_every_tag_is_accepted() -> None:
    assert IdTags(None).accept("anything")


def test_a_list_is_read_again_when_it_changes(tmp_path: Path) -> None:
    file = tmp_path / "tags.txt"
    file.write_text("# staff\n04AABB  # Ada\n\nT2\n")
    tags = IdTags(file)
    assert [tags.accept(each) for each in ("04aabb", " T2", "T3", "", "# staff")] == [True, True, False, False, False]
    file.write_text("T3\n")
    os.utime(file, (1, 1))
    tags.refresh()
    assert [tags.accept(each) for each in ("T3", "T2")] == [True, False]
    file.unlink()
    tags.refresh()
    assert tags.accept("T3")


def test_a_list_that_cannot_be_read_is_no_start(tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match="SCAUP_CHARGER_TAGS"):
        IdTags(tmp_path / "missing")
