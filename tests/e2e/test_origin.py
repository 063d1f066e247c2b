"""The origin itself through the raw client: what the other tests stand on holds."""

import base64
import hashlib
import re
import subprocess
import time
import zlib

import pytest
from support import ORIGIN_BIN, BadResponse, Client, Cut, Echo, FakeServer, encode_chunked, eventually, fetch, pattern


@pytest.fixture
def a1(origin):
    return origin("-n", "a1")


def test_ready_line_and_end(origin):
    one = origin("-n", "a1")
    assert one.name == "a1" and re.fullmatch(r"127\.0\.0\.1:[0-9]+", one.address)
    one.process.terminate()
    assert one.process.wait(10) == 0


def test_taken_port_is_told(a1):
    done = subprocess.run([ORIGIN_BIN, a1.address], capture_output=True, text=True, timeout=10)
    assert done.returncode == 1 and "in use" in done.stderr


def test_unix_socket_and_ipv6(origin, tmp_path):
    path = f"unix:{tmp_path}/origin.sock"
    assert "This is u1" in origin("-n", "u1", address=path).fetch("/").text
    assert origin(address="[::1]:0").fetch("/size/3").body == b"012"


def test_echo_is_verbatim(a1):
    fields = [("X-ODD_name", "a  b"), ("x-odd_NAME", "c")]
    response = a1.fetch("/echo?x=1", method="POST", headers=fields, body=b"hello")
    seen = Echo(response)
    assert (seen.name, seen.request_line, seen.body) == ("a1", "POST /echo?x=1 HTTP/1.1", b"hello")
    assert seen.fields.all("x-odd_name") == ["a  b", "c"] and seen.raw_fields[1] == "X-ODD_name: a  b"
    assert seen.framing == "length"


@pytest.mark.parametrize("step", [1, 7, 100000])
def test_chunked_request_with_trailers(a1, step):
    body = encode_chunked(b"abc" * 100, 64, [("X-Sum", "1"), ("X-Other", "2")])
    with Client(a1.address) as client:
        client.send_slowly(b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body, step=step)
        seen = Echo(client.read_response())
        assert seen.body == b"abc" * 100 and seen.framing == "chunked"
        assert seen.trailers == ["X-Sum: 1", "X-Other: 2"]
        assert client.request("GET", "/").read_response().status == 200


@pytest.mark.parametrize(
    "body", [b"x\r\nabc\r\n0\r\n\r\n", b"3\nabc\r\n0\r\n\r\n", b"3\r\nabcd\r\n0\r\n\r\n", b"0x3\r\nabc\r\n0\r\n\r\n"]
)
def test_bad_chunks_are_refused(a1, body):
    with Client(a1.address) as client:
        client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
        assert client.read_response().status == 400 and client.is_closed()


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 1000, 262144, 262145, 3000001])
def test_bodies_of_any_size(a1, size):
    assert a1.fetch(f"/size/{size}").body == pattern(size)
    assert a1.fetch(f"/chunked/{size}").body == pattern(size)
    closing = a1.fetch(f"/close/{size}")
    assert (closing.body, closing.framing) == (pattern(size), "close")


@pytest.mark.parametrize("chunk", [1, 3, 100, 65536])
def test_chunk_sizes_and_trailers(a1, chunk):
    response = a1.fetch(f"/chunked/1001?chunk={chunk}&trailers=1")
    assert response.body == pattern(1001) and max(response.chunks) == min(chunk, 1001)
    assert response.trailers == [("X-Trailer", "yes")]


def test_head_has_no_body(a1):
    with Client(a1.address) as client:
        for path in ["/", "/echo", "/size/1k", "/chunked/1k", "/trickle/5/1", "/status/404"]:
            response = client.request("HEAD", path).read_response()
            assert response.body == b"", path
        assert client.request("GET", "/size/2").read_response().body == b"01"


def test_pipelined_requests_are_answered_in_order(a1):
    with Client(a1.address) as client:
        client.send(b"".join(b"GET /size/%d HTTP/1.1\r\nHost: a\r\n\r\n" % size for size in range(200)))
        for size in range(200):
            assert client.read_response().body == pattern(size)


def test_keep_alive_rules(a1):
    with Client(a1.address) as client:
        assert client.request("GET", "/", version="1.0").read_response().status == 200
        assert client.is_closed()
    with Client(a1.address) as client:
        response = client.request("GET", "/", [("Connection", "keep-alive")], version="1.0").read_response()
        assert response.header("Connection") == "keep-alive"
        response = client.request("GET", "/", [("Connection", "close")]).read_response()
        assert response.header("Connection") == "close" and client.is_closed()
        assert response.header("X-Origin-Request") == "2"


def test_status_and_query_parameters(a1):
    assert a1.fetch("/status/503").status == 503
    assert a1.fetch("/status/204").body == b""
    assert a1.fetch("/status/304?length=5").header("Content-Length") == "5"
    response = a1.fetch("/size/5?status=207&header=X-A:%20b&header=X-A:c&nodate=1&close=1")
    assert (response.status, response.headers.all("X-A")) == (207, ["b", "c"])
    assert response.header("Connection") == "close" and "Date" not in response.headers
    assert a1.fetch("/no/such/path").status == 404


def test_expect_continue(a1):
    with Client(a1.address) as client:
        client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert client.read_head().status == 100
        client.send(b"ok")
        assert Echo(client.read_response()).body == b"ok"
        head = b"POST /status/403?early=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n"
        client.send(head + b"Expect: 100-continue\r\n\r\n")
        response = client.read_response()
        assert response.status == 403 and response.header("Connection") == "close"


def test_early_answer_then_the_body_is_drained(a1):
    with Client(a1.address) as client:
        client.send(b"POST /status/403?early=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n")
        assert client.read_response().status == 403
        client.send(b"bodyGET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.read_response().status == 200


def test_no_read(a1):
    with Client(a1.address) as client:
        client.send(b"POST /no-read HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
        assert client.read_response().status == 200 and client.is_closed()


def test_delay_and_trickle(a1):
    start = time.monotonic()
    assert a1.fetch("/delay/100/delay/50/status/201").status == 201
    assert time.monotonic() - start >= 0.15
    start = time.monotonic()
    assert a1.fetch("/trickle/10/10").body == pattern(10)
    assert time.monotonic() - start >= 0.1
    assert a1.fetch("/trickle/3/1?head=1").body == pattern(3)


@pytest.mark.parametrize(
    "path, was_reset, body",
    [("/reset", True, None), ("/reset-head", True, None), ("/reset-body/3000000", True, 1500000),
     ("/cut/1000", False, 500), ("/cut-chunked", False, 4096), ("/cut-chunked/100?reset=1", True, None)],
)
def test_broken_answers(a1, path, was_reset, body):
    with pytest.raises(Cut) as caught:
        a1.fetch(path)
    assert caught.value.was_reset == was_reset
    if body is not None:
        assert caught.value.response.body == pattern(body)


def test_close_after(a1):
    with Client(a1.address) as client:
        response = client.request("GET", "/close-after").read_response()
        assert "Connection" not in response.headers and client.is_closed()
    assert a1.fetch("/close-after?quiet=0").header("Connection") == "close"
    with Client(a1.address) as client:
        client.request("GET", "/close-after?after=50").read_response()
        assert client.is_closed()


def test_hang_ends_with_its_client(a1):
    with Client(a1.address) as client:
        client.request("GET", "/hang")
        eventually(lambda: a1.connections() == (1 + 1, 1) or a1.connections()[1] == 1)
    eventually(lambda: a1.connections()[1] == 0, "the hung connection's end")


def test_counters(a1):
    assert (a1.number("/count"), a1.number("/count")) == (1, 2)
    assert a1.number("/ids/show?id=7") == 0
    assert [a1.number("/ids?id=7"), a1.number("/ids?id=7"), a1.number("/ids?id=8")] == [1, 2, 1]
    assert a1.number("/ids/show?id=7") == 2
    assert a1.connections() == (7, 0)


def test_early_hints(a1):
    response = a1.fetch("/early-hints?n=2")
    assert (response.status, [one.status for one in response.interim]) == (200, [103, 103])


def test_raw(a1):
    raw = b"HTTP/1.1 299 Odd\r\nContent-Length: 2\r\n\r\nhi"
    with Client(a1.address) as client:
        for query in ["", "&drip=1"]:
            response = client.request("GET", f"/raw?hex={raw.hex()}{query}").read_response()
            assert (response.status, response.reason, response.body) == (299, "Odd", b"hi")
        assert client.request("GET", f"/raw?hex={raw.hex()}&close=1").read_response().body == b"hi"
        assert client.is_closed()


def test_sink_counts_and_sums(a1):
    body = pattern(1000000)
    expected = f"bytes 1000000 adler32 {zlib.adler32(body):08x}\n"
    assert a1.fetch("/sink", method="POST", body=body).text == expected
    assert a1.fetch("/sink", method="PUT", body=body, chunked=999).text == expected


def test_sink_reads_slowly(a1):
    start = time.monotonic()
    assert a1.fetch("/sink?rate=1m", method="POST", body=bytes(300000)).text.startswith("bytes 300000 ")
    assert time.monotonic() - start > 0.2


def test_websocket_handshake_and_echo(a1):
    key = base64.b64encode(bytes(range(16))).decode()
    expected = base64.b64encode(hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()).decode()
    with Client(a1.address) as client:
        fields = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Key", key)]
        response = client.request("GET", "/upgrade", fields).read_response()
        assert (response.status, response.header("Sec-WebSocket-Accept")) == (101, expected)
        assert client.send(b"\x81\x85abcd12345").read_exactly(11) == b"\x81\x85abcd12345"
        assert client.send(b"the rest").half_close().read_all() == b"the rest"
    assert a1.fetch("/upgrade").status == 426


def test_many_headers_and_cookies(a1):
    response = a1.fetch("/headers?n=50&size=100")
    assert len([name for name, value in response.headers if name.startswith("X-Fill-") and len(value) == 100]) == 50
    response = a1.fetch("/cookie", headers=[("Cookie", "a=b")])
    assert len(response.headers.all("Set-Cookie")) == 2 and response.body == b"a=b"
    assert a1.fetch("/cookie").body == b""


def test_idle_and_random_closing(origin):
    with Client(origin("-q", "50").address) as client:
        assert client.request("GET", "/").read_response().status == 200
        assert client.is_closed()
    with Client(origin("-r", "100").address) as client:
        assert "Connection" not in client.request("GET", "/").read_response().headers
        assert client.is_closed()


V2 = b"\r\n\r\n\0\r\nQUIT\n"


@pytest.mark.parametrize(
    "header, said",
    [
        (b"PROXY TCP4 1.2.3.4 5.6.7.8 11 22\r\n", "v1 TCP4 1.2.3.4 5.6.7.8 11 22"),
        (b"PROXY UNKNOWN\r\n", "v1 UNKNOWN"),
        (V2 + b"\x20\x00\x00\x00", "v2 LOCAL"),
        (V2 + b"\x21\x11\x00\x0c\1\2\3\4\5\6\7\x08\0\x0b\0\x16", "v2 TCP4 1.2.3.4 5.6.7.8 11 22"),
        (V2 + b"\x21\x21\x00\x24" + bytes(15) + b"\1" + bytes(15) + b"\2\0\1\0\2", "v2 TCP6 ::1 ::2 1 2"),
    ],
)
@pytest.mark.parametrize("step", [1, 1000])
def test_proxy_protocol(origin, header, said, step):
    with Client(origin("-p").address) as client:
        client.send_slowly(header + b"GET /echo HTTP/1.1\r\nHost: a\r\n\r\n", step=step)
        assert Echo(client.read_response()).proxy == said
        assert client.request("GET", "/proxy").read_response().text == said


def test_without_proxy_header_it_resets(origin):
    with pytest.raises(Cut):
        origin("-p").fetch("/")


def test_tcp_echo(origin):
    with Client(origin("-t").address) as client:
        assert client.send(b"abc").read_exactly(3) == b"abc"
        assert client.send(b"def").half_close().read_all() == b"def"
    with Client(origin("-t", "-g", "-p", "-n", "t1").address) as client:
        client.send(b"PROXY TCP4 1.2.3.4 5.6.7.8 11 22\r\nhi").half_close()
        assert client.read_all() == b"t1 v1 TCP4 1.2.3.4 5.6.7.8 11 22\nhi"


def test_tcp_echo_under_back_pressure(origin):
    data = pattern(20_000_000)
    with Client(origin("-t").address) as client:
        client.sock.setblocking(False)
        sent = 0
        while sent < len(data):  # until both directions are full
            try:
                sent += client.sock.send(data[sent : sent + 1_000_000])
            except BlockingIOError:
                break
        client.sock.settimeout(30)
        assert client.read_exactly(sent) == data[:sent]


def test_client_refuses_what_is_not_http():
    for answer in [b"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
                   b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
                   b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
                   b"HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 200 OK\r\n folded: 1\r\n\r\n"]:
        with FakeServer.answering(answer, close=True) as server, pytest.raises(BadResponse):
            fetch(server.address)


def test_fake_server_scripts():
    def script(conn):
        head, body = conn.read_request()
        assert head.startswith(b"POST / ") and body == b"5\r\nhello\r\n0\r\n\r\n"
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        conn.reset()

    with FakeServer(script) as server, pytest.raises(Cut) as caught:
        fetch(server.address, "/", "POST", body=b"hello", chunked=True)
    assert caught.value.was_reset and server.connections == 1
