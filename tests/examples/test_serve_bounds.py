"""examples/serve.py among bad clients: what it bounds, what it refuses, and what it still answers when it is ended."""

import asyncio
import contextlib
import http.client
import json
import signal
import socket
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from support import sweep, tiny
from test_serve import RAW, Running

sys.path.insert(0, str(Path(__file__).parent.parent.parent / "examples"))

import http_server
from batches import Batcher, Refused
from http_request import read_samples
from http_server import Server

import secateur as sc

PATIENCE_S = 300
SAMPLE = [[[0.25] * 4] * 4]
GOOD = json.dumps({"inputs": [SAMPLE]})
AS_JSON = "Content-Type: application/json"
HELD_MODEL = ("--model", "held:make")
HELD = """
import pathlib, time
import support

def make():
    net = support.tiny()
    net.register_forward_pre_hook(wait)
    return net

def wait(module, inputs):
    if inputs[0].any():
        while not pathlib.Path("go").exists():
            time.sleep(0.01)
"""


@contextlib.contextmanager
def running(folder, *flags, model=("--model", "support:tiny")):
    server = Running(folder, "--dense", *flags, model=model)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.process.kill()
            server.process.communicate()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("served")
    torch.manual_seed(3)
    sc.save(tiny().eval(), place / "net.safetensors")
    (place / "held.py").write_text(HELD)
    return place


@pytest.fixture(scope="module")
def server(folder):
    with running(folder) as one:
        yield one
        assert one.end()[::2] == (0, "")


def line_to(server):
    return socket.create_connection(("127.0.0.1", server.port), PATIENCE_S)


def answer_on(line):
    """Status and content of the one answer on a line, None where the line was cut off."""
    try:
        answer = http.client.HTTPResponse(line)
        answer.begin()
        return answer.status, json.loads(answer.read())
    except (OSError, http.client.HTTPException):
        return None
    finally:
        line.close()


def sent(server, content):
    line = line_to(server)
    with contextlib.suppress(OSError):
        line.sendall(content)
        line.shutdown(socket.SHUT_WR)
    return answer_on(line)


def request(*fields, body=GOOD, length=True, first="POST /predict HTTP/1.1"):
    body = body.encode() if isinstance(body, str) else body
    lines = [first, "Host: here", *fields, *([f"Content-Length: {len(body)}"] if length else []), "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def test_the_request_that_the_table_varies_is_answered(server):
    for fields in ([], [AS_JSON], [AS_JSON + "; charset=UTF-8"], ["Content-Encoding: identity"],
                   ["Expect: 100-continue", "Connection: close"], ["X-Mine: a", "X-Mine: b"]):
        line = line_to(server)
        line.sendall(request(*fields))
        status, told = answer_on(line) if fields[:1] != ["Expect: 100-continue"] else after_continue(line)
        assert (status, np.shape(told["outputs"])) == (200, (1, 4)), fields


def after_continue(line):
    """The answer after the leave to send the body."""
    leave = b"HTTP/1.1 100 Continue\r\n\r\n"
    got = b""
    while len(got) < len(leave):
        got += line.recv(len(leave) - len(got))
    assert got == leave
    return answer_on(line)


def inputs(text):
    """A body in whose sample one number is something else."""
    return GOOD.replace("0.25", text, 1)


@pytest.mark.parametrize(("body", "word"), [
    (inputs("true"), "got bool"), (inputs("false"), "got bool"), (inputs('"0.25"'), "got str"),
    (inputs("null"), "got NoneType"), (inputs("NaN"), "no finite"), (inputs("Infinity"), "no finite"),
    (inputs("-Infinity"), "no finite"), (inputs("1e400"), "no finite"), (inputs("1e39"), "no finite"),
    (inputs("1" + "0" * 400), "no finite"), (inputs("1" + "0" * 5000), "no JSON"), (inputs("01"), "no JSON"),
    (inputs("0x1"), "no JSON"), (inputs("1_0"), "no JSON"), (inputs(".5"), "no JSON"), (inputs("[1]"), "got"),
    (inputs("[]"), "got"), (inputs('{"a": 1}'), "got"), (inputs("0.25, 0.25"), "no array"), (inputs("1,"), "no JSON"),
    ('{"inputs": "' + "a" * 16 + '"}', "got str"), ('{"inputs": [true]}', "got bool"), ('{"inputs": {}}', "got dict"),
    ('{"inputs": true}', "got bool"), ('{"inputs": null}', "got NoneType"), ('{"inputs": []}', "[n, 1, 4, 4]"),
    ('{"inputs": [[]]}', "[n, 1, 4, 4]"), (json.dumps({"inputs": SAMPLE}), "[n, 1, 4, 4]"),
    (json.dumps({"inputs": [[SAMPLE]]}), "[n, 1, 4, 4]"), (json.dumps({"inputs": [[[0.25] * 16]]}), "[n, 1, 4, 4]"),
    ('{"inputs": [[[[1, 2]]]], "inputs": ' + json.dumps([SAMPLE]) + "}", "twice"),
    ('{"inputs": [], "more": 1}', "inputs"), ("{}", "inputs"), ("[]", "inputs"), ("3", "inputs"), ("null", "inputs"),
    (GOOD + GOOD, "no JSON"), (GOOD[:-1], "no JSON"), (GOOD + "\0", "no JSON"), ("{'inputs': []}", "no JSON"),
    (GOOD.encode("utf-16"), "no JSON"), (GOOD.encode("utf-16-le"), "no JSON"), (GOOD.encode("utf-32-be"), "no JSON"),
    (GOOD.encode("utf-8-sig"), "no JSON"), (GOOD.encode() + b"\xff", "no JSON")],
    ids=lambda value: str(value)[:40])
def test_a_body_that_is_not_plainly_numbers_is_refused(server, body, word):
    status, told = sent(server, request(AS_JSON, body=body))
    assert status == 400 and list(told) == ["error"]
    assert word in told["error"] and "\n" not in told["error"]


@pytest.mark.parametrize(("content", "status", "word"), [
    (request(AS_JSON, length=False), 400, "Content-Length"),
    (request("Content-Length: 5"), 400, "several headers Content-Length"),
    (request(f"Content-Length: {len(GOOD)}"), 400, "several headers Content-Length"),
    *((request(f"Content-Length: {value}", length=False), 400, "Content-Length is")
      for value in ("-1", "+5", "5, 5", "1.0", "0x10", "1e2", "five", "", "9" * 13, "5 5", "\xb2")),
    (request("Content-Length: 99999999", length=False), 413, "Content-Length"),
    (request("Transfer-Encoding: chunked", length=False), 400, "Transfer-Encoding"),
    (request("Transfer-Encoding: chunked"), 400, "Transfer-Encoding"),
    (request("Transfer-Encoding: identity"), 400, "Transfer-Encoding"),
    (request("transfer-encoding : chunked"), 400, "header"),
    *((request(f"Content-Type: {kind}"), 400, "Content-Type is")
      for kind in ("text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16",
                   "application/json; charset=latin-1", "multipart/form-data; boundary=x", "application/jsonx",
                   "application/octet-stream; type=f8", "")),
    (request(AS_JSON, "Content-Type: text/plain"), 400, "several headers Content-Type"),
    (request("Content-Encoding: gzip"), 400, "Content-Encoding"), (request("Expect: miracles"), 400, "Expect"),
    (request("X-Folded: a\r\n b"), 400, "header"), (request("No colon"), 400, "header"),
    (request("X: a\nTransfer-Encoding: chunked"), 400, "header"), (request(": x"), 400, "header"),
    (request("X: a\rb"), 400, "header"), (request("X: a\0b"), 400, "header"),
    *((request(first=first), 400, "METHOD PATH") for first in (
        "POST /predict", "POST  /predict HTTP/1.1", "POST /predict HTTP/2.0", "POST /pre dict HTTP/1.1", "hello",
        "POST /predict http/1.1", " POST /predict HTTP/1.1", "POST /predict HTTP/1.1 ")),
    (b"\r\n" + request(), 400, "METHOD PATH"), (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400, "METHOD PATH"),
    (request(first="GET /health HTTP/1.1"), 400, "GET with a body"),
    (request("Content-Type: application/octet-stream", body=b"x" * 63), 400, "64 bytes"),
    (request("Content-Type: application/octet-stream", body=np.ones(12, "<f8").tobytes()), 400, "64 bytes"),
    (request("Content-Type: application/octet-stream", body=b""), 400, "64 bytes"),
    (request("Content-Type: application/octet-stream", body=np.full(16, np.inf, "<f4").tobytes()), 400, "no finite"),
    (request(*(f"X-{n}: {'x' * 100}" for n in range(400))), 431, "head"),
    (request("X: " + "x" * 20_000), 431, "head"), (b"x" * 20_000, 431, "head")],
    ids=lambda value: value[:60].decode("latin-1") if isinstance(value, bytes) else str(value))
def test_a_request_that_can_be_read_in_two_ways_is_refused_and_ends_the_connection(server, content, status, word):
    got, told = sent(server, content)
    assert (got, list(told)) == (status, ["error"])
    assert word in told["error"] and "\n" not in told["error"]


def test_what_follows_a_refused_head_is_no_second_request(server):
    hidden = request(first="GET /health HTTP/1.1", body="")
    with line_to(server) as line:
        line.sendall(request("Transfer-Encoding: chunked", body=hidden) + hidden)
        line.shutdown(socket.SHUT_WR)
        said = line.makefile("rb").read()
    assert said.count(b"HTTP/1.1 ") == 1 and said.startswith(b"HTTP/1.1 400 ") and b"Connection: close" in said


def test_requests_sent_ahead_are_answered_in_their_order(server):
    with line_to(server) as line:
        line.sendall(request(body=inputs("true")) + request() + request("Connection: close", body=inputs("null")))
        said = line.makefile("rb").read()
    assert [part[:3] for part in said.split(b"HTTP/1.1 ")[1:]] == [b"400", b"200", b"400"]


@pytest.mark.parametrize("seed", range(20))
def test_any_nesting_is_read_or_refused(seed):
    """Random nestings of every kind of value: never another error, and what is read has the shape."""
    draw = np.random.default_rng(seed)

    def value(depth):
        kind = draw.integers(0, 10 if depth else 8)
        leaves = [0, 1.5, -2, True, None, "1", {}, 10**400]
        return leaves[kind] if kind < 8 else [value(depth - 1) for _ in range(draw.integers(0, 4))]

    for _ in range(300):
        shape = tuple(draw.integers(1, 3, draw.integers(0, 3)).tolist())
        try:
            found = read_samples(json.dumps({"inputs": value(5)}).encode(), False, shape, 4)
        except Refused as error:
            why = error
        else:
            assert found.shape[1:] == shape and found.isfinite().all()
            continue
        assert why.status == 400 and "\n" not in str(why)


def test_slow_clients_in_any_number_do_not_keep_a_good_one_out(folder):
    slow = [b"POST /predict HTTP/1.1\r\nHost: he", b"", request()[:-5], b"P"]
    with running(folder, "--connections", "8", "--request-seconds", "1") as server:
        lines = [line_to(server) for _ in range(40)]
        for number, line in enumerate(lines):
            with contextlib.suppress(OSError):
                line.sendall(slow[number % 4])
        answers = until_answered(server, lines)
        for line in lines:
            line.close()
        assert answers[-1] == 200 and set(answers[:-1]) <= {503, None}
        with line_to(server) as line:
            line.sendall(b"POST")
            status, told = answer_on(line)
        assert status == 408 and "took more than 1.0 seconds" in told["error"]
        assert server.end()[::2] == (0, "")


def until_answered(server, lines):
    """The answers to a good client that asks again and again, while the slow ones send a byte now and then."""
    answers, deadline = [], time.monotonic() + PATIENCE_S
    while answers[-1:] != [200] and time.monotonic() < deadline:
        for line in lines:
            with contextlib.suppress(OSError):
                line.send(b"x")
        told = sent(server, request())
        answers.append(told and told[0])
    return answers


def test_a_full_server_says_so_and_has_no_more_threads(folder):
    with running(folder, "--connections", "8", "--request-seconds", "300") as server:
        tasks = Path(f"/proc/{server.process.pid}/task")
        before = len(list(tasks.iterdir())) if tasks.exists() else 0
        held = [line_to(server) for _ in range(8)]
        for line in held:
            line.sendall(request()[:-1])
        refused = [sent(server, request()) for _ in range(3)]
        assert [status for status, _ in refused] == [503] * 3
        assert "the server is full (8 connections)" in refused[0][1]["error"]
        assert not before or len(list(tasks.iterdir())) == before
        for line in held:
            line.sendall(request()[-1:])
        assert [answer_on(line)[0] for line in held] == [200] * 8
        assert server.end()[::2] == (0, "")


def test_a_client_that_does_not_read_its_answer_is_cut_off(monkeypatch):
    class Generous(Server):
        async def content(self, head, body):
            return bytes(1 << 26)

    async def go():
        server = Generous(Batcher(tiny(), (1, 4, 4), 1, 0.0, 1), "", 8, PATIENCE_S)
        listener = await asyncio.start_server(server.connect, "127.0.0.1", 0)
        with socket.create_connection(listener.sockets[0].getsockname()) as line:
            line.sendall(request())
            while not server.served:
                await asyncio.sleep(0.01)
            await asyncio.wait_for(asyncio.wait(server.served.values()), PATIENCE_S)
        listener.close()
        return server.served

    monkeypatch.setattr(http_server, "ANSWER_S", 0.5)
    assert asyncio.run(go()) == {}


@pytest.mark.parametrize("number", sweep([signal.SIGTERM, signal.SIGINT], lambda number: number == signal.SIGTERM))
def test_sixty_clients_in_flight_are_all_answered_before_the_end(folder, number):
    (folder / "go").unlink(missing_ok=True)
    with running(folder, "--request-seconds", "300", "--grace-seconds", "300", model=HELD_MODEL) as server:
        lines = [line_to(server) for _ in range(60)]
        for line in lines[:20]:
            line.sendall(request())
        for line in lines[20:40]:
            line.sendall(request()[:-3])
        wait_for(server, {"connections": 61, "at_work": 20})
        server.process.send_signal(number)
        wait_until_closed(server)
        for line in lines[20:40]:
            line.sendall(request()[-3:])
        for line in lines[40:]:
            line.sendall(request())
        (folder / "go").touch()
        answers = [answer_on(line) for line in lines]
        said, errors = server.process.communicate(timeout=PATIENCE_S)
    assert [answer and answer[0] for answer in answers] == [200] * 60
    with torch.no_grad():
        expected = sc.load(folder / "net.safetensors", tiny).eval()(torch.tensor([SAMPLE]))
    assert all(np.allclose(told["outputs"], expected, rtol=1e-4, atol=1e-6) for _, told in answers)
    assert (server.process.returncode, errors) == (0, "")
    assert "closed after 60 requests" in said and "cut off" not in said


def wait_for(server, expected):
    """Until the health has some values."""
    deadline, told = time.monotonic() + PATIENCE_S, {}
    while {key: told.get(key) for key in expected} != expected:
        assert time.monotonic() < deadline, told
        told = json.loads(server.ask("GET", "/health")[1])


def wait_until_closed(server):
    """Until no new connection is taken."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            line_to(server).close()
        except OSError:
            return
    raise AssertionError("the server still takes connections")


@pytest.mark.slow
def test_what_is_not_finished_within_the_grace_is_cut_off_and_told(folder):
    (folder / "go").unlink(missing_ok=True)
    with running(folder, "--request-seconds", "300", "--grace-seconds", "1", model=HELD_MODEL) as server:
        line = line_to(server)
        line.sendall(request())
        wait_for(server, {"at_work": 1})
        code, said, errors = server.end()
    assert (code, errors) == (0, "")
    assert "1 connections were cut off after 1 seconds" in said
    assert answer_on(line) is None


@pytest.mark.slow
def test_an_open_connection_without_a_request_does_not_keep_the_server(folder):
    with running(folder, "--grace-seconds", "300") as server:
        idle = server.connect()
        assert server.ask("POST", "/predict", np.ones(16, "<f4").tobytes(), RAW, idle)[0] == 200
        code, said, errors = server.end()
        idle.close()
    assert (code, errors) == (0, "") and "cut off" not in said
