"""The PROXY protocol, versions 1 and 2: accepted from clients and sent to servers."""

import socket
import struct
import time

import pytest
from support import TIMEOUT, Client, Cut, Echo, eventually, web_config

V2 = b"\r\n\r\n\0\r\nQUIT\n"
GET = b"GET /echo HTTP/1.1\r\nHost: a\r\n\r\n"


def v1(source="192.0.2.1", to="198.51.100.2", sport=1111, dport=2222, family="TCP4"):
    return f"PROXY {family} {source} {to} {sport} {dport}\r\n".encode()


def v2(source="192.0.2.1", to="198.51.100.2", sport=1111, dport=2222, command=1, tlvs=b"", kind=1):
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    addresses = socket.inet_pton(family, source) + socket.inet_pton(family, to) + struct.pack("!HH", sport, dport)
    code = (0x20 if family == socket.AF_INET6 else 0x10) | kind
    return V2 + struct.pack("!BBH", 0x20 | command, code, len(addresses + tlvs)) + addresses + tlvs


def accepting(*servers, timeouts=None, **frontend):
    bind = [{"address": "127.0.0.1:0", "accept_proxy": True}]
    return web_config(*servers, frontend={"bind": bind, "timeouts": timeouts or {}, **frontend})


# ---- accepted ----

GOOD = {
    "v1": (v1(), "192.0.2.1", "192.0.2.1:1111"),
    "v1 ipv6": (v1("2001:db8::1", "2001:db8::2", family="TCP6"), "2001:db8::1", "[2001:db8::1]:1111"),
    "v1 longest": (v1("2001:0db8:1111:1111:1111:1111:1111:1111", "2001:0db8:2222:2222:2222:2222:2222:2222", 65535,
                      65535, "TCP6"), "2001:db8:1111:1111:1111:1111:1111:1111", None),
    "v2": (v2(), "192.0.2.1", "192.0.2.1:1111"),
    "v2 ipv6": (v2("2001:db8::1", "2001:db8::2"), "2001:db8::1", "[2001:db8::1]:1111"),
    "v2 with extensions": (v2(tlvs=b"\x01\0\x02h2" + b"\x04\0\x40" + bytes(64)), "192.0.2.1", "192.0.2.1:1111"),
}


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("step", [1, 7, 10000])
def test_address_of_the_client(loomgate, origin, name, step):
    header, ip, client_text = GOOD[name]
    gate = loomgate(accepting(origin()))
    with gate.client() as client:
        echo = Echo(client.send_slowly(header + GET, step=step).read_response())
        assert echo.header("X-Forwarded-For") == ip
        assert Echo(client.send(GET).read_response()).header("X-Forwarded-For") == ip  # for the whole connection
    if client_text:
        records = gate.records.wait_count(lambda record: record["path"] == "/echo", 2)
        assert {record["client"] for record in records} == {client_text}
        assert echo.header("X-Forwarded-Port") == "2222"


WITHOUT = {
    "v1 unknown": b"PROXY UNKNOWN\r\n",
    "v1 unknown with addresses": b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n",
    "v2 local": v2(command=0),
    "v2 local without addresses": V2 + b"\x20\0\0\0",
    "v2 unspecified": V2 + b"\x21\0\0\0",
    "v2 datagrams": v2(kind=2),
}


@pytest.mark.parametrize("name", WITHOUT)
def test_header_without_an_address(loomgate, origin, name):
    gate = loomgate(accepting(origin()))
    with gate.client() as client:
        echo = Echo(client.send(WITHOUT[name] + GET).read_response())
        assert echo.header("X-Forwarded-For") == "127.0.0.1"
        assert gate.record(path="/echo")["client"] == client.local


def test_unix_address(loomgate, origin):
    header = V2 + b"\x21\x31" + struct.pack("!H", 216) + b"/a".ljust(108, b"\0") + b"/b".ljust(108, b"\0")
    gate = loomgate(accepting(origin()))
    with gate.client() as client:
        assert client.send(header + GET).read_response().status == 200
    assert gate.record(path="/echo")["client"] == "unix:/a"


BAD = {
    "nothing of it": GET,
    "garbage": b"\0\1\2\3" * 20,
    "TLS": b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + bytes(100),
    "lower case": b"proxy TCP4 192.0.2.1 198.51.100.2 1 2\r\n" + GET,
    "no family": b"PROXY \r\n" + GET,
    "other family": v1(family="TCP5") + GET,
    "IPv6 in TCP4": v1("2001:db8::1", "2001:db8::2") + GET,
    "IPv4 in TCP6": v1(family="TCP6") + GET,
    "no second port": b"PROXY TCP4 192.0.2.1 198.51.100.2 1\r\n" + GET,
    "large port": v1(sport=65536) + GET,
    "negative port": v1(sport=-1) + GET,
    "no number": v1(sport="x") + GET,
    "name as address": v1("localhost") + GET,
    "two spaces": b"PROXY TCP4  192.0.2.1 198.51.100.2 1 2\r\n" + GET,
    "more words": b"PROXY TCP4 192.0.2.1 198.51.100.2 1 2 3\r\n" + GET,
    "LF alone": b"PROXY TCP4 192.0.2.1 198.51.100.2 1 2\n" + GET,
    "no line end": b"PROXY TCP4 192.0.2.1 198.51.100.2 1 2" + b" " * 200,
    "v2, other version": V2 + b"\x31\x11\0\x0c" + bytes(12) + GET,
    "v2, other command": V2 + b"\x22\x11\0\x0c" + bytes(12) + GET,
    "v2, too short for its family": V2 + b"\x21\x11\0\x04" + bytes(4) + GET,
    "v2, signature broken": V2[:-1] + b"X" + b"\x21\x11\0\x0c" + bytes(12) + GET,
}


@pytest.mark.parametrize("name", BAD)
def test_bad_header_is_refused(loomgate, origin, name):
    server = origin()
    gate = loomgate(accepting(server, timeouts={"header": "60s"}))
    with gate.client() as client:
        client.send(BAD[name])
        assert client.read_all() == b""  # not a word to whom we do not know
        told = gate.logged(event="bad_proxy_header")
        assert (told["frontend"], told["client"], told["level"]) == ("web", client.local, "warn")
    assert server.connections()[0] == 0


def test_missing_or_trickled_header_times_out(loomgate, origin):
    gate = loomgate(accepting(origin(), timeouts={"header": "300ms"}))
    with gate.client() as silent, gate.client() as slow:
        start = time.monotonic()
        header = v1()
        for at in range(len(header) - 1):
            try:
                slow.send(header[at : at + 1])
            except OSError:
                break
            time.sleep(0.02)
        assert slow.read_all() == b"" and silent.read_all() == b""
        assert time.monotonic() - start < TIMEOUT / 2


@pytest.mark.parametrize("part", [b"", b"PROX", V2[:9], v2()[:20]])
@pytest.mark.parametrize("way", ["close", "half_close", "reset"])
def test_partial_header_then_the_end(loomgate, origin, part, way):
    gate = loomgate(accepting(origin()))
    client = gate.client().send(part)
    getattr(client, way)()
    if way == "half_close":
        assert client.read_all() == b""
        client.close()
    with gate.client() as other:
        assert other.send(v1() + GET).read_response().status == 200


def test_many_partial_headers_at_once_leave_nothing(loomgate, origin):
    gate = loomgate(accepting(origin()))
    before = gate.descriptors()
    for client in [gate.client().send(b"PROXY T") for _ in range(50)]:
        client.close()
    eventually(lambda: gate.descriptors() <= before, "all descriptors closed")


def test_first_and_pipelined_requests_may_come_with_it(loomgate, origin):
    gate = loomgate(accepting(origin()))
    with gate.client() as client:
        client.send(v2() + GET * 3)
        for _ in range(3):
            assert Echo(client.read_response()).header("X-Forwarded-For") == "192.0.2.1"


def test_body_comes_with_it(loomgate, origin):
    gate = loomgate(accepting(origin()))
    with gate.client() as client:
        body = b"x" * 100000
        client.send(v1() + b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        assert Echo(client.read_response()).body == body


def test_its_address_decides_routes_and_trust(loomgate, origin):
    routes = [{"match": {"source": ["192.0.2.0/24"]}, "respond": {"status": 403, "body": "no"}}]
    forwarded = {"x_forwarded": "append", "trusted": ["198.51.100.7/32"]}
    gate = loomgate(accepting(origin(), routes=routes, forwarded=forwarded))
    request = GET.replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n")
    for source, status, seen in [("192.0.2.1", 403, None), ("198.51.100.7", 200, "203.0.113.9, 198.51.100.7"),
                                 ("198.51.100.8", 200, "198.51.100.8")]:
        with gate.client() as client:
            response = client.send(v1(source) + request).read_response()
            assert response.status == status
            assert seen is None or Echo(response).header("X-Forwarded-For") == seen


def test_only_the_bind_that_says_so(loomgate, origin):
    bind = [{"address": "127.0.0.1:0", "accept_proxy": True}, "127.0.0.1:0"]
    gate = loomgate(web_config(origin(), frontend={"bind": bind}))
    with Client(gate.address(index=1)) as client:
        assert Echo(client.send(GET).read_response()).header("X-Forwarded-For") == "127.0.0.1"
    with Client(gate.address(index=1)) as client:
        assert client.send(v1() + GET).read_response().status == 400


def test_accepted_in_tcp_mode(loomgate, origin):
    gate = loomgate(accepting(origin("-t"), mode="tcp"))
    with gate.client() as client:
        assert client.send(v1() + b"hello").half_close().read_all() == b"hello"
    assert gate.record()["client"] == "192.0.2.1:1111"


def test_unix_listener(loomgate, origin, tmp_path):
    bind = [{"address": f"unix:{tmp_path}/front.sock", "accept_proxy": True}]
    gate = loomgate(web_config(origin(), frontend={"bind": bind}))
    with gate.client() as client:
        assert Echo(client.send(v1() + GET).read_response()).header("X-Forwarded-For") == "192.0.2.1"


# ---- sent ----


def sending(server, version, **frontend):
    return web_config({"address": server.address, "send_proxy": version}, frontend=frontend)


def host_port(address):
    host, port = address.rsplit(":", 1)
    return host.strip("[]"), port


def expected(version, client, gate, family="TCP4"):
    (ip, port), (to, to_port) = host_port(client.local), host_port(gate.web)
    return f"{version} {family} {ip} {to} {port} {to_port}"


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_sent_for_http(loomgate, origin, version):
    gate = loomgate(sending(origin("-p"), version))
    with gate.client() as client:
        wanted = expected(version, client, gate)
        assert Echo(client.request("GET", "/echo").read_response()).proxy == wanted
        assert Echo(client.request("POST", "/echo", body=b"x" * 100000).read_response()).proxy == wanted
        assert Echo(client.request("POST", "/echo", body=b"x", chunked=True).read_response()).body == b"x"


def count_open(server):
    """The open connections of an origin that wants PROXY headers, without ours."""
    with Client(server.address) as client:
        client.send(b"PROXY UNKNOWN\r\n").request("GET", "/connections")
        return int(client.read_response().text.split()[3]) - 1


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_such_connections_serve_one_client_only(loomgate, origin, version):
    server = origin("-p")
    gate = loomgate(sending(server, version))
    for _ in range(3):
        with gate.client() as client:
            wanted = expected(version, client, gate)
            for _ in range(2):
                echo = Echo(client.request("GET", "/echo").read_response())
                assert echo.proxy == wanted and echo.header("Connection") == "close"
    records = gate.records.wait_count(lambda record: record["path"] == "/echo", 6)
    assert not any(record["reused"] for record in records)
    eventually(lambda: count_open(server) == 0, "an end of all connections")


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_sent_for_ipv6(loomgate, origin, version):
    gate = loomgate(sending(origin("-p"), version, bind=["[::1]:0"]))
    with gate.client() as client:
        assert Echo(client.request("GET", "/echo").read_response()).proxy == expected(version, client, gate, "TCP6")


@pytest.mark.parametrize("version, said", [("v1", "v1 UNKNOWN"), ("v2", "v2 ")])
def test_sent_for_a_client_without_an_ip(loomgate, origin, tmp_path, version, said):
    gate = loomgate(sending(origin("-p"), version, bind=[f"unix:{tmp_path}/front.sock"]))
    assert gate.echo().proxy.startswith(said)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_sent_in_tcp_mode(loomgate, origin, version):
    gate = loomgate(sending(origin("-t", "-g", "-p", "-n", "t1"), version, mode="tcp"))
    with gate.client() as client:
        wanted = f"t1 {expected(version, client, gate)}\nhi".encode()
        assert client.send(b"hi").half_close().read_all() == wanted


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("mode", ["http", "tcp"])
def test_passed_on(loomgate, origin, version, mode):
    """Accepted in one version, sent in the other: the addresses are the first client's."""
    bind = [{"address": "127.0.0.1:0", "accept_proxy": True}]
    server = origin("-p") if mode == "http" else origin("-t", "-g", "-p", "-n", "t1")
    gate = loomgate(sending(server, version, mode=mode, bind=bind))
    other = v2() if version == "v1" else v1()
    wanted = f"{version} TCP4 192.0.2.1 198.51.100.2 1111 2222"
    with gate.client() as client:
        if mode == "http":
            assert Echo(client.send(other + GET).read_response()).proxy == wanted
        else:
            assert client.send(other + b"x").half_close().read_all() == f"t1 {wanted}\nx".encode()


def test_two_gates_in_a_row(loomgate, origin):
    inner = loomgate(accepting(origin()))
    outer = loomgate(sending(type("Server", (), {"address": inner.web}), "v2"))
    with outer.client() as client:
        assert client.request("GET", "/echo").read_response().status == 200
        assert inner.record(path="/echo")["client"] == client.local


def test_server_that_refuses_it(loomgate, origin):
    """An origin that knows nothing of it answers 400, and that is what the client gets."""
    gate = loomgate(sending(origin(), "v1"))
    with gate.client() as client:
        try:
            status = client.request("GET", "/echo").read_response().status
        except Cut:
            pytest.fail("cut instead of answered")
        assert status in (400, 502)
