"""`show errors`: what could not be read, of clients and of servers, with the bytes around the place."""

import pytest
from control_client import control, control_settings
from gates import get, send_bravely
from support import web_config


def config(*servers, **frontend):
    return web_config(*servers, settings=control_settings(workers=2), backend={"retry": "off"}, frontend=frontend)


def errors(gate):
    return control(gate, "user").json("show errors")


def send(gate, data):
    """Sends bytes and waits for the end; returns our address."""
    with gate.client() as client:
        send_bravely(client, data)
        client.half_close()
        client.read_all()
        return client.local


def show(data):
    """Bytes as they are shown."""
    return "".join(chr(c) if 0x20 <= c < 0x7f and c != 0x5c else f"\\x{c:02x}" for c in data)


POST = b"POST /x HTTP/1.1\r\nHost: h\r\n"

BAD = [
    ("length and coding", "bad_framing", POST + b"Content-Length: 5\r\n",
     b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("two lengths", "bad_length", POST + b"A: b\r\n", b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n"),
    ("coding", "bad_transfer_coding", POST, b"Transfer-Encoding: gzip\r\nB: c\r\n\r\n"),
    ("space before the colon", "bad_field", POST, b"Transfer-Encoding : chunked\r\nB: c\r\n\r\n"),
    ("NUL", "bad_field", POST + b"A: b", b"\x00c\r\n\r\n"),
    ("bare LF", "bad_field", POST + b"A: b", b"\nB: c\r\n\r\n"),
    ("folded", "bad_field", POST + b"A: b\r\n", b" c\r\n\r\n"),
    ("two hosts", "bad_host", b"GET / HTTP/1.1\r\nA: b\r\n", b"Host: a\r\nHost: b\r\n\r\n"),
    ("no host", "bad_host", b"GET / HTTP/1.1\r\nA: b\r\n", b"\r\n"),
    ("TLS", "bad_request_line", b"", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    ("a chunk", "bad_chunk", b"5x\r\n", b"hello\r\n0\r\n\r\n"),
]


@pytest.mark.parametrize("name, cause, before, after", BAD, ids=[row[0].replace(" ", "-") for row in BAD])
def test_a_bad_request(loomgate, origin, name, cause, before, after):
    gate = loomgate(config(origin()))
    assert errors(gate) == []
    head = POST + b"Transfer-Encoding: chunked\r\n\r\n" if cause == "bad_chunk" else b""
    local = send(gate, head + before + after)
    [row] = errors(gate)
    assert (row["from"], row["address"], row["frontend"], row["server"]) == ("client", local, "web", None)
    assert row["cause"] == cause == gate.record(client=local)["cause"]
    assert row["message"]
    assert (row["before"], row["after"]) == (show(before), show(after))
    assert row["time"].endswith("Z")
    text = control(gate).lines("show errors")
    assert len(text) == 2 and text[1].endswith(show(after)) and f"  {cause}  " in text[1]


RESPONSE = b"HTTP/1.1 200 OK\r\n"

BROKEN = [
    ("nonsense", "bad_response", b"", b"Hello, world\r\n\r\n"),
    ("status", "bad_response", b"HTTP/1.1 2000 OK\r\n", b"\r\n"),
    ("lengths", "bad_response", RESPONSE, b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"),
    ("both", "bad_response", RESPONSE + b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("field", "bad_response", RESPONSE + b"A: b", b"\x01\r\n\r\n"),
    ("switch", "bad_response", b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n", b"Upgrade: x\r\n\r\n"),
]


@pytest.mark.parametrize("name, cause, before, after", BROKEN, ids=[row[0] for row in BROKEN])
def test_a_broken_server(loomgate, fake_server, name, cause, before, after):
    server = fake_server(before + after, close=True)
    gate = loomgate(config({"name": "b1", "address": server.address}))
    assert gate.fetch("/x").status == 502
    [row] = errors(gate)
    assert (row["from"], row["address"], row["backend"], row["server"]) == ("server", server.address, "app", "b1")
    assert row["cause"] == cause and "frontend" not in row
    if name == "switch":  # nobody asked for it: told of the whole head
        assert row["before"] + row["after"] == show(before + after)
    else:
        assert (row["before"], row["after"]) == (show(before), show(after))


def test_a_protocol_that_was_not_offered(loomgate, fake_server):
    server = fake_server(b"HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n", close=True)
    gate = loomgate(config({"name": "b1", "address": server.address}))
    with gate.client() as client:
        client.request("GET", "/", [("Connection", "upgrade"), ("Upgrade", "websocket")])
        assert client.read_response().status == 502
    [row] = errors(gate)
    assert row["before"].endswith("Upgrade: ") and row["after"] == show(b"other\r\n\r\n")


def test_a_bad_proxy_header(loomgate, origin):
    gate = loomgate(config(origin(), bind=[{"address": "127.0.0.1:0", "accept_proxy": True}]))
    local = send(gate, get("/x"))
    [row] = errors(gate)
    assert (row["cause"], row["address"], row["frontend"]) == ("bad_proxy_header", local, "web")
    assert row["after"].startswith("GET /x HTTP/1.1")


def test_the_client_is_the_one_of_the_proxy_header(loomgate, origin):
    gate = loomgate(config(origin(), bind=[{"address": "127.0.0.1:0", "accept_proxy": True}]))
    send(gate, b"PROXY TCP4 192.0.2.77 127.0.0.1 4711 80\r\nGET / HTTP/9.9\r\nHost: h\r\n\r\n")
    [row] = errors(gate)
    assert (row["cause"], row["address"]) == ("bad_version", "192.0.2.77:4711")


def test_a_part_of_a_long_head_is_kept(loomgate, origin):
    """The place is in it, with what stands before and behind."""
    gate = loomgate(config(origin()))
    before = POST + b"".join(b"X-%04d: %s\r\n" % (n, b"a" * 50) for n in range(40))
    send(gate, before + b"Bad: \x01" + b"b" * 1000 + b"\r\n\r\n")
    [row] = errors(gate)
    assert len(row["before"]) - 3 * row["before"].count("\\x") == 128 and row["before"].endswith("Bad: ")
    assert row["after"] == "\\x01" + "b" * 127
    send(gate, b"GET /" + b"c" * 10000 + b" HTTP/1.1\r\n")
    row = errors(gate)[-1]
    assert row["cause"] == "uri_too_long" and len(row["before"]) + len(row["after"]) == 256


def test_the_last_ones_are_kept(loomgate, origin):
    """32 a worker, in the order of time; good ones leave no trace."""
    gate = loomgate(web_config(origin(), settings=control_settings(workers=1)))
    for number in range(40):
        send(gate, b"GET /%d HTTP/7.0\r\n\r\n" % number)
        assert gate.fetch("/").status == 200
    rows = errors(gate)
    assert [row["before"].split()[1] for row in rows] == [f"/{number}" for number in range(8, 40)]
    assert [row["time"] for row in rows] == sorted(row["time"] for row in rows)


@pytest.mark.threads
def test_of_all_workers(loomgate, origin):
    gate = loomgate(config(origin()))
    sent = [send(gate, b"GET /%d HTTP/7.0\r\n\r\n" % number) for number in range(30)]
    assert [row["address"] for row in errors(gate)] == sent


def test_misuse(loomgate, origin):
    gate = loomgate(config(origin()))
    assert control(gate).error("show errors 5", "usage") == "show errors"
    assert control(gate).ask("show errors") == "none\n"
    assert "did you mean 'show errors'?" in control(gate).error("show error", "unknown_command")
