from pathlib import Path

from controllers.fastening.transitions import TRANSITIONS, diagram

DOCUMENT = Path(__file__).parents[3] / "docs" / "fastening.md"


def test_the_document_shows_the_table() -> None:
    assert f"```mermaid\n{diagram()}```" in DOCUMENT.read_text(), "python -m controllers.fastening.transitions prints it"


def test_every_transition_is_an_arrow() -> None:
    arrows = [line for line in diagram().splitlines() if "-->" in line and "[*]" not in line]
    assert len(arrows) == sum(len(row) for row in TRANSITIONS.values())
