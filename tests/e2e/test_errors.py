"""Answers of our own to what fails: short, with the id, in the form that was asked for; and what the log says of it."""

import json
import socket
import threading

import pytest
from gates import get, shared
from support import eventually, web_config

MAINT = {"name": "m", "address": "127.0.0.1:1", "maint": True}


def unused_address():
    """A bound socket, and its address, where nobody listens."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    return sock, "127.0.0.1:%d" % sock.getsockname()[1]


def build(world):
    world.taken, world.refusing = unused_address()
    routes = [{"name": name, "match": {"host": name}, "backend": name} for name in ("refused", "maint", "zero",
        "hanging")]
    config = web_config(
        world.record(),
        frontend={"routes": routes, "request_id": {"header": "X-Request-Id", "trust": True}},
        backends={
            "refused": {"servers": [{"name": "r1", "address": world.refusing}], "retry": "off", "breaker": "off"},
            "maint": {"servers": [MAINT]},
            "zero": {"servers": [{"name": "z1", "address": world.refusing, "weight": 0}]},
            "hanging": {"servers": [world.origin().address], "timeouts": {"response": "50ms"}, "retry": "off",
                        "breaker": "off"},
        },
    )
    del config["frontends"]["web"]["default_backend"]
    return config


web = shared(build)

# host: (status, cause, blame, server, how many tries)
FAILURES = {
    "refused": (502, "connect_failed", "server", "r1", 1),
    "maint": (503, "no_server", "gateway", None, 0),
    "zero": (503, "no_server", "gateway", None, 0),
    "nobody": (404, "no_route", "gateway", None, 0),
    "hanging": (504, "response_timeout", "server", ..., 1),
}
each_failure = pytest.mark.parametrize("host", FAILURES)


def fail(web, host, *fields, method="GET", path="/hang", version="1.1"):
    with web.client() as client:
        response = client.request(method, path, list(fields), host=host, version=version).read_response()
        return response, web.record_of(client)


@each_failure
def test_what_the_log_says(web, host):
    status, cause, blame, server, tries = FAILURES[host]
    response, record = fail(web, host)
    assert response.status == status
    assert (record["status"], record["cause"], record["blame"]) == (status, cause, blame)
    assert record["server"] == server or server is ...
    assert [one["cause"] for one in record["tries"]] == [cause] * tries
    assert record["backend"] == (host if host != "nobody" else None) and record["host"] == host
    assert record["path"] == "/hang" and record["method"] == "GET" and record["reused"] in (False, True)


@each_failure
def test_the_answer_is_short_and_has_the_id(web, host):
    response, record = fail(web, host)
    assert record["id"] == response.header("X-Request-Id") and record["id"] in response.text
    assert len(response.body) < 400 and response.header("Content-Type") == "text/plain; charset=utf-8"
    assert response.header("Content-Length") == str(len(response.body)) and response.header("Date")
    assert response.header("Cache-Control") == "no-store"
    assert str(response.status) in response.text and response.reason in response.text


@each_failure
@pytest.mark.parametrize("accept", ["text/plain", "application/json"])
def test_nothing_of_the_inside_leaks(web, host, accept):
    response, record = fail(web, host, ("Accept", accept))
    told = repr(response).replace(record["id"], "")
    ports = [address.rpartition(":")[2] for address in (web.refusing, web.a1.address, web.recorder.address)]
    for secret in ["127.0.0.1", "r1", "z1", "'m'", "backend", "loomgate", *ports]:
        assert secret not in told.lower(), secret


@each_failure
def test_head_has_no_body(web, host):
    with web.client() as client:
        response = client.request("HEAD", "/hang", host=host).read_response()
        assert (response.status, response.body) == (FAILURES[host][0], b"")
        assert int(response.header("Content-Length")) > 0
        assert client.request("GET", "/hang", host="nobody").read_response().status == 404


@each_failure
def test_the_client_connection_goes_on(web, host):
    with web.client() as client:
        for _ in range(3):
            response = client.request("POST", "/hang", host=host, body=b"hello").read_response()
            assert response.status == FAILURES[host][0] and "Connection" not in response.headers
        client.send(get("/hang", host=host) * 2)
        assert [client.read_response().status for _ in range(2)] == [FAILURES[host][0]] * 2


@each_failure
def test_for_1_0(web, host):
    response, record = fail(web, host, version="1.0")
    assert (response.status, response.header("Connection")) == (FAILURES[host][0], "close")
    assert record["protocol"] == "HTTP/1.0"


@each_failure
def test_retry_after_belongs_to_503(web, host):
    response, _ = fail(web, host)
    told = response.header("Retry-After")
    assert (int(told) >= 1) if response.status == 503 else told is None


# --- text or JSON ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "accept, is_json",
    [
        (["application/json"], True), (["APPLICATION/JSON"], True), (["text/html, application/json"], True),
        (["text/html;q=0.5,\tapplication/json ; q=0.9"], True), (["application/json;q=0.05"], True),
        (["application/json;charset=utf-8"], True), (["application/json;q=1"], True),
         (["application/json;q=0.001"], True),
        (["application/json;q=0"], False), (["application/json;q=0.0"], False), (["application/json;q=0.000"], False),
        (["application/json ; q=0"], False), (["application/json;charset=utf-8;q=0"], False),
         (["application/json;Q=0"], False),
        (["text/plain"], False), (["*/*"], False), (["application/*"], False), ([], False), ([""], False),
        (["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"], False), (["application/jsonx"], False),
        (["xapplication/json"], False), (["application/json+x"], False), (["text/html", "application/json"], True),
    ],
)
def test_the_form_is_chosen_by_accept(web, accept, is_json):
    response, record = fail(web, "nobody", *(("Accept", one) for one in accept))
    assert response.header("Content-Type") == ("application/json" if is_json else "text/plain; charset=utf-8")
    if is_json:
        told = json.loads(response.body)
        assert (told["status"], told["error"], told["id"]) == (404, "no_route", record["id"]) and told["message"]
    else:
        assert response.text.startswith("404 Not Found: ")


@each_failure
def test_json_has_the_cause(web, host):
    response, record = fail(web, host, ("Accept", "application/json"))
    told = json.loads(response.body)
    assert (told["status"], told["error"], told["id"]) == (response.status, record["cause"], record["id"])


def test_json_head_has_no_body(web):
    response, _ = fail(web, "nobody", ("Accept", "application/json"), method="HEAD")
    assert response.body == b"" and response.header("Content-Type") == "application/json"


def test_a_trusted_id_is_escaped_in_json(web):
    own_id = '"},{"x":"\\<b>'
    response, record = fail(web, "nobody", ("Accept", "application/json"), ("X-Request-Id", own_id))
    assert json.loads(response.body)["id"] == own_id == record["id"]
    response, _ = fail(web, "nobody", ("Accept", "application/json"), ("X-Request-Id", '"' * 128))
    assert json.loads(response.body)["id"] == '"' * 128


def test_a_malformed_request_is_answered_in_text(web):
    with web.client() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: h\r\nAccept: application/json\r\nX : y\r\n\r\n")
        response = client.read_response()
        assert response.status == 400 and client.is_closed()
        assert web.record_of(client)["id"] in response.text


# --- each cause -----------------------------------------------------------------------------------


def test_unreachable_in_time(loomgate):
    """A listener whose queue is full: the kernel answers nothing."""
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for one in (first, second):
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        gate = loomgate(web_config("127.0.0.1:%d" % full.getsockname()[1], backend={"timeouts": {"connect": "200ms"}}))
        assert gate.fetch("/").status == 504
        record = gate.record(status=504)
        assert (record["cause"], record["blame"]) == ("connect_timeout", "server") and record["total_ms"] >= 190


def test_a_server_that_comes_back(loomgate):
    taken, address = unused_address()

    def accept():
        conn, _ = taken.accept()
        with conn:
            conn.recv(65536)
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    gate = loomgate(web_config(address))
    with taken:
        assert gate.fetch("/").status == 502
        taken.listen(8)
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        assert gate.fetch("/").body == b"ok"
        thread.join()


def test_backup_serves_when_nobody_else_does(loomgate, origin):
    spare = origin("-n", "spare")
    gate = loomgate(web_config(MAINT, {"name": "spare", "address": spare.address, "backup": True}))
    assert gate.echo().name == "spare"
    assert gate.record()["server"] == "spare"


@pytest.mark.parametrize("sent, cause, status", [
    (b"GET / HT", "header_timeout", 408), (b"GET / HTTP/1.1\r\nHost: h\r\n", "header_timeout", 408),
    (get("/", "Content-Length: 5", method="POST", body=b"he"), "client_timeout", 408),
    (get("/", "Transfer-Encoding: chunked", method="POST", body=b"5\r\nhe"), "client_timeout", 408),
])
def test_a_client_that_stops(loomgate, fake_server, sent, cause, status):
    def script(conn):
        conn.read_head()
        conn.read_all()

    gate = loomgate(web_config(fake_server(script), frontend={"timeouts": {"header": "150ms", "client": "150ms"}}))
    with gate.client() as client:
        response = client.send(sent).read_response("POST")
        assert (response.status, response.header("Connection")) == (status, "close") and client.is_closed()
        record = gate.record(status=status)
        assert (record["cause"], record["blame"]) == (cause, "client")


@pytest.mark.parametrize("sent", [get("/hang"), get("/hang", "Content-Length: 5", method="POST", body=b"he")])
def test_a_client_that_resets(loomgate, origin, sent):
    """The server learns of it, and the log has 499."""
    a1 = origin("-n", "a1")
    gate = loomgate(web_config(a1))
    client = gate.client()
    client.send(sent)
    eventually(lambda: a1.connections()[1] == 1, "the request's arrival")
    client.reset()
    record = gate.record(path="/hang")
    assert (record["status"], record["cause"], record["blame"]) == (499, "client_closed", "client")
    eventually(lambda: a1.connections()[1] == 0, "the end of the server's connection")


@pytest.mark.parametrize("sent", [b"GET / HT", b"GET / HTTP/1.1\r\nHost: h\r\n"])
def test_a_client_that_leaves_in_its_head(web, sent):
    with web.client() as client:
        assert client.send(sent).half_close().read_all() == b""
        record = web.record_of(client)
        assert (record["cause"], record["blame"], record["server"]) == ("client_closed", "client", None)


def test_a_client_that_asks_nothing_leaves_no_record(web):
    before = len(web.gate.records.lines)
    with web.client() as client:
        assert client.half_close().read_all() == b""
    with web.client() as client:
        assert client.send(b"\r\n").half_close().read_all() == b""
    web.fetch("/", host="nobody")
    web.gate.records.wait(lambda one: one["host"] == "nobody", start=before)
    assert len(web.gate.records.lines) == before + 1


def test_413_by_length_and_by_chunks(loomgate, fake_server):
    gate = loomgate(web_config(fake_server(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
                               frontend={"limits": {"body_size": 10}}))
    for body, chunked, status in [(b"a" * 10, False, 200), (b"a" * 11, False, 413), (b"a" * 10, True, 200),
        (b"a" * 11, 5, 413)]:
        with gate.client() as client:
            assert client.request("POST", "/", body=body, chunked=chunked).read_response().status == status
            if status == 413:
                assert client.is_closed() and gate.record(client=client.local)["cause"] == "body_too_large"


def test_an_error_does_not_stop_the_next_server(loomgate, origin):
    """One of two servers is down: without retries its turns fail, the other's do not."""
    taken, address = unused_address()
    with taken:
        gate = loomgate(web_config(address, origin("-n", "a1"), backend={"retry": "off"}))
        statuses = [gate.fetch("/size/1").status for _ in range(6)]
    assert sorted(set(statuses)) == [200, 502] and statuses.count(200) == 3
