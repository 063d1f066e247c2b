"""What becomes of servers, and of what is known of them, over reloads."""

import os
import threading

import pytest
from reloads import name_of, say, servers_of, started
from support import TIMEOUT, Cut, FakeServer, eventually, fetch, pattern

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
def gate(loomgate, origin):
    return started(loomgate, origin)


# --- servers that go --------------------------------------------------------------------------------------------------


def replace_server(address, name="b1"):
    def edit(config):
        config["backends"]["app"]["servers"] = [{"name": name, "address": address}]

    return edit


@pytest.mark.threads
def test_a_server_goes(gate, origin):
    b1 = origin("-n", "b1")
    with gate.client() as client, gate.client() as running:
        assert name_of(client) == "a1"
        running.request("GET", "/delay/600/size/7")
        eventually(lambda: gate.server("a1")["active"] == 1, "the request under way")
        gate.reload(replace_server(b1.address))
        assert name_of(client) == "b1"
        eventually(lambda: gate.a1.connections()[1] <= 1, "idle connections to it are closed at once")
        assert running.read_response().body == pattern(7)
        gate.wait_alone()
        eventually(lambda: gate.a1.connections()[1] == 0, "no connection is left")
        assert name_of(running) == "b1"


def test_what_runs_on_it_may_be_cut(gate, origin):
    b1 = origin("-n", "b1")
    gate.reload(lambda c: c["backends"]["app"].update(drain={"timeout": "300ms"}, retry="off"))
    with gate.client() as client:
        head = client.request("GET", "/trickle/1000/100").read_head()
        assert head.status == 200
        gate.reload(replace_server(b1.address))
        with pytest.raises(Cut):
            client.read_body(head)
    assert gate.record(path="/trickle/1000/100")["cause"] == "drained"
    gate.wait_alone()


def test_a_server_that_comes_back_is_not_cut(gate, origin):
    b1 = origin("-n", "b1")
    gate.reload(lambda c: c["backends"]["app"].update(drain={"timeout": "400ms"}))
    with gate.client() as client:
        head = client.request("GET", "/trickle/20/60").read_head()
        before = gate.config
        gate.reload(replace_server(b1.address))
        gate.reload(lambda c: c.update(before))
        client.read_body(head)
        assert head.body == pattern(20)
    assert gate.server("a1")["admin"] == "ready"
    gate.wait_alone()


def test_retries_end_where_they_began(gate):
    """Under the old configuration, also on a server that is not in the new one."""
    asked, answer = threading.Event(), threading.Event()

    def fail(conn):
        if conn.read_request()[0]:
            asked.set()
            answer.wait(TIMEOUT)

    bad, good = FakeServer(fail), FakeServer.answering(OK)
    try:
        def edit(config):
            config["backends"]["app"] = {"balance": "first", "retry": {"backoff": {"base": "1ms", "max": "2ms"}},
                                         "servers": [{"name": "bad", "address": bad.address},
                                                     {"name": "good", "address": good.address}]}

        gate.reload(edit)
        with gate.client() as client:
            client.request("GET", "/x")
            assert asked.wait(TIMEOUT)
            gate.reload(replace_server(gate.a1.address, "a1"))
            answer.set()
            assert client.read_response().text == "ok"
            assert name_of(client) == "a1"
        tries = gate.record(path="/x")["tries"]
        assert [t["server"] for t in tries] == ["bad", "good"]
        gate.wait_alone()
    finally:
        answer.set()
        bad.stop()
        good.stop()


@pytest.mark.threads
def test_who_waits_for_a_server(gate, fake_server):
    """Waiters go on waiting under their own configuration; those of the new one need not wait for them."""
    asked, answer = threading.Event(), threading.Event()

    def script(conn):
        while conn.read_request()[0]:
            asked.set()
            assert answer.wait(TIMEOUT)
            conn.send(OK)

    slow = fake_server(script)

    def only_slow(config):
        config["backends"]["app"] = {"servers": [{"name": "slow", "address": slow.address, "max_connections": 1}],
                                     "timeouts": {"queue": "60s"}}

    gate.reload(only_slow)
    clients = [gate.client() for _ in range(4)]
    clients[0].request("GET", "/first")
    assert asked.wait(TIMEOUT)
    for client in clients[1:]:
        client.request("GET", "/waits")
    eventually(lambda: gate.control.json("show info")["requests"]["queued"] == 3, "three wait")
    gate.reload(lambda c: servers_of(c).append({"name": "a1", "address": gate.a1.address}))
    assert gate.fetch("/own").text == "old"
    assert {fetch(gate.web, "/").status for _ in range(5)} == {200}, "a1 has room"
    answer.set()
    for client in clients:
        with client:
            assert client.read_response().text == "ok"
    gate.wait_alone()


# --- what is known of servers -----------------------------------------------------------------------------------------


def test_breakers_health_overrides_and_counters_live_on(gate, origin):
    b1 = origin("-n", "b1")

    def edit(config):
        servers_of(config).append({"name": "b1", "address": b1.address})
        config["backends"]["app"]["health"] = {"http": {"path": "/"}, "interval": "50ms", "fast_interval": "50ms"}

    gate.reload(edit)
    eventually(lambda: (gate.server("b1")["check"] or {}).get("reason"), "a check of b1")
    for _ in range(10):
        gate.fetch("/")
    gate.control.ok("breaker trip app/a1 for 1h")
    gate.control.ok("drain app/b1")
    trips = next(b for b in gate.control.json("show breakers") if b["server"] == "a1")["trips"]
    total = gate.control.json("show info")["requests"]["total"]
    for i in range(5):
        gate.reload(lambda c, i=i: servers_of(c)[0].update(weight=i + 2))
        assert gate.server("a1")["breaker"] == "open" and gate.server("b1")["admin"] == "drain"
        assert gate.server("b1")["check"]["reason"], "its last check is known"
    after = next(b for b in gate.control.json("show breakers") if b["server"] == "a1")
    assert after["state"] == "open" and after["trips"] == trips
    assert gate.control.json("show info")["requests"]["total"] >= total
    gate.control.ok("breaker reset app/a1")
    gate.control.ok("ready app/b1")


def test_maint_of_the_file_counts_when_it_changes(gate):
    gate.reload(lambda c: servers_of(c)[0].update(maint=True))
    assert gate.server("a1")["admin"] == "maint" and gate.fetch("/").status == 503
    gate.control.ok("ready app/a1")
    gate.reload(say("x"))
    assert gate.server("a1")["admin"] == "ready", "set by hand: it stays"
    gate.reload(lambda c: servers_of(c)[0].update(maint=False))
    assert gate.server("a1")["admin"] == "ready"
    gate.control.ok("maint app/a1")
    gate.reload(say("y"))
    assert gate.server("a1")["admin"] == "maint"
    gate.control.ok("ready app/a1")


def test_pooled_connections_live_on(gate):
    gate.fetch("/")
    accepted = gate.a1.connections()[0]
    with gate.client() as client:
        for i in range(5):
            client.request("GET", "/size/1").read_response()
            gate.reload(lambda c, i=i: servers_of(c)[0].update(weight=i + 2))
    assert gate.a1.connections()[0] <= accepted + 2 + 1, "one a worker at most, and ours"


def test_the_access_log_is_kept(gate, tmp_path):
    log = tmp_path / "access.log"
    gate.reload(lambda c: c["frontends"]["web"].update(access_log={"to": f"file:{log}"}))
    for i in range(5):
        gate.fetch(f"/size/{i}")
        gate.reload(say(f"n{i}"))
    assert gate.descriptors() < 100
    eventually(lambda: log.exists() and len(log.read_text().splitlines()) == 5, "five records")
    assert sum(str(log) in link for link in open_files(gate.pid)) == 1


def open_files(pid):
    return [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")
            if os.path.lexists(f"/proc/{pid}/fd/{fd}")]
