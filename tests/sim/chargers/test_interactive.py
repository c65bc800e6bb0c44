"""The interactive charger and widget as processes, on a pipe and on a terminal."""

import asyncio
import os
import pty
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.runtime.settings import ROOT
from sim.chargers.interactive_charger import percent
from sim.chargers.interactive_widget import led_line
from tests.real_broker import free_ports
from tests.sim.chargers.server import TIMEOUT_S, OneServer, serving, status, until

RED, RESET = "\x1b[31m", "\x1b[0m"


@asynccontextmanager
async def running(
    *arguments: str, stdin: int = PIPE, stdout: int = PIPE, variables: Mapping[str, str] | None = None
) -> AsyncIterator[Process]:
    environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "SCAUP_DATA_DIR": "/nonexistent", **(variables or {})}
    command = [sys.executable, "-m", "adapters.cli.main", "run", *arguments]
    process = await asyncio.create_subprocess_exec(*command, stdin=stdin, stdout=stdout, stderr=PIPE, cwd=ROOT, env=environment)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await asyncio.wait_for(process.wait(), TIMEOUT_S)


async def line(stream: asyncio.StreamReader | None) -> str:
    assert stream is not None
    return (await asyncio.wait_for(stream.readline(), TIMEOUT_S)).decode().rstrip("\n")


async def ended(process: Process, stdin: bytes | None = None) -> tuple[int | None, str, str]:
    out, err = await asyncio.wait_for(process.communicate(stdin), TIMEOUT_S)
    return process.returncode, (out or b"").decode(), err.decode()


def at(server: OneServer, name: str, client: str) -> tuple[str, ...]:
    return (name, "--id", client, "--port", str(server.port))


def test_a_pipe_sends_every_line_and_ends() -> None:
    async def scenario() -> None:
        async with serving("chargers") as server, running(*at(server, "sim-charger", "c1234")) as process:
            code, out, err = await ended(process, b"5\n80\n\n 12.5 %\n100")
            assert code == 0
            assert [each.split("  ")[1] for each in out.splitlines()] == ["sent 5 %", "sent 80 %", "sent 12.5 %", "sent 100 %"]
            assert f"Connected to ws://127.0.0.1:{server.port}/chargers/c1234." in err
            assert "5  10  40  80  100" in err
            assert all(len(each) <= 80 for each in err.splitlines())
            await until(lambda: server.closed == [("c1234", 1000)])
            assert server.frames["c1234"][0] == '{"event":"StateOfCharge","data":{"soc":5}}'
            assert server.frames["c1234"][1] == '{"event":"StateOfCharge","data":{"soc":80}}'
            assert server.frames["c1234"][2] == '{"event":"StateOfCharge","data":{"soc":12.5}}'
            assert len(server.frames["c1234"]) == 4

    asyncio.run(scenario())


def test_each_pick_is_sent_and_confirmed_at_once() -> None:
    async def scenario() -> None:
        async with serving("chargers") as server, running(*at(server, "sim-charger", "c1")) as process:
            assert process.stdin is not None
            for soc in (5, 10, 40, 80, 100):
                process.stdin.write(f"{soc}\n".encode())
                assert re.fullmatch(rf"\d\d:\d\d:\d\dZ  sent {soc} %", await line(process.stdout))
            await until(lambda: server.socs("c1") == [5, 10, 40, 80, 100])
            process.stdin.write(b"q\n99\n")
            assert (await ended(process))[:2] == (0, "")
            assert server.socs("c1")[-1] == 100

    asyncio.run(scenario())


def test_text_that_is_no_percent_is_not_sent() -> None:
    async def scenario() -> None:
        async with serving("chargers") as server, running(*at(server, "sim-charger", "c1")) as process:
            code, out, err = await ended(process, b"101\n-1\nnan\nfull\n\xff\n7\n")
            assert code == 0
            assert len(out.splitlines()) == 1
            assert err.count("is not a number from 0 to 100") == 5
            assert server.socs("c1") == [7]

    asyncio.run(scenario())


def test_input_from_a_file_and_from_nothing(tmp_path: Path) -> None:
    typed = tmp_path / "typed"
    typed.write_text("40\n")

    async def scenario() -> None:
        async with serving("chargers") as server:
            for path, sent in ((typed, [40]), (Path(os.devnull), [])):
                with path.open() as stdin:
                    async with running(*at(server, "sim-charger", path.name), stdin=stdin.fileno()) as process:
                        assert (await ended(process))[0] == 0
                assert server.socs(path.name) == sent

    asyncio.run(scenario())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(("name", "folder"), [("sim-charger", "chargers"), ("sim-widget", "widgets")])
def test_signals_end_it_cleanly(name: str, folder: str, number: signal.Signals) -> None:
    async def scenario() -> None:
        async with serving(folder) as server, running(*at(server, name, "x1")) as process:
            await until(lambda: server.open)
            await line(process.stderr)
            process.send_signal(number)
            code, out, err = await ended(process)
            assert (code, out) == (0, "")
            assert "Error" not in err
            await until(lambda: server.closed == [("x1", 1000)])

    asyncio.run(scenario())


@pytest.mark.parametrize(("name", "folder"), [("sim-charger", "chargers"), ("sim-widget", "widgets")])
def test_it_ends_when_the_server_closes(name: str, folder: str) -> None:
    async def scenario() -> None:
        async with serving(folder) as server, running(*at(server, name, "x1")) as process:
            await until(lambda: server.open)
            await server.open["x1"].close(1001, "bye")
            assert process.stdin is not None  # open until the end: the charger does not wait for it
            await asyncio.wait_for(process.wait(), TIMEOUT_S)
            code, _, err = await ended(process)
            assert code == 1
            assert "Error: the server closed the connection (1001: bye)\nFix: " in err

    asyncio.run(scenario())


@pytest.mark.parametrize(("name", "folder"), [("sim-charger", "chargers"), ("sim-widget", "widgets")])
def test_an_unknown_id_names_the_fix(name: str, folder: str) -> None:
    async def scenario() -> None:
        async with serving(folder, known=set()) as server, running(*at(server, name, "x1")) as process:
            code, out, err = await ended(process, b"5\n")
            assert (code, out) == (1, "")
            assert f"Error: ws://127.0.0.1:{server.port}/{folder}/x1: refused with HTTP 404: unknown\n" in err
            assert "Fix: the id is in no pair: add it to the file SCAUP_CHARGER_PAIRS" in err

    asyncio.run(scenario())


@pytest.mark.parametrize(("name", "variable"), [("sim-charger", "SCAUP_CHARGER_PORT"), ("sim-widget", "SCAUP_WIDGET_PORT")])
def test_an_unreachable_server_names_the_fix(name: str, variable: str) -> None:
    async def scenario() -> None:
        (port,) = free_ports(1)
        variables = {variable: str(port), "SCAUP_SIM_CHARGER_HOST": "127.0.0.1"}
        async with running(name, "--id", "x1", variables=variables) as process:
            code, out, err = await ended(process)
            assert (code, out) == (1, "")
            assert f"127.0.0.1:{port}" in err
            assert "connection refused\nFix: is the charger adapter running? `make up`" in err

    asyncio.run(scenario())


def test_the_led_changes_line_by_line() -> None:
    async def scenario() -> None:
        async with (
            serving("widgets", first=status("charging")) as server,
            running(*at(server, "sim-widget", "wABCD")) as widget,
        ):
            assert (await line(widget.stdout))[11:] == "● red     charging"
            client = server.open["wABCD"]
            for frame in (status("charging"), status("charging80"), '{"event":"other"}', b"\xff", status("charged")):
                await client.send(frame)
            assert re.fullmatch(r"\d\d:\d\d:\d\dZ  ● yellow  charging80", await line(widget.stdout))
            assert (await line(widget.stdout))[11:] == "● green   charged"
            await client.send(status("unavailable"))
            assert (await line(widget.stdout))[11:] == "○ not recognised  unavailable"
            widget.send_signal(signal.SIGINT)
            code, out, err = await ended(widget)
            assert (code, out) == (0, "")
            assert err.count("not a chargingStatus") == 2

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("variables", "coloured"),
    [({"TERM": "xterm"}, True), ({"TERM": "xterm", "NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False), ({}, False)],
)
def test_colours_only_on_a_terminal_that_has_them(variables: dict[str, str], coloured: bool) -> None:
    async def scenario() -> str:
        ours, theirs = pty.openpty()
        try:
            async with (
                serving("widgets", first=status("charging")) as server,
                running(*at(server, "sim-widget", "w1"), stdout=theirs, variables=variables),
                asyncio.timeout(TIMEOUT_S),
            ):
                return (await asyncio.to_thread(os.read, ours, 1000)).decode().strip()
        finally:
            os.close(ours)
            os.close(theirs)

    shown = asyncio.run(scenario())
    assert shown[11:] == (f"{RED}●{RESET} red     charging" if coloured else "● red     charging")


def test_a_terminal_without_circles() -> None:
    async def scenario() -> None:
        async with (
            serving("widgets", first=status("charging")) as server,
            running(*at(server, "sim-widget", "w1"), variables={"PYTHONIOENCODING": "ascii"}) as widget,
        ):
            assert (await line(widget.stdout))[11:] == "* red     charging"

    asyncio.run(scenario())


def test_lines_typed_at_a_terminal_are_sent() -> None:
    async def scenario() -> None:
        ours, theirs = pty.openpty()
        try:
            async with serving("chargers") as server, running(*at(server, "sim-charger", "c1"), stdin=theirs) as process:
                await until(lambda: server.open)
                os.write(ours, b"40\n")
                assert (await line(process.stdout))[11:] == "sent 40 %"
                os.write(ours, b"\x04")  # Ctrl-D
                assert (await ended(process))[0] == 0
                assert server.socs("c1") == [40]
        finally:
            os.close(ours)
            os.close(theirs)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("typed", "soc_pct"),
    [("0", 0), ("100", 100), (" 80 % ", 80), ("80%", 80), ("99.9", 99.9), ("040", 40), ("40.0", 40)]
    + [(text, None) for text in ("", "100.1", "101", "-0", "+5", "1e1", "nan", "inf", "5 5", "12,5", "٥", "5%%", ".5", "5.")],
)
def test_percent_parses_typed_text(typed: str, soc_pct: float | None) -> None:
    found = percent(typed)
    assert found == soc_pct
    assert type(found) is type(soc_pct)


@given(st.text())
def test_any_text_is_a_percent_or_none(text: str) -> None:
    found = percent(text)
    assert found is None or 0 <= found <= 100


def test_a_status_cannot_control_the_terminal() -> None:
    assert led_line("\x1b[2J" + "x" * 100, colours=True) == "○ not recognised  ?[2J" + "x" * 36
