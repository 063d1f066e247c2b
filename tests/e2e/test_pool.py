"""Pools of idle connections to servers, and the race in which a server closes one just as it is used."""

import socket
import struct
import threading

import pytest
from support import TIMEOUT, Client, eventually, fetch, web_config

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def pool_config(*servers, settings=None, **pool):
    return web_config(*servers, settings=settings, backend={"pool": pool} if pool else None)


def serials(gate, count):
    """X-Origin-Request of so many requests in a row: the how-manieth of its connection each was."""
    return [int(gate.fetch("/").header("X-Origin-Request")) for _ in range(count)]


# ---- what is kept ----


def test_reused_by_all_clients(loomgate, origin):
    server = origin()
    gate = loomgate(pool_config(server))
    assert serials(gate, 5) == [1, 2, 3, 4, 5]
    with gate.client() as client:
        for path in ("/size/100000", "/chunked/5", "/status/204", "/status/304"):
            client.request("GET", path).read_response()
        client.request("HEAD", "/size/10").read_response()
        assert client.request("POST", "/echo", body=b"abc").read_response().header("X-Origin-Request") == "11"
    records = gate.records.wait_count(lambda record: True, 11)
    assert [record["reused"] for record in records] == [False] + [True] * 10
    assert records[0]["connect_ms"] is not None and records[1]["connect_ms"] is None
    assert server.connections() == (1, 1)


def hold(gate, held, count):
    """Requests that run at the same time, one connection to the server each; released one by one by the test."""
    clients = []
    for number in range(count):
        clients.append(gate.client().request("GET", f"/hold/{number}"))
        eventually(lambda: len(held) == number + 1, "the request at the server")
    return clients


@pytest.fixture
def holding(fake_server):
    """A server that holds /hold/N until held[N] is set; every answer is the number of its connection."""
    held = {}

    def script(conn):
        while head := conn.read_head():
            path = head.split()[1].decode()
            if path.startswith("/hold/"):
                event = held[int(path[6:])] = threading.Event()
                event.wait(TIMEOUT)
            body = b"%d" % conn.number
            conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    server = fake_server(script)
    server.held = held
    return server


def test_the_latest_is_used_first(loomgate, holding):
    gate = loomgate(pool_config(holding))
    clients = hold(gate, holding.held, 3)
    for number in (1, 0, 2):
        holding.held[number].set()
        assert clients[number].read_response().text == str(number + 1)
    holding.held.clear()
    for _ in range(3):
        assert gate.fetch("/").text == "3"
    clients = hold(gate, holding.held, 3)
    for event in holding.held.values():
        event.set()
    assert [client.read_response().text for client in clients] == ["3", "1", "2"]
    assert holding.connections == 3


@pytest.mark.parametrize("max_idle, kept", [(0, 0), (1, 1), (2, 2), (64, 4)])
def test_max_idle(loomgate, origin, max_idle, kept):
    server = origin()
    gate = loomgate(pool_config(server, max_idle=max_idle))
    clients = [gate.client().request("GET", "/delay/150") for _ in range(4)]
    for client in clients:
        assert client.read_response().status == 200
    assert server.connections()[0] == 4
    eventually(lambda: server.connections()[1] == kept, "so many idle connections")


def test_max_idle_is_for_each_server(loomgate, origin):
    servers = [origin(), origin()]
    gate = loomgate(pool_config(*servers, max_idle=1))
    clients = [gate.client().request("GET", "/delay/150") for _ in range(8)]
    for client in clients:
        assert client.read_response().status == 200
    for server in servers:
        eventually(lambda: server.connections()[1] == 1, "one idle connection")  # noqa: B023


def test_idle_timeout(loomgate, origin):
    server = origin()
    gate = loomgate(pool_config(server, idle_timeout="300ms"))
    assert serials(gate, 3) == [1, 2, 3]
    assert server.connections()[1] == 1
    eventually(lambda: server.connections()[1] == 0, "the end of the idle connection")
    assert serials(gate, 1) == [1]


def test_zero_idle_timeout_keeps_for_ever(loomgate, origin):
    server = origin("-q", "400")
    gate = loomgate(pool_config(server, idle_timeout=0))
    assert serials(gate, 2) == [1, 2]
    eventually(lambda: server.connections()[1] == 0, "the server's own timeout")
    assert serials(gate, 2) == [1, 2]


@pytest.mark.parametrize("most, expected", [(1, [1] * 7), (3, [1, 2, 3, 1, 2, 3, 1]), (0, [1, 2, 3, 4, 5, 6, 7])])
def test_max_requests(loomgate, origin, most, expected):
    server = origin()
    gate = loomgate(pool_config(server, max_requests=most))
    assert serials(gate, 7) == expected
    eventually(lambda: server.connections()[1] == (0 if most == 1 else 1), "the end of worn connections")


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
     b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", b"HTTP/1.1 200 OK\r\n\r\nok", OK + b"surplus",
     OK + OK],
    ids=["close", "1.0", "until close", "surplus", "second answer"],
)
def test_not_kept(loomgate, fake_server, answer):
    def script(conn):
        conn.read_head()
        conn.send(answer)
        if b"\r\n\r\nok" == answer[-6:] and b"Length" not in answer:
            return
        conn.wait_closed()

    server = fake_server(script)
    gate = loomgate(pool_config(server))
    for _ in range(3):
        assert gate.fetch("/").text == "ok"
    assert server.connections == 3


def test_http10_keep_alive_is_kept(loomgate, fake_server):
    server = fake_server(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok")
    gate = loomgate(pool_config(server))
    for _ in range(3):
        assert gate.fetch("/").text == "ok"
    assert server.connections == 1


def test_idle_connection_that_speaks_is_not_used(loomgate, fake_server):
    """Bytes nobody asked for must not become the answer to the next client's request."""
    closed = threading.Event()

    def script(conn):
        conn.read_head()
        if conn.number > 1:
            conn.send(OK)
            conn.wait_closed()
            return
        conn.send(OK)
        speak.wait(TIMEOUT)
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        conn.wait_closed()
        closed.set()

    speak = threading.Event()
    gate = loomgate(pool_config(fake_server(script)))
    assert gate.fetch("/").text == "ok"
    speak.set()
    assert closed.wait(TIMEOUT)
    assert gate.fetch("/").text == "ok"


def test_cancelled_exchange_is_not_kept(loomgate, origin):
    server = origin()
    gate = loomgate(pool_config(server))
    client = gate.client().request("GET", "/trickle/100000/1")
    assert client.read_head().status == 200
    client.reset()
    eventually(lambda: server.connections()[1] == 0, "its end")
    assert serials(gate, 1) == [1]


@pytest.mark.threads
def test_each_worker_has_its_own(loomgate, origin):
    server = origin()
    gate = loomgate(pool_config(server, settings={"workers": 2}))
    failures = []

    def run():
        try:
            for _ in range(10):
                with gate.client() as client:
                    for _ in range(5):
                        assert client.request("GET", "/size/100").read_response().status == 200
        except Exception as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
    assert server.connections()[0] <= 12


# ---- the race ----


class Race:
    """A server whose first connection answers once, reads the next request's head and ends instead of answering. All
    other connections answer. `heads` and `bodies`: the requests behind the first, as they came."""

    def __init__(self, fake_server, reset=False, behind=b"", reads_body=True, repeat=1):
        self.reset, self.behind, self.reads_body, self.repeat = reset, behind, reads_body, repeat
        self.heads, self.bodies = [], []
        self.server = fake_server(self.script)

    def script(self, conn):
        if conn.number == 1:
            conn.read_head()
            conn.send(OK)
        if conn.number <= self.repeat:
            self.heads.append(conn.read_head())
            if self.reads_body:
                self.bodies.append(self.read_body(conn))
            conn.send(self.behind)
            if self.reset:
                conn.reset()
            return
        while head := conn.read_head():
            self.heads.append(head)
            self.bodies.append(self.read_body(conn))
            conn.send(OK)

    def read_body(self, conn):
        lines = self.heads[-1].lower().split(b"\r\n")
        for line in lines:
            if line.startswith(b"content-length:"):
                return conn.read_exactly(int(line[15:]))
        if b"transfer-encoding: chunked" not in lines:
            return b""
        body = b""
        while size := int(self.read_line(conn), 16):
            body += conn.read_exactly(size)
            assert conn.read_exactly(2) == b"\r\n"
        while self.read_line(conn):
            pass
        return body

    @staticmethod
    def read_line(conn):
        line = b""
        while not line.endswith(b"\r\n"):
            line += conn.read_exactly(1)
        return line[:-2]


@pytest.fixture
def race(loomgate, fake_server):
    def make(**options):
        one = Race(fake_server, **options)
        one.gate = loomgate(web_config(one.server, backend={"retry": "off"}))  # the resend needs no policy
        assert one.gate.fetch("/first").status == 200
        return one

    return make


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "DELETE", "TRACE"])
def test_idempotent_is_sent_again(race, method, reset):
    one = race(reset=reset)
    response = one.gate.fetch("/again", method=method)
    assert response.status == 200
    assert [head.split()[0] for head in one.heads] == [method.encode()] * 2
    assert one.heads[0] == one.heads[1], "not the same request, or not the same id"
    assert one.server.connections == 2
    record = one.gate.record(path="/again")
    assert (record["status"], record["cause"], record["reused"]) == (200, "ok", False)
    assert [t["cause"] for t in record["tries"]] == ["closed_idle", "ok"]


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
@pytest.mark.parametrize("method", ["POST", "PATCH", "FROB"])
def test_not_idempotent_is_not(race, method, reset):
    one = race(reset=reset)
    response = one.gate.fetch("/once", method=method, body=b"abc")
    assert response.status == 502 and response.header("X-Request-Id") in response.text
    assert len(one.heads) == 1 and one.server.connections == 1
    record = one.gate.record(path="/once")
    assert (record["cause"], record["blame"], record["reused"]) == ("closed_idle", "server", True)
    assert one.gate.fetch("/").status == 200


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
def test_fresh_connection_is_not_tried_again(race, reset):
    """One resend: what fails on a fresh connection is the server's fault."""
    one = race(reset=reset, repeat=2)
    assert one.gate.fetch("/again").status == 502
    assert len(one.heads) == 2 and one.server.connections == 2
    record = one.gate.record(path="/again")
    assert record["cause"] == "reset_before_response"
    assert [t["cause"] for t in record["tries"]] == ["closed_idle", "reset_before_response"]


@pytest.mark.parametrize("behind", [b"H", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"])
def test_not_after_the_first_byte_of_the_answer(race, behind):
    one = race(behind=behind)
    with one.gate.client() as client:
        client.request("GET", "/begun")
        if behind.endswith(b"\r\n\r\n"):
            data = client.read_all()
            assert data.startswith(b"HTTP/1.1 200 ") and data.endswith(b"\r\n\r\n")
        else:
            assert client.read_response().status == 502
    assert len(one.heads) == 1
    cut_within_body = behind.endswith(b"\r\n\r\n")
    assert one.gate.record(path="/begun")["cause"] == ("response_cut" if cut_within_body else "reset_before_response")


@pytest.mark.parametrize("size", [1, 10000, 65536])
@pytest.mark.parametrize("chunked", [False, True])
def test_small_put_is_sent_again_whole(race, size, chunked):
    one = race()
    body = bytes(range(256)) * 256
    response = one.gate.fetch("/put", method="PUT", body=body[:size], chunked=chunked and 3000)
    assert response.status == 200
    assert one.bodies == [body[:size]] * 2
    assert one.heads[0] == one.heads[1]


def test_put_that_is_still_coming_is_sent_again(race):
    """The connection ends when half of the body is sent; the other half follows on the fresh one."""
    one = race(reads_body=False)
    with one.gate.client() as client:
        client.send(b"PUT /half HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\n0123456789")
        eventually(lambda: len(one.heads) == 2, "the second try")
        assert client.send(b"abcdefghij").read_response().status == 200
    assert one.bodies == [b"0123456789abcdefghij"]


@pytest.mark.parametrize("size", [65537, 3_000_000])
def test_big_put_is_not(race, size):
    one = race()
    assert one.gate.fetch("/big", method="PUT", body=bytes(size)).status == 502
    assert len(one.heads) == 1 and one.bodies == [bytes(size)]
    assert one.gate.record(path="/big")["cause"] == "closed_idle"


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_visible_close_harms_nobody(loomgate, fake_server, method, reset):
    """The end of the idle connection was there before the request was: also what is not idempotent is served."""
    over = threading.Semaphore(0)
    heads = []

    def script(conn):
        heads.append(conn.read_request())
        conn.send(OK)
        if conn.number % 2:  # every other connection ends unasked
            if reset:
                conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            conn.sock.close()
            over.release()
        else:
            heads.append(conn.read_request())
            conn.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
            over.release()

    gate = loomgate(pool_config(fake_server(script)))
    body = None if method == "GET" else b"x" * 1000
    sent = 0
    for _ in range(20):
        assert gate.fetch("/", method=method, body=body).status == 200
        assert over.acquire(timeout=TIMEOUT)
        for _ in range(2):
            assert gate.fetch("/", method=method, body=body).status == 200
        assert over.acquire(timeout=TIMEOUT)
        sent += 3
    assert len(heads) == sent, "a request was sent twice"


def test_visible_close_in_the_middle_of_a_burst(loomgate, fake_server):
    """Several idle connections that all have ended: a POST finds none of them usable and opens its own."""
    held, over = threading.Semaphore(0), threading.Semaphore(0)

    def script(conn):
        conn.read_request()
        if conn.number <= 5:
            held.acquire(timeout=TIMEOUT)
        conn.send(OK)
        if conn.number <= 5:
            conn.sock.close()
            over.release()

    server = fake_server(script)
    gate = loomgate(pool_config(server))
    clients = [gate.client().request("GET", "/") for _ in range(5)]
    eventually(lambda: server.connections == 5)
    for client in clients:
        held.release()
    for client in clients:
        assert client.read_response().status == 200
        assert over.acquire(timeout=TIMEOUT)
    assert gate.fetch("/", method="POST", body=b"x").status == 200
    assert server.connections == 6


@pytest.mark.threads
@pytest.mark.parametrize("workers", [1, 2])
def test_server_that_closes_at_random(loomgate, origin, workers):
    server = origin("-r", "20")
    gate = loomgate(pool_config(server, settings={"workers": workers}))
    failures = []

    def run():
        try:
            with Client(gate.web) as client:
                for number in range(150):
                    response = client.request("GET", f"/size/{number}").read_response()
                    assert response.status == 200 and len(response.body) == number, response
        except Exception as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
    records = gate.records.wait_count(lambda record: record["cause"] == "ok", 600)
    assert any(record["reused"] for record in records)
    assert fetch(server.address, "/connections").status == 200
