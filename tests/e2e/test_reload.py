"""A reload: what it changes, what lives on, what is refused."""

import json
import os
import random
import socket
import threading

import pytest
from reloads import Reloader, name_of, servers_of, stays_refused
from support import TIMEOUT, Client, Cut, FakeServer, eventually, fetch, pattern, web_config

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BIND = {"bind": ["127.0.0.1:0"]}
WEBSOCKET = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="),
             ("Sec-WebSocket-Version", "13")]


def respond(body):
    return {"name": body, "match": {"path": "/own"}, "respond": {"status": 200, "body": body}}


def say(body):
    """An edit: what /own answers."""
    def edit(config):
        config["frontends"]["web"]["routes"] = [respond(body)]

    return edit


@pytest.fixture
def gate(loomgate, origin):
    """Two workers; web -> app (the origin a1); /own is answered by itself."""
    a1 = origin("-n", "a1")
    config = web_config({"name": "a1", "address": a1.address}, settings={"workers": 2})
    say("old")(config)
    gate = Reloader(loomgate, config)
    gate.a1 = a1
    return gate


# --- what changes -----------------------------------------------------------------------------------------------------


@pytest.mark.threads
def test_everything_that_may_change(gate, origin):
    a2 = origin("-n", "a2")

    def edit(config):
        say("new")(config)
        config["frontends"]["web"]["timeouts"] = {"client": "7s"}
        config["frontends"]["api"] = {**BIND, "default_backend": "other"}
        config["backends"]["other"] = {"servers": [a2.address]}
        servers_of(config)[0]["weight"] = 5
        servers_of(config).append({"name": "a2", "address": a2.address})
        config["global"]["max_connections"] = 500
        config["global"]["shutdown"] = {"grace": "9s"}

    before = gate.sockets()
    data = gate.reload(edit)
    keys = {change["key"] for change in data["changes"]}
    assert keys >= {"frontends.web.timeouts.client", "frontends.api", "backends.other",
                    "backends.app.servers.a1.weight", "backends.app.servers.a2", "global.max_connections"}
    assert (data["number"], data["sockets_opened"], data["sockets_closed"]) == (1, 1, 0)
    assert gate.fetch("/own").text == "new"
    assert {name_of(gate.web) for _ in range(20)} == {"a1", "a2"}
    assert name_of(gate.address("api")) == "a2"
    assert gate.sockets() > before
    info = gate.control.json("show info")
    assert info["connections"]["limit"] == 500
    assert info["reloads"]["total"] == 1 and info["reloads"]["last"] > info["started"]
    assert "client: 7s" in gate.control.ask("show config") and "weight: 5" in gate.control.ask("show config")


def test_by_signal(gate):
    gate.reload_by_signal(say("new"))
    assert gate.fetch("/own").text == "new"


def test_frontends_come_and_go(gate):
    before = gate.sockets()
    gate.reload(lambda c: c["frontends"].update(more={**BIND, "routes": [respond("more")]}))
    more = gate.address("more")
    assert fetch(more, "/own").text == "more" and len(gate.sockets()) == 2 * len(before)
    data = gate.reload(lambda c: c["frontends"].pop("more"))
    assert (data["sockets_opened"], data["sockets_closed"], data["sockets_kept"]) == (0, 1, 1)
    assert gate.sockets() == before and stays_refused(more)


def test_a_socket_goes_over_to_another_frontend(gate):
    """Same address, another name: it is not opened again."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    gate.reload(lambda c: c["frontends"].update(one={"bind": [address], "routes": [respond("one")]}))
    sockets = gate.sockets()

    def rename(config):
        del config["frontends"]["one"]
        config["frontends"]["two"] = {"bind": [address], "routes": [respond("two")]}

    assert fetch(address, "/own").text == "one"
    data = gate.reload(rename)
    assert data["sockets_opened"] == data["sockets_closed"] == 0 and gate.sockets() == sockets
    assert fetch(address, "/own").text == "two"


def port_of_nobody():
    """Below those that the kernel gives to connections: it stays free between two listeners."""
    while True:
        port = random.randrange(12000, 30000)
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
                return port
            except OSError:
                pass


@pytest.mark.parametrize("before, after", [("127.0.0.1", ""), ("", "127.0.0.1"), ("*", "0.0.0.0"), ("0.0.0.0", "*")])
def test_an_address_becomes_wider_or_narrower(gate, before, after):
    """Both are open for a moment; nobody is refused."""
    port = port_of_nobody()

    def bind(host, body):
        return lambda c: c["frontends"].update(more={"bind": [f"{host}:{port}"], "routes": [respond(body)]})

    done, failures = threading.Event(), []

    def ask():
        while not done.is_set():
            try:
                assert fetch(f"127.0.0.1:{port}", "/own").text in ("before", "after")
            except (OSError, Cut) as error:
                failures.append(error)

    gate.reload(bind(before, "before"))
    thread = threading.Thread(target=ask)
    thread.start()
    data = gate.reload(bind(after, "after"))
    assert (data["sockets_opened"], data["sockets_closed"]) == (1, 1)
    assert fetch(f"127.0.0.1:{port}", "/own").text == "after"
    gate.reload(bind(before, "before"))
    done.set()
    thread.join(TIMEOUT)
    assert not [f for f in failures if isinstance(f, ConnectionRefusedError)], failures


def test_what_needs_a_restart_is_told_and_the_rest_applied(gate):
    def edit(config):
        say("new")(config)
        config["global"]["workers"] = 3
        config["global"]["log"]["queue"] = 128
        config["global"]["control"] = [{"socket": "other.sock"}]

    data = gate.reload(edit)
    assert {"global.workers", "global.log.queue"} <= set(data["needs_restart"])
    assert gate.logged(event="needs_restart", key="global.workers")
    assert gate.fetch("/own").text == "new" and gate.control.json("show info")["workers"] == 2
    shown = gate.control.ask("show config")
    assert "workers: 2" in shown and "other.sock" not in shown  # in force is what runs
    assert "global.workers" in gate.reload(say("newer"))["needs_restart"], "it still does"
    assert not gate.path.with_name("other.sock").exists()


def test_the_process_log_moves(gate, tmp_path):
    log = tmp_path / "moved.log"
    gate.reload(lambda c: c["global"]["log"].update(to=f"file:{log}", format="text", level="debug"), is_logged=False)
    eventually(lambda: log.exists() and " reloaded: " in log.read_text(), "the log in its new place")
    assert gate.control.json("show info")["log_level"] == "debug"
    gate.reload(lambda c: c["global"]["log"].update(to="stderr", format="json"))
    gate.logged(event="reloaded", number=2)
    gate.control.ok("log level warn")
    gate.reload(say("new"), is_logged=False)
    assert gate.control.json("show info")["log_level"] == "warn", "set by hand: it stays until the file says another"


# --- what is refused --------------------------------------------------------------------------------------------------


def broken_files():
    def text(change):
        return lambda config: change(json.dumps(config, indent=1))

    return {
        "no YAML": text(lambda t: t[:-20]),
        "empty": lambda _: "",
        "unknown key": lambda c: {**c, "frontend": {}},
        "wrong value": lambda c: {**c, "global": {**c["global"], "max_connections": "many"}},
        "missing backend": lambda c: {**c, "frontends": {"web": {**BIND, "default_backend": "nowhere"}}},
        "no version": lambda c: {k: v for k, v in c.items() if k != "version"},
        "bytes": lambda _: b"\xff\xfe\x00\x01",
    }


def test_broken_files_change_nothing(gate):
    client = gate.client()
    for name, change in broken_files().items():
        answer = gate.refuse(change(gate.config), f"{gate.path.name}:")
        problems = answer["data"]["problems"]
        assert all(problem["place"].rpartition("/")[2].startswith(f"{gate.path.name}:") for problem in problems), name
        assert any(problem["severity"] == "error" for problem in problems)
        line = gate.logged(event="configuration", message=problems[0]["message"])
        assert problems[0]["place"] == f"{line['file']}:{line['line']}:{line['column']}"
        assert client.request("GET", "/own").read_response().text == "old"
    client.close()
    gate.stop(allow_errors=True)


def test_a_missing_file_changes_nothing(gate):
    gate.path.unlink()
    assert "No such file" in gate.control.error("reload", "config")
    assert "No such file" in gate.control.error("reload /nowhere/x.yaml", "config")
    assert gate.fetch("/own").text == "old"
    assert gate.control.error("reload a b", "usage")
    assert gate.control.error("reload confirm within 0", "usage")
    assert gate.control.error("reload confirm within 5", "usage")


def test_what_cannot_be_had_changes_nothing(gate, tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = f"127.0.0.1:{other.getsockname()[1]}"

        def edit(config):
            say("new")(config)
            config["frontends"]["first"] = BIND | {"default_backend": "app"}
            config["frontends"]["taken"] = {"bind": [taken], "default_backend": "app"}
            servers_of(config).append({"name": "a2", "address": "127.0.0.1:9"})

        gate.refuse(edit, "Address already in use")
    gate.refuse(lambda c: c["global"]["log"].update(to=f"file:{tmp_path}/no/such/folder/log"), "cannot open the log file")
    gate.refuse(lambda c: c["frontends"]["web"]["access_log"].update(to=f"file:{tmp_path}/no/folder/log"), "cannot open")
    assert gate.fetch("/own").text == "old" and gate.server("a2") is None
    assert gate.control.json("show servers")[0]["server"] == "a1"
    gate.reload(say("new"))
    assert gate.fetch("/own").text == "new"


# --- connections of clients -------------------------------------------------------------------------------------------


@pytest.mark.threads
def test_idle_clients_go_over(gate):
    clients = [gate.client() for _ in range(20)]
    for client in clients:
        assert client.request("GET", "/own").read_response().text == "old"
    gate.reload(say("new"))
    for client in clients:
        assert client.request("GET", "/own").read_response().text == "new"
    gate.wait_alone()
    for client in clients:
        client.close()


@pytest.mark.threads
def test_a_request_in_the_middle_ends_as_it_began(gate, fake_server):
    asked, answer = threading.Event(), threading.Event()

    def script(conn):
        while conn.read_request()[0]:
            asked.set()
            assert answer.wait(TIMEOUT)
            conn.send(OK)

    slow = fake_server(script)

    def edit(config):
        config["frontends"]["web"]["request_id"] = {"header": "X-Old"}
        config["backends"]["slow"] = {"servers": [slow.address]}
        config["frontends"]["web"]["routes"].insert(0, {"name": "slow", "match": {"path": "/slow"}, "backend": "slow"})

    gate.reload(edit)
    with gate.client() as client, gate.client() as half:
        client.request("GET", "/slow")
        half.send(b"GET /slow HTTP/1.1\r\nHo")  # not a request yet
        assert asked.wait(TIMEOUT)
        gate.reload(lambda c: c["frontends"]["web"].update(request_id={"header": "X-New"}))
        assert gate.state()["snapshots_alive"] == 2
        answer.set()
        response = client.read_response()
        assert response.text == "ok" and response.header("X-Old") and not response.header("Connection")
        response = client.request("GET", "/slow").read_response()
        assert response.header("X-New") and not response.header("X-Old")
        half.send(b"st: a\r\n\r\n")
        assert half.read_response().header("X-New")
    gate.wait_alone()


@pytest.mark.threads
def test_long_bodies_go_on(gate):
    size = 3_000_000
    with gate.client(rcvbuf=4096) as down, gate.client() as up:
        down.request("GET", f"/size/{size}")
        head = down.read_head()
        up.send(f"POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n".encode())
        for i in range(5):
            up.send(pattern(size)[i * size // 5:(i + 1) * size // 5])
            gate.reload(say(f"n{i}"))
        assert up.read_response().text.startswith(f"bytes {size} ")
        down.read_body(head)
        assert head.body == pattern(size)
    gate.wait_alone()


@pytest.mark.threads
def test_pipelined_requests_over_reloads(gate):
    """Also one that never pauses goes over between two requests."""
    with gate.client() as client:
        seen = []
        for i in range(20):
            client.send(b"GET /own HTTP/1.1\r\nHost: a\r\n\r\n" * 10 + b"GET /size/1000 HTTP/1.1\r\nHost: a\r\n\r\n")
            gate.reload(say(f"n{i}"))
            seen += [client.read_response().text for _ in range(10)]
            assert client.read_response().body == pattern(1000)
        order = ["old", *(f"n{i}" for i in range(20))]
        places = [order.index(text) for text in seen]
        assert places == sorted(places)
        gate.wait_alone()


@pytest.mark.threads
def test_websockets_stay(gate):
    with gate.client() as client:
        assert client.request("GET", "/upgrade", WEBSOCKET).read_response().status == 101
        for i in range(20):
            gate.reload(say(f"n{i}"))
            assert client.send(b"x%d" % i).read_exactly(len(b"x%d" % i)) == b"x%d" % i
        eventually(lambda: gate.state()["snapshots_alive"] == 2, "two snapshots: the current one and the tunnel's")
        assert client.half_close().read_all() == b""
    gate.wait_alone()


# --- frontends that go ------------------------------------------------------------------------------------------------


def test_a_frontend_goes(gate):
    gate.reload(lambda c: c["frontends"].update(more={**BIND, "default_backend": "app"}))
    more = gate.address("more")
    running, idle, half = Client(more), Client(more), Client(more)
    assert idle.request("GET", "/size/3").read_response().status == 200
    half.send(b"GET /size/5 HTTP/1.1\r\nHost:")
    running.request("GET", "/delay/500/size/7")
    eventually(lambda: gate.control.json("show info")["requests"]["active"] >= 1, "the request under way")
    eventually(lambda: gate.control.json("show info")["connections"]["open"] >= 3, "three connections")
    gate.reload(lambda c: c["frontends"].pop("more"))
    assert stays_refused(more)
    assert idle.is_closed()
    half.send(b" a\r\n\r\n")
    for client, size in [(half, 5), (running, 7)]:
        response = client.read_response()
        assert response.body == pattern(size) and response.header("Connection") == "close" and client.is_closed()
    gate.wait_alone()
    assert gate.fetch("/own").text == "old"


def test_its_queue_is_emptied(gate):
    """Connections that nobody has accepted yet when their frontend goes are served."""
    gate.reload(lambda c: c["frontends"].update(more={**BIND, "default_backend": "app"}))
    more = gate.address("more")
    for _ in range(10):
        clients = [Client(more).send(b"GET /size/9 HTTP/1.1\r\nHost: a\r\n\r\n") for _ in range(30)]
        gate.reload(lambda c: c["frontends"].pop("more"))
        for client in clients:
            with client:
                assert client.read_response().body == pattern(9)
        gate.reload(lambda c: c["frontends"].update(more={**BIND, "default_backend": "app"}))
        more = gate.address("more")
    gate.wait_alone()


def test_a_client_that_was_to_say_who_it_is(gate):
    """Behind a PROXY header that comes late: a request that is here is its last; who has said nothing is closed."""
    more = {"bind": [{"address": "127.0.0.1:0", "accept_proxy": True}], "default_backend": "app"}
    gate.reload(lambda c: c["frontends"].update(more=more))
    address = gate.address("more")
    quiet, half = Client(address), Client(address)
    half.send(b"PROXY TCP4 1.2.3.4 5.6.7.8 9 10\r")
    eventually(lambda: gate.control.json("show info")["connections"]["open"] >= 2, "both")
    gate.reload(lambda c: c["frontends"].pop("more"))
    assert quiet.is_closed()
    half.send(b"\nGET /size/5 HTTP/1.1\r\nHost: a\r\n\r\n")
    response = half.read_response()
    assert response.body == pattern(5) and response.header("Connection") == "close" and half.is_closed()
    gate.wait_alone()


def test_a_tcp_frontend_goes_its_tunnels_stay(gate, origin):
    raw = origin("-t")
    gate.reload(lambda c: (c["frontends"].update(tcp={**BIND, "mode": "tcp", "default_backend": "raw"}),
                           c["backends"].update(raw={"servers": [raw.address]})))
    with Client(gate.address("tcp")) as client:
        assert client.send(b"one").read_exactly(3) == b"one"
        gate.reload(lambda c: (c["frontends"].pop("tcp"), c["backends"].pop("raw")))
        assert client.send(b"two").read_exactly(3) == b"two"
        assert gate.state()["snapshots_alive"] == 2
        assert client.half_close().read_all() == b""
    gate.wait_alone()


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


# --- several at once --------------------------------------------------------------------------------------------------


@pytest.mark.threads
def test_reloads_at_once_wait_for_each_other(gate):
    gate.write(say("new"))
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(gate.control.json("reload")["number"])) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    assert sorted(answers) == list(range(1, 9))
    with gate.control.open() as raw:
        raw.send("reload;" * 20 + "show info json\n").end()
        assert raw.rest().decode().count("ok: ") == 20
    assert gate.fetch("/own").text == "new"
    gate.wait_alone()


@pytest.mark.threads
def test_reload_while_it_stops(gate):
    gate.write(say("new"))
    with gate.client() as client, gate.control.open() as raw:
        client.request("GET", "/delay/700/size/3")
        eventually(lambda: gate.server("a1")["active"] == 1, "the request under way")
        raw.send("reload; shutdown; reload; rollback\n")
        assert raw.answer().startswith("ok: configuration 1")
        assert raw.answer().startswith("ok: ")
        assert raw.answer() == "error: conflict: the process is stopping\n"
        assert raw.answer() == "error: conflict: the process is stopping\n"
        assert client.read_response().body == pattern(3) and client.is_closed()
    assert gate.wait_exit() == 0
    gate.assert_clean()


@pytest.mark.threads
@pytest.mark.parametrize("how", ["shutdown now", "shutdown"])
def test_shutdown_in_the_middle_of_reloads(gate, how):
    gate.reload(lambda c: c["global"].update(shutdown={"grace": "200ms"}))
    gate.write(lambda c: (say("new")(c), c["frontends"].update(more={**BIND, "default_backend": "app"})))
    with gate.client() as client, gate.control.open() as raw:
        client.request("GET", "/hang")
        eventually(lambda: gate.server("a1")["active"] == 1, "the request under way")
        raw.send("reload confirm within 1h\n" + "reload\n" * 5 + how + "\n")
        assert gate.wait_exit() == 0
    gate.assert_clean()
