"""A new system needs new files only: nothing that exists is edited, and everything finds it.

`tests/architecture/sixth_system/` holds the files of a small system, and a test of it. They are added to a copy of this
repository, and its test runs there, against a real broker.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from broker.runtime.settings import ROOT

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]
NEW_FILES = Path(__file__).with_name("sixth_system")
GENERATED = {"docker-compose.yml": "adapters.launcher.compose_file", "docs/cli.md": "adapters.cli.reference"}
"""Files that are made again, and the modules that print them."""
TESTS = ("tests/system/test_pumps.py", "tests/architecture/test_packages.py", "tests/architecture/test_compose.py")
SOME_TESTS = (
    "tests/adapters/cli/test_help.py",
    "tests/architecture/test_readme.py",
    "-k",
    "pumps or reference or topic or settings",
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of this repository with the files of the new system."""
    copied = tmp_path / "scaup"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        _copy(ROOT / name, copied / name)
    for file in (path for path in NEW_FILES.rglob("*") if path.suffix in (".py", ".sql")):
        target = copied / file.relative_to(NEW_FILES)
        if file.name.startswith("next_"):
            target = target.with_name(file.name.replace("next", f"{_last_migration(target.parent) + 1:04}"))
        assert not target.exists(), f"{target.name} is no new file"
        _copy(file, target)
    return copied


def test_new_system_needs_new_files_only(tree: Path) -> None:
    for name, module in GENERATED.items():
        (tree / name).write_text(_python(tree, "-m", module))
    _python(tree, "-m", "tests.documents")
    _python(tree, "-m", "ruff", "check", "-q")
    for tests in (TESTS, SOME_TESTS):
        _python(tree, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests)


def _copy(source: Path, target: Path) -> None:
    if source.exists():  # git also lists a file that was deleted and not committed yet
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)


def _last_migration(folder: Path) -> int:
    return max(int(path.name.partition("_")[0]) for path in folder.glob("*.sql"))


def _python(tree: Path, *arguments: str) -> str:
    """Run Python in the copy, whose packages come before those that are installed; return what it prints."""
    path = os.pathsep.join(filter(None, [str(tree), os.environ.get("PYTHONPATH")]))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=tree,
        env={**environment, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout
