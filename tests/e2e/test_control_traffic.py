"""Servers in and out of traffic by commands: drain, ready, maint, weight, pins; who set what; on the real binary."""

import collections
import re
import shutil
import signal
import subprocess
import threading

import pytest
from control_client import control, control_settings
from gates import shared
from scale import scaled
from support import TIMEOUT, eventually, web_config, write_config
from test_balance import ask_from_many
from test_health import BUSY, CHECK, OK, Checked, checked
from test_resilience import Load, load  # noqa: F401

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


class Slow:
    """A server that answers "ok", but /long only by half, the rest when `released`."""

    def __init__(self, fake_server):
        self.released = threading.Event()
        self.begun = 0
        self.address = fake_server(self.run).address

    def run(self, conn):
        while head := conn.read_request()[0]:
            if b" /long " in head:
                conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf-")
                self.begun += 1
                self.released.wait(TIMEOUT)
                conn.send(b"whole")
            else:
                conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


@pytest.fixture
def pair(loomgate, origin):
    """pair(backend={...}, workers=2): a gate in front of the origins a1 and a2; they are gate.a1, gate.a2, the control
    socket gate.control."""

    def make(backend=None, workers=2, a1=None, a2=None, level="operator"):
        origins = [origin("-n", name) for name in ("a1", "a2")]
        servers = [{"name": "a1", "address": origins[0].address, **(a1 or {})},
                   {"name": "a2", "address": origins[1].address, **(a2 or {})}]
        gate = loomgate(web_config(*servers, backend=backend, settings=control_settings(workers=workers)))
        gate.a1, gate.a2 = origins
        gate.control = control(gate, level)
        return gate

    return make


@pytest.fixture
def slow(loomgate, fake_server, origin):
    """A gate in front of gate.slow, which is a2, and the origin a1, which is used only when a2 cannot be."""

    def make(**backend):
        server = Slow(fake_server)
        servers = [{"name": "a2", "address": server.address},
                   {"name": "a1", "address": origin("-n", "a1").address, "backup": True}]
        gate = loomgate(web_config(*servers, backend=backend, settings=control_settings(workers=2)))
        gate.slow, gate.control = server, control(gate, "operator")
        made.append(server)
        return gate

    made = []
    yield make
    for server in made:
        server.released.set()


def begin_long(gate):
    """A client in the middle of a response of a2's."""
    client = gate.client()
    client.request("GET", "/long")
    response = client.read_head()
    assert response.status == 200
    eventually(lambda: gate.slow.begun, "half of the response")
    return client, response


def server_row(gate, name):
    return next(row for row in gate.control.json("show servers app") if row["server"] == name)


def drift(gate):
    return {(row["server"], row["setting"]): row for row in gate.control.json("show drift")}


def name_of(response):
    assert response.status == 200, response
    return response.text.split("This is ")[1][0:2]


def drain(gate):
    """The answer; the lines before tell how many still run."""
    *told, last = gate.control.lines("drain app/a2 wait 30s")
    assert all(re.fullmatch(r"\d+ exchanges? runs? on app/a2", line) for line in told), told
    return last


def names_of(gate, count):
    with gate.client() as client:
        return collections.Counter(name_of(client.request("GET", "/").read_response()) for _ in range(count))


# --- drain ------------------------------------------------------------------------------------------------------------


@pytest.mark.threads
def test_drain_under_load(pair, load):  # noqa: F811
    """Nobody notices, and after the answer the server hears nothing more."""
    gate = pair()
    clients = load(gate, target="/delay/2/size/100")
    eventually(lambda: gate.a2.number("/count") > 50, "traffic on a2")
    assert drain(gate) == "ok: app/a2 is drained: no exchange runs there any more"
    seen = gate.a2.number("/count")
    clients.wait_more(scaled(500, 100))
    assert gate.a2.number("/count") == seen + 1  # to be asked how many
    eventually(lambda: gate.a2.connections()[1] == 0, "no connection is kept to it")
    assert gate.control.ok("ready app/a2") == "app/a2 is ready"
    eventually(lambda: gate.a2.number("/count") > seen + 50, "traffic on a2 again")
    assert set(clients.stop()) == {200}
    assert all(r["status"] == 200 and r["cause"] == "ok" for r in gate.records.lines)


@pytest.mark.skipif(not shutil.which("wrk"), reason="wrk is not installed")
def test_drain_under_wrk(pair):
    gate = pair()
    wrk = subprocess.Popen(["wrk", "-t2", "-c20", "-d60s", f"http://{gate.web}/size/100"], stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True)
    try:
        eventually(lambda: gate.a2.number("/count") > 500, "traffic on a2")
        assert drain(gate) == "ok: app/a2 is drained: no exchange runs there any more"
        seen, others = gate.a2.number("/count"), gate.a1.number("/count")
        eventually(lambda: gate.a1.number("/count") > others + 500, "traffic on a1")
        assert gate.a2.number("/count") == seen + 1
        gate.control.ok("ready app/a2")
        eventually(lambda: gate.a2.number("/count") > seen + 500, "traffic on a2 again")
    finally:
        wrk.send_signal(signal.SIGINT)
        said = wrk.communicate(timeout=TIMEOUT)[0]
    assert "requests in" in said and "Non-2xx" not in said and "Socket errors" not in said, said


def test_a_long_download_is_waited_for(slow):
    gate = slow()
    client, response = begin_long(gate)
    with client, gate.control.open() as raw:
        raw.send("drain app/a2 wait 1h\n")
        assert raw.line() == "1 exchange runs on app/a2\n"
        assert raw.line() == "1 exchange runs on app/a2\n"  # a second later
        assert name_of(gate.fetch("/")) == "a1"
        gate.slow.released.set()
        client.read_body(response)
        assert response.body == b"half-whole"
        *told, last = raw.answer().splitlines()
        assert set(told) <= {"1 exchange runs on app/a2"}
        assert last == "ok: app/a2 is drained: no exchange runs there any more"
    gate.record(path="/long", status=200, cause="ok", server="a2")


def test_waiting_has_an_end(slow):
    gate = slow()
    client, _ = begin_long(gate)
    with client:
        *_, last = gate.control.lines("drain app/a2 wait 10ms")
        assert last == "error: timeout: 1 exchange still runs on app/a2"
        answer = gate.control.raw_json("drain app/a2 wait 10ms")
        assert answer == {"ok": False, "error": "timeout", "message": "1 exchange still runs on app/a2",
                          "data": {"servers": 1, "active": 1}}
        assert gate.control.lines("drain app wait 0")[-1].endswith("1 exchange still runs on the 2 servers of app")
        assert server_row(gate, "a2")["admin"] == "drain"
        told = gate.control.json("drain app/a2")
        assert told == {"servers": 1, "active": 1}
        gate.slow.released.set()
        assert gate.control.json("drain app/a2 wait") == {"servers": 1, "active": 0}


@pytest.mark.parametrize("command", ["ready app/a2", "ready app"])
def test_ready_ends_the_waiting(slow, command):
    gate = slow()
    client, _ = begin_long(gate)
    with client, gate.control.open() as raw:
        raw.send("drain app/a2 wait\n")
        assert raw.line() == "1 exchange runs on app/a2\n"
        gate.control.ok(command)
        assert raw.answer().splitlines()[-1] == \
            "error: conflict: app/a2 was made ready meanwhile; 1 still running"


def test_who_waits_may_leave(slow):
    gate = slow()
    client, response = begin_long(gate)
    with client:
        with gate.control.open() as raw:
            raw.send("drain app/a2 wait\n")
            assert raw.line() == "1 exchange runs on app/a2\n"
        rows = eventually(lambda: gate.control.json("show audit"), "the audit")
        assert [(row["command"], row["result"]) for row in rows] == [("drain app/a2 wait", "ok")]
        assert server_row(gate, "a2")["admin"] == "drain"
        gate.slow.released.set()
        client.read_body(response)
        assert response.body == b"half-whole"


def test_the_end_of_the_process_ends_the_waiting(slow):
    gate = slow()
    client, _ = begin_long(gate)
    with client, gate.control.open() as raw:
        raw.send("drain app/a2 wait\n")
        assert raw.line() == "1 exchange runs on app/a2\n"
        control(gate).ok("shutdown now")
        assert raw.rest().endswith(b"error: conflict: LoomGate stops\n\n")
        assert gate.wait_exit() == 0


@pytest.mark.parametrize("path, status", [("/long", 200), ("/hang", 503)])
def test_drain_timeout_cuts(loomgate, fake_server, path, status):
    """What has no answer yet gets one."""
    server = Slow(fake_server)
    hanging = fake_server(lambda conn: (conn.read_head(), conn.wait_closed()))
    used = server if path == "/long" else hanging
    config = web_config({"name": "a2", "address": used.address}, settings=control_settings(),
                        backend={"drain": {"timeout": "50ms"}})
    gate = loomgate(config)
    with gate.client() as client:
        client.request("GET", path)
        eventually(lambda: control(gate).json("show servers app")[0]["active"] == 1, "the exchange")
        answer = control(gate).ask("drain app/a2 wait 30s")
        assert answer.splitlines()[-1] == \
            "ok: app/a2 is drained: no exchange runs there any more; no server of the backend can be used now"
        gate.record(path=path, cause="drained", status=status)
        if status == 503:
            assert client.read_response().status == 503
        server.released.set()
    gate.logged(event="drain_over", server="a2", exchanges=1)
    assert "drain_over" in [row["event"] for row in control(gate).json("show events")]


def test_kept_connections_are_answered(pair):
    """A client's connection is not the server's: it goes on, and what was kept to the server is closed."""
    gate = pair()
    clients = [gate.client() for _ in range(8)]
    for client in clients * 2:
        name_of(client.request("GET", "/").read_response())
    kept = gate.a1.connections()[1]
    assert kept > 0 and gate.a2.connections()[1] > 0
    assert gate.control.ok("drain app/a2") == "app/a2 takes no new exchanges; 0 still running"
    eventually(lambda: gate.a2.connections()[1] == 0, "the end of idle connections to a2")
    assert gate.a1.connections()[1] == kept
    for client in clients * 2:
        response = client.request("GET", "/").read_response()
        assert name_of(response) == "a1" and response.header("Connection") is None
    for client in clients:
        client.close()
    assert server_row(gate, "a2")["idle"] == 0 and server_row(gate, "a1")["idle"] > 0


def test_a_tunnel_is_waited_for(loomgate, origin):
    db = origin("-t")
    config = web_config("127.0.0.1:9", settings=control_settings(workers=2),
                        frontends={"db": {"mode": "tcp", "bind": ["127.0.0.1:0"], "default_backend": "db"}},
                        backends={"db": {"servers": [{"name": "d1", "address": db.address}]}})
    gate = loomgate(config)
    with gate.client("db") as client, control(gate).open() as raw:
        client.send(b"hello")
        assert client.read_exactly(5) == b"hello"
        raw.send("drain db/d1 wait\n")
        assert raw.line() == "1 exchange runs on db/d1\n"
        client.send(b"again")
        assert client.read_exactly(5) == b"again"
        client.half_close()
        assert raw.answer().splitlines()[-1].startswith("ok: db/d1 is drained")


# --- for a time, a whole backend --------------------------------------------------------------------------------------


def test_for_a_time(pair):
    gate = pair()
    assert gate.control.ok("drain app/a2 for 1h") == "app/a2 takes no new exchanges for 1h00m; 0 still running"
    row = drift(gate)["a2", "admin"]
    assert TIME.fullmatch(row["since"]) and TIME.fullmatch(row["until"]) and row["until"] > row["since"]
    assert names_of(gate, 20) == {"a1": 20}
    gate.control.ok("drain app/a2 for 20ms")
    ended = gate.logged(event="override_ended")
    assert (ended["server"], ended["setting"], ended["to"]) == ("a2", "admin", "config")
    eventually(lambda: server_row(gate, "a2")["admin"] == "ready", "a2 is ready")
    assert drift(gate) == {} and server_row(gate, "a2")["admin_by"] is None
    eventually(lambda: "a2" in names_of(gate, 4), "traffic on a2")


def test_for_a_time_above_what_lasts(pair):
    gate = pair()
    gate.control.ok("maint app/a2")
    gate.control.ok("drain app/a2 for 20ms")
    assert gate.logged(event="override_ended")["to"] == "maint"
    eventually(lambda: server_row(gate, "a2")["admin"] == "maint", "maintenance again")
    gate.control.ok("weight app/a1 5 for 20ms")
    gate.logged(event="override_ended", setting="weight", to="config")
    eventually(lambda: server_row(gate, "a1")["weight"] == 1, "the weight of the configuration")


def test_a_whole_backend(pair):
    gate = pair()
    assert gate.control.ok("drain app wait") == \
        "the 2 servers of app are drained: no exchange runs there any more; no server of the backend can be used now"
    assert gate.fetch("/").status == 503
    gate.record(status=503, cause="no_server")
    assert gate.control.ok("ready app") == "the 2 servers of app are ready; 2 of them were not"
    assert names_of(gate, 20) == {"a1": 10, "a2": 10}
    assert gate.control.ok("ready app") == "the 2 servers of app are ready; 0 of them were not"
    assert gate.control.ok("maint app").startswith(
        "the 2 servers of app are in maintenance: no new exchanges, no checks; 0 still running; no server")
    assert gate.control.json("ready app") == {"servers": 2, "active": 0}


# --- ready, maint -----------------------------------------------------------------------------------------------------


def test_ready_ramps(pair):
    gate = pair(backend={"slow_start": "24h"}, workers=1)
    gate.control.ok("drain app/a2")
    assert gate.control.ok("ready app/a2") == "app/a2 is ready; back to the whole weight in 1d00h"
    assert 0 < server_row(gate, "a2")["weight"] < 0.2 and server_row(gate, "a1")["weight"] == 1
    got = names_of(gate, 400)
    assert 0 < got["a2"] < 100, got
    assert gate.control.ok("ready app/a2") == "app/a2 was ready"


def test_maint_of_the_file_is_overridden(pair):
    gate = pair(a2={"maint": True})
    assert names_of(gate, 10) == {"a1": 10}
    assert server_row(gate, "a2")["admin"] == "maint" and drift(gate) == {}
    gate.control.ok("ready app/a2")
    row = drift(gate)["a2", "admin"]
    assert (row["file"], row["in_force"], row["until"]) == ("maint", "ready", None)
    assert names_of(gate, 10) == {"a1": 5, "a2": 5}
    gate.control.ok("maint app/a2")
    assert drift(gate) == {}


def test_maint_stops_checks(loomgate, fake_server):
    servers = {name: Checked(fake_server) for name in ("a1", "a2")}
    listed = [{"name": name, "address": server.address} for name, server in servers.items()]
    gate = loomgate(checked(*listed, http=CHECK, settings=control_settings()))
    servers["a2"].wait_checks(3)
    assert control(gate).ok("maint app/a2") == "app/a2 is in maintenance: no new exchanges, no checks; 0 still running"
    seen = servers["a2"].checks
    servers["a1"].wait_checks(20)
    assert servers["a2"].checks <= seen + 1  # one may have been on its way
    control(gate).ok("drain app/a2")  # what drains is checked
    servers["a2"].wait_checks(3)


def test_who_waits_for_a_server_gets_it(loomgate, fake_server, origin):
    slow = Slow(fake_server)
    servers = [{"name": "a1", "address": origin("-n", "a1").address, "maint": True},
               {"name": "a2", "address": slow.address, "max_connections": 1}]
    gate = loomgate(web_config(*servers, settings=control_settings(workers=2)))
    gate.slow = slow
    first, _ = begin_long(gate)
    with first, gate.client() as second:
        second.request("GET", "/")
        eventually(lambda: control(gate).json("show backends")[0]["queued"] == 1, "somebody who waits")
        control(gate).ok("ready app/a1")
        assert name_of(second.read_response()) == "a1"
        slow.released.set()


def test_nobody_waits_for_what_is_drained(loomgate, fake_server):
    slow = Slow(fake_server)
    gate = loomgate(web_config({"name": "a2", "address": slow.address, "max_connections": 1},
                               settings=control_settings(workers=2)))
    gate.slow = slow
    first, _ = begin_long(gate)
    with first, gate.client() as second:
        second.request("GET", "/")
        eventually(lambda: control(gate).json("show backends")[0]["queued"] == 1, "somebody who waits")
        assert control(gate).ok("drain app/a2").endswith("; 1 still running; no server of the backend can be used now")
        assert second.read_response().status == 503
        slow.released.set()


# --- weight -----------------------------------------------------------------------------------------------------------


@pytest.mark.threads
def test_weights_of_round_robin_are_exact(pair):
    gate = pair()
    each = scaled(60, least=12) // 12 * 12

    def shares():
        return ask_from_many_names(gate, each)

    total = 12 * each
    assert shares() == {"a1": total / 2, "a2": total / 2}
    assert gate.control.ok("weight app/a1 3") == "the weight of app/a1 is 3; in the configuration 1"
    assert shares() == {"a1": total * 3 / 4, "a2": total / 4}
    assert gate.control.ok("weight app/a1 50% for 1h") == \
        "the weight of app/a1 is 0.5 for 1h00m; in the configuration 1"
    assert shares() == {"a1": total / 3, "a2": total * 2 / 3}
    assert server_row(gate, "a1")["weight"] == 0.5 and server_row(gate, "a1")["overridden"] == ["weight"]
    gate.control.ok("weight app/a1 0")
    assert shares() == {"a2": total}
    gate.control.ok("weight app/a2 0")
    assert gate.fetch("/").status == 503
    assert gate.control.ok("weight app/a1 config") == "the weight of app/a1 is again that of the configuration: 1"
    assert gate.control.ok("weight app/a1 config") == "the weight of app/a1 was that of the configuration: 1"
    assert shares() == {"a1": total}
    gate.control.ok("weight app/a2 200%")
    assert shares() == {"a1": total / 3, "a2": total * 2 / 3}


def ask_from_many_names(gate, each):
    """12 connections; the origins' names begin with the same letter, so the servers of the records tell them apart."""
    def answered(record):
        return record["status"] == 200

    before = sum(map(answered, gate.records.lines))
    ask_from_many(gate, 12, each)
    seen = gate.records.wait_count(answered, before + 12 * each, "records")
    return collections.Counter(record["server"] for record in seen[before:])


@pytest.mark.parametrize("balance", ["least_requests", "random_two", "peak_ewma", {"hash": "uri"}],
                         ids=["least_requests", "random_two", "peak_ewma", "hash"])
def test_weights_of_other_policies(pair, balance):
    gate = pair(backend={"balance": balance})

    def shares():
        with gate.client() as client:
            for number in range(100):
                assert client.request("GET", f"/size/1?n={number}").read_response().status == 200
        seen = gate.records.wait_count(lambda record: record["path"].startswith("/size/1"), 100 * len(asked), "records")
        return collections.Counter(record["server"] for record in seen[-100:])

    asked = [1]
    gate.control.ok("weight app/a1 256")
    assert shares()["a1"] > 50 or balance == "peak_ewma"  # where one slow answer may weigh more
    for weights, expected in ((("256", "0"), {"a1": 100}), (("0", "1%"), {"a2": 100})):
        asked.append(1)
        for server, weight in zip(("a1", "a2"), weights):
            gate.control.ok(f"weight app/{server} {weight}")
        assert shares() == expected


@pytest.mark.threads
def test_weights_change_under_load(pair, load):  # noqa: F811
    """Old schedules go when nobody reads them any more."""
    gate = pair()
    clients = load(gate)
    for number in range(scaled(100, 30)):
        gate.control.socat(f"weight app/a1 {number % 7 + 1};weight app/a2 {number % 50 + 1}% for 10ms\n")
    clients.wait_more(100)
    assert set(clients.stop()) == {200}


# --- pins -------------------------------------------------------------------------------------------------------------


def test_pinned_health(loomgate, fake_server):
    server = Checked(fake_server, BUSY)
    gate = loomgate(checked({"name": "a1", "address": server.address}, http=CHECK, settings=control_settings()))
    gate.control = control(gate, "operator")
    gate.logged(event="server_down")
    assert gate.fetch("/").status == 503
    assert gate.control.ok("health app/a1 up") == "app/a1 is taken for up, whatever checks say"
    row = server_row(gate, "a1")
    assert row["health"] == "up" and row["overridden"] == ["health"] and row["check"]["reason"] == "status 503"
    assert gate.fetch("/").status == 200
    server.wait_checks(5)
    assert gate.fetch("/").status == 200
    assert gate.control.ok("health app/a1 auto") == "the health of app/a1 is what its checks say: down"
    assert gate.fetch("/").status == 503
    gate.control.ok("health app/a1 down")
    server.answer = OK
    gate.logged(lambda line: "pinned" in line["message"], event="server_up")
    assert gate.fetch("/").status == 503
    assert gate.control.ok("health app/a1 auto") == "the health of app/a1 is what its checks say: up"
    assert gate.fetch("/").status == 200


def test_pinned_health_without_checks(pair):
    gate = pair()
    gate.control.ok("health app/a2 down")
    assert server_row(gate, "a2")["health"] == "down" and server_row(gate, "a1")["health"] == "unchecked"
    assert names_of(gate, 10) == {"a1": 10}
    assert gate.control.ok("ready app/a2") == "app/a2 was ready; but its health is down"
    assert gate.control.ok("health app/a2 auto") == "the health of app/a2 is not checked: up"
    assert server_row(gate, "a2")["health"] == "unchecked"
    assert names_of(gate, 10) == {"a1": 5, "a2": 5}


def breaker_row(gate, name):
    return next(row for row in gate.control.json("show breakers app") if row["server"] == name)


def test_breaker_held_closed(loomgate, fake_server):
    failing = fake_server(b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops")
    gate = loomgate(web_config({"name": "a1", "address": failing.address}, settings=control_settings(), backend={
        "retry": "off", "breaker": {"min_requests": 5, "window": "1h", "open": "1h", "max_open": "1h"}}))
    gate.control = control(gate, "operator")
    assert gate.control.ok("breaker hold app/a1 closed") == "the breaker of app/a1 is held closed"
    assert [gate.fetch("/").status for _ in range(20)] == [500] * 20
    row = breaker_row(gate, "a1")
    assert (row["state"], row["held"], row["requests"], row["errors"], row["trips"]) == ("closed", True, 20, 20, 0)
    assert gate.control.error("breaker trip app/a1", "conflict").startswith("the breaker of app/a1 is held")
    gate.control.error("breaker reset app/a1", "conflict")
    assert gate.control.ok("breaker reset app").endswith("1 are held, and stay as they are")
    assert gate.control.ok("breaker release app/a1") == "the breaker of app/a1 is released; it is closed"
    assert gate.fetch("/").status == 500  # one too many
    assert gate.fetch("/").status == 503
    assert breaker_row(gate, "a1")["state"] == "open" and not breaker_row(gate, "a1")["held"]


def test_breaker_held_open(pair):
    gate = pair()
    gate.control.ok("breaker hold app/a2 open")
    row = breaker_row(gate, "a2")
    assert (row["state"], row["held"], row["half_opens_in"]) == ("open", True, None)
    assert names_of(gate, 20) == {"a1": 20}
    assert gate.control.ok("ready app/a2") == "app/a2 was ready; but its breaker is open"
    gate.control.ok("breaker hold app/a1 open")
    response = gate.fetch("/")
    assert response.status == 503 and response.header("Retry-After") == "1"  # nobody knows how long
    gate.control.ok("breaker hold app/a1 closed")
    assert gate.control.ok("breaker release app/a2") == "the breaker of app/a2 is released; it lets probes through"
    eventually(lambda: names_of(gate, 4) and breaker_row(gate, "a2")["state"] == "closed", "the probes' success")
    assert gate.control.ok("breaker release app/a2") == "the breaker of app/a2 was not held"


def test_breaker_reset_puts_traffic_back_at_once(pair):
    gate = pair()
    gate.control.ok("breaker trip app/a2 for 1h")
    assert names_of(gate, 20) == {"a1": 20}
    gate.control.ok("breaker reset app/a2")
    assert names_of(gate, 20) == {"a1": 10, "a2": 10}


# --- drift ------------------------------------------------------------------------------------------------------------


def test_drift(pair):
    gate = pair(level="admin")
    assert gate.control.json("show drift") == [] and gate.control.ask("show drift") == "none\n"
    for command in ("drain app/a2 for 1h", "weight app/a1 50%", "health app/a1 up", "breaker hold app/a1 closed",
                    "log level warn"):
        gate.control.ok(command)
    rows = gate.control.json("show drift")
    told = [(row["backend"], row["server"], row["setting"], row["file"], row["in_force"]) for row in rows]
    assert sorted(told, key=str) == sorted([
        (None, None, "log level", "info", "warn"), ("app", "a2", "admin", "ready", "drain"),
        ("app", "a1", "weight", 1, 0.5), ("app", "a1", "health", "auto", "up"),
        ("app", "a1", "breaker", "auto", "closed")], key=str)
    audit = {row["command"]: row for row in gate.control.json("show audit")}
    for row in rows:
        assert TIME.fullmatch(row["since"]) and (row["until"] is not None) == (row["setting"] == "admin")
    by = next(row for row in rows if row["setting"] == "weight")["by"]
    assert by == {key: audit["weight app/a1 50%"][key] for key in ("uid", "gid", "pid")}
    assert server_row(gate, "a2")["admin_by"]["pid"] == audit["drain app/a2 for 1h"]["pid"]
    text = gate.control.table("show drift")
    assert ("a1", "weight", "1", "0.5") in [(r["server"], r["setting"], r["file"], r["in_force"]) for r in text]
    assert re.search(r"drain +uid \d+ pid \d+ ", gate.control.ask("show servers"))
    for command in ("ready app", "weight app/a1 config", "health app/a1 auto", "breaker release app/a1",
                    "log level info"):
        gate.control.ok(command)
    assert gate.control.json("show drift") == []


def test_a_reload_keeps_what_was_set(loomgate, origin, fake_server):
    """Also for a server that has moved; what is gone is not waited for."""
    slow, a1, moved = Slow(fake_server), origin("-n", "a1"), origin("-n", "a2")
    servers = [{"name": "a1", "address": a1.address, "weight": 2}, {"name": "a2", "address": "127.0.0.1:9"},
               {"name": "a3", "address": slow.address, "backup": True}]
    config = web_config(*servers, settings=control_settings(workers=2))
    gate = loomgate(config)
    gate.slow, gate.control = slow, control(gate)
    for command in ("weight app/a1 5", "drain app/a2 for 1h", "health app/a2 up", "maint app/a1"):
        gate.control.ok(command)
    client, response = begin_long(gate)  # on a3, as a1 and a2 are out
    with client, gate.control.open() as raw:
        raw.send("drain app/a3 wait\n")
        assert raw.line() == "1 exchange runs on app/a3\n"
        before = drift(gate)
        servers[0]["maint"], servers[1]["address"] = True, moved.address
        del servers[2]
        config["backends"]["app"]["servers"] = servers
        write_config(config, gate.path.parent, gate.path.name)
        gate.signal(signal.SIGHUP)
        gate.logged(event="reloaded")
        assert raw.answer().splitlines()[-1] == \
            "error: conflict: app/a3 is in the configuration no more"
        slow.released.set()
        client.read_body(response)
        assert response.body == b"half-whole"
    after = drift(gate)  # a1 is in maintenance by the file now
    assert set(after) == set(before) - {("a1", "admin"), ("a3", "admin")}
    assert all(after[key] == before[key] for key in after)
    assert server_row(gate, "a2")["admin"] == "drain" and server_row(gate, "a2")["health"] == "up"
    assert server_row(gate, "a1")["weight"] == 5 and server_row(gate, "a1")["admin_by"] is None
    gate.control.ok("ready app/a2")
    assert names_of(gate, 10) == {"a2": 10}


# --- misuse -----------------------------------------------------------------------------------------------------------

web = shared(lambda world: web_config(
    {"name": "a1", "address": "127.0.0.1:9", "weight": 200}, settings=control_settings(),
    backends={"raw": {"servers": ["127.0.0.1:9"], "breaker": "off"}}))


@pytest.mark.parametrize("command, code", [
    ("drain", "usage"), ("drain app/a1 for", "usage"), ("drain app/a1 for 5", "usage"), ("drain app/a1 for 0", "usage"),
    ("drain app/a1 for 9000h", "usage"), ("drain app/a1 wait 5 6", "usage"), ("drain app/a1 wait 1x", "usage"),
    ("drain app/a1 wait for 1s", "usage"), ('drain app/a1 "wait"', "usage"), ("drain app/a1 30s", "usage"),
    ("drain ap/a1", "no_such_backend"), ("drain app/a2", "no_such_server"), ("drain app/", "no_such_server"),
    ("ready", "usage"), ("ready app/a1 now", "usage"), ("ready nobody", "no_such_backend"),
    ("maint app/a1 for 1h", "usage"), ("maint app/x", "no_such_server"),
    ("weight app/a1", "usage"), ("weight app 5", "usage"), ("weight app/a1 257", "usage"),
    ("weight app/a1 -1", "usage"), ("weight app/a1 0.5", "usage"), ("weight app/a1 %", "usage"),
    ("weight app/a1 129%", "usage"), ("weight app/a1 5 10s", "usage"), ("weight app/a1 config for 1s", "usage"),
    ("weight app/a1 5 for", "usage"), ('weight app/a1 "config"', "usage"), ("weight app/zz 5", "no_such_server"),
    ("health app/a1", "usage"), ("health app/a1 sideways", "usage"), ("health app up", "usage"),
    ("health app/a1 up for 1h", "usage"), ("health app/zz up", "no_such_server"),
    ("breaker hold app/a1", "usage"), ("breaker hold app/a1 half_open", "usage"), ("breaker hold app open", "usage"),
    ("breaker hold raw/127.0.0.1:9 open", "conflict"), ("breaker release raw/127.0.0.1:9", "conflict"),
    ("breaker release app", "usage"), ("breaker release app/zz", "no_such_server"), ("show drift x", "usage"),
])
def test_misuse(web, command, code):
    before = control(web.gate).json("show servers")
    control(web.gate).error(command, code)
    assert [(r["admin"], r["weight"], r["health"]) for r in control(web.gate).json("show servers")] == \
        [(r["admin"], r["weight"], r["health"]) for r in before]
    assert control(web.gate).json("show drift") == []


def test_the_nearest_names(web):
    assert control(web.gate).error("drian app/a1", "unknown_command").endswith("did you mean 'drain'?")
    assert control(web.gate).error("weight ap/a1 5", "no_such_backend").endswith("did you mean 'app'?")
    assert control(web.gate).error("maint app/b1", "no_such_server").endswith("did you mean 'a1'?")


@pytest.mark.parametrize("command", ["drain app/a1 wait", "ready app", "maint app/a1", "weight app/a1 5",
                                     "health app/a1 down", "breaker hold app/a1 open", "breaker release app/a1"])
def test_not_for_users(web, command):
    assert "needs the level operator; this socket gives user" in \
        control(web.gate, "user").error(command, "denied")
    assert control(web.gate, "user").json("show drift") == []
