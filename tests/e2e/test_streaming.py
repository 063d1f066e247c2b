"""Bodies stream: a slow side slows the other one and costs no memory, and what comes is passed on as it comes."""

import re
import select
import socket
import threading
import time
import zlib

import pytest
from scale import IS_SANITIZED, scaled
from support import TIMEOUT, Client, Echo, encode_chunked, eventually, web_config

GIB = scaled(1 << 30)
MIB = 1 << 20
PIECE = bytes(range(256)) * 4096  # 1 MiB
# What may wait between two sides that do not move: the kernel's buffers of two connections, hardly anything of ours.
IN_FLIGHT = 24 * MIB
# Sanitizers keep freed memory and shadow all of it.
GROWTH = (64 if IS_SANITIZED else 5) * MIB


class Peak:
    """How much the peak of a process's resident memory grows from here on."""

    def __init__(self, pid):
        self.pid = pid
        with open(f"/proc/{pid}/clear_refs", "w") as refs:
            refs.write("5")  # sets the peak back
        self.start = self.now()

    def now(self):
        with open(f"/proc/{self.pid}/status") as status:
            return int(re.search(r"VmHWM:\s+([0-9]+) kB", status.read())[1]) * 1024

    def growth(self):
        return self.now() - self.start


def warm_up(gate):
    """Everything that is allocated once."""
    for _ in range(3):
        assert len(gate.fetch("/size/3m").body) == 3 * MIB
        assert gate.fetch("/sink", method="POST", body=PIECE).status == 200


def take(sock, count):
    """Reads `count` bytes and counts them: 0 at an early end."""
    buffer = bytearray(MIB)
    while count > 0:
        got = sock.recv_into(buffer, min(count, MIB))
        if not got:
            return False
        count -= got
    return True


def pour(client, count, seconds=None):
    """Sends `count` bytes, or what the other side takes until it has taken nothing for a while; how many it was."""
    sent = 0
    client.sock.setblocking(seconds is None)
    while sent < count:
        try:
            sent += client.sock.send(PIECE[: min(MIB, count - sent)])
        except BlockingIOError:
            if not select.select([], [client.sock], [], seconds)[1]:
                break
    client.sock.setblocking(True)
    client.sock.settimeout(TIMEOUT)
    return sent


def settled(number):
    """Waits until the number stays the same for a while, and returns it."""
    seen = [None]

    def is_same():
        before, seen[0] = seen[0], number()
        return before is not None and seen[0] > 0 and before == seen[0]

    eventually(is_same, "an end of the growth", every=0.3)
    return seen[0]


class Source:
    """A script for FakeServer: sends a body without end as fast as it is taken, and counts it."""

    def __init__(self, head):
        self.head, self.sent = head, 0

    def __call__(self, conn):
        conn.read_request()
        conn.send(self.head)
        while True:
            self.sent += conn.sock.send(PIECE)


class Sink:
    """A script for FakeServer: leaves the body of a request where it is until `go`, then takes it and answers; without
    a size it takes what comes until the end."""

    def __init__(self, size=None):
        self.size, self.go = size, threading.Event()

    def __call__(self, conn):
        head = conn.read_head()
        if not head.startswith(b"POST /slow"):
            conn.read_exactly(int(re.search(rb"(?i)content-length: ([0-9]+)", head + b"content-length: 0")[1]))
            conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        self.go.wait(TIMEOUT)
        if take(conn.sock, (self.size or 1 << 60) - len(conn.buffer)):
            conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")


# ---- 1 GiB ----


def test_download_through_a_slow_reader(loomgate, origin):
    gate = loomgate(web_config(origin()))
    warm_up(gate)
    peak = Peak(gate.pid)
    with gate.client() as client:
        client.request("GET", f"/size/{GIB}")
        head = client.read_head()
        assert int(head.header("Content-Length")) == GIB
        for _ in range(20):
            time.sleep(0.02)
            assert len(client.read_exactly(16384)) == 16384
        left = GIB - 20 * 16384 - len(client.buffer)
        client.buffer = b""
        assert take(client.sock, left)
        assert client.request("GET", "/").read_response().status == 200
    assert peak.growth() < GROWTH
    assert gate.record(lambda record: record["bytes_out"] > GIB)["cause"] == "ok"


def test_chunked_download_through_a_slow_reader(loomgate, origin):
    size = GIB // 4
    gate = loomgate(web_config(origin()))
    warm_up(gate)
    peak = Peak(gate.pid)
    with gate.client() as client:
        client.request("GET", f"/chunked/{size}?chunk=16384")
        select.select([client.sock], [], [], TIMEOUT)
        time.sleep(0.3)
        response = client.read_response()
        assert len(response.body) == size and response.framing == "chunked"
    assert peak.growth() < GROWTH


@pytest.mark.parametrize("chunked", [False, True])
def test_upload_into_a_slow_sink(loomgate, fake_server, chunked):
    size = GIB // 4 if chunked else GIB
    sink = Sink()
    gate = loomgate(web_config(fake_server(sink)))
    for _ in range(3):
        assert gate.fetch("/warm", method="POST", body=PIECE * 3).status == 200
    peak = Peak(gate.pid)
    with gate.client() as client:
        if chunked:
            unit = b"%x\r\n%b\r\n" % (MIB, PIECE)
            client.send(b"POST /slow HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            thread = threading.Thread(target=lambda: [client.send(unit) for _ in range(size // MIB)], daemon=True)
            thread.start()
            thread.join(0.5)
            assert thread.is_alive() or size < IN_FLIGHT
            sink.go.set()
            thread.join(TIMEOUT)
            assert not thread.is_alive()
        else:
            sink.size = size
            client.send(b"POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
            sent = pour(client, size, seconds=0.3)
            assert sent < size or size < IN_FLIGHT
            sink.go.set()
            assert sent + pour(client, size - sent) == size
            assert client.read_response().text == "done"
    assert peak.growth() < GROWTH


def test_upload_arrives_as_it_was_sent(loomgate, origin):
    gate = loomgate(web_config(origin()))
    size = GIB // 8 // MIB * MIB
    with gate.client() as client:
        client.send(b"POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
        assert pour(client, size) == size
        adler = 1
        for _ in range(size // MIB):
            adler = zlib.adler32(PIECE, adler)
        assert client.read_response().text == f"bytes {size} adler32 {adler:08x}\n"


def test_rate_limited_sink(loomgate, origin):
    gate = loomgate(web_config(origin()))
    warm_up(gate)
    peak = Peak(gate.pid)
    body = PIECE * 20
    response = gate.fetch("/sink?rate=40m&rcvbuf=65536", method="POST", body=body)
    assert response.text == f"bytes {len(body)} adler32 {zlib.adler32(body):08x}\n"
    assert peak.growth() < GROWTH


# ---- back-pressure ----


@pytest.mark.parametrize(
    "head", [b"Content-Length: 1000000000\r\n", b""], ids=["length", "until close"]
)
def test_server_is_held_while_the_client_does_not_read(loomgate, fake_server, head):
    source = Source(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n")
    gate = loomgate(web_config(fake_server(source)))
    gate.fetch("/", method="CONNECT", host="a:1")  # warms up without the server
    with gate.client(rcvbuf=65536) as client:
        peak = Peak(gate.pid)
        client.request("GET", "/")
        held = settled(lambda: source.sent)
        assert held < IN_FLIGHT
        assert peak.growth() < GROWTH
        assert len(client.read_exactly(IN_FLIGHT * 2)) == IN_FLIGHT * 2  # it goes on when we do
        assert source.sent > held


def test_client_is_held_while_the_server_does_not_read(loomgate, fake_server):
    sink = Sink(100 * MIB)
    gate = loomgate(web_config(fake_server(sink)))
    with gate.client() as client:
        client.send(b"POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % sink.size)
        sent = pour(client, sink.size, seconds=0.5)
        assert sent < IN_FLIGHT
        sink.go.set()
        assert sent + pour(client, sink.size - sent) == sink.size
        assert client.read_response().text == "done"


def held_size(gate):
    """How large a response may be that is taken to its end though its client does not read: to 10,000 bytes."""
    low, high = 50_000, 16 * MIB
    while high - low > 10_000:
        middle = (low + high) // 2
        client = gate.client(rcvbuf=65536).request("GET", f"/size/{middle}")
        try:
            gate.records.wait(lambda record: record["path"] == f"/size/{middle}", timeout=0.25)  # noqa: B023
            low = middle
        except AssertionError:
            high = middle
        client.reset()
    return low


def test_response_whose_last_piece_had_to_wait(loomgate, origin):
    """Its end is seen also when back-pressure began right there; then the connections are used on."""
    gate = loomgate(web_config(origin()))
    middle = held_size(gate)
    sizes = range(middle - 20_000, middle + 300_000, 10_000)
    clients = [gate.client(rcvbuf=65536).request("GET", f"/size/{size}") for size in sizes]
    for client in clients:
        assert select.select([client.sock], [], [], TIMEOUT)[0]
    time.sleep(0.3)
    start = time.monotonic()
    for client, size in zip(clients, sizes):
        assert len(client.read_response().body) == size
        assert client.request("GET", "/size/1").read_response().status == 200
        client.close()
    assert time.monotonic() - start < TIMEOUT / 2


def test_request_whose_last_piece_had_to_wait(loomgate, fake_server):
    """The same the other way: sizes around what the kernel holds for a server that does not read."""
    go = threading.Event()

    def script(conn):
        while head := conn.read_head():
            go.wait(TIMEOUT)
            take(conn.sock, int(re.search(rb"(?i)content-length: ([0-9]+)", head)[1]) - len(conn.buffer))
            conn.buffer = b""
            conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    gate = loomgate(web_config(fake_server(script)))
    sizes = range(2_000_000, 5_000_000, 60_000)
    clients = [gate.client() for _ in sizes]
    senders = []
    for client, size in zip(clients, sizes):
        client.method = "POST"
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
        senders.append(threading.Thread(target=client.send, args=(bytes(size),), daemon=True))
        senders[-1].start()
    for sender in senders:
        sender.join(0.02)  # those that are held go on below
    go.set()
    for client, sender in zip(clients, senders):
        assert client.read_response().status == 200
        sender.join(TIMEOUT)
    records = gate.records.wait_count(lambda record: record["cause"] == "ok", len(sizes), timeout=TIMEOUT / 2)
    assert sum(record["bytes_in"] for record in records) > sum(sizes)


def test_stalled_download_does_not_hinder_others(loomgate, origin):
    gate = loomgate(web_config(origin()))
    stalled = [Client(gate.web, rcvbuf=65536).request("GET", "/size/100m") for _ in range(20)]
    for client in stalled:
        assert client.read_head().status == 200
    with gate.client() as client:
        for _ in range(100):
            assert client.request("GET", "/size/1000").read_response().status == 200
    for client in stalled:
        client.close()


# ---- as it comes ----

PIECES = [b"one", b"x" * 20000, b"3", b"y" * 100]


def deliver(parts, arrived):
    """A script: each part is sent only when what was sent before has arrived."""

    def script(conn):
        conn.read_request()
        for part in parts:
            conn.send(part)
            assert arrived.acquire(timeout=TIMEOUT)

    return script


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_trickled_response_arrives_as_it_comes(loomgate, fake_server, framing):
    arrived = threading.Semaphore(0)
    total = sum(map(len, PIECES))
    head = {"length": b"Content-Length: %d\r\n" % total, "chunked": b"Transfer-Encoding: chunked\r\n", "close": b""}
    parts = [b"%x\r\n%b\r\n" % (len(p), p) if framing == "chunked" else p for p in PIECES]
    gate = loomgate(web_config(fake_server(deliver([b"HTTP/1.1 200 OK\r\n%b\r\n" % head[framing], *parts], arrived))))
    with gate.client() as client:
        client.request("GET", "/")
        response = client.read_head()
        assert ("Transfer-Encoding" in response.headers) == (framing != "length")
        arrived.release()
        for piece in PIECES:
            wanted = piece if framing == "length" else b"%x\r\n%b\r\n" % (len(piece), piece)
            got = b""
            while len(got) < len(wanted):
                some = client.read_some()
                assert some
                got += some
            if framing == "length":
                assert got == piece
            else:
                assert b"".join(got.split(b"\r\n")[1::2]) == piece
            arrived.release()


def read_chunks(conn, size):
    """So many bytes of a body, in as many chunks as the gateway made of them."""
    body = b""
    while len(body) < size:
        line = b""
        while not line.endswith(b"\r\n"):
            line += conn.read_exactly(1) or b"closed\r\n"
        body += conn.read_exactly(int(line, 16))
        assert conn.read_exactly(2) == b"\r\n"
    return body


@pytest.mark.parametrize("chunked", [False, True])
def test_trickled_request_arrives_as_it_comes(loomgate, fake_server, chunked):
    arrived = threading.Semaphore(0)

    def script(conn):
        head = conn.read_head()
        assert (b"ransfer-" in head) == chunked
        for piece in PIECES:
            assert (read_chunks(conn, len(piece)) if chunked else conn.read_exactly(len(piece))) == piece
            arrived.release()
        if chunked:
            assert conn.read_exactly(5) == b"0\r\n\r\n"
        conn.send(b"HTTP/1.1 204 No Content\r\n\r\n")

    gate = loomgate(web_config(fake_server(script)))
    with gate.client() as client:
        length = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % sum(map(len, PIECES))
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % length)
        for piece in PIECES:
            client.send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            assert arrived.acquire(timeout=TIMEOUT)
        client.send(b"0\r\n\r\n" if chunked else b"")
        assert client.read_response().status == 204


def test_both_directions_at_once(loomgate, fake_server):
    """A server that answers each piece of the request before the next is sent."""

    def script(conn):
        conn.read_head()
        conn.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in PIECES:
            assert read_chunks(conn, len(piece)) == piece
            conn.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        assert conn.read_exactly(5) == b"0\r\n\r\n"
        conn.send(b"0\r\n\r\n")

    gate = loomgate(web_config(fake_server(script)))
    with gate.client() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        head = client.read_head()
        for piece in PIECES:
            client.send(b"%x\r\n%b\r\n" % (len(piece), piece))
            got = b""
            while len(got) < len(piece):
                size = int(client._line(head), 16)
                got += client.read_exactly(size + 2)[:-2]
            assert got == piece
        client.send(b"0\r\n\r\n")
        assert client.read_exactly(5) == b"0\r\n\r\n"


@pytest.mark.threads
def test_many_bodies_at_once(loomgate, origin):
    gate = loomgate(web_config(origin(), settings={"workers": 2}))
    failures = []

    def run(number):
        try:
            for size in (0, 1, 1000, 70000, 300000):
                body = PIECE[: size + number]
                response = gate.fetch("/echo", method="POST", body=body, chunked=number % 2 and 5000)
                assert Echo(response).body == body
                assert len(gate.fetch(f"/chunked/{size}").body) == size
        except Exception as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures


def test_encoded_chunks_of_every_size(loomgate, origin):
    gate = loomgate(web_config(origin()))
    body = PIECE[:50000]
    for size in (1, 17, 4095, 16384, 50000):
        with gate.client() as client:
            client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            client.send(encode_chunked(body, size))
            assert Echo(client.read_response()).body == body


def test_early_end_of_the_client_ends_the_upload(loomgate, origin):
    server = origin()
    gate = loomgate(web_config(server))
    with gate.client() as client:
        client.send(b"POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nabc")
        eventually(lambda: server.connections()[1] == 1, "the server's connection")
        client.sock.shutdown(socket.SHUT_RDWR)
    assert gate.record(path="/sink")["cause"] == "client_closed"
    eventually(lambda: server.connections()[1] == 0, "its end")
