"""A hundred reloads under load: no request fails, no tunnel closes, nothing piles up. (`make soak` asks for more.)"""

import contextlib
import threading
import zlib

import pytest
from reloads import WEBSOCKET, Reloader, variants
from scale import IS_SANITIZED, scaled
from support import Client, Cut, eventually, pattern, web_config

PIECE = pattern(8192)


class Worker(threading.Thread):
    """Does `turn(self)` again and again; what goes wrong is kept."""

    def __init__(self, gate, turn):
        super().__init__(daemon=True)
        self.gate, self.turn = gate, turn
        self.count, self.failures, self.done = 0, [], threading.Event()
        self.start()

    def run(self):
        with contextlib.ExitStack() as stack:
            self.stack, self.client = stack, None
            while not self.done.is_set() and not self.failures:
                try:
                    self.turn(self)
                    self.count += 1
                except (OSError, Cut, AssertionError) as error:
                    self.failures.append(f"{self.turn.__name__} {self.count}: {error!r}")

    def kept(self):
        """A connection that is kept."""
        if not self.client:
            self.client = self.stack.enter_context(self.gate.client())
        return self.client


def keep_alive(worker):
    response = worker.kept().request("GET", "/size/100").read_response()
    assert response.status == 200 and response.body == pattern(100) and response.header("Connection") is None, response


def connection_a_request(worker):
    with worker.gate.client() as client:
        response = client.request("GET", "/size/10").read_response()
        assert response.status == 200 and response.body == pattern(10)


def post(worker):
    response = worker.kept().request("POST", "/sink", body=PIECE, chunked=1000).read_response()
    assert response.status == 200 and response.text.startswith("bytes 8192 ")


def tunnel(worker):
    if not worker.client:
        assert worker.kept().request("GET", "/upgrade", WEBSOCKET).read_response().status == 101
    assert worker.client.send(b"hello").read_exactly(5) == b"hello"


def download(worker):
    response = worker.kept().request("GET", "/size/2m").read_response()
    assert len(response.body) == 2 * 1024 * 1024


TURNS = [keep_alive] * 6 + [connection_a_request] * 2 + [post] * 2 + [tunnel] * 3 + [download]


class Lasting:
    """A download and an upload, a piece of each after each reload; both are whole at the end."""

    PIECE = 64 * 1024

    def __init__(self, gate, count):
        self.size, self.sent, self.got = count * self.PIECE, 0, b""
        self.down, self.up = gate.client(rcvbuf=4096), gate.client()
        self.down.request("GET", f"/size/{self.size}")
        assert self.down.read_head().status == 200
        self.up.send(f"POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: {self.size}\r\n\r\n".encode())

    def go_on(self):
        self.up.send(pattern(self.PIECE))
        self.sent += self.PIECE
        self.got += self.down.read_exactly(self.PIECE)

    def end(self):
        assert self.sent == self.size and self.got == pattern(self.size)
        checksum = zlib.adler32(pattern(self.PIECE) * (self.size // self.PIECE))
        assert self.up.read_response().text == f"bytes {self.size} adler32 {checksum:08x}\n"
        self.up.close()
        self.down.close()


@pytest.fixture
def gate(loomgate, origin):
    origins = [origin("-n", f"s{i}") for i in range(4)]
    health = {"http": {"path": "/"}, "interval": "200ms", "fast_interval": "200ms", "timeout": "200ms"}
    config = web_config(*origins, settings={"workers": 2}, frontend={"access_log": "off"}, backend={"health": health})
    gate = Reloader(loomgate, config)
    gate.origins = origins
    return gate


@pytest.mark.threads
@pytest.mark.parametrize("broken", [False, True], ids=["all good", "every second file broken"])
def test_reloads_under_load(gate, broken):
    reloads = scaled(100, least=20)
    workers = [Worker(gate, turn) for turn in TURNS]
    lasting, memory = Lasting(gate, reloads), []
    files = variants(gate, gate.origins)
    with gate.control.open() as raw:
        for n in range(reloads):
            if broken and n % 2:
                gate.write("version: 1\nfrontends: {web: {bnd: []}}\n")
                raw.send("reload\n")
                assert raw.answer().startswith("error: config: ")
            else:
                gate.write(next(files))
                raw.send("reload\n")
                assert raw.answer().startswith("ok: ")
            lasting.go_on()
            least = min(worker.count for worker in workers if worker.turn is not download)
            if n % 10 == 0:
                eventually(lambda least=least: any(w.failures for w in workers) or all(
                    w.count > least for w in workers if w.turn is not download), "everybody goes on")
            if n > reloads // 3:
                memory.append(gate.resident_bytes())
    lasting.end()
    for worker in workers:
        worker.done.set()
    for worker in workers:
        worker.join()
    assert not [failure for worker in workers for failure in worker.failures]
    assert gate.process.poll() is None
    gate.wait_alone()
    eventually(lambda: gate.control.json("show info")["connections"]["open"] == 0, "all clients gone")
    info = gate.control.json("show info")["requests"]
    assert info["failed"]["gateway"] == info["failed"]["server"] == 0 and info["active"] == info["queued"] == 0
    if not IS_SANITIZED:
        assert max(memory[len(memory) // 2:]) < max(memory[:len(memory) // 2]) + 8 * 1024 * 1024, memory
    gate.stop(allow_errors=broken)


def test_many_reloads_leave_nothing(gate):
    """Without load, so that all that stays is the reloads'."""
    files = variants(gate, gate.origins)
    with Client(gate.web) as client, gate.control.open() as raw:
        assert client.request("GET", "/upgrade", WEBSOCKET).read_response().status == 101

        def run(count):
            for _ in range(count):
                gate.write(next(files))
                raw.send("reload\n")
                assert raw.answer().startswith("ok: ")
            eventually(lambda: gate.state()["snapshots_alive"] == 2, "the tunnel's and the current one")
            return gate.resident_bytes(), gate.descriptors()

        run(scaled(100, least=10))
        memory, descriptors = run(scaled(100, least=10))
        memory_after, descriptors_after = run(scaled(500, least=20))
        assert descriptors_after <= descriptors + 4
        if not IS_SANITIZED:
            assert memory_after < memory + 4 * 1024 * 1024
        assert client.send(b"x").read_exactly(1) == b"x"
    gate.wait_alone()
