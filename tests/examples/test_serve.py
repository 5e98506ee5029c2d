"""examples/serve.py under load, in a process of its own: every request gets its own right answer; it ends cleanly."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from support import sweep, tiny

sys.path.insert(0, str(Path(__file__).parent.parent.parent / "examples"))

from batches import Batcher, Refused

import secateur as sc

ROOT = Path(__file__).parent.parent.parent
CLIENTS, EACH = 16, 25
RAW = {"Content-Type": "application/octet-stream"}


class Running:
    """A server in a child process."""

    def __init__(self, folder, *flags, model=("--model", "support:tiny")):
        paths = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])
        words = [sys.executable, str(ROOT / "examples" / "serve.py"), "net.safetensors", *model,
                 "--shape", "1,4,4", "--port", "0", *flags]
        self.process = subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"})
        self.first = self.process.stdout.readline()
        assert self.first.startswith("serve:"), self.process.communicate()
        self.port = int(self.first.strip().rpartition(":")[2])

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)

    def ask(self, method, path, body=None, headers=None, connection=None):
        own = connection or self.connect()
        own.request(method, path, body, headers or {})
        answer = own.getresponse()
        content = answer.read()
        if not connection:
            own.close()
        return answer.status, content

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        said, errors = self.process.communicate(timeout=300)
        return self.process.returncode, said, errors


@pytest.fixture
def network(tmp_path):
    torch.manual_seed(3)
    made = tiny().eval()
    cut = sc.apply(made, sc.plan(made, 0.8, skip=()))
    sc.save(cut, tmp_path / "net.safetensors")
    return cut


@pytest.fixture
def start(tmp_path):
    running = []

    def begin(*flags):
        running.append(Running(tmp_path, *flags))
        return running[-1]

    yield begin
    for one in running:
        if one.process.poll() is None:
            one.process.kill()
            one.process.communicate()


@pytest.fixture(scope="module")
def whole():
    torch.manual_seed(3)
    return tiny().eval()


@pytest.fixture(scope="module")
def shared(whole, tmp_path_factory):
    """A server of the whole network, which ends as by Ctrl-C."""
    folder = tmp_path_factory.mktemp("served")
    sc.save(whole, folder / "net.safetensors")
    server = Running(folder, "--dense", "--max-batch", "4")
    yield server
    assert server.end(signal.SIGINT)[::2] == (0, "")


def client(server, network, number):
    """Requests of several sizes and both kinds over one connection; how many answers were right."""
    generator, connection, right = torch.Generator().manual_seed(number), server.connect(), 0
    for turn in range(EACH):
        x = torch.rand(1 + turn % 3, 1, 4, 4, generator=generator)
        if turn % 2:
            status, content = server.ask("POST", "/predict", x.numpy().tobytes(), RAW, connection)
            got = torch.from_numpy(np.frombuffer(content, "<f4").reshape(len(x), -1).copy())
        else:
            body = json.dumps({"inputs": x.tolist()})
            status, content = server.ask("POST", "/predict", body, None, connection)
            got = torch.tensor(json.loads(content)["outputs"])
        with torch.no_grad():
            right += status == 200 and torch.allclose(got, network(x), rtol=1e-4, atol=1e-5)
    connection.close()
    return right


@pytest.mark.parametrize("flags", sweep([["--dense"], []], lambda flags: not flags), ids=["dense", "sparse"])
def test_every_answer_under_load_is_that_of_its_own_request(start, network, flags):
    server = start("--max-batch", "8", *flags)
    assert ("compiled" in server.first) == (not flags)
    with ThreadPoolExecutor(CLIENTS) as pool:
        right = list(pool.map(lambda n: client(server, network, n), range(CLIENTS)))
    assert right == [EACH] * CLIENTS
    status, content = server.ask("GET", "/health")
    told = json.loads(content)
    assert (status, told["status"], told["answered"], told["shape"]) == (200, "ok", CLIENTS * EACH, [1, 4, 4])
    assert told["batches"] < CLIENTS * EACH
    code, said, errors = server.end()
    assert (code, errors) == (0, "")
    assert f"closed after {CLIENTS * EACH} requests" in said


def test_wrong_requests_are_told_why_and_the_server_goes_on(shared, whole):
    server, nested = shared, "[" * 50_000
    for body, status, word in [
            (b"no json", 400, "no JSON"), (b"", 400, "no JSON"), (nested, 400, "no JSON"), ("[1]", 400, "inputs"),
            ('{"inputs": [[1, 2]]}', 400, "[n, 1, 4, 4]"), ('{"inputs": "text"}', 400, "no array"),
            ('{"inputs": [[1], [1, 2]]}', 400, "no array"), ('{"inputs": 3}', 400, "[n, 1, 4, 4]"),
            (json.dumps({"inputs": np.zeros((5, 1, 4, 4)).tolist()}), 400, "n from 1 to 4"),
            (json.dumps({"inputs": np.full((1, 1, 4, 4), np.nan).tolist()}), 400, "no finite"),
            (json.dumps({"inputs": np.full((1, 1, 4, 4), 1e300).tolist()}), 400, "no finite"),
            (b"x" * 100_000, 413, "Content-Length")]:
        if body is nested:
            body = body[:3000]
        got, content = server.ask("POST", "/predict", body)
        assert (got, word in json.loads(content)["error"]) == (status, True), (body[:40], got, content)
    for headers, body in ((RAW, b"12345"), (RAW, b"")):
        assert server.ask("POST", "/predict", body, headers)[0] == 400
    assert server.ask("GET", "/elsewhere")[0] == 404
    assert server.ask("POST", "/elsewhere", b"{}")[0] == 404
    assert client(server, whole, 1) == EACH


@pytest.mark.parametrize(("method", "path", "status", "allow"), [
    ("PUT", "/predict", 405, "POST"), ("DELETE", "/health", 405, "GET, HEAD"), ("GET", "/predict", 405, "POST"),
    ("POST", "/health", 405, "GET, HEAD"), ("PATCH", "/elsewhere", 404, None), ("GET", "/", 404, None),
    ("BREW", "/predict", 405, "POST")])
def test_other_methods_and_paths_are_told_in_json(shared, method, path, status, allow):
    connection = shared.connect()
    connection.request(method, path, b'{"inputs": []}' if method != "GET" else None)
    answer = connection.getresponse()
    told = json.loads(answer.read())
    assert (answer.status, answer.getheader("Content-Type"), answer.getheader("Allow")) == (
        status, "application/json", allow)
    assert list(told) == ["error"] and path in told["error"]
    connection.close()


def test_head_is_get_without_the_body_and_a_wild_request_is_told_in_json(shared):
    assert shared.ask("HEAD", "/health") == (200, b"")
    with socket.create_connection(("127.0.0.1", shared.port), 300) as line:
        line.sendall(b"GET /health HTTP/1.1\r\nX: " + b"x" * 65_534)
        head, _, body = line.makefile("rb").read().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 431 ") and b"application/json" in head
    assert "error" in json.loads(body)


@pytest.mark.slow
def test_a_file_with_its_graph_starts_without_a_warning(tmp_path):
    torch.manual_seed(3)
    sc.save(sc.prune(tiny().eval(), 0.8, skip=()), tmp_path / "net.safetensors", example=torch.zeros(1, 1, 4, 4))
    server = Running(tmp_path, model=())
    assert "compiled" in server.first
    assert server.end()[::2] == (0, "")


class Slow:
    """A network that waits until it may go on; the batch sizes that it was given."""

    def __init__(self):
        self.go, self.met, self.seen = threading.Event(), threading.Event(), []

    def __call__(self, x):
        self.seen.append(len(x))
        if x.any():
            self.met.set()
            assert self.go.wait(300)
        return 2 * x


def test_a_full_queue_refuses_and_what_is_in_it_is_answered_before_the_end():
    network = Slow()
    batcher = Batcher(network, (1,), 4, 0.0, 2)
    batcher.start(1)
    assert network.seen == [1, 2, 4]
    with ThreadPoolExecutor(1) as pool:
        first = batcher.submit(torch.tensor([[1.0]]))
        assert network.met.wait(300)
        others = [batcher.submit(torch.tensor([[2.0], [n]])) for n in (3.0, 4.0)]
        assert first.running()
        with pytest.raises(Refused, match="the queue is full") as full:
            batcher.submit(torch.ones(1, 1))
        closing = pool.submit(batcher.close)
        while not batcher.closing:
            assert first.running()
        with pytest.raises(Refused, match="closing"):
            batcher.submit(torch.ones(1, 1))
        network.go.set()
        answers = [job.result(300).flatten().tolist() for job in (first, *others)]
        closing.result(300)
    assert full.value.status == 503
    assert sorted(answers) == [[2.0], [4.0, 6.0], [4.0, 8.0]]
    assert (batcher.answered, batcher.thread.is_alive()) == (3, False)
    assert set(network.seen) <= {1, 2, 4}


def test_a_job_that_was_given_up_is_not_run_and_does_not_fail_its_neighbours():
    network = Slow()
    batcher = Batcher(network, (1,), 4, 0.0, 8)
    batcher.start(1)
    first = batcher.submit(torch.tensor([[1.0]]))
    assert network.met.wait(300)
    given_up, kept = batcher.submit(torch.tensor([[2.0]])), batcher.submit(torch.tensor([[3.0]]))
    assert given_up.cancel()
    network.go.set()
    assert (first.result(300).item(), kept.result(300).item()) == (2, 6)
    batcher.close()
    assert batcher.answered == 2


def test_a_failing_network_fails_its_own_batch_alone():
    def network(x):
        if x.sum() > 5:
            raise RuntimeError("too much")
        return x

    batcher = Batcher(network, (1,), 4, 0.0, 8)
    batcher.start(1)
    with pytest.raises(RuntimeError, match="too much"):
        batcher.submit(torch.tensor([[9.0]])).result(300)
    assert batcher.submit(torch.tensor([[1.0], [2.0], [1.5]])).result(300).flatten().tolist() == [1.0, 2.0, 1.5]
    batcher.close()
    with pytest.raises(sc.SecateurError, match="a row for each sample"):
        Batcher(lambda x: x.sum(), (1,), 4, 0.0, 8).start(1)
