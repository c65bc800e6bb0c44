"""Tests that share a module's fixture run in one worker, so that each module starts its system once."""

import pytest


@pytest.fixture(scope="module")
def shared() -> object:
    return object()


def test_groups_are_kept(shared: object, request: pytest.FixtureRequest) -> None:
    """pytest-xdist 3.8 ignores them with pytest 9.2, without a word."""
    if not getattr(request.config.option, "loadgroup", False):
        pytest.skip("runs without pytest-xdist")
    assert "@test_groups" in request.node.nodeid
