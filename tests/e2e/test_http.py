"""What HTTP/1 clients and servers may do, passed on as RFC 9110 and 9112 ask: connections, bodies, interim answers,
methods, targets, sizes."""

import itertools

import pytest
from scale import IS_SANITIZED
from gates import OK, get, shared, unchunked
from support import Echo, encode_chunked, pattern, web_config

MORE_THAN_KERNELS_KEEP = 64 << 20  # in the buffers of both ends, as they grow by themselves
LOCAL = {"name": "local", "match": {"path": "/local"}, "respond": {"status": 200, "body": "local\n"}}


def build(world):
    return web_config(world.origin(), frontend={"routes": [LOCAL]})


def build_recorder(world):
    return web_config(world.record())


web = shared(build)
recorded = shared(build_recorder)


# --- connections ----------------------------------------------------------------------------------


def test_keep_alive_on_both_sides(web):
    with web.client() as client:
        seen = [client.request("GET", "/echo").read_response() for _ in range(5)]
    assert all("Connection" not in one.headers and one.status == 200 for one in seen)
    numbers = [int(one.header("X-Origin-Request")) for one in seen]
    assert numbers == list(range(numbers[0], numbers[0] + 5)), "not one connection to the server"
    assert web.gate.record(path="/echo", reused=True)


def test_close_of_a_client_leaves_the_server_connection(web):
    first = web.fetch("/echo", headers=[("Connection", "close")])
    assert first.header("Connection") == "close"
    second = web.fetch("/echo")
    assert int(second.header("X-Origin-Request")) == int(first.header("X-Origin-Request")) + 1
    with web.client() as client:
        client.request("GET", "/size/1", [("Connection", "foo, CLOSE")]).read_response()
        assert client.is_closed()


@pytest.mark.parametrize("path", ["/size/10", "/chunked/10", "/close/10", "/local", "/size/0"])
def test_1_0_without_keep_alive_is_closed(web, path):
    with web.client() as client:
        response = client.request("GET", path, version="1.0").read_response()
        assert response.header("Connection") == "close" and client.is_closed()
        assert response.framing in ("length", "close") and "Transfer-Encoding" not in response.headers
        assert response.body == {"/local": b"local\n", "/size/0": b""}.get(path, pattern(10))


@pytest.mark.parametrize("path", ["/size/10", "/size/0", "/local", "/status/204", "/status/304"])
def test_1_0_with_keep_alive_is_kept(web, path):
    with web.client() as client:
        for _ in range(3):
            response = client.request("GET", path, [("Connection", "Keep-Alive")], version="1.0").read_response()
            assert response.header("Connection", "").lower() == "keep-alive"
        assert client.request("GET", "/local").read_response().body == b"local\n"


@pytest.mark.parametrize("path", ["/chunked/10", "/close/10"])
def test_1_0_with_keep_alive_is_closed_when_the_length_is_unknown(web, path):
    with web.client() as client:
        response = client.request("GET", path, [("Connection", "keep-alive")], version="1.0").read_response()
        assert (response.framing, response.header("Connection"), response.body) == ("close", "close", pattern(10))


@pytest.mark.parametrize(
    "head, is_kept",
    [
        (b"HTTP/1.1 200 OK\r\n", True),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n", True),
        (b"HTTP/1.1 200 OK\r\nConnection: x, Keep-Alive\r\n", True),
        (b"HTTP/1.0 200 OK\r\n", False),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n", False),
        (b"HTTP/1.1 200 OK\r\nConnection:\tclose\t\r\n", False),
        (b"HTTP/1.1 200 OK\r\nConnection: x, Close\r\n", False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive, close\r\n", False),
    ],
)
def test_servers_keep_alive(loomgate, fake_server, head, is_kept):
    """What a server says is between it and the proxy."""
    server = fake_server(head + b"Content-Length: 2\r\n\r\nok")
    with loomgate(web_config(server)).client() as client:
        for _ in range(3):
            response = client.request("GET", "/").read_response()
            assert (response.version, response.body, response.header("Connection")) == ("1.1", b"ok", None)
        assert server.connections == (1 if is_kept else 3)


# --- pipelining -----------------------------------------------------------------------------------

MIXED = [
    (get("/size/1000"), "GET", pattern(1000)),
    (get("/local"), "GET", b"local\n"),
    (get("/sink", "Content-Length: 5", method="POST", body=b"hello"), "POST", b"bytes 5 adler32 062c0215\n"),
    (get("/size/10", method="HEAD"), "HEAD", b""),
    (get("/chunked/9000"), "GET", pattern(9000)),
    (get("/local", method="HEAD"), "HEAD", b""),
    (get("/delay/20/size/2"), "GET", pattern(2)),
    (get("/status/204"), "GET", b""),
    (get("/local", "Content-Length: 3", method="POST", body=b"abc"), "POST", b"local\n"),
    (get("/close/77"), "GET", pattern(77)),
    (get("/sink", "Transfer-Encoding: chunked", method="PUT", body=encode_chunked(b"hello", 2)), "PUT",
     b"bytes 5 adler32 062c0215\n"),
    (get("/local", "Transfer-Encoding: chunked", method="PUT", body=encode_chunked(b"hello", 2)), "PUT", b"local\n"),
]


@pytest.mark.parametrize("ends", [False, True], ids=["open", "half-closed"])
@pytest.mark.parametrize("step", [None, 1, 100])
def test_pipelined_requests_are_answered_in_order(web, step, ends):
    with web.client() as client:
        data = b"".join(data for data, _, _ in MIXED)
        if step:
            client.send_slowly(data, step=step)
        else:
            client.send(data)
        if ends:
            client.half_close()
        for at, (_, method, body) in enumerate(MIXED):
            response = client.read_response(method)
            assert response.body == body, at
        if ends:
            assert client.is_closed()


@pytest.mark.parametrize("path", [b"/size/100", b"/local"])
def test_many_pipelined_requests(web, path):
    with web.client() as client:
        client.send(b"GET " + path + b" HTTP/1.1\r\nHost: h\r\n\r\n" * 1)
        client.send((b"GET " + path + b" HTTP/1.1\r\nHost: h\r\n\r\n") * 999)
        assert all(client.read_response().status == 200 for _ in range(1000))


@pytest.mark.parametrize("data",
    [get("/moved"), get("/local", method="HEAD"), get("/local"), get("/status/204"), get("/size/3000")],
                         ids=["redirect", "HEAD", "text", "204", "body"])
def test_answers_that_nobody_reads_are_not_piled_up(loomgate, origin, data):
    """A client that only sends requests is not read from when the answers have nowhere to go; nothing piles up here."""
    moved = {"match": {"path": "/moved"}, "redirect": {"to": "/" + "x" * 2000}}
    gate = loomgate(web_config(origin("-n", "a1"), frontend={"routes": [LOCAL, moved]}))
    with gate.client(rcvbuf=4096) as client:
        client.sock.settimeout(1)  # held back for so long: it will not go on
        block, sent, before = data * 200, 0, gate.resident_bytes()
        try:
            while sent < MORE_THAN_KERNELS_KEEP:
                sent += client.sock.send(block)
        except TimeoutError:
            pass
        # A sanitizer keeps freed memory for a while.
        assert gate.resident_bytes() - before < (400 if IS_SANITIZED else 32) << 20


def test_a_slow_answer_does_not_let_others_overtake(web):
    with web.client() as client:
        client.send(get("/delay/150/size/1") + get("/local") + get("/size/2"))
        assert [client.read_response().body for _ in range(3)] == [b"0", b"local\n", b"01"]


def test_nothing_behind_close_is_answered(web):
    with web.client() as client:
        client.send(get("/size/1") + get("/size/2", "Connection: close") + get("/size/3"))
        assert [client.read_response().body for _ in range(2)] == [b"0", b"01"] and client.is_closed()


def test_a_half_closed_client_gets_its_answer(web):
    with web.client() as client:
        response = client.request("GET", "/delay/50/chunked/5").half_close().read_response()
        assert response.body == pattern(5) and client.is_closed()


# --- bodies ---------------------------------------------------------------------------------------

SIZES = [0, 1, 4095, 4096, 65536, 300_000]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("chunked", [False, 1000, True], ids=["length", "chunks", "large-chunks"])
@pytest.mark.parametrize("method", ["POST", "PUT", "GET", "DELETE", "REPORT"])
def test_request_bodies(web, method, chunked, size):
    if chunked == 1000 and size > 70000:
        chunked = 16000
    seen = web.echo(method=method, body=pattern(size), chunked=chunked)
    assert (seen.method, seen.body) == (method, pattern(size))
    assert seen.framing == ("chunked" if chunked else "length")
    assert seen.header("Content-Length") == (None if chunked else str(size))
    assert seen.header("Transfer-Encoding") == ("chunked" if chunked else None)


def test_no_body_is_no_body(web):
    seen = web.echo()
    assert "Content-Length" not in seen.fields and "Transfer-Encoding" not in seen.fields


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("kind", ["size", "chunked", "close"])
def test_response_bodies(web, kind, version, size):
    response = web.fetch(f"/{kind}/{size}", version=version)
    assert response.body == pattern(size)
    expected = {"size": "length", "chunked": "chunked", "close": "chunked"}[kind]
    if version == "1.0" and expected == "chunked":
        expected = "close"
    assert response.framing == expected or (size == 0 and response.framing == "length")


@pytest.mark.parametrize("kind", ["size", "chunked", "close"])
def test_large_bodies_both_ways(web, kind):
    body = pattern(5_000_000)
    with web.client() as client:
        assert client.request("GET", f"/{kind}/{len(body)}").read_response().body == body
        expected = web.a1.fetch("/sink", method="POST", body=body).text
        assert client.request("POST", "/sink", body=body).read_response().text == expected
        assert client.request("POST", "/sink", body=body, chunked=70000).read_response().text == expected


@pytest.mark.parametrize("chunked", [False, 100])
def test_echo_of_a_large_body_while_it_comes(loomgate, fake_server, chunked):
    """The answer begins before the request has ended, and both go on."""
    body = pattern(400_000)

    def script(conn):
        assert conn.read_head()
        conn.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        left = b"" if chunked else len(body)
        while left == b"" or left > 0:
            data = conn.buffer or conn.sock.recv(65536)
            conn.buffer = b""
            conn.send(data)
            if not chunked:
                left -= len(data)
            elif data.endswith(b"0\r\n\r\n") or not data:
                return

    with loomgate(web_config(fake_server(script))).client() as client:
        client.request("POST", "/", [("Transfer-Encoding", "chunked")] if chunked else [("Content-Length", len(body))])
        response = client.read_head()
        sent = encode_chunked(body, chunked) if chunked else body
        client.send(sent)
        client.read_body(response)
        assert len(response.body) >= len(body) and (chunked or response.body == body)


@pytest.mark.parametrize("step", [None, 1])
def test_trailers_of_requests(web, step):
    body = encode_chunked(b"abc", 2,
        [("X-Sum", "1"), ("X-Other", "a b"), ("Connection", "close"), ("Authorization", "x")])
    with web.client() as client:
        client.send_slowly(get("/echo", "Transfer-Encoding: chunked", "Trailer: X-Sum", method="POST", body=body),
                           step=step or len(body) + 1000)
        seen = Echo(client.read_response())
        assert (seen.body, seen.trailers) == (b"abc", ["X-Sum: 1", "X-Other: a b"])
        assert client.request("GET", "/size/1").read_response().body == b"0"


@pytest.mark.parametrize("slowly", [False, True])
def test_trailers_of_responses(loomgate, fake_server, slowly):
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n" + encode_chunked(
        b"abc", 1, [("X-Sum", "1"), ("Content-Length", "7"), ("grpc-status", "0"), ("Set-Cookie", "a=b"), ("Host", "x")]
    )

    def script(conn):
        while conn.read_head():
            (conn.send_slowly if slowly else conn.send)(answer)

    gate = loomgate(web_config(fake_server(script)))
    with gate.client() as client:
        for _ in range(2):
            response = client.request("GET", "/", [("TE", "trailers"), ("Connection", "TE")]).read_response()
            assert (response.body, response.trailers) == (b"abc", [("X-Sum", "1"), ("grpc-status", "0")])
            assert "X-Sum" not in response.headers and "Set-Cookie" not in response.headers
        response = client.request("GET", "/", version="1.0").read_response()
        assert (response.body, response.framing) == (b"abc", "close")


# --- answers without a body -----------------------------------------------------------------------


def test_head(web):
    with web.client() as client:
        for path, length in [("/size/1000", "1000"), ("/chunked/1000", None), ("/close/10", None), ("/local", "6"),
                             ("/size/0", "0"), ("/status/404", ...)]:
            response = client.request("HEAD", path).read_response()
            assert response.body == b"" and length in (..., response.header("Content-Length")), path
        assert client.request("GET", "/size/2").read_response().body == b"01"


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("path, length", [("/status/204", None), ("/status/204?length=5", None), ("/status/304", ...),
                                          ("/status/304?length=5", "5")])
def test_204_and_304(web, path, length, version):
    with web.client() as client:
        fields = [("Connection", "keep-alive")]
        for _ in range(2):
            response = client.request("GET", path, fields, version=version).read_response()
            assert response.status == int(path[8:11]) and "Transfer-Encoding" not in response.headers
            assert length in (..., response.header("Content-Length"))
        assert client.request("GET", "/size/2").read_response().body == b"01"


@pytest.mark.parametrize("status", [200, 205, 404, 500])
def test_an_answer_with_length_zero(web, status):
    with web.client() as client:
        response = client.request("GET", f"/size/0?status={status}").read_response()
        assert (response.status, response.header("Content-Length"), response.body) == (status, "0", b"")
        assert client.request("GET", "/size/2").read_response().body == b"01"


# --- 1xx and Expect -------------------------------------------------------------------------------


@pytest.mark.parametrize("framing", [["Content-Length: 2"], ["Transfer-Encoding: chunked"]])
def test_100_continue_passes_through(web, framing):
    with web.client() as client:
        client.send(get("/echo", *framing, "Expect: 100-continue", method="POST"))
        assert client.read_head().status == 100
        client.send(b"ok" if "Length" in framing[0] else b"2\r\nok\r\n0\r\n\r\n")
        seen = Echo(client.read_response())
        assert seen.body == b"ok" and seen.header("Expect", "").lower() == "100-continue"
        assert client.request("GET", "/size/2").read_response().body == b"01"


def test_a_body_that_does_not_wait_for_100(web):
    with web.client() as client:
        client.send(get("/echo", "Content-Length: 2", "Expect: 100-continue", method="POST", body=b"ok"))
        response = client.read_response("POST")
        assert Echo(response).body == b"ok" and {one.status for one in response.interim} <= {100}
        assert client.request("GET", "/size/2").read_response().body == b"01"


@pytest.mark.parametrize("path", ["/status/403?early=1", "/local"])
def test_a_final_answer_instead_of_100(web, path):
    """Whether the body still comes nobody can tell: the connection is closed."""
    with web.client() as client:
        client.send(get(path, "Content-Length: 2", "Expect: 100-continue", method="POST"))
        response = client.read_response("POST")
        assert response.status in (200, 403) and response.header("Connection") == "close" and client.is_closed()


def test_expect_of_1_0_gets_no_100(web):
    with web.client() as client:
        client.send(get("/echo", "Content-Length: 2", "Expect: 100-continue", method="POST", version="1.0", body=b"ok"))
        response = client.read_response("POST")
        assert Echo(response).body == b"ok" and not response.interim


@pytest.mark.parametrize("value", ["200-ok", "100-continue, other", "x"])
def test_an_unknown_expectation_is_refused(web, value):
    with web.client() as client:
        response = client.request("POST", "/echo", [("Expect", value)], b"ok").read_response()
        assert response.status == 417
        assert web.record_of(client)["cause"] == "bad_expectation"


def test_early_hints(web):
    with web.client() as client:
        response = client.request("GET", "/early-hints?n=3").read_response()
        assert (response.status, [one.status for one in response.interim]) == (200, [103] * 3)
        assert all("Content-Length" not in one.headers for one in response.interim)
        assert client.request("GET", "/early-hints", version="1.0").read_response().interim == []


@pytest.mark.parametrize("slowly", [False, True])
def test_interim_answers_of_all_kinds(loomgate, fake_server, slowly):
    interim = b"".join(b"HTTP/1.1 %d x\r\nX-N: %d\r\n\r\n" % (status, status) for status in (100, 102, 103, 199))

    def script(conn):
        while conn.read_head():
            (conn.send_slowly if slowly else conn.send)(interim + OK)

    with loomgate(web_config(fake_server(script))).client() as client:
        for _ in range(2):
            response = client.request("GET", "/").read_response()
            told = [(one.status, one.header("X-N")) for one in response.interim]
            assert told == [(100, "100"), (102, "102"), (103, "103"), (199, "199")] and response.body == b"ok"


# --- answers that come before the request has ended -----------------------------------------------


def test_an_early_answer_and_the_rest_of_a_small_body(web):
    """Read and dropped, so that the connection lives."""
    with web.client() as client:
        client.send(get("/status/403?early=1", "Content-Length: 10", method="POST", body=b"hello"))
        response = client.read_response("POST")
        assert response.status == 403
        if response.header("Connection") != "close":
            client.send(b"world" + get("/size/2"))
            assert client.read_response().body == b"01"


@pytest.mark.parametrize("path", ["/status/413?early=1", "/local", "/no-read"])
def test_an_early_answer_to_a_large_body(web, path):
    """It reaches the client although its body is not wanted."""
    with web.client() as client:
        client.send(get(path, "Content-Length: 100000000", method="POST"))
        try:
            for _ in range(50):
                client.send(bytes(100_000))
        except OSError:
            pass  # enough, says the proxy
        assert client.read_response("POST").status in (200, 413)


# --- methods and targets --------------------------------------------------------------------------


@pytest.mark.parametrize("method",
    ["PROPFIND", "M-SEARCH", "get", "X", "ABCDEFGHIJABCDEFGHIJABCDEFGHIJAB", "PRI", "SETUP",
                                    "!#$%&'*+-.^_`|~09", "TRACE", "PATCH", "QUERY"])
def test_methods_pass(recorded, method):
    recorded.recorder.forget()
    with recorded.client() as client:
        assert client.request(method, "/m").read_response().body == b"ok"
        assert client.request(method, "/m", body=b"abc").read_response().body == b"ok"
        assert recorded.record_of(client)["method"] == method
    assert recorded.recorder.take()[0] == f"{method} /m HTTP/1.1"
    assert recorded.recorder.take()[::2] == (f"{method} /m HTTP/1.1", b"abc")


@pytest.mark.parametrize(
    "target",
    ["/", "//", "///a//b//", "//evil.example/a", "/a/./b/../c", "/%2e%2e/%2F", "/%00%0d%0a", "/a;b=c?d=e&f=%20?/", "/?",
     "/?a",
     "/a?b=c?d=e", "/{a}|\"b\"^`<c>\\?[]='", "/~user/!$&'()*+,;=:@", "/%zz%", "/:80", "/http://other/", "/*",
     "/a=b:c@d", "/" + "a" * 8191, "/?" + "b" * 8190],
    ids=lambda target: target[:30],
)
def test_targets_are_unchanged(recorded, target):
    recorded.recorder.forget()
    with recorded.client() as client:
        assert client.request("GET", target).read_response().status == 200
        path = recorded.record_of(client)["path"]
        assert path == target or (len(target) > 2000 and target.startswith(path.rstrip("\u2026")))
    assert recorded.recorder.take()[0] == f"GET {target} HTTP/1.1"


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize(
    "method, target, origin_form, host",
    [
        ("GET", "http://a.example:81/b?c", "/b?c", "a.example:81"),
        ("GET", "HTTP://A.example/b", "/b", "A.example"),
        ("GET", "https://a/b", "/b", "a"),
        ("GET", "http://a", "/", "a"),
        ("GET", "http://a?b/c=d", "/?b/c=d", "a"),
        ("GET", "http://[::1]:8/", "/", "[::1]:8"),
        ("GET", "http://a//b", "//b", "a"),
        ("OPTIONS", "http://a", "*", "a"),
        ("OPTIONS", "http://a/", "/", "a"),
        ("OPTIONS", "*", "*", "localhost"),
        ("POST", "http://a/", "/", "a"),
    ],
)
def test_absolute_targets(recorded, method, target, origin_form, host, version):
    recorded.recorder.forget()
    with recorded.client() as client:
        assert client.request(method, target, version=version).read_response().status == 200
        assert recorded.record_of(client)["host"] == host
    line, fields, _ = recorded.recorder.take()
    assert (line, fields[0]) == (f"{method} {origin_form} HTTP/1.1", f"Host: {host}")
    assert len([one for one in fields if one.lower().startswith("host:")]) == 1


def test_1_0_without_host(recorded):
    recorded.recorder.forget()
    assert recorded.fetch("/", host=None, version="1.0").status == 200
    line, fields, _ = recorded.recorder.take()
    assert line == "GET / HTTP/1.1" and len([one for one in fields if one.lower().startswith("host:")]) == 1


def test_connect_is_refused(recorded):
    with recorded.client() as client:
        client.send(b"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n")
        assert client.read_response().status == 501 and client.is_closed()
        assert recorded.record_of(client)["cause"] == "method_refused"


# --- sizes ----------------------------------------------------------------------------------------


def test_big_heads_pass_both_ways(web):
    fields = [("X-Big", "b" * 15000)]
    with web.client() as client:
        assert Echo(client.request("GET", "/echo", fields).read_response()).header("X-Big") == "b" * 15000
        response = client.request("GET", "/headers?n=50&size=1000").read_response()
        assert len([1 for name, value in response.headers if name.startswith("X-Fill-") and len(value) == 1000]) == 50


def test_many_fields_pass_both_ways(web):
    fields = [(f"X-{i}", str(i)) for i in range(99)]
    with web.client() as client:
        seen = Echo(client.request("GET", "/echo", fields).read_response())
        assert [pair for pair in seen.fields if pair in fields] == fields
        response = client.request("GET", "/headers?n=400&size=10").read_response()
        assert len([1 for name, _ in response.headers if name.startswith("X-Fill-")]) == 400


def test_fields_are_passed_as_they_are(recorded):
    recorded.recorder.forget()
    fields = ["X-ODD_name: a  b", "x-odd_NAME: c", "X-Empty:", "X-Utf8: \xc3\xa4\xff", "!#$%&'*+-.^_`|~09AZaz: t\tt",
        "X: :a: b:",
              "Cookie: a=b; c=d", "Cookie: e=f", 'Accept: */*;q="x"']
    with recorded.client() as client:
        client.send(get("/", *fields))
        assert client.read_response().status == 200
    seen = recorded.recorder.take()[1]
    assert [one.rstrip() for one in seen if one.rstrip() in fields] == fields


VALID = [
    (get("/valid"), b""),
    (b"\r\n\r\n" + get("/valid", "X-A:", "X-B: \t", "X-C:d"), b""),
    (get("/valid", "Content-Length: 5", method="POST", body=b"hello"), b"hello"),
    (get("/valid", "Transfer-Encoding: chunked", method="POST", body=b"5;a=\"b\"\r\nhello\r\n0\r\nX: y\r\n\r\n"),
     b"hello"),
    (get("/valid", "Transfer-Encoding: chunked", method="POST", body=b"0\r\n\r\n"), b""),
    (get("/valid", "Connection: keep-alive", version="1.0"), b""),
    (get("http://other/valid", "Cookie: a=b", method="DELETE"), b""),
]


@pytest.mark.parametrize("step", [1, 2, 3, 5])
def test_valid_requests_in_pieces(recorded, step):
    recorded.recorder.forget()
    with recorded.client() as client:
        for _ in range(2):
            for data, _ in VALID:
                client.send_slowly(data, step=step)
                assert client.read_response().body == b"ok"
    for _, body in VALID * 2:
        line, fields, got = recorded.recorder.take()
        assert line.endswith(" /valid HTTP/1.1")
        assert (unchunked(got) if "Transfer-Encoding: chunked" in fields else got) == body


RESPONSES = [
    (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok"),
    (b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", b"ok"),
    (b"HTTP/1.1 200 \r\ncontent-length:\t2 \r\n\r\nok", b"ok"),
    (b"HTTP/1.1 200 \xc3\xa4h\tm\r\nX-A:\r\nContent-Length: 2\r\n\r\nok", b"ok"),
    (b"HTTP/1.1 599 Odd\r\nTransfer-Encoding: CHUNKED\r\n\r\n1;a\r\no\r\n01\r\nk\r\n0\r\nX: y\r\n\r\n", b"ok"),
    (b"HTTP/1.1 204 No Content\r\nX: y\r\n\r\n", b""),
    (b"HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n", b""),
    (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", b"ok"),
]


@pytest.mark.parametrize("slowly", [False, True])
def test_valid_responses(loomgate, fake_server, slowly):
    answers = itertools.cycle(RESPONSES)

    def script(conn):
        while conn.read_head():
            (conn.send_slowly if slowly else conn.send)(next(answers)[0])

    server = fake_server(script)
    with loomgate(web_config(server)).client() as client:
        for raw, body in RESPONSES * 2:
            response = client.request("GET", "/").read_response()
            assert (response.status, response.body) == (int(raw[9:12]), body)
        assert server.connections == 1


@pytest.mark.parametrize("kind", ["size", "chunked"])
def test_a_client_that_leaves_ends_the_server_connection(web, kind):
    with web.client() as client:
        client.request("GET", f"/{kind}/200m").read_head()
    record = web.gate.record(path=f"/{kind}/200m")
    assert (record["cause"], record["status"], record["blame"]) == ("client_closed", 200, "client")
