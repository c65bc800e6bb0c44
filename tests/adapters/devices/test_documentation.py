import re

import pytest

from adapters.devices.declarations import check_together, read_file
from broker.runtime.settings import ROOT

PAGE = (ROOT / "docs" / "devices.md").read_text()
BLOCKS = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("text", BLOCKS, ids=lambda text: text.partition("\n")[0])
def test_documented_declarations_can_be_used(text: str) -> None:
    assert read_file("page.toml", text)


def test_documented_declarations_go_together() -> None:
    assert len(BLOCKS) >= 3
    check_together(read_file(f"{n}.toml", text) for n, text in enumerate(BLOCKS))
