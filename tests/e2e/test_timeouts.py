"""Every timeout of the configuration, each with its answer and its cause in the record."""

import select
import socket
import threading
import time

import pytest
from support import TIMEOUT, Client, Cut, eventually, pattern, web_config

LONG, SHORT = "60s", "300ms"
SOON = TIMEOUT / 2  # far less than LONG, far more than SHORT


def with_timeouts(*servers, **timeouts):
    """All timeouts are LONG but those named."""
    front = {name: timeouts.pop(name, LONG) for name in ("header", "keep_alive", "client")}
    front["request"] = timeouts.pop("request", 0)
    back = {name: timeouts.pop(name, LONG) for name in ("connect", "response", "server", "tunnel")}
    assert not timeouts
    return web_config(*servers, frontend={"timeouts": front}, backend={"timeouts": back, "retry": "off"})


def trickle(client, data, pause=0.02):
    """Byte by byte until something comes back; how many seconds that took."""
    start = time.monotonic()
    for at in range(len(data)):
        try:
            client.send(data[at : at + 1])
        except OSError:
            break
        if select.select([client.sock], [], [], pause)[0]:
            break
    else:
        raise AssertionError("all of it was taken")
    return time.monotonic() - start


def until_closed(client):
    """The bytes and seconds until the connection ends."""
    start = time.monotonic()
    return client.read_all(), time.monotonic() - start


HEAD = b"GET / HTTP/1.1\r\nHost: a\r\nX-Filler: " + b"x" * 8000


@pytest.mark.parametrize("data", [HEAD, b"G" * 8000, b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 2000],
                         ids=["value", "method", "fields"])
@pytest.mark.parametrize("kept_alive", [False, True])
def test_trickled_head(loomgate, origin, data, kept_alive):
    gate = loomgate(with_timeouts(origin(), header=SHORT))
    with gate.client() as client:
        if kept_alive:
            assert client.request("GET", "/").read_response().status == 200
        assert 0.25 < trickle(client, data) < SOON
        response = client.read_response()
        assert response.status == 408 and client.is_closed()
    record = gate.record(status=408)
    assert (record["cause"], record["blame"]) == ("header_timeout", "client")


def test_head_that_pauses_behind_a_whole_request(loomgate, origin):
    gate = loomgate(with_timeouts(origin(), header=SHORT))
    with gate.client() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /second HTTP/1.1\r\nHo")
        assert client.read_response().status == 200
        assert client.read_response().status == 408 and client.is_closed()


def test_empty_lines_do_not_keep_a_connection(loomgate, origin):
    gate = loomgate(with_timeouts(origin(), header=SHORT))
    with gate.client() as client:
        assert trickle(client, b"\r\n" * 4000) < SOON
        client.read_all()


def test_silent_connection_is_closed_without_a_word(loomgate, origin):
    gate = loomgate(with_timeouts(origin(), header=SHORT))
    with gate.client() as client:
        data, seconds = until_closed(client)
        assert data == b"" and not client.was_reset and 0.25 < seconds < SOON
    assert gate.fetch("/").status == 200
    gate.record(path="/")
    assert len(gate.records.lines) == 1


def test_idle_keep_alive_connection_is_closed_without_a_word(loomgate, origin):
    gate = loomgate(with_timeouts(origin(), keep_alive=SHORT))
    with gate.client() as client:
        for _ in range(3):
            assert client.request("GET", "/").read_response().status == 200
        data, seconds = until_closed(client)
        assert data == b"" and not client.was_reset and 0.25 < seconds < SOON
    gate.stop()
    assert len(gate.records.lines) == 3


def test_zero_is_never(loomgate, origin):
    names = ("header", "keep_alive", "client", "request", "connect", "response", "server", "tunnel")
    gate = loomgate(with_timeouts(origin(), **{name: 0 for name in names}))
    with gate.client() as client:
        client.send(b"GET /delay/300 HTTP/1.1\r\n")
        assert not select.select([client.sock], [], [], 0.3)[0]
        assert client.send(b"Host: a\r\n\r\n").read_response().status == 200
        assert client.request("GET", "/trickle/20/10").read_response().body == pattern(20)


# ---- client ----


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("path", ["/sink", "/echo"])
def test_request_body_that_stalls(loomgate, origin, chunked, path):
    server = origin()
    gate = loomgate(with_timeouts(server, client=SHORT))
    framing = b"Transfer-Encoding: chunked\r\n\r\n5\r\nabc" if chunked else b"Content-Length: 10\r\n\r\nabc"
    with gate.client() as client:
        client.send(b"POST %s HTTP/1.1\r\nHost: a\r\n%s" % (path.encode(), framing))
        assert client.read_response().status == 408 and client.is_closed()
    record = gate.record(path=path)
    assert (record["status"], record["cause"], record["blame"]) == (408, "client_timeout", "client")
    eventually(lambda: server.connections()[1] == 0, "the end of the server's connection")


def test_slow_request_body_that_moves_is_not_cut(loomgate, origin):
    gate = loomgate(with_timeouts(origin(), client="800ms"))
    with gate.client() as client:
        client.send(b"POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 24\r\n\r\n")
        client.send_slowly(b"x" * 24, pause=0.05)
        assert client.read_response().text.startswith("bytes 24 ")


def test_slow_server_does_not_count_against_the_client(loomgate, origin):
    gate = loomgate(with_timeouts(origin(), client=SHORT, header=SHORT, keep_alive=SHORT))
    with gate.client() as client:
        assert client.request("GET", "/delay/700").read_response().status == 200
        assert client.request("POST", "/delay/700/echo", body=b"abc").read_response().status == 200
        assert client.request("GET", "/trickle/2/700").read_response().body == pattern(2)


@pytest.mark.parametrize("path", ["/size/200m", "/chunked/200m", "/close/200m"])
def test_client_that_stops_reading_is_cut(loomgate, origin, path):
    server = origin()
    gate = loomgate(with_timeouts(server, client=SHORT))
    with gate.client(rcvbuf=32768) as client:
        client.request("GET", path)
        record = gate.record(path=path)
        assert (record["cause"], record["blame"], record["status"]) == ("client_timeout", "client", 200)
        assert 0 < record["bytes_out"] < 100_000_000
        with pytest.raises(Cut):
            client.read_response()
    eventually(lambda: server.connections()[1] == 0, "the end of the server's connection")


# ---- request ----


def test_request_timeout(loomgate, origin):
    gate = loomgate(with_timeouts(origin(), request=SHORT))
    with gate.client() as client:
        assert client.request("GET", "/delay/60000").read_response().status == 504
    record = gate.record(path="/delay/60000")
    assert (record["cause"], record["blame"]) == ("request_timeout", "gateway")
    assert 250 < record["total_ms"] < SOON * 1000


def test_request_timeout_while_the_request_moves(loomgate, origin):
    gate = loomgate(with_timeouts(origin(), request=SHORT))
    with gate.client() as client:
        client.send(b"POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 4000\r\n\r\n")
        assert 0.25 < trickle(client, b"x" * 4000) < SOON
        assert client.read_response().status == 504
    assert gate.record(path="/sink")["cause"] == "request_timeout"


def test_request_timeout_while_the_response_moves(loomgate, origin):
    gate = loomgate(with_timeouts(origin(), request="500ms"))
    with gate.client() as client, pytest.raises(Cut) as caught:
        client.request("GET", "/trickle/4000/10").read_response()
    assert 0 < len(caught.value.response.body) < 4000
    record = gate.record(path="/trickle/4000/10")
    assert (record["cause"], record["status"]) == ("request_timeout", 200)


# ---- connect ----


@pytest.mark.parametrize("body", [None, b"abc" * 100, b"x" * 1_000_000], ids=["none", "small", "big"])
def test_connect_timeout(loomgate, unreachable, body):
    gate = loomgate(with_timeouts(unreachable, connect=SHORT))
    response = gate.fetch("/", method="POST" if body else "GET", body=body)
    assert response.status == 504
    record = gate.record(path="/")
    assert (record["cause"], record["blame"], record["server"]) == ("connect_timeout", "server", unreachable)
    assert [(t["server"], t["cause"]) for t in record["tries"]] == [(unreachable, "connect_timeout")]
    assert 250 < record["total_ms"] < SOON * 1000 and unreachable not in response.text


def test_client_that_leaves_while_connecting(loomgate, unreachable):
    gate = loomgate(with_timeouts(unreachable, connect=LONG))
    gate.client().request("GET", "/left").reset()
    assert gate.record(path="/left")["cause"] == "client_closed"


# ---- response, server ----


@pytest.mark.parametrize("beginning", [b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Len"],
                         ids=["nothing", "100", "half a head"])
def test_response_timeout(loomgate, fake_server, beginning):
    closed = threading.Event()

    def script(conn):
        conn.read_request()
        conn.send(beginning)
        conn.wait_closed()
        closed.set()

    gate = loomgate(with_timeouts(fake_server(script), response=SHORT))
    with gate.client() as client:
        assert client.request("GET", "/").read_response().status == 504
        record = gate.record(path="/")
        assert (record["cause"], record["blame"]) == ("response_timeout", "server")
        assert 250 < record["total_ms"] < SOON * 1000
        assert closed.wait(TIMEOUT)


def test_response_timeout_begins_at_the_end_of_the_request(loomgate, origin):
    gate = loomgate(with_timeouts(origin(), response="800ms"))
    with gate.client() as client:
        client.send(b"POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 24\r\n\r\n")
        client.send_slowly(b"x" * 24, pause=0.05)
        assert client.read_response().status == 200


@pytest.mark.parametrize(
    "head, body",
    [(b"Content-Length: 100\r\n", b"abc"), (b"Transfer-Encoding: chunked\r\n", b"3\r\nabc\r\n"),
     (b"Transfer-Encoding: chunked\r\n", b"5\r\nabc"), (b"", b"abc")],
    ids=["length", "between chunks", "in a chunk", "until close"],
)
def test_response_body_that_stalls(loomgate, fake_server, head, body):
    def script(conn):
        conn.read_request()
        conn.send(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n" + body)
        conn.wait_closed()

    gate = loomgate(with_timeouts(fake_server(script), server=SHORT))
    for version in ("1.1", "1.0"):
        with gate.client() as client, pytest.raises(Cut) as caught:
            client.request("GET", f"/{version}", version=version).read_response()
        assert caught.value.response.body == b"abc"
        record = gate.record(path=f"/{version}")
        assert (record["cause"], record["blame"], record["status"]) == ("server_timeout", "server", 200)


def test_response_body_that_moves_is_not_cut(loomgate, origin):
    gate = loomgate(with_timeouts(origin(), server="800ms", response="800ms"))
    assert gate.fetch("/trickle/24/50").body == pattern(24)


def test_server_that_stops_reading(loomgate, fake_server):
    def script(conn):
        conn.read_head()
        closed.wait(TIMEOUT)

    closed = threading.Event()
    gate = loomgate(with_timeouts(fake_server(script), server=SHORT))
    with gate.client() as client:
        client.send(b"POST /big HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n")
        sender = threading.Thread(target=send_what_is_taken, args=(client,), daemon=True)
        sender.start()
        assert client.read_response().status == 504
        record = gate.record(path="/big")
        assert (record["cause"], record["blame"]) == ("server_timeout", "server")
    sender.join(TIMEOUT)
    closed.set()


def send_what_is_taken(client):
    try:
        for _ in range(100):
            client.send(bytes(1_000_000))
    except OSError:
        pass


def test_slow_client_does_not_count_against_the_server(loomgate, origin):
    gate = loomgate(with_timeouts(origin(), server=SHORT, response=SHORT))
    with gate.client(rcvbuf=32768) as client:
        client.request("GET", "/size/30m")
        assert client.read_head().status == 200
        assert select.select([client.sock], [], [], 5)[0]
        time.sleep(0.7)  # longer than the server's timeout: the server waits for us
        assert len(client.read_exactly(30 << 20)) == 30 << 20


# ---- tunnel ----

UPGRADE = [("Connection", "Upgrade"), ("Upgrade", "raw")]


def test_idle_tunnel(loomgate, origin):
    server = origin()
    gate = loomgate(with_timeouts(server, tunnel=SHORT, client="100ms", keep_alive="100ms", server="100ms"))
    with gate.client() as client:
        assert client.request("GET", "/upgrade", UPGRADE).read_response().status == 101
        assert client.send(b"ab").read_exactly(2) == b"ab"
        data, seconds = until_closed(client)
        assert data == b"" and 0.2 < seconds < SOON
    record = gate.record(path="/upgrade")
    assert (record["cause"], record["status"]) == ("tunnel_timeout", 101)
    eventually(lambda: server.connections()[1] == 0, "the end of the server's connection")


def test_busy_tunnel_stays(loomgate, origin):
    gate = loomgate(with_timeouts(origin(), tunnel="800ms", client=SHORT, server=SHORT, request="1500ms"))
    with gate.client() as client:
        assert client.request("GET", "/upgrade", UPGRADE).read_response().status == 101
        for _ in range(24):
            assert client.send(b"x").read_exactly(1) == b"x"
            time.sleep(0.05)


# ---- the most specific one wins ----

ANSWERS = {"request": "/delay/60000", "response": "/delay/60000", "server": "/trickle/2/60000"}
CAUSES = {"request": "request_timeout", "response": "response_timeout", "server": "server_timeout"}


@pytest.mark.parametrize("name", ["request", "response", "server"])
@pytest.mark.parametrize("where", ["defaults", "own", "route"])
def test_where_a_timeout_is_written(loomgate, origin, name, where):
    """Written short at one place and long at the less specific ones."""
    config = web_config(origin())
    places = {
        "defaults": config.setdefault("defaults", {}),
        "own": config["frontends"]["web"] if name == "request" else config["backends"]["app"],
        "route": {"match": {"path_prefix": "/"}, "backend": "app"},
    }
    for place, settings in places.items():
        settings["timeouts"] = {name: SHORT if place == where else LONG}
        if place == where:
            break
    if where == "route":
        config["frontends"]["web"]["routes"] = [places["route"]]
    gate = loomgate(config)
    path = ANSWERS[name]
    with gate.client() as client:
        if name == "server":
            with pytest.raises(Cut):
                client.request("GET", path).read_response()
        else:
            assert client.request("GET", path).read_response().status == 504
    assert gate.record(path=path)["cause"] == CAUSES[name]


@pytest.mark.parametrize("name", ["client", "request", "response", "server"])
def test_route_may_take_longer(loomgate, origin, name):
    config = with_timeouts(origin(), **{name: SHORT})
    config["frontends"]["web"]["routes"] = [
        {"match": {"path_prefix": "/trickle"}, "backend": "app", "timeouts": {name: LONG}},
        {"match": {"path_prefix": "/delay"}, "backend": "app", "timeouts": {name: LONG}},
    ]
    gate = loomgate(config)
    with gate.client() as client:
        client.send(b"POST /delay/700/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\na")
        if name == "client":
            assert not select.select([client.sock], [], [], 0.7)[0]
        client.send(b"b")
        assert client.read_response().status == 200
        assert client.request("GET", "/trickle/2/700").read_response().body == pattern(2)


@pytest.mark.parametrize("name", ["connect", "tunnel", "client"])
def test_route_may_take_less(loomgate, origin, unreachable, name):
    config = with_timeouts(unreachable if name == "connect" else origin())
    route = {"name": "short", "match": {"path_prefix": "/"}, "backend": "app", "timeouts": {name: SHORT}}
    config["frontends"]["web"]["routes"] = [route]
    gate = loomgate(config)
    with gate.client() as client:
        if name == "connect":
            assert client.request("GET", "/").read_response().status == 504
        elif name == "tunnel":
            assert client.request("GET", "/upgrade", UPGRADE).read_response().status == 101
            assert until_closed(client)[1] < SOON
        else:
            client.send(b"POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\na")
            assert client.read_response().status == 408
        assert gate.record()["route"] == "short"


def test_many_clients_time_out_at_once(loomgate, origin):
    gate = loomgate(with_timeouts(origin(), header=SHORT))
    clients = [Client(gate.web) for _ in range(200)]
    for client in clients[::2]:
        client.send(b"GET / HT")
    for number, client in enumerate(clients):
        data = client.read_all()
        assert data.startswith(b"HTTP/1.1 408 ") if number % 2 == 0 else data == b""
        client.close()
    gate.records.wait_count(lambda line: line["cause"] == "header_timeout", 100)
