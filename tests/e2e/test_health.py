"""Active checks on the real binary: servers that go, answer wrongly, hang or talk nonsense get no requests; others do."""

import signal
import socket
import threading

import pytest
from scale import IS_SANITIZED
from support import FakeServer, eventually, web_config, write_config

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
BUSY = b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbusy"
FAST = {"interval": "40ms", "fast_interval": "20ms", "timeout": "10s"}


def checked(*servers, health=None, tcp=None, http=None, backend=None, **options):
    """Nothing but checks keeps requests away from a server: no retries, no breaker."""
    how = {"tcp": tcp} if tcp is not None else {"http": http or {}}
    backend = {"retry": "off", "breaker": "off", **(backend or {}), "health": {**how, **FAST, **(health or {})}}
    return web_config(*servers, backend=backend, **options)


def wait_down(gate, server, count=1):
    """The last of `count` times that it went down."""
    def matches(line):
        return line.get("event") == "server_down" and line["server"] == server.address

    return gate.log.wait_count(matches, count, "server_down")[-1]


def wait_up(gate, server, count=1):
    def matches(line):
        return line.get("event") == "server_up" and line["server"] == server.address

    return gate.log.wait_count(matches, count, "server_up")[-1]


def events(gate, event):
    return [line for line in gate.log.lines if line.get("event") == event]


class Checked:
    """A server that answers checks (/check) with what `answer` is now, bytes or "hang", and all else with 200."""

    def __init__(self, fake_server, answer=OK):
        self.answer, self.heads, self.checks, self.requests = answer, [], 0, 0
        self.released = threading.Event()
        self.server = fake_server(self.run)
        self.address = self.server.address

    def run(self, conn):
        head = conn.read_head()
        if not head:
            return
        if b" /check HTTP/1.1\r\n" not in head:
            self.requests += 1
            if b" /wait " in head:
                self.released.wait(30)
            conn.send(OK)
            return
        self.checks += 1
        self.heads.append(head)
        answer = self.answer
        if answer != "hang":
            conn.send(answer)
        conn.wait_closed()

    def wait_checks(self, count):
        start = self.checks
        eventually(lambda: self.checks >= start + count, f"{count} more checks")


@pytest.fixture
def server(fake_server):
    return lambda *args: Checked(fake_server, *args)


CHECK = {"path": "/check"}


# ---- down and up ----


@pytest.mark.threads
def test_killed_server_gets_nothing_until_it_is_back(loomgate, origin):
    servers = [origin("-n", f"a{i}") for i in range(2)]
    gate = loomgate(checked(*servers, settings={"workers": 2}))
    assert {gate.fetch("/").status for _ in range(10)} == {200}
    servers[0].kill(signal.SIGKILL)
    line = wait_down(gate, servers[0])
    assert (line["level"], line["backend"], line["reason"], line["checks"]) == ("warn", "app", "Connection refused", 3)
    assert {gate.echo().name for _ in range(20)} == {"a1"}
    back = origin("-n", "back", address=servers[0].address)
    line = wait_up(gate, back)
    assert (line["level"], line["backend"], line["reason"], line["checks"]) == ("info", "app", "status 200", 2)
    assert {gate.echo().name for _ in range(20)} == {"a1", "back"}
    assert len(events(gate, "server_down")) == len(events(gate, "server_up")) == 1


def test_wrong_status(loomgate, server):
    good, bad = server(), server(BUSY)
    gate = loomgate(checked(good, bad, http=CHECK, health={"fall": 2}))
    assert wait_down(gate, bad)["reason"] == "status 503"
    for _ in range(10):
        gate.fetch("/")
    seen = bad.requests
    for _ in range(10):
        gate.fetch("/")
    assert bad.requests == seen
    bad.answer = OK
    wait_up(gate, bad)
    for _ in range(4):
        gate.fetch("/")
    assert bad.requests == seen + 2


def test_what_is_asked(loomgate, server):
    one = server(b"HTTP/1.1 418 Teapot\r\n\r\n")
    http = {**CHECK, "method": "HEAD", "host": "app.example", "expect": "200,400-499"}
    gate = loomgate(checked(one, http=http))
    one.wait_checks(5)
    assert not events(gate, "server_down")
    head = b"HEAD /check HTTP/1.1\r\nHost: app.example\r\nUser-Agent: loomgate-health\r\n"
    assert one.heads[0] == head + b"\r\n" and set(one.heads) <= {head + b"\r\n", head + b"Connection: close\r\n\r\n"}


def test_without_a_host_the_address_is_told(loomgate, server):
    one = server()
    loomgate(checked(one, http=CHECK))
    one.wait_checks(1)
    assert b"\r\nHost: %s\r\n" % one.address.encode() in one.heads[0]


def test_hanging_server(loomgate, origin):
    """Frozen as a whole: the kernel still takes the connections."""
    servers = [origin("-n", f"a{i}") for i in range(2)]
    gate = loomgate(checked(*servers, health={"timeout": "500ms", "fall": 2}))
    servers[0].freeze()
    try:
        assert wait_down(gate, servers[0])["reason"] == "no answer within 500 ms"
        assert {gate.echo().name for _ in range(10)} == {"a1"}
    finally:
        servers[0].thaw()
    wait_up(gate, servers[0], len([e for e in events(gate, "server_down") if e["server"] == servers[0].address]))


def test_initial_down(loomgate, server):
    """Nobody is asked before it has shown that it works."""
    one = server("hang")
    gate = loomgate(checked(one, http=CHECK, health={"initial": "down"}))
    answer = gate.fetch("/early")
    assert answer.status == 503
    assert gate.record(path="/early")["cause"] == "no_server"
    one.answer = OK
    one.server.stop()  # the check that hangs ends
    again = FakeServer(one.run, (one.server.host, one.server.port))
    try:
        line = wait_up(gate, one)
        assert line["reason"] == "status 200"
        assert gate.fetch("/late").status == 200
        assert not events(gate, "server_down")
    finally:
        again.stop()


def test_all_down_is_told_at_once(loomgate, server):
    servers = [server(BUSY), server(BUSY)]
    gate = loomgate(checked(*servers, http=CHECK, backend={"timeouts": {"queue": "1h"}}))
    for one in servers:
        wait_down(gate, one)
    seen = [one.requests for one in servers]
    assert gate.fetch("/x").status == 503
    record = gate.record(path="/x")
    assert (record["cause"], record["tries"], record["queue_ms"]) == ("no_server", [], None)
    assert [one.requests for one in servers] == seen


def test_who_waits_hears_that_the_last_server_is_down(loomgate, server):
    one = server()
    where = {"address": one.address, "max_connections": 1}
    backend = {"timeouts": {"queue": "1h"}}
    gate = loomgate(checked(where, http=CHECK, backend=backend, settings={"workers": 2}))
    try:
        with gate.client() as first, gate.client() as second:
            first.request("GET", "/wait")
            eventually(lambda: one.requests == 1, "the first request")
            second.request("GET", "/second")
            one.answer = BUSY
            assert second.read_response().status == 503
            assert gate.record(path="/second")["cause"] == "no_server"
            one.released.set()
            assert first.read_response().status == 200
    finally:
        one.released.set()


def test_backup_takes_over(loomgate, server):
    one, backup = server(), server()
    gate = loomgate(checked(one, {"address": backup.address, "backup": True}, http=CHECK))
    assert gate.fetch("/").status == 200 and backup.requests == 0
    one.answer = BUSY
    wait_down(gate, one)
    seen = one.requests
    assert gate.fetch("/").status == 200
    assert (one.requests, backup.requests) == (seen, 1)


# ---- other ways to check ----


def test_refused_from_the_start(loomgate, server):
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        nobody = "127.0.0.1:%d" % sock.getsockname()[1]
        gate = loomgate(checked(server(), nobody, tcp={}))
        line = gate.logged(event="server_down", server=nobody)
        assert line["reason"] == "Connection refused"
        assert {gate.fetch("/").status for _ in range(10)} == {200}


def test_tcp_answers(loomgate, origin):
    """An echo says what it is told: one backend awaits that, the other one something else."""
    echo = origin("-t")
    config = checked(echo, tcp={"send": "PING\r\n", "expect": "PING\r"}, health={"initial": "down"})
    bad = {**config["backends"]["app"],
           "health": {"tcp": {"send": "PING\r\n", "expect": "+PONG"}, **FAST, "initial": "up"}}
    config["backends"]["bad"] = bad
    gate = loomgate(config)
    assert gate.logged(event="server_up", backend="app")["reason"] == "answer as expected"
    assert gate.logged(event="server_down", backend="bad")["reason"] == "another answer than expected"
    assert {line["backend"] for line in events(gate, "server_down")} == {"bad"}


def test_tcp_silence(loomgate, server):
    one = server()
    gate = loomgate(checked(one, tcp={"expect": "220 "}, health={"timeout": "100ms"}))
    assert wait_down(gate, one)["reason"] == "no answer within 100 ms"


def test_unix_socket(loomgate, origin, tmp_path):
    path = f"unix:{tmp_path}/app"
    one = origin("-n", "u1", address=path)
    gate = loomgate(checked(path, health={"initial": "down"}))
    gate.logged(event="server_up", server=path)
    assert gate.echo().name == "u1"
    one.kill()
    line = gate.logged(event="server_down", server=path)
    assert line["reason"] in ("Connection refused", "No such file or directory")
    assert gate.fetch("/").status == 503


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_send_proxy(loomgate, origin, version):
    """The origin takes no connection without such a header."""
    one = origin("-p")
    gate = loomgate(checked({"address": one.address, "send_proxy": version}, health={"initial": "down"}))
    wait_up(gate, one)
    assert gate.fetch("/").status == 200


def test_maintenance_is_not_checked(loomgate, server):
    one, resting = server(), server()
    loomgate(checked(one, {"address": resting.address, "maint": True}, http=CHECK))
    one.wait_checks(20)
    assert resting.server.connections == 0


def test_each_backend_has_its_own(loomgate, server):
    """The same address in two backends is two servers; one of them is not checked at all."""
    one = server(BUSY)
    config = checked(one, http=CHECK, frontends={"other": {"bind": ["127.0.0.1:0"], "default_backend": "other"}},
                     backends={"other": {"servers": [one.address]}})
    gate = loomgate(config)
    wait_down(gate, one)
    assert gate.fetch("/").status == 503
    with gate.client("other") as client:
        assert client.request("GET", "/").read_response().status == 200


# ---- another configuration ----


def reload(gate, config, count):
    write_config(config, gate.path.parent, gate.path.name)
    gate.signal(signal.SIGHUP)
    gate.log.wait_count(lambda line: line.get("event") == "reloaded", count, "reloaded")


def test_reload(loomgate, server):
    """What was found stays; the new settings hold; who is not checked any more gets requests."""
    good, bad = server(), server(BUSY)
    gate = loomgate(checked(good, bad, http=CHECK))
    wait_down(gate, bad)
    seen = bad.requests
    reload(gate, checked(good, bad, http={**CHECK, "method": "HEAD"}), 1)
    eventually(lambda: bad.heads[-1].startswith(b"HEAD "), "a check by the new settings")
    for _ in range(4):
        assert gate.fetch("/").status == 200
    assert bad.requests == seen and not events(gate, "server_up")
    unchecked = checked(good, bad)
    unchecked["backends"]["app"]["health"] = "off"
    reload(gate, unchecked, 2)
    for _ in range(4):
        gate.fetch("/")
    assert bad.requests == seen + 2
    reload(gate, checked(good, bad, http=CHECK), 3)  # as if it was new
    wait_down(gate, bad, 2)


# ---- nonsense ----


NONSENSE = {
    "binary": (bytes(range(256)) * 64, "the server's answer is malformed"),
    "old": (b"ICY 200 OK\r\n\r\n", "the server's answer is malformed"),
    "empty": (b"", "closed without an answer"),
    "cut": (b"HTTP/1.1 200 OK\r\nServer: x\r\n", "the server's answer ended too early"),
    "fields": (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 2000 + b"\r\n", "the head of the server's answer is too large"),
    "huge": (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 10_000_000, "the head of the server's answer is too large"),
    "interim": (b"HTTP/1.1 100 Continue\r\n\r\n" * 100_000, "the head of the server's answer is too large"),
}


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense(loomgate, fake_server, name):
    answer, reason = NONSENSE[name]

    def script(conn):
        conn.read_head()
        conn.send(answer)
        conn.half_close()
        conn.wait_closed()

    one = fake_server(script)
    gate = loomgate(checked(one))
    assert wait_down(gate, one)["reason"] == reason
    open_now = gate.descriptors()
    resident = gate.resident_bytes()
    seen = one.connections
    eventually(lambda: one.connections >= seen + 30, "more checks")
    assert gate.descriptors() <= open_now + 2  # a check, and one that begins
    assert IS_SANITIZED or gate.resident_bytes() < resident + 8_000_000
    assert len(events(gate, "server_down")) == 1


def test_trickled_head(loomgate, fake_server):
    """Bytes that keep coming do not renew a check's time."""
    def script(conn):
        conn.read_head()
        conn.send(b"HTTP/1.1 200 OK\r\nX: ")
        while not conn.sock.send(b"a") == 0:
            if stopping.wait(0.01):
                return

    stopping = threading.Event()
    one = fake_server(script)
    gate = loomgate(checked(one, health={"timeout": "150ms"}))
    try:
        assert wait_down(gate, one)["reason"] == "no whole answer within 150 ms"
    finally:
        stopping.set()


def test_a_large_body_is_not_waited_for(loomgate, origin):
    one = origin()
    gate = loomgate(checked(one, http={"path": "/trickle/100000/100"}, health={"initial": "down"}))
    assert wait_up(gate, one)["reason"] == "status 200"
    assert gate.fetch("/").status == 200
