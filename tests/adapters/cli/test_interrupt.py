"""Ctrl-C before a command works: during imports, and while arguments are parsed."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from adapters.cli.importing import importing
from broker.runtime.settings import ROOT

PROGRAM = """
import signal, sys

class CtrlC:
    def find_spec(name, path=None, target=None):
        if name == {moment!r}:
            print("now", flush=True)
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, CtrlC)
from adapters.cli.main import cli
cli()
"""
"""The installed `scaup`, with SIGINT just before a module is imported."""


def interrupted(moment: str, *arguments: str, before: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", before + PROGRAM.format(moment=moment), *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"PATH": "/usr/bin", "SCAUP_MQTT_PORT": "1", "SCAUP_DATA_DIR": "/nowhere"},
        check=False,
        timeout=50,
    )


@pytest.mark.parametrize(
    ("moment", "arguments"),
    [
        ("click", ["query", "SELECT 1"]),
        ("adapters.client.session", ["query", "SELECT 1"]),
        ("hashlib", ["query", "SELECT 1"]),
        ("adapters.cli.lazy", ["query", "SELECT 1"]),
        ("broker.runtime.settings", ["--version"]),
        ("adapters.cli.commands.query", ["query", "SELECT 1"]),
        ("paho", ["query", "SELECT 1"]),
        ("duckdb", ["run", "recorder"]),
        ("sim.chargers.interactive_charger", ["run", "sim-charger", "--id", "c1"]),
    ],
)
def test_ctrl_c_ends_silently(moment: str, arguments: list[str]) -> None:
    done = interrupted(moment, *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (130, "now\n", "")


def test_an_ignored_ctrl_c_stays_ignored() -> None:
    done = interrupted("click", "--version", before="import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("now\nscaup ")


def test_in_a_thread_it_imports_as_usual() -> None:
    def load() -> str:
        with importing():
            return "loaded"

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(load).result() == "loaded"
