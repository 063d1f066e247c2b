"""SIGTERM and the other signals."""

import select
import signal
import subprocess
import threading
import time

import pytest
from support import (LOOMGATE_BIN, TIMEOUT, Client, Cut, environment, eventually, fetch, parse_json, pattern,
                     web_config, write_config)

UPGRADE = [("Connection", "Upgrade"), ("Upgrade", "raw")]


def with_grace(grace, *servers, workers=1, **frontend):
    return web_config(*servers, settings={"workers": workers, "shutdown": {"grace": grace}}, frontend=frontend)


@pytest.fixture
def held(fake_server):
    """A server that answers /held only when the test says so."""

    def script(conn):
        while head := conn.read_head():
            if head.startswith(b"GET /held"):
                server.arrived.release()
                server.go.wait(TIMEOUT)
            conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    server = fake_server(script)
    server.go, server.arrived = threading.Event(), threading.Semaphore(0)
    yield server
    server.go.set()


def stop(gate, number=signal.SIGTERM):
    """Sends the signal and waits until it is being obeyed."""
    gate.signal(number)
    return gate.logged(event="stopping")


def exits(gate, status=0):
    """The seconds until it has ended so."""
    start = time.monotonic()
    assert gate.wait_exit() == status
    gate.assert_clean()
    return time.monotonic() - start


def refuses(gate):
    """New connections are refused, once its sockets are closed."""

    def is_refused():
        try:
            gate.client().close()
        except ConnectionRefusedError:
            return True
        return False

    eventually(is_refused, "closed listeners")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("workers", [1, 2])
def test_idle(loomgate, origin, number, workers):
    gate = loomgate(with_grace("60s", origin(), workers=workers))
    for _ in range(4):
        assert gate.fetch("/").status == 200
    gate.signal(number)
    assert exits(gate) < TIMEOUT / 2
    assert [line["event"] for line in gate.log.lines][-2:] == ["stopping", "stopped"]


def test_idle_keep_alive_clients_are_let_go(loomgate, origin):
    server = origin()
    gate = loomgate(with_grace("60s", server))
    clients = [gate.client() for _ in range(20)]
    for client in clients[:15]:  # five have not asked anything yet
        assert client.request("GET", "/").read_response().status == 200
    gate.signal(signal.SIGTERM)
    for client in clients:
        assert client.read_all() == b"" and not client.was_reset
    assert exits(gate) < TIMEOUT / 2
    eventually(lambda: server.connections()[1] == 0)


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.threads)])
def test_running_exchange_finishes(loomgate, held, workers):
    gate = loomgate(with_grace("60s", held, workers=workers))
    clients = [gate.client().request("GET", f"/held/{number}") for number in range(6)]
    for _ in clients:
        assert held.arrived.acquire(timeout=TIMEOUT)
    assert stop(gate)["grace_s"] == 60
    refuses(gate)
    held.go.set()
    for client in clients:
        response = client.read_response()
        assert (response.status, response.text, response.header("Connection")) == (200, "ok", "close")
        assert client.is_closed()
    assert exits(gate) < TIMEOUT / 2
    assert len([r for r in gate.records.lines if r["cause"] == "ok"]) == 6, "a record was lost at the end"


def test_running_bodies_finish(loomgate, origin):
    gate = loomgate(with_grace("60s", origin()))
    with gate.client() as down, gate.client() as up:
        down.request("GET", "/trickle/40/10")
        head = down.read_head()
        up.send(b"POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
        stop(gate)
        refuses(gate)
        down.read_body(head)
        assert head.body == pattern(40) and down.is_closed()
        response = up.send(b"defghij").read_response()
        assert response.text.startswith("bytes 10 ") and response.header("Connection") == "close"
    assert exits(gate) < TIMEOUT / 2


@pytest.mark.parametrize("path", ["/size/8m", "/chunked/8m", "/close/8m"])
def test_slow_reader_gets_all_of_its_response(loomgate, origin, path):
    """Also what was still in the proxy's own buffer when the server had finished."""
    gate = loomgate(with_grace("60s", origin()))
    with gate.client(rcvbuf=400000) as client:
        client.request("GET", path)
        head = client.read_head()
        stop(gate)
        refuses(gate)
        data = bytearray()
        while piece := client.sock.recv(65536):
            data += piece
            time.sleep(0.002)
        client.buffer += bytes(data)
        client.ended = True
        client.read_body(head)
        assert head.body == pattern(8 << 20)
    assert exits(gate) < TIMEOUT / 2


def test_responses_that_nobody_has_read_yet_survive(loomgate, origin):
    """Answers that are complete for the server, in part still in the proxy's own buffer: grace is for them too."""
    gate = loomgate(with_grace("60s", origin()))

    def ask(size):
        return gate.client(rcvbuf=65536).request("GET", f"/size/{size}")

    def fits(size):
        """It is taken to its end although the client does not read."""
        client = ask(size)
        try:
            gate.records.wait(lambda record: record["path"] == f"/size/{size}", timeout=0.25)
            return True
        except AssertionError:
            return False
        finally:
            client.reset()

    low, high = 50_000, 16_000_000
    while high - low > 10_000:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    sizes = range(max(1, low - 150_000), low + 30_000, 15_000)  # around what the kernel and the proxy hold
    clients = [ask(size) for size in sizes]
    for client in clients:
        assert select.select([client.sock], [], [], TIMEOUT)[0]
    time.sleep(0.2)
    stop(gate)
    for client, size in zip(clients, sizes):
        response = client.read_response()
        assert len(response.body) == size
        client.close()
    assert exits(gate) < TIMEOUT / 2


def test_head_that_is_half_here_is_still_served(loomgate, origin):
    gate = loomgate(with_grace("60s", origin()))
    with gate.client() as client, gate.client() as other:
        assert other.request("GET", "/").read_response().status == 200
        client.send(b"GET / HTTP/1.1\r\nHo")
        eventually(lambda: unread_bytes(client) == 0, "the bytes in the proxy")
        stop(gate)
        assert other.is_closed()
        response = client.send(b"st: a\r\n\r\n").read_response()
        assert response.status == 200 and response.header("Connection") == "close" and client.is_closed()
    assert exits(gate) < TIMEOUT / 2


def unread_bytes(client):
    """How many bytes that we sent the other side has not read from its socket yet."""
    host, port = client.sock.getsockname()
    wanted = "0100007F:%04X" % port
    with open("/proc/net/tcp") as table:
        for line in table:
            words = line.split()
            if words[2] == wanted and words[3] == "01":
                return int(words[4].split(":")[1], 16)
    raise AssertionError("the connection is not there")


def test_pipelined_requests_behind_the_running_one(loomgate, held):
    """The running one is the last: what waits behind it is not answered and the client is told by `close`."""
    gate = loomgate(with_grace("60s", held))
    with gate.client() as client:
        client.send(b"GET /held HTTP/1.1\r\nHost: a\r\n\r\nGET /next HTTP/1.1\r\nHost: a\r\n\r\n")
        assert held.arrived.acquire(timeout=TIMEOUT)
        stop(gate)
        held.go.set()
        assert client.read_response().header("Connection") == "close"
        assert client.read_all() == b""
    assert exits(gate) < TIMEOUT / 2


@pytest.mark.parametrize("workers", [1, 2])
def test_grace_is_over(loomgate, held, workers):
    gate = loomgate(with_grace("300ms", held, workers=workers))
    with gate.client() as client:
        client.request("GET", "/held")
        assert held.arrived.acquire(timeout=TIMEOUT)
        start = time.monotonic()
        stop(gate)
        exits(gate)
        assert 0.25 < time.monotonic() - start < TIMEOUT / 2
        with pytest.raises((Cut, ConnectionError)):
            client.read_response()
    told = next(line for line in gate.log.lines if line["event"] == "grace_over")
    assert told["connections"] == 1 and told["level"] == "warn"


def test_half_a_response_at_the_end_of_grace_does_not_look_whole(loomgate, origin):
    gate = loomgate(with_grace("300ms", origin()))
    with gate.client() as client:
        client.request("GET", "/trickle/100000/10")
        assert client.read_head().status == 200
        stop(gate)
        exits(gate)
        assert len(client.read_all()) < 100000


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_second_signal_ends_at_once(loomgate, held, second):
    gate = loomgate(with_grace("60s", held))
    with gate.client() as client:
        client.request("GET", "/held")
        assert held.arrived.acquire(timeout=TIMEOUT)
        stop(gate)
        refuses(gate)
        gate.signal(second)
        assert exits(gate) < TIMEOUT / 2


@pytest.mark.parametrize("mode", ["http", "tcp"])
def test_tunnel_may_end_by_itself(loomgate, origin, mode):
    gate = loomgate(with_grace("60s", origin(*["-t"] * (mode == "tcp")), mode=mode))
    with gate.client() as client:
        if mode == "http":
            assert client.request("GET", "/upgrade", UPGRADE).read_response().status == 101
        assert client.send(b"x").read_exactly(1) == b"x"
        stop(gate)
        refuses(gate)
        assert client.send(b"still here").read_exactly(10) == b"still here"
        assert client.half_close().read_all() == b""
    assert exits(gate) < TIMEOUT / 2


@pytest.mark.parametrize("mode", ["http", "tcp"])
def test_tunnel_is_cut_when_grace_is_over(loomgate, origin, mode):
    gate = loomgate(with_grace("300ms", origin(*["-t"] * (mode == "tcp")), mode=mode))
    with gate.client() as client:
        if mode == "http":
            assert client.request("GET", "/upgrade", UPGRADE).read_response().status == 101
        assert client.send(b"x").read_exactly(1) == b"x"
        stop(gate)
        assert client.read_all() == b""
        exits(gate)


def test_half_a_proxy_header_holds_up_the_end_no_longer_than_its_timeout(loomgate, origin):
    bind = [{"address": "127.0.0.1:0", "accept_proxy": True}]
    gate = loomgate(with_grace("60s", origin(), bind=bind, timeouts={"header": "500ms"}))
    with gate.client() as client:
        client.send(b"PROXY TC")
        eventually(lambda: unread_bytes(client) == 0)
        gate.signal(signal.SIGTERM)
        assert client.read_all() == b""
    assert exits(gate) < TIMEOUT / 2


@pytest.mark.threads
def test_end_under_load(loomgate, origin):
    """Whatever is answered is answered whole; then the door is shut."""
    gate = loomgate(with_grace("60s", origin(), workers=2))
    failures, answered = [], [0]
    lock = threading.Lock()

    def run():
        try:
            while True:
                try:
                    client = Client(gate.web)
                except ConnectionRefusedError:
                    return
                with client:
                    for _ in range(5):
                        try:
                            response = client.request("GET", "/size/5000").read_response()
                        except (Cut, ConnectionError, BrokenPipeError) as error:
                            # closed before it had our request: allowed between two requests
                            assert getattr(error, "response", None) is None and not getattr(error, "raw", b""), error
                            break
                        assert response.status == 200 and len(response.body) == 5000
                        with lock:
                            answered[0] += 1
                        if response.header("Connection") == "close":
                            break
        except Exception as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    eventually(lambda: answered[0] > 300, "some load")
    gate.signal(signal.SIGTERM)
    for thread in threads:
        thread.join(TIMEOUT)
    assert not failures, failures
    assert exits(gate) < TIMEOUT / 2
    finished = [record for record in gate.records.lines if record["status"] == 200 and record["cause"] == "ok"]
    assert len(finished) == answered[0]


@pytest.mark.parametrize("workers", [1, 2])
def test_connections_in_the_kernels_queue_are_served(loomgate, origin, workers):
    """Whoever had connected before the signal is ours: answered, not reset."""
    gate = loomgate(with_grace("60s", origin(), workers=workers))
    gate.signal(signal.SIGSTOP)
    clients = [gate.client().request("GET", "/size/10") for _ in range(20)]
    gate.signal(signal.SIGTERM)
    gate.signal(signal.SIGCONT)
    for client in clients:
        assert client.read_response().status == 200
        client.close()
    assert exits(gate) < TIMEOUT / 2


def test_connections_over_the_limit_do_not_hold_up_the_end(loomgate, held):
    gate = loomgate(with_grace("60s", held, max_connections=1))
    with gate.client() as first:
        first.request("GET", "/held")
        assert held.arrived.acquire(timeout=TIMEOUT)
        waiting = gate.client().request("GET", "/")
        stop(gate)
        assert not select.select([first.sock], [], [], 0.1)[0]
        held.go.set()
        assert first.read_response().status == 200
    assert exits(gate) < TIMEOUT / 2
    waiting.close()


def test_end_before_it_has_begun(tmp_path, origin):
    """SIGTERM right after the start: an end with 0, or by the signal while it was not ours to handle yet."""
    path = write_config(with_grace("60s", origin()), tmp_path)
    for _ in range(10):
        process = subprocess.Popen([LOOMGATE_BIN, "-f", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   env=environment(), text=True)
        line = process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=TIMEOUT)
        assert process.returncode in (0, -signal.SIGTERM) and parse_json(line), errors


def test_memory_and_descriptors_come_back(loomgate, origin):
    """Nothing grows over many clients: what shutdown would otherwise hide."""
    gate = loomgate(with_grace("60s", origin()))
    for _ in range(200):
        assert gate.fetch("/size/10000").status == 200
    descriptors, memory = gate.descriptors(), gate.resident_bytes()
    for number in range(1000):
        if number % 3:
            assert fetch(gate.web, "/size/10000").status == 200
        else:
            gate.client().request("GET", "/size/1000000").reset()
    eventually(lambda: gate.descriptors() <= descriptors + 1, "closed descriptors")
    assert gate.resident_bytes() - memory < 30 << 20
