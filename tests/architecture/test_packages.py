"""The five packages are ours, and the components are discovered in them."""

import importlib
import tomllib

import pytest

from adapters.launcher.registry import components, package_of
from broker.contract import streams
from broker.runtime.settings import ROOT

PACKAGES = ("broker", "controllers", "adapters", "sim", "storage")


@pytest.mark.parametrize("package", PACKAGES)
def test_package_comes_from_this_repository(package: str) -> None:
    module = importlib.import_module(package)
    assert module.__file__ is not None
    assert (ROOT / package / "__init__.py").samefile(module.__file__)


def test_every_folder_with_code_is_a_package() -> None:
    without = {
        file.parent
        for package in PACKAGES
        for file in (ROOT / package).rglob("*.py")
        if not (file.parent / "__init__.py").exists()
    }
    assert without == set()


def test_no_other_top_level_package() -> None:
    found = {each.parent.name for each in ROOT.glob("*/__init__.py")}
    assert found == {*PACKAGES, "tests"}


@pytest.mark.parametrize("name", components())
def test_component_can_be_started(name: str) -> None:
    main = importlib.import_module(f"{package_of(name)}.__main__").main
    assert callable(main)


@pytest.mark.parametrize("name", components())
def test_component_declares_streams_of_the_contract(name: str) -> None:
    declaration = components()[name]
    assert {*declaration.subscribes, *declaration.publishes} <= set(streams())
    assert declaration.summary


def test_every_stream_is_used_by_a_component() -> None:
    from adapters.client.declaration import OPERATOR
    from broker.contract.components.topics import STREAMS as ABOUT_COMPONENTS

    accounts = [*components().values(), OPERATOR]
    used = {stream for each in accounts for stream in (*each.subscribes, *each.publishes)}
    assert set(streams()) - set(ABOUT_COMPONENTS) == used - set(ABOUT_COMPONENTS)


def test_variables_are_named_once_and_with_the_prefix() -> None:
    from broker.runtime.settings import VARIABLES

    names = [each.name for each in (*VARIABLES, *(own for one in components().values() for own in one.variables))]
    assert len(names) == len(set(names))
    assert all(name.startswith("SCAUP_") for name in names)


def test_locks_hold_hashes_and_no_address() -> None:
    for lock in ("requirements.lock", "requirements-dev.lock"):
        text = (ROOT / lock).read_text()
        assert "--hash=sha256:" in text
        assert "://" not in text
        assert "--index" not in text


def test_every_dependency_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    locked = {line.partition("==")[0].strip() for line in (ROOT / "requirements.lock").read_text().splitlines() if "==" in line}
    wanted = {text.partition(">")[0].partition("=")[0].strip() for text in project["project"]["dependencies"]}
    assert wanted <= locked
