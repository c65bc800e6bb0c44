"""machines watch --source: files and URLs that fail and recover."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.cli.systems.machines import source
from adapters.cli.systems.machines.source import SourceFailed, read_source
from adapters.cli.systems.machines.watch import SourceAverages, watch_source
from broker.runtime.settings import ROOT


def reading(n: int, machine: int = 1, **changed: object) -> dict[str, Any]:
    fields = {"id": machine, "temperature": 20.0 + n, "fan_speed": 800, "status": "IDLE"}
    return {**fields, "timestamp": f"2024-11-03T13:40:{n:02}+00:00", **changed}


class Answers:
    """The answers of the test's server, one after the other; the last one is repeated."""

    def __init__(self, *answers: tuple[int, bytes]) -> None:
        self.answers = list(answers)

    def next(self) -> tuple[int, bytes]:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@contextmanager
def serving(answers: Answers, port: int = 0) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answers.next()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/data"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Ended(Exception):
    pass


def rounds(place: str, *between: Any, averages: SourceAverages | None = None) -> None:
    """Read a source once, and again after each of `between`."""
    steps = iter(between)

    def pause(duration_s: float) -> None:
        assert duration_s >= 0
        step = next(steps, None)
        if step is None:
            raise _Ended
        step()

    with pytest.raises(_Ended):
        watch_source(place, 10.0, averages or SourceAverages(None, 5), pause)


def lines(capsys: pytest.CaptureFixture[str]) -> tuple[list[Any], list[str]]:
    captured = capsys.readouterr()
    return [json.loads(line) for line in captured.out.splitlines()], captured.err.splitlines()


def test_a_file_that_fails_and_comes_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "readings.json"

    def write(value: object) -> Any:
        return lambda: path.write_text(value if isinstance(value, str) else json.dumps(value))

    rounds(str(path), write(reading(1)), write("{"), path.unlink, write([reading(2), "nonsense", reading(3)]))
    found, errors = lines(capsys)
    assert [each["average_temperature"] for each in found] == [21.0, 21.5, 22.0]
    assert found[0]["id"] == 1
    assert ["No such file" in errors[0], "no readings" in errors[1], "No such file" in errors[2], "reading 2" in errors[3]] == [
        True
    ] * 4
    assert all("retrying" in line for line in errors[:3])


def test_a_url_that_fails_and_comes_back(capsys: pytest.CaptureFixture[str]) -> None:
    body = json.dumps(reading(1)).encode()
    answers = Answers((200, body), (500, b"no"), (200, b"<html>"), (200, json.dumps(reading(3)).encode()))
    with serving(answers) as url:
        port = int(url.split(":")[2].split("/")[0])
        rounds(url, *[lambda: None] * 3)
    rounds(url)
    with serving(Answers((200, body)), port) as again:
        rounds(again)
    found, errors = lines(capsys)
    assert [each["average_temperature"] for each in found] == [21.0, 22.0, 21.0]
    assert ["500" in errors[0], "no readings" in errors[1], "refused" in errors[2].lower()] == [True] * 3


def test_a_repeated_reading_is_shown_and_counts_once() -> None:
    averages = SourceAverages(None, 5)
    averages.take([reading(1)])
    for _ in range(3):
        (found,), _ = averages.take([reading(1), reading(1)])
        assert found["average_temperature"] == 21.0
    (found,), _ = averages.take([reading(1), reading(3)])
    assert (found["temperature"], found["average_temperature"]) == (23.0, 22.0)


def test_a_source_that_grows_yields_its_new_readings() -> None:
    averages = SourceAverages(None, 5)
    averages.take([reading(n) for n in range(30)])
    (found,), _ = averages.take([reading(n) for n in range(1, 31)])
    assert (found["temperature"], found["average_temperature"]) == (50.0, 48.0)


def test_only_the_selected_machine_is_shown() -> None:
    found, wrong = SourceAverages(2, 5).take([reading(1), reading(1, 2)])
    assert ([each["id"] for each in found], wrong) == ([2], [])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "temperature", "status", "x"]), inner),
    max_leaves=8,
)


@given(st.lists(json_values, max_size=5))
def test_no_json_crashes_it(payloads: list[Any]) -> None:
    averages = SourceAverages(None, 5)
    for _ in range(2):
        found, wrong = averages.take(payloads)
        assert len(found) + len(wrong) <= len(payloads)


@pytest.mark.parametrize("place", ["/", "/nowhere/x.json", "http://", "http://[", "http://127.0.0.1:1/", "x\0y"])
def test_an_unreadable_source_is_reported(place: str) -> None:
    with pytest.raises(SourceFailed):
        read_source(place)


def test_a_source_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "LARGEST_BYTES", 1 << 20)
    path = tmp_path / "large.json"
    path.write_bytes(b" " * ((1 << 20) + 1))
    with pytest.raises(SourceFailed, match="more than 1 MiB"):
        read_source(str(path))


@contextmanager
def sending(head: bytes, piece: bytes, pause_s: float) -> Iterator[str]:
    """Serve an answer that never ends: a head, then the same piece over and over."""
    ended = threading.Event()

    class Endless(BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(65536)
            with suppress(OSError):
                self.request.sendall(head)
                while not ended.wait(pause_s):
                    self.request.sendall(piece)

    with ThreadingTCPServer(("127.0.0.1", 0), Endless) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/data"
        finally:
            ended.set()
            server.shutdown()
            thread.join()


HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(("head", "piece"), [(b"\r\n", b"1"), (b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n1\r\n")])
def test_an_endless_slow_url_is_an_error(head: bytes, piece: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "WHOLE_S", 0.5)
    with sending(HEAD + head, piece, 0.05) as url, pytest.raises(SourceFailed, match=r"read: no whole answer within 0\.5 s"):
        read_source(url)


def test_a_url_that_floods_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "LARGEST_BYTES", 1 << 20)
    with sending(HEAD + b"\r\n", b" " * 65536, 0.0) as url, pytest.raises(SourceFailed, match="more than 1 MiB"):
        read_source(url)


def test_ctrl_c_ends_with_130(tmp_path: Path) -> None:
    path = tmp_path / "readings.json"
    path.write_text(json.dumps(reading(1)))
    command = [sys.executable, "-m", "adapters.cli.main", "machines", "watch", "--source", str(path), "--every", "0.2"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ)) as running:
        assert running.stdout is not None
        for _ in range(2):
            assert json.loads(running.stdout.readline())["average_temperature"] == 21.0
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=20)
    assert (running.returncode, errors) == (130, b"")
