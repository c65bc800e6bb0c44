"""The folder of declarations."""

import os
from pathlib import Path

import pytest

from adapters.devices.catalog import Catalog, Unusable
from adapters.devices.folder import Folder

SENSOR = '[sensor.a]\nfrom = "x/y"\nroom = "r"\n'


@pytest.mark.timeout(10)
def test_one_bad_file_does_not_hide_the_others(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(SENSOR)
    (tmp_path / "lost.toml").symlink_to(tmp_path / "nowhere")
    (tmp_path / "folder.toml").mkdir()
    os.mkfifo(tmp_path / "pipe.toml")
    found = Folder(tmp_path).read()
    assert found["a.toml"] == SENSOR
    assert {name for name, text in found.items() if isinstance(text, Unusable)} == {"lost.toml", "folder.toml", "pipe.toml"}


def test_reads_a_file_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("\ufeff" + SENSOR)
    catalog = Catalog()
    catalog.update(Folder(tmp_path).read())
    assert list(catalog.declared) == ["sensor.a"]


def test_an_unreadable_folder_keeps_its_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "devices"
    folder = Folder(path)
    (path / "a.toml").write_text(SENSOR)
    folder.read()
    path.rename(tmp_path / "moved")
    path.write_text("no folder")
    assert not folder.changed()
    assert "Not a directory" in caplog.text
