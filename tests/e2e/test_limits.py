"""Limits: connections, sizes of requests, descriptors."""

import select
import threading

import pytest
from reloads import Reloader, servers_of
from scale import IS_SANITIZED
from support import TIMEOUT, Client, Echo, eventually, fetch, web_config

# ---- connections ----


def waits(client, seconds=0.15):
    """Nothing comes for a moment."""
    return not select.select([client.sock], [], [], seconds)[0]


def get(client):
    return client.request("GET", "/").read_response().status


@pytest.fixture(params=["global", "frontend"])
def limited(request, loomgate, origin):
    """limited(most, workers): a gate with that limit, for all or for its frontend."""

    def make(most, workers=1):
        config = web_config(origin(), settings={"workers": workers})
        if request.param == "global":
            config["global"]["max_connections"] = most
        else:
            config["frontends"]["web"]["max_connections"] = most
        return loomgate(config)

    return make


@pytest.mark.parametrize("workers", [1, 2])
def test_at_the_limit_clients_wait(limited, workers):
    gate = limited(4, workers)
    clients = [gate.client() for _ in range(4)]
    assert [get(client) for client in clients] == [200] * 4
    late = [gate.client().request("GET", "/") for _ in range(3)]
    assert all(waits(client) for client in late)
    assert [get(client) for client in clients] == [200] * 4, "those inside are served on"
    for client in late:  # one leaves, one comes in
        clients.pop().close()
        ready = select.select([one.sock for one in late if one not in clients], [], [], TIMEOUT)[0]
        assert len(ready) == 1
        entered = next(one for one in late if one.sock is ready[0])
        assert entered.read_response().status == 200
        clients.insert(0, entered)
        late = [one for one in late if one is not entered]
        assert all(waits(one, 0.05) for one in late)
    for client in clients + late:
        client.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_nobody_is_dropped(limited, workers):
    gate = limited(2, workers)
    clients = [gate.client().request("GET", "/", [("Connection", "close")]) for _ in range(40)]
    for client in clients:
        assert client.read_response().status == 200
        client.close()


@pytest.mark.threads
@pytest.mark.parametrize("workers", [1, 2])
def test_pausing_and_resuming_all_the_time(limited, workers):
    gate = limited(3, workers)
    failures = []

    def run():
        try:
            for _ in range(60):
                with Client(gate.web) as client:
                    assert get(client) == 200
        except Exception as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
    gate.records.wait_count(lambda record: record["status"] == 200, 480)


def test_waiting_client_that_leaves_is_no_harm(limited):
    gate = limited(1)
    with gate.client() as inside:
        assert get(inside) == 200
        for number in range(10):
            late = gate.client().request("GET", "/")
            late.reset() if number % 2 else late.close()
        assert get(inside) == 200
    with gate.client() as client:
        assert get(client) == 200


@pytest.mark.parametrize("workers", [1, 2])
def test_frontends_limit_leaves_others_alone(loomgate, origin, workers):
    server = origin()
    other = {"bind": ["127.0.0.1:0"], "default_backend": "app"}
    config = web_config(server, frontend={"max_connections": 1}, frontends={"other": other},
                        settings={"workers": workers, "max_connections": 3})
    gate = loomgate(config)
    with gate.client() as inside:
        assert get(inside) == 200
        late = gate.client().request("GET", "/")
        assert waits(late)
        for _ in range(30):
            assert fetch(gate.address("other"), "/").status == 200
        with Client(gate.address("other")) as one, Client(gate.address("other")) as two:
            assert get(one) == get(two) == 200
            assert waits(late, 0.05)
        inside.close()
        assert late.read_response().status == 200
        late.close()


def test_tunnels_count(loomgate, origin):
    gate = loomgate(web_config(origin("-t"), frontend={"mode": "tcp", "max_connections": 1}))
    with gate.client() as inside:
        assert inside.send(b"a").read_exactly(1) == b"a"
        late = gate.client().send(b"b")
        assert waits(late)
        assert inside.half_close().read_all() == b""
        assert late.read_exactly(1) == b"b"
        late.close()


# ---- sizes of requests ----

LIMITS = {"header_size": 2048, "header_count": 20, "uri_size": 500, "body_size": 10000}


@pytest.fixture
def narrow(loomgate, origin):
    server = origin()
    gate = loomgate(web_config(server, frontend={"limits": LIMITS}))
    gate.server = server
    return gate


def refused(gate, data, status, cause, step=None):
    """The request is answered so, the connection closes, the record says why, and the server saw nothing of it."""
    before = gate.server.number("/count")
    with gate.client() as client:
        if step:
            try:
                client.send_slowly(data, step=step)
            except OSError:
                pass
        else:
            client.send(data)
        response = client.read_response()
        assert response.status == status and response.header("Connection") == "close"
        assert client.read_all() == b""
    record = gate.record(cause=cause)
    assert (record["status"], record["blame"]) == (status, "client")
    assert gate.server.number("/count") == before + 1


def head_of(size):
    base = b"GET /echo HTTP/1.1\r\nHost: a\r\nX-Fill: "
    return base + b"x" * (size - len(base) - 4) + b"\r\n\r\n"


@pytest.mark.parametrize("step", [None, 100])
def test_header_size(narrow, step):
    with narrow.client() as client:
        for size in (100, 2047, 2048):
            client.send(head_of(size)) if not step else client.send_slowly(head_of(size), step=step)
            assert client.read_response().status == 200, size
    refused(narrow, head_of(2049), 431, "header_too_large", step)


def test_header_size_is_each_requests_own(narrow):
    with narrow.client() as client:
        client.send(head_of(2048) * 5)
        for _ in range(5):
            assert client.read_response().status == 200


def test_head_without_end(narrow):
    with narrow.client() as client:
        try:
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 1_000_000)
        except OSError:
            pass
        data = client.read_all()
        assert data.startswith(b"HTTP/1.1 431 ") or client.was_reset
    assert narrow.record(status=431)


def fields(count):
    return b"GET /echo HTTP/1.1\r\nHost: a\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(count - 1)) + b"\r\n"


@pytest.mark.parametrize("step", [None, 50])
def test_header_count(narrow, step):
    with narrow.client() as client:
        echo = Echo(client.send(fields(20)).read_response())
        assert echo.header("X-18") == "y"
    refused(narrow, fields(21), 431, "too_many_fields", step)


@pytest.mark.parametrize("step", [None, 50])
def test_uri_size(narrow, step):
    with narrow.client() as client:
        for size in (499, 500):
            echo = Echo(client.request("GET", "/echo?" + "q" * (size - 6)).read_response())
            assert len(echo.target) == size
    refused(narrow, b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n" % (b"u" * 500), 414, "uri_too_long", step)


def test_uri_beyond_the_whole_head(narrow):
    refused(narrow, b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n" % (b"u" * 3000), 414, "uri_too_long")


@pytest.mark.parametrize("size", [9999, 10000])
@pytest.mark.parametrize("chunked", [False, True, 7])
def test_body_within_the_limit(narrow, size, chunked):
    response = narrow.fetch("/echo", method="POST", body=b"x" * size, chunked=chunked)
    assert Echo(response).body == b"x" * size


def test_body_over_the_limit_by_length(narrow):
    before = narrow.server.number("/count")
    with narrow.client() as client:
        client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10001\r\n\r\n")
        response = client.read_response()  # without waiting for the body
        assert response.status == 413 and response.header("Connection") == "close"
    record = narrow.record(path="/echo")
    assert (record["cause"], record["status"], record["blame"]) == ("body_too_large", 413, "client")
    assert narrow.server.number("/count") == before + 1


def test_body_over_the_limit_that_is_sent_all_the_same(narrow):
    """The answer is not destroyed by what the client has sent meanwhile."""
    for _ in range(5):
        response = narrow.fetch("/echo", method="POST", body=bytes(150_000))
        assert response.status == 413


@pytest.mark.parametrize("chunk", [1000, 10001, 7])
def test_body_over_the_limit_in_chunks(narrow, chunk):
    with narrow.client() as client:
        client.request("POST", "/echo", body=b"x" * 10001, chunked=chunk)
        response = client.read_response()
        assert response.status == 413 and response.header("Connection") == "close"
        assert client.read_all() == b""
    assert narrow.record(path="/echo")["cause"] == "body_too_large"
    eventually(lambda: narrow.server.connections()[1] == 0, "the end of the half request at the server")


def test_body_over_the_limit_with_expect(narrow):
    with narrow.client() as client:
        client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10001\r\nExpect: 100-continue\r\n\r\n")
        response = client.read_response()
        assert response.status == 413 and not response.interim


def test_no_body_limit_by_default(loomgate, origin):
    gate = loomgate(web_config(origin()))
    assert gate.fetch("/sink", method="POST", body=bytes(20_000_000)).status == 200


def test_defaults_and_each_frontend(loomgate, origin):
    config = web_config(origin(), frontend={"limits": {"uri_size": 100}})
    config["defaults"] = {"limits": {"uri_size": 200, "body_size": 10}}
    config["frontends"]["other"] = {"bind": ["127.0.0.1:0"], "default_backend": "app"}
    gate = loomgate(config)
    assert gate.fetch("/echo?" + "q" * 94).status == 200 and gate.fetch("/echo?" + "q" * 95).status == 414
    other = gate.address("other")
    assert fetch(other, "/echo?" + "q" * 194).status == 200 and fetch(other, "/echo?" + "q" * 195).status == 414
    for address in (gate.web, other):
        assert fetch(address, "/echo", method="POST", body=b"x" * 11).status == 413


# ---- descriptors ----


@pytest.mark.skipif(IS_SANITIZED, reason="sanitizers open files of their own")
def test_the_operator_is_heard_when_descriptors_are_out(loomgate, fake_server):
    """Clients and the servers' side take all that they may have; commands and a reload still work."""
    slow = fake_server(lambda conn: conn.read_head() and conn.wait_closed())
    config = web_config({"name": "slow", "address": slow.address}, settings={"workers": 1})
    gate = Reloader(loomgate, config, prefix=["prlimit", "--nofile=80:80"])
    clients = [gate.client() for _ in range(120)]
    gate.gate.logged(event="accept_paused")
    for client in clients:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    eventually(lambda: gate.descriptors() >= 75, "nothing is left for a server's connection")
    assert gate.control.json("show info")["descriptors"]["limit"] == 80
    for weight in (2, 3):
        gate.reload(lambda c, weight=weight: servers_of(c)[0].update(weight=weight))
    for client in clients:
        client.reset()
    gate.stop(allow_errors=True)


@pytest.mark.skipif(IS_SANITIZED, reason="sanitizers open files of their own")
@pytest.mark.parametrize("workers", [1, 2])
def test_out_of_descriptors(loomgate, origin, workers):
    config = web_config(origin(), settings={"workers": workers}, backend={"pool": {"max_idle": 1}})
    gate = loomgate(config, prefix=["prlimit", "--nofile=80:80"])
    assert gate.logged(event="few_descriptors")["limit"] == 80
    for _ in range(2):
        paused = len([line for line in gate.log.lines if line.get("event") == "accept_paused"])
        clients = [gate.client().send(b"GET / HTTP/1.1\r\n") for _ in range(120)]
        told = gate.log.wait_count(lambda line: line.get("event") == "accept_paused", paused + 1)
        assert told[-1]["level"] == "warn" and told[-1]["frontend"] == "web"
        assert gate.descriptors() <= 80
        # Which worker's queue a client is in, and how quickly that one accepted, is the kernel's business.
        late = next(client for client in reversed(clients) if waits(client.send(b"Host: a\r\n\r\n"), 0.5))
        clients.remove(late)
        told = [line for line in gate.log.lines if line.get("event") == "accept_paused"]
        assert len(told) - paused <= workers, "told more than once"
        for client in clients:
            client.close()
        assert late.read_response().status == 200, "nobody was dropped"
        late.close()
        gate.logged(event="accept_resumed")
        for _ in range(20):
            assert gate.fetch("/").status == 200
    gate.stop(allow_errors=True)
