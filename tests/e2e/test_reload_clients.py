"""What becomes of clients' connections and of frontends over reloads."""

import threading

import pytest
from reloads import BIND, WEBSOCKET, say, started, stays_refused
from support import TIMEOUT, Client, eventually, pattern

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
def gate(loomgate, origin):
    return started(loomgate, origin)


# --- connections of clients -------------------------------------------------------------------------------------------


@pytest.mark.threads
def test_idle_clients_go_over(gate):
    clients = [gate.client() for _ in range(20)]
    for client in clients:
        assert client.request("GET", "/own").read_response().text == "old"
    gate.reload(say("new"))
    for client in clients:
        assert client.request("GET", "/own").read_response().text == "new"
    gate.wait_alone()
    for client in clients:
        client.close()


@pytest.mark.threads
def test_a_request_in_the_middle_ends_as_it_began(gate, fake_server):
    asked, answer = threading.Event(), threading.Event()

    def script(conn):
        while conn.read_request()[0]:
            asked.set()
            assert answer.wait(TIMEOUT)
            conn.send(OK)

    slow = fake_server(script)

    def edit(config):
        config["frontends"]["web"]["request_id"] = {"header": "X-Old"}
        config["backends"]["slow"] = {"servers": [slow.address]}
        config["frontends"]["web"]["routes"].insert(0, {"name": "slow", "match": {"path": "/slow"}, "backend": "slow"})

    gate.reload(edit)
    with gate.client() as client, gate.client() as half:
        client.request("GET", "/slow")
        half.send(b"GET /slow HTTP/1.1\r\nHo")  # not a request yet
        assert asked.wait(TIMEOUT)
        gate.reload(lambda c: c["frontends"]["web"].update(request_id={"header": "X-New"}))
        assert gate.state()["snapshots_alive"] == 2
        answer.set()
        response = client.read_response()
        assert response.text == "ok" and response.header("X-Old") and not response.header("Connection")
        response = client.request("GET", "/slow").read_response()
        assert response.header("X-New") and not response.header("X-Old")
        half.send(b"st: a\r\n\r\n")
        assert half.read_response().header("X-New")
    gate.wait_alone()


@pytest.mark.threads
def test_long_bodies_go_on(gate):
    size = 3_000_000
    with gate.client(rcvbuf=4096) as down, gate.client() as up:
        down.request("GET", f"/size/{size}")
        head = down.read_head()
        up.send(f"POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n".encode())
        for i in range(5):
            up.send(pattern(size)[i * size // 5:(i + 1) * size // 5])
            gate.reload(say(f"n{i}"))
        assert up.read_response().text.startswith(f"bytes {size} ")
        down.read_body(head)
        assert head.body == pattern(size)
    gate.wait_alone()


@pytest.mark.threads
def test_pipelined_requests_over_reloads(gate):
    """Also one that never pauses goes over between two requests."""
    with gate.client() as client:
        seen = []
        for i in range(20):
            client.send(b"GET /own HTTP/1.1\r\nHost: a\r\n\r\n" * 10 + b"GET /size/1000 HTTP/1.1\r\nHost: a\r\n\r\n")
            gate.reload(say(f"n{i}"))
            seen += [client.read_response().text for _ in range(10)]
            assert client.read_response().body == pattern(1000)
        order = ["old", *(f"n{i}" for i in range(20))]
        places = [order.index(text) for text in seen]
        assert places == sorted(places)
        gate.wait_alone()


@pytest.mark.threads
def test_websockets_stay(gate):
    with gate.client() as client:
        assert client.request("GET", "/upgrade", WEBSOCKET).read_response().status == 101
        for i in range(20):
            gate.reload(say(f"n{i}"))
            assert client.send(b"x%d" % i).read_exactly(len(b"x%d" % i)) == b"x%d" % i
        eventually(lambda: gate.state()["snapshots_alive"] == 2, "two snapshots: the current one and the tunnel's")
        assert client.half_close().read_all() == b""
    gate.wait_alone()


# --- frontends that go ------------------------------------------------------------------------------------------------


def test_a_frontend_goes(gate):
    gate.reload(lambda c: c["frontends"].update(more={**BIND, "default_backend": "app"}))
    more = gate.address("more")
    running, idle, half = Client(more), Client(more), Client(more)
    assert idle.request("GET", "/size/3").read_response().status == 200
    half.send(b"GET /size/5 HTTP/1.1\r\nHost:")
    running.request("GET", "/delay/500/size/7")
    eventually(lambda: gate.control.json("show info")["requests"]["active"] >= 1, "the request under way")
    eventually(lambda: gate.control.json("show info")["connections"]["open"] >= 3, "three connections")
    gate.reload(lambda c: c["frontends"].pop("more"))
    assert stays_refused(more)
    assert idle.is_closed()
    half.send(b" a\r\n\r\n")
    for client, size in [(half, 5), (running, 7)]:
        response = client.read_response()
        assert response.body == pattern(size) and response.header("Connection") == "close" and client.is_closed()
    gate.wait_alone()
    assert gate.fetch("/own").text == "old"


def test_its_queue_is_emptied(gate):
    """Connections that nobody has accepted yet when their frontend goes are served."""
    gate.reload(lambda c: c["frontends"].update(more={**BIND, "default_backend": "app"}))
    more = gate.address("more")
    for _ in range(10):
        clients = [Client(more).send(b"GET /size/9 HTTP/1.1\r\nHost: a\r\n\r\n") for _ in range(30)]
        gate.reload(lambda c: c["frontends"].pop("more"))
        for client in clients:
            with client:
                assert client.read_response().body == pattern(9)
        gate.reload(lambda c: c["frontends"].update(more={**BIND, "default_backend": "app"}))
        more = gate.address("more")
    gate.wait_alone()


def test_a_client_that_was_to_say_who_it_is(gate):
    """Behind a PROXY header that comes late: a request that is here is its last; who has said nothing is closed."""
    more = {"bind": [{"address": "127.0.0.1:0", "accept_proxy": True}], "default_backend": "app"}
    gate.reload(lambda c: c["frontends"].update(more=more))
    address = gate.address("more")
    quiet, half = Client(address), Client(address)
    half.send(b"PROXY TCP4 1.2.3.4 5.6.7.8 9 10\r")
    eventually(lambda: gate.control.json("show info")["connections"]["open"] >= 2, "both")
    gate.reload(lambda c: c["frontends"].pop("more"))
    assert quiet.is_closed()
    half.send(b"\nGET /size/5 HTTP/1.1\r\nHost: a\r\n\r\n")
    response = half.read_response()
    assert response.body == pattern(5) and response.header("Connection") == "close" and half.is_closed()
    gate.wait_alone()


def test_a_tcp_frontend_goes_its_tunnels_stay(gate, origin):
    raw = origin("-t")
    gate.reload(lambda c: (c["frontends"].update(tcp={**BIND, "mode": "tcp", "default_backend": "raw"}),
                           c["backends"].update(raw={"servers": [raw.address]})))
    with Client(gate.address("tcp")) as client:
        assert client.send(b"one").read_exactly(3) == b"one"
        gate.reload(lambda c: (c["frontends"].pop("tcp"), c["backends"].pop("raw")))
        assert client.send(b"two").read_exactly(3) == b"two"
        assert gate.state()["snapshots_alive"] == 2
        assert client.half_close().read_all() == b""
    gate.wait_alone()
