"""mode: tcp: a tunnel with half-close, its ends, its timeouts, its balancing and its records."""

import select
import socket
import threading
import time

import pytest
from support import TIMEOUT, Client, eventually, pattern, web_config

MIB = 1 << 20
DATA = pattern(20 * MIB)


def tcp_config(*servers, timeouts=None, settings=None, backend=None, frontend=None):
    return web_config(*servers, settings=settings, frontend={"mode": "tcp", **(frontend or {})},
                      backend={**({"timeouts": timeouts} if timeouts else {}), **(backend or {})})


@pytest.fixture
def free_port():
    """A port that nobody listens on: bound, not listening."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield "127.0.0.1:%d" % sock.getsockname()[1]


def send_in_background(client, data, end=True):
    def run():
        client.send(data)
        if end:
            client.half_close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def test_echo_and_record(loomgate, origin):
    server = origin("-t", "-n", "t1")
    gate = loomgate(tcp_config({"name": "one", "address": server.address}))
    with gate.client() as client:
        for piece in (b"a", b"bc" * 100, b"\0\xff\r\n"):
            assert client.send(piece).read_exactly(len(piece)) == piece
        local = client.local
        assert client.half_close().read_all() == b""
    record = gate.record()
    wanted = {"protocol": "tcp", "client": local, "frontend": "web", "backend": "app", "server": "one", "route": None,
              "method": None, "host": None, "path": None, "status": None, "cause": "ok", "blame": None,
              "bytes_in": 205, "bytes_out": 205, "reused": False, "queue_ms": 0}
    assert {name: record[name] for name in wanted} == wanted
    assert record["connect_ms"] >= 0 and record["total_ms"] >= record["connect_ms"]
    assert [(t["server"], t["cause"]) for t in record["tries"]] == [("one", "ok")]
    assert len(record["id"]) == 36


def test_data_before_the_server_is_connected(loomgate, origin):
    gate = loomgate(tcp_config(origin("-t")))
    with gate.client() as client:
        client.send(DATA[:100000]).half_close()
        assert client.read_all() == DATA[:100000]


def test_silent_ends(loomgate, origin):
    gate = loomgate(tcp_config(origin("-t")))
    with gate.client() as client:
        assert client.half_close().read_all() == b""
    assert gate.record(cause="ok")["bytes_in"] == 0


def test_client_half_closes(loomgate, fake_server):
    """The server still answers after the client's FIN."""
    seen = []

    def script(conn):
        seen.append(conn.read_all())
        conn.send(b"after the end")

    gate = loomgate(tcp_config(fake_server(script)))
    with gate.client() as client:
        assert client.send(b"question").half_close().read_all() == b"after the end"
    assert seen == [b"question"]
    record = gate.record()
    assert (record["cause"], record["bytes_in"], record["bytes_out"]) == ("ok", 8, 13)


def test_server_half_closes(loomgate, fake_server):
    """The client may still send after the server's FIN."""
    seen, done = [], threading.Event()

    def script(conn):
        conn.send(b"greeting")
        conn.half_close()
        seen.append(conn.read_all())
        done.set()

    gate = loomgate(tcp_config(fake_server(script)))
    with gate.client() as client:
        assert client.read_all() == b"greeting"
        client.send(b"and then").send(b" some").half_close()
        assert done.wait(TIMEOUT)
    assert seen == [b"and then some"] and gate.record()["cause"] == "ok"


def test_server_speaks_first(loomgate, fake_server):
    gate = loomgate(tcp_config(fake_server(lambda conn: conn.send(b"220 hello\r\n") or conn.read_all())))
    with gate.client() as client:
        assert client.read_exactly(11) == b"220 hello\r\n"


def test_large_data_both_ways(loomgate, origin):
    gate = loomgate(tcp_config(origin("-t")))
    with gate.client() as client:
        thread = send_in_background(client, DATA)
        assert client.read_all() == DATA
        thread.join(TIMEOUT)
    record = gate.record()
    assert (record["bytes_in"], record["bytes_out"]) == (len(DATA), len(DATA))


def test_fin_waits_for_the_bytes_before_it(loomgate, fake_server):
    """A sender that closes at once loses nothing, however slowly the other side reads."""
    go, got = threading.Event(), []

    def script(conn):
        go.wait(TIMEOUT)
        got.append(conn.read_all())

    gate = loomgate(tcp_config(fake_server(script)))
    with gate.client() as client:
        thread = send_in_background(client, DATA[: 8 * MIB])
        thread.join(0.3)
        go.set()
        thread.join(TIMEOUT)
        assert client.read_all() == b""
    assert got == [DATA[: 8 * MIB]]


def test_connect_refused(loomgate, free_port):
    gate = loomgate(tcp_config(free_port, backend={"retry": "off"}))
    with pytest.raises(ConnectionError):  # RST, maybe before connect() has returned
        with gate.client() as client:
            assert client.send(b"anybody?").read_all() == b""
            assert client.was_reset
            raise ConnectionResetError
    record = gate.record()
    assert (record["cause"], record["blame"], record["status"]) == ("connect_failed", "server", None)
    assert [(t["server"], t["cause"]) for t in record["tries"]] == [(free_port, "connect_failed")]


def test_server_resets(loomgate, fake_server):
    def script(conn):
        conn.read_exactly(1)
        conn.reset()

    gate = loomgate(tcp_config(fake_server(script)))
    with gate.client() as client:
        assert client.send(b"x").read_all() == b""
        assert client.was_reset, "what was cut looks complete"
    record = gate.record()
    assert (record["cause"], record["blame"]) == ("response_cut", "server")


def test_client_resets(loomgate, fake_server):
    ended = []
    reached, gone = threading.Event(), threading.Event()

    def script(conn):
        assert conn.read_exactly(1) == b"x"
        reached.set()
        ended.append(conn.wait_closed())
        gone.set()

    gate = loomgate(tcp_config(fake_server(script)))
    client = gate.client().send(b"x")
    assert reached.wait(TIMEOUT)
    client.reset()
    assert gone.wait(TIMEOUT) and ended == [False], "what was cut looks complete"
    record = gate.record()
    assert (record["cause"], record["blame"]) == ("client_closed", "client")


@pytest.mark.parametrize("half_closed", [False, True])
def test_idle_timeout(loomgate, fake_server, half_closed):
    server_gone = threading.Event()

    def script(conn):
        conn.read_exactly(1)
        poll = select.poll()
        poll.register(conn.sock, 0)  # told of RST and of both FINs, not of one
        if poll.poll(TIMEOUT * 1000):
            server_gone.set()

    gate = loomgate(tcp_config(fake_server(script), timeouts={"tunnel": "300ms"}))
    with gate.client() as client:
        client.send(b"x")
        if half_closed:
            client.half_close()
        start = time.monotonic()
        assert client.read_all() == b""
        assert 0.2 < time.monotonic() - start < TIMEOUT / 2
    assert gate.record()["cause"] == "tunnel_timeout"
    assert server_gone.wait(TIMEOUT)


@pytest.mark.parametrize("direction", ["client", "server"])
def test_bytes_in_one_direction_keep_it(loomgate, fake_server, direction):
    def script(conn):
        if direction == "client":
            assert conn.read_exactly(24) == b"x" * 24
            conn.send(b"done")
            return
        for _ in range(24):
            conn.send(b"x")
            time.sleep(0.05)

    gate = loomgate(tcp_config(fake_server(script), timeouts={"tunnel": "800ms"}))
    with gate.client() as client:
        if direction == "client":
            assert client.send_slowly(b"x" * 24, pause=0.05).read_all() == b"done"
        else:
            assert client.read_all() == b"x" * 24
    assert gate.record()["cause"] == "ok"


def test_client_timeouts_do_not_bind_a_tunnel(loomgate, origin):
    front = {"timeouts": {"header": "100ms", "client": "100ms"}}
    gate = loomgate(tcp_config(origin("-t"), timeouts={"server": "100ms"}, frontend=front))
    with gate.client() as client:
        time.sleep(0.4)
        assert client.send(b"late").half_close().read_all() == b"late"


def test_balancing(loomgate, origin):
    servers = [origin("-t", "-g", "-n", name) for name in ("a", "b", "c")]
    weights = [{"address": s.address, "weight": weight} for s, weight in zip(servers, (1, 1, 2))]
    gate = loomgate(tcp_config(*weights))
    names = []
    for _ in range(40):
        with gate.client() as client:
            names.append(client.half_close().read_all().split()[0])
    assert [names.count(name) for name in (b"a", b"b", b"c")] == [10, 10, 20]


def test_unix_server(loomgate, origin, tmp_path):
    server = origin("-t", address=f"unix:{tmp_path}/echo.sock")
    gate = loomgate(tcp_config(server))
    with gate.client() as client:
        assert client.send(DATA[:300000]).half_close().read_all() == DATA[:300000]


def test_back_pressure(loomgate, fake_server):
    sent = [0]

    def script(conn):
        conn.sock.settimeout(1)
        try:
            while True:
                sent[0] += conn.sock.send(DATA[:MIB])
        except TimeoutError:
            pass

    gate = loomgate(tcp_config(fake_server(script)))
    with gate.client(rcvbuf=65536) as client:
        before = gate.resident_bytes()
        eventually(lambda: sent[0] > 0)
        counts = []

        def is_settled():
            counts.append(sent[0])
            return len(counts) > 2 and counts[-1] == counts[-2]

        eventually(is_settled, every=0.2)
        assert sent[0] < 24 * MIB
        assert gate.resident_bytes() - before < 5 * MIB
        assert len(client.read_exactly(4 * MIB)) == 4 * MIB


@pytest.mark.threads
def test_many_tunnels_on_two_workers(loomgate, origin):
    servers = [origin("-t", "-n", name) for name in ("a", "b")]
    gate = loomgate(tcp_config(*servers, settings={"workers": 2}))
    failures = []

    def run(number):
        try:
            for size in (1, 1000, 300000):
                with Client(gate.web) as client:
                    data = DATA[number : number + size]
                    send_in_background(client, data)
                    assert client.read_all() == data
        except Exception as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
    records = gate.records.wait_count(lambda record: record["cause"] == "ok", 48)
    assert sum(record["bytes_in"] for record in records) == 16 * 301001
    assert sorted({record["server"] for record in records}) == sorted(s.address for s in servers)


def test_nothing_stays_behind(loomgate, origin):
    server = origin("-t")
    gate = loomgate(tcp_config(server))
    with gate.client() as client:
        assert client.send(b"x").read_exactly(1) == b"x"
    gate.record()
    before = gate.descriptors()
    clients = [gate.client().send(b"x") for _ in range(50)]
    for number, client in enumerate(clients):
        assert client.read_exactly(1) == b"x"
        client.reset() if number % 2 else client.close()
    gate.records.wait_count(lambda record: True, 51)
    eventually(lambda: gate.descriptors() <= before, "all descriptors closed")
