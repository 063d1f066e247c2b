"""Upgrade: both connections become a tunnel when the server says 101 to a client that asked, and only then."""

import asyncio
import base64
import hashlib
import threading

import pytest
from gates import OK, get, shared
from support import TIMEOUT, pattern, web_config

KEY = base64.b64encode(bytes(range(16))).decode()
ACCEPT = base64.b64encode(hashlib.sha1(KEY.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()).decode()
WEBSOCKET = [("Connection", "keep-alive, Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Key", KEY),
             ("Sec-WebSocket-Version", "13")]
ASK = get("/", "Connection: Upgrade", "Upgrade: websocket")
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


def build(world):
    return web_config(world.origin())


def build_recorder(world):
    return web_config(world.record())


web = shared(build)
recorded = shared(build_recorder)


def upgraded(client, path="/upgrade"):
    response = client.request("GET", path, WEBSOCKET).read_response()
    assert response.status == 101
    return response


def test_websocket_handshake_and_bytes(web):
    with web.client() as client:
        response = upgraded(client)
        assert response.header("Upgrade").lower() == "websocket" and response.header("Connection").lower() == "upgrade"
        assert response.header("Sec-WebSocket-Accept") == ACCEPT and response.header("X-Request-Id")
        assert "Transfer-Encoding" not in response.headers and "Content-Length" not in response.headers
        for data in [b"\x81\x85abcd12345", b"GET / HTTP/1.1\r\n\r\n", bytes(range(256)), b"\0"]:
            assert client.send(data).read_exactly(len(data)) == data
        client.half_close()
        assert client.read_all() == b""
        record = web.record_of(client)
    assert (record["status"], record["cause"], record["path"]) == (101, "ok", "/upgrade")
    assert record["bytes_in"] > 256 and record["bytes_out"] > 256


def test_upgrade_behind_other_requests_of_the_connection(web):
    with web.client() as client:
        assert client.request("GET", "/size/5").read_response().body == pattern(5)
        upgraded(client)
        assert client.send(b"hello").half_close().read_all() == b"hello"
        assert web.record_of(client, status=101)["cause"] == "ok"


def test_much_both_ways(web):
    data = pattern(3_000_000)
    with web.client() as client:
        upgraded(client)
        sender = threading.Thread(target=lambda: client.send(data).half_close())
        sender.start()
        assert client.read_all() == data
        sender.join(TIMEOUT)
        record = web.record_of(client)
    assert record["bytes_in"] >= len(data) and record["bytes_out"] >= len(data)


def test_bytes_in_one_segment_with_the_heads(loomgate, fake_server):
    """What a client and a server send at once behind their heads goes with them, and not before 101."""
    seen = []

    def script(conn):
        conn.read_head()
        conn.sock.settimeout(0.3)
        try:
            seen.append(conn.buffer or conn.sock.recv(1))
        except TimeoutError:
            seen.append("nothing before 101")
        conn.sock.settimeout(TIMEOUT)
        conn.send(SWITCH + b"server first")
        conn.send(b"<" + conn.read_exactly(12) + b">")
        conn.half_close()
        conn.read_all()

    gate = loomgate(web_config(fake_server(script)))
    with gate.client() as client:
        client.send(ASK + b"client first")
        assert client.read_head().status == 101
        assert client.half_close().read_all() == b"server first<client first>"
    assert seen == ["nothing before 101"]


@pytest.mark.parametrize("first", ["client", "server"])
def test_half_close(loomgate, fake_server, first):
    """One direction ends, the other goes on."""

    def script(conn):
        conn.read_head()
        conn.send(SWITCH)
        if first == "server":
            conn.send(b"server's last")
            conn.half_close()
            assert conn.read_all() == b"client's last"
        else:
            assert conn.read_all() == b"client's last"
            conn.send(b"server's last")

    gate = loomgate(web_config(fake_server(script)))
    with gate.client() as client:
        client.send(ASK)
        assert client.read_head().status == 101
        if first == "server":
            assert client.read_all() == b"server's last"
            client.send(b"client's last").half_close()
        else:
            client.send(b"client's last").half_close()
            assert client.read_all() == b"server's last"
        gate.record(status=101, cause="ok")


def test_half_close_of_the_client_before_101(loomgate, fake_server):
    """Bytes and the end right behind the head: both reach the server."""

    def script(conn):
        conn.read_head()
        conn.send(SWITCH)
        conn.send(b"got " + conn.read_all())

    gate = loomgate(web_config(fake_server(script)))
    with gate.client() as client:
        client.send(ASK + b"all").half_close()
        assert client.read_head().status == 101
        assert client.read_all() == b"got all"


@pytest.mark.parametrize("who", ["client", "server"])
def test_a_reset_goes_through(loomgate, fake_server, who):
    ended = threading.Event()

    def script(conn):
        conn.read_head()
        conn.send(SWITCH)
        assert conn.read_exactly(1) == b"x"
        if who == "server":
            conn.reset()
        else:
            conn.send(b"y")
            conn.wait_closed()
            ended.set()

    gate = loomgate(web_config(fake_server(script)))
    client = gate.client()
    client.send(ASK)
    assert client.read_head().status == 101
    client.send(b"x")
    if who == "server":
        assert client.read_all() == b""
        assert gate.record(status=101)["blame"] == "server"
    else:
        assert client.read_exactly(1) == b"y"
        client.reset()
        assert ended.wait(TIMEOUT)
        assert gate.record(status=101)["cause"] == "client_closed"
    client.close()


def test_refused_upgrade_is_an_answer_like_others(web):
    with web.client() as client:
        response = client.request("GET", "/status/403", WEBSOCKET).read_response()
        assert response.status == 403 and "Upgrade" not in response.headers
        assert client.request("GET", "/size/5").read_response().body == pattern(5)
        response = client.request("GET", "/size/5", WEBSOCKET).read_response()
        assert (response.status, response.body) == (200, pattern(5))
        upgraded(client)


@pytest.mark.parametrize(
    "sent",
    [["Upgrade: websocket"], ["Connection: upgrade"], ["Connection: x", "Upgrade: websocket"], [],
     ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"],
     ["Connection: upgrade", "Upgrade: H2C"], ["Connection: upgrade", "Upgrade:"]],
)
def test_not_asked_for(recorded, loomgate, fake_server, sent):
    """Neither is the server told of an upgrade, nor may it answer with one."""
    recorded.recorder.forget()
    with recorded.client() as client:
        client.send(get("/plain", *sent))
        assert client.read_response().status == 200
    fields = [one.partition(":")[0].lower() for one in recorded.recorder.take()[1]]
    assert not {"upgrade", "connection", "http2-settings"} & set(fields)
    server = fake_server(SWITCH + b"surplus", close=False)
    gate = loomgate(web_config(server))
    with gate.client() as client:
        client.send(get("/", *sent))
        response = client.read_response()
        assert response.status == 502
        assert gate.record(status=502)["cause"] == "bad_response"


@pytest.mark.parametrize(
    "upgrade, passed",
    [
        (["websocket"], "websocket"),
        (["WebSocket"], "WebSocket"),
        (["h2c, websocket"], "websocket"),
        (["websocket, h2c"], "websocket"),
        (["h2c", "websocket"], "websocket"),
        (["foo/2, bar"], "foo/2, bar"),
    ],
)
def test_what_is_asked_of_the_server(recorded, upgrade, passed):
    recorded.recorder.forget()
    with recorded.client() as client:
        client.send(get("/plain", "Connection: Upgrade", *(f"Upgrade: {one}" for one in upgrade)))
        assert client.read_response().status == 200
    fields = recorded.recorder.take()[1]
    assert [one for one in fields if one.lower().startswith("upgrade:")] == [f"Upgrade: {passed}"]
    assert [one.lower() for one in fields if one.lower().startswith("connection:")] == ["connection: upgrade"]


@pytest.mark.parametrize("sent", [["Content-Length: 5"], ["Transfer-Encoding: chunked"]])
def test_a_request_with_a_body_is_not_upgraded(recorded, sent):
    """Whose bytes they are would be a matter of timing."""
    recorded.recorder.forget()
    with recorded.client() as client:
        body = b"hello" if "Length" in sent[0] else b"5\r\nhello\r\n0\r\n\r\n"
        client.send(get("/plain", "Connection: Upgrade", "Upgrade: websocket", *sent, method="POST", body=body))
        assert client.read_response().status == 200
    assert not [one for one in recorded.recorder.take()[1] if one.lower().startswith("upgrade")]


def test_1_0_is_not_upgraded(recorded):
    recorded.recorder.forget()
    with recorded.client() as client:
        client.send(get("/plain", "Connection: Upgrade", "Upgrade: websocket", version="1.0"))
        assert client.read_response().status == 200
    assert not [one for one in recorded.recorder.take()[1] if one.lower().startswith("upgrade")]


@pytest.mark.parametrize(
    "answer",
    [
        SWITCH.replace(b"websocket", b"other"), SWITCH.replace(b"websocket", b"h2c"),
        SWITCH.replace(b"Upgrade: websocket\r\n", b""), SWITCH.replace(b"Connection: Upgrade\r\n", b""),
        SWITCH.replace(b"HTTP/1.1", b"HTTP/1.0"),
    ],
    ids=["another protocol", "h2c", "no Upgrade", "no Connection", "1.0"],
)
def test_a_bad_101_is_a_502(loomgate, fake_server, answer):
    gate = loomgate(web_config(fake_server(answer)))
    with gate.client() as client:
        assert client.send(ASK).read_response().status == 502
        assert gate.record(status=502)["cause"] == "bad_response"


def test_101_behind_an_interim_answer(loomgate, fake_server):
    def script(conn):
        conn.read_head()
        conn.send(b"HTTP/1.1 103 Early Hints\r\n\r\n" + SWITCH)
        conn.send(conn.read_exactly(2))

    with loomgate(web_config(fake_server(script))).client() as client:
        client.send(ASK + b"hi")
        response = client.read_response()
        assert (response.status, len(response.interim)) == (101, 1) and client.read_exactly(2) == b"hi"


def test_upgrade_on_a_used_server_connection(loomgate, fake_server):
    """The tunnel's end is not the connection's return into the pool."""

    def script(conn):
        while head := conn.read_head():
            if b"Upgrade" in head:
                conn.send(SWITCH)
                conn.send(conn.read_all())
                return
            conn.send(OK)

    server = fake_server(script)
    gate = loomgate(web_config(server))
    assert gate.fetch("/").body == b"ok"
    with gate.client() as client:
        assert client.send(ASK).read_response().status == 101
        assert client.send(b"x").half_close().read_all() == b"x"
    assert gate.fetch("/").body == b"ok"
    assert gate.record(status=101)["reused"] and server.connections == 2


def test_idle_tunnels_end(loomgate, fake_server):
    def script(conn):
        conn.read_head()
        conn.send(SWITCH)
        conn.read_all()

    gate = loomgate(web_config(fake_server(script), backend={"timeouts": {"tunnel": "200ms"}}))
    with gate.client() as client:
        client.send(ASK)
        assert client.read_head().status == 101
        assert client.read_all() == b""
        record = gate.record(status=101)
        assert (record["cause"], record["blame"]) == ("tunnel_timeout", "gateway")


def test_the_keep_alive_timeout_ends_with_the_upgrade(loomgate, fake_server):
    """None of the timeouts of HTTP is at work in a tunnel."""

    def script(conn):
        conn.read_head()
        conn.send(SWITCH)
        conn.send(conn.read_exactly(1))

    short = {"header": "100ms", "keep_alive": "100ms", "client": "100ms"}
    gate = loomgate(web_config(fake_server(script), frontend={"timeouts": short},
                               backend={"timeouts": {"response": "100ms", "server": "100ms"}}))
    with gate.client() as client:
        client.send(ASK)
        assert client.read_head().status == 101
        client.sock.settimeout(0.5)
        with pytest.raises(TimeoutError):
            client.sock.recv(1)
        client.sock.settimeout(TIMEOUT)
        assert client.send(b"x").read_all() == b"x"


def test_a_real_client_and_a_real_server(loomgate):
    """Debian's python3-websockets: handshake, texts, large messages, pings, the closing handshake."""
    websockets = pytest.importorskip("websockets", reason="python3-websockets is not installed")

    async def echo(ws, *_):
        async for message in ws:
            await ws.send(message)

    async def talk():
        async with websockets.serve(echo, "127.0.0.1", 0, max_size=None) as server:
            address = "127.0.0.1:%d" % server.sockets[0].getsockname()[1]
            gate = await asyncio.to_thread(loomgate, web_config(address))
            for _ in range(2):
                async with websockets.connect(f"ws://{gate.web}/", max_size=None) as ws:
                    for message in ["hello", "", "\u00e4" * 1000, bytes(2_000_000)]:
                        await ws.send(message)
                        assert await ws.recv() == message
                    await asyncio.wait_for(await ws.ping(), TIMEOUT)
                assert ws.close_code == 1000
            await asyncio.to_thread(gate.records.wait_count, lambda one: one["status"] == 101 and one["cause"] == "ok",
                2)

    asyncio.run(asyncio.wait_for(talk(), TIMEOUT))
