"""The pages state what the code does: tables, names, links. Their commands are run by tests/system/test_readme.py."""

import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.contract import device_filters
from broker.runtime.settings import ROOT
from storage.database.database import Database
from tests.documents import (
    DOCS,
    NOT_RUN,
    PAGES,
    README,
    blocks,
    events_table,
    metrics_table,
    section,
    settings_table,
    targets,
    topic_table,
)

TOPICS = DOCS / "topics.md"
TABLES = DOCS / "tables.md"
OPERATIONS = DOCS / "operations.md"
EVERY_PAGE = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
LONGEST_README = 150
INFRASTRUCTURE = DOCS / "infrastructure.md"
MOST_INFRASTRUCTURE_WORDS = 2_500


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_topic_table_matches_the_contract() -> None:
    assert topic_table() in TOPICS.read_text(), "python -m tests.documents writes it"


def test_settings_table_matches_the_declarations() -> None:
    assert settings_table() in OPERATIONS.read_text(), "python -m tests.documents writes it"


def test_events_table_matches_the_log_calls() -> None:
    assert events_table() in OPERATIONS.read_text(), "python -m tests.documents writes it"


def test_metrics_table_matches_what_is_answered() -> None:
    assert metrics_table() in OPERATIONS.read_text(), "python -m tests.documents writes it"


def test_topics_that_devices_may_publish_are_listed() -> None:
    assert all(f"`{each}`" in section(TOPICS, "Access") for each in device_filters())


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(tmp_path / "scaup.duckdb", memory_mb=256, min_free_mb=1)
    yield opened
    opened.close()


def test_tables_page_matches_a_new_database(database: Database) -> None:
    with database.cursor() as cursor:
        found = cursor.execute(
            "SELECT table_name, list(column_name ORDER BY ordinal_position) FROM information_schema.columns "
            "WHERE table_schema = 'main' GROUP BY table_name"
        ).fetchall()
    rows = re.findall(r"^\| `(\w+)` \|[^|]*\| ((?:`\w+`(?:, )?)+) \|$", TABLES.read_text(), re.MULTILINE)
    assert {name: re.findall(r"`(\w+)`", columns) for name, columns in rows} == dict(found)


def test_make_help_lists_every_target() -> None:
    declared = re.findall(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    helped = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"^  make (\S+) +\S", helped, re.MULTILINE)) == set(" ".join(declared).split())


def test_readme_is_short() -> None:
    assert len(README.read_text().splitlines()) <= LONGEST_README


def test_infrastructure_page_is_short() -> None:
    words = [each for each in INFRASTRUCTURE.read_text().split() if re.search(r"\w", each)]
    assert len(words) <= MOST_INFRASTRUCTURE_WORDS


def test_figures_of_the_infrastructure_name_their_bench() -> None:
    rows = re.findall(r"^\|.*`(?:python -m )?(tests\.bench\.\w+)(?: [^`]*)?` \|$", INFRASTRUCTURE.read_text(), re.MULTILINE)
    assert len(rows) >= 6
    assert [each for each in rows if not (ROOT / f"{each.replace('.', '/')}.py").exists()] == []


def test_decision_records_are_numbered_once() -> None:
    numbers = [path.name[:4] for path in sorted((DOCS / "decisions").glob("*.md"))]
    assert numbers == [f"{n:04}" for n in range(1, len(numbers) + 1)]


@pytest.mark.parametrize("page", EVERY_PAGE, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in targets(page):
        name, _, anchor = target.partition("#")
        linked = page.parent / name if name else page
        assert linked.exists(), f"{target}: no such file"
        assert not anchor or anchor in anchors(linked), f"{target}: no such heading"


def test_every_page_is_reachable_from_the_readme() -> None:
    reached, todo = set(), [README]
    while todo:
        page = todo.pop()
        if page in reached:
            continue
        reached.add(page)
        linked = [(page.parent / target.partition("#")[0]).resolve() for target in targets(page)]
        todo += [each for each in linked if each.suffix == ".md"]
        todo += [each for folder in linked if folder.is_dir() for each in folder.glob("*.md")]
    assert set(EVERY_PAGE) - reached == set()


@pytest.mark.parametrize("page", EVERY_PAGE, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_named_in_pages_exist(page: Path) -> None:
    named = re.findall(r"`([\w./-]+/[\w.-]+\.(?:py|md|sql|json|conf|toml))`", page.read_text())
    assert [each for each in named if not (ROOT / each).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_blocks_are_run_or_excused(page: Path) -> None:
    languages = {block.language for block in blocks(page)}
    assert languages <= {"sh", "console", "text", "mermaid", "toml"}
    excused = [block.text.partition("\n")[0] for block in blocks(page) if block.language == "console"]
    assert [first for first in excused if first not in NOT_RUN] == [], (
        "a console block is not run: give the reason in tests/documents.py"
    )


def test_no_reason_is_left_over() -> None:
    written = {block.text.partition("\n")[0] for page in PAGES for block in blocks(page)}
    assert set(NOT_RUN) - written == set()


def test_dependencies_are_named_with_a_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = project["project"]["dependencies"] + project["dependency-groups"]["dev"]
    names = {re.split(r"[<>=]", each)[0] for each in wanted if not each.startswith("types-")}
    rows = re.findall(r"^\| ([^|]+) \| [^|]+ \|$", section(README, "What it is built with"), re.MULTILINE)
    assert names - set(re.split(r", ", ", ".join(rows))) == set()
