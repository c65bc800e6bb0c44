"""The pages that people read, and the code blocks in them."""

import re
from dataclasses import dataclass
from pathlib import Path

from broker.runtime.settings import ROOT

README = ROOT / "README.md"
DOCS = ROOT / "docs"
PAGES = (README, *sorted(page for page in DOCS.glob("*.md") if page.name != "cli.md"))
"""The README and the pages of docs/, without the generated reference of the command line."""

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """A code block: its page, the language after its fence, and its text."""

    page: str
    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    """Return the code blocks of a page in their order."""
    return [Block(page.name, language, text) for language, text in _FENCE.findall(page.read_text())]


def section(page: Path, heading: str) -> str:
    """Return the text below a heading of the second level, up to the next one."""
    return page.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def targets(page: Path) -> list[str]:
    """Return the addresses of the links and pictures of a page, without those on other servers."""
    found: list[str] = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    return [target for target in found if "://" not in target]
