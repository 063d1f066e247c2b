"""`show sessions` and `kill`: exchanges in each phase, over all workers, through socat."""

import contextlib
import os
import threading
import time

import pytest
from control_client import control, control_settings
from support import Client, Cut, eventually, web_config

LONG = "60s"
TIMEOUTS = {"connect": LONG, "response": LONG, "server": LONG, "tunnel": LONG, "queue": LONG}
BUSY = b"HTTP/1.1 503 Busy\r\nRetry-After: 60\r\nContent-Length: 0\r\n\r\n"


def with_control(*servers, backend=None, workers=2, **more):
    return web_config(*servers, settings=control_settings(workers=workers),
                      backend={"timeouts": TIMEOUTS, "retry": "off", **(backend or {})}, **more)


def sessions(gate, arguments=""):
    data = control(gate).json(f"show sessions {arguments}")
    assert data["left_out"] == 0
    return data["sessions"]


def wait_phase(gate, phase, count=1):
    """The sessions in this phase, when there are so many."""

    def in_phase():
        found = [row for row in sessions(gate) if row["phase"] == phase]
        return found if len(found) == count else None

    return eventually(in_phase, f"{count} sessions in the phase '{phase}'")


def wait_nothing_left(gate):
    """No exchange, and nobody counts for a server."""
    admin = control(gate)
    eventually(lambda: admin.json("show info")["requests"]["active"] == 0, "the end of all exchanges")
    memory = {row["pool"]: row["in_use"] for row in admin.json("show memory")}
    assert memory["exchanges"] == 0 and memory["waiters"] == 0
    assert all(row["active"] == 0 for row in admin.json("show servers"))
    assert all(row["queued"] == 0 for row in admin.json("show backends"))
    assert sessions(gate) == []


class Scene:
    """A gate with one exchange in a phase: `client` is its client, `record` says what its record has beside the cause,
    `answer` what the client must see when it is killed: a status, or None for a cut."""

    def __init__(self, gate, client, answer=503, server="a1", frontend="web", **record):
        self.gate, self.client, self.answer, self.server = gate, client, answer, server
        self.frontend, self.record = frontend, record


def ask(gate, target, method="GET", **options):
    return gate.client().request(method, target, **options)


def queued(make):
    server = {"name": "a1", "address": make.origin("-n", "a1").address, "max_connections": 1}
    gate = make.loomgate(with_control(server))
    make.keep(ask(gate, "/hang?first"))
    wait_phase(gate, "waiting")
    return Scene(gate, ask(gate, "/queued"), server=None, path="/queued")


def connecting(make):
    gate = make.loomgate(with_control({"name": "a1", "address": make.unreachable}))
    return Scene(gate, ask(gate, "/x"), path="/x")


def connecting_with_a_body(make):
    gate = make.loomgate(with_control({"name": "a1", "address": make.unreachable}))
    client = gate.client().request("POST", "/x", [("Content-Length", "1000")]).send(b"abc")
    return Scene(gate, client, path="/x")


def waiting(make):
    gate = make.loomgate(with_control({"name": "a1", "address": make.origin().address}))
    return Scene(gate, ask(gate, "/hang"), path="/hang")


def sending_a_body(make):
    gate = make.loomgate(with_control({"name": "a1", "address": make.origin().address}))
    client = gate.client().request("POST", "/sink", [("Content-Length", "1000000")]).send(b"x" * 1000)
    return Scene(gate, client, path="/sink")


def half_a_response(framing):
    def script(conn):
        conn.read_request()
        conn.send(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\nhello\r\n")
        conn.wait_closed()

    return script


def in_a_response(make):
    server = make.fake_server(half_a_response(b"Content-Length: 1000\r\n"))
    gate = make.loomgate(with_control({"name": "a1", "address": server.address}))
    return Scene(gate, ask(gate, "/part"), answer=None, path="/part", status=200)


def in_chunks(make):
    server = make.fake_server(half_a_response(b"Transfer-Encoding: chunked\r\n\r\n5"))
    gate = make.loomgate(with_control({"name": "a1", "address": server.address}))
    return Scene(gate, ask(gate, "/part"), answer=None, path="/part", status=200)


def in_a_response_until_close(make):
    server = make.fake_server(half_a_response(b""))
    gate = make.loomgate(with_control({"name": "a1", "address": server.address}))
    return Scene(gate, ask(gate, "/part"), answer=None, path="/part", status=200)


def not_read(make):
    """The client does not read: the response stands still on its way to it."""
    gate = make.loomgate(with_control({"name": "a1", "address": make.origin().address}))
    client = Client(gate.web, rcvbuf=4096).request("GET", "/size/50m")
    return Scene(gate, client, answer=None, path="/size/50m", status=200)


def upgraded(make):
    gate = make.loomgate(with_control({"name": "a1", "address": make.origin().address}))
    client = ask(gate, "/upgrade", headers=[("Connection", "upgrade"), ("Upgrade", "echo")])
    assert client.read_response().status == 101
    return Scene(gate, client, answer=None, path="/upgrade", status=101)


def tcp(make):
    frontends = {"db": {"mode": "tcp", "bind": ["127.0.0.1:0"], "default_backend": "app", "access_log": {
        "to": "stdout", "format": "json"}}}
    gate = make.loomgate(with_control({"name": "a1", "address": make.origin().address}, frontends=frontends))
    return Scene(gate, gate.client("db"), answer=None, frontend="db", protocol="tcp")


def tcp_connecting(make):
    frontends = {"db": {"mode": "tcp", "bind": ["127.0.0.1:0"], "default_backend": "app", "access_log": {
        "to": "stdout", "format": "json"}}}
    gate = make.loomgate(with_control({"name": "a1", "address": make.unreachable}, frontends=frontends))
    return Scene(gate, gate.client("db"), answer=None, frontend="db", protocol="tcp")


def backing_off(make):
    server = make.fake_server(BUSY)
    retry = {"on": [503], "backoff": {"base": "1ms", "max": "1ms"}, "max": 3}
    gate = make.loomgate(with_control({"name": "a1", "address": server.address}, backend={"retry": retry},
                                      frontend={"timeouts": {"request": "120s"}}))
    return Scene(gate, ask(gate, "/again"), server=None, path="/again")


def answering(make):
    """An answer of our own, before the client has sent its request."""
    routes = [{"name": "own", "match": {"path": "/own"}, "respond": {"status": 200, "body": "mine"}}]
    gate = make.loomgate(with_control({"name": "a1", "address": make.origin().address}, frontend={"routes": routes}))
    client = gate.client().request("POST", "/own", [("Content-Length", "100000")]).send(b"abc")
    assert client.read_response().text == "mine"
    return Scene(gate, client, answer=None, server=None, path="/own", status=200)


PHASES = [
    (queued, "queue"), (connecting, "connect"), (connecting_with_a_body, "connect"), (waiting, "waiting"),
    (sending_a_body, "request"), (in_a_response, "response"), (in_chunks, "response"),
    (in_a_response_until_close, "response"), (not_read, "response"), (upgraded, "tunnel"), (tcp, "tunnel"),
    (tcp_connecting, "connect"), (backing_off, "backoff"), (answering, "answer"),
]


class Make:
    """What a scene is made of."""

    def __init__(self, request, stack):
        self._request, self._stack = request, stack

    def __getattr__(self, name):
        return self._request.getfixturevalue(name)

    def keep(self, client):
        """Closed at the test's end."""
        return self._stack.enter_context(client)


@pytest.fixture
def make(request, loomgate, origin, fake_server):  # noqa: ARG001  (they end after the clients)
    with contextlib.ExitStack() as stack:
        yield Make(request, stack)


def read_to_the_end(client):
    """The response, or what there was of it before the connection ended; and whether it was cut."""
    try:
        return client.read_response(), False
    except Cut as cut:
        return cut.response, True


@pytest.mark.threads
@pytest.mark.parametrize("build, phase", PHASES, ids=[build.__name__ for build, _ in PHASES])
def test_each_phase_is_shown_and_killed(make, build, phase):
    scene = build(make)
    gate, client = scene.gate, scene.client
    row = wait_phase(gate, phase)[0]
    with client:
        assert row["client"] == client.local and row["server"] == scene.server and row["frontend"] == scene.frontend
        assert row["backend"] == ("app" if scene.server else None)
        assert 0 <= row["age"] < 100 and row["tries"] == (0 if phase in ("queue", "answer") else 1)
        if scene.frontend == "web":
            assert row["path"] == scene.record["path"] and row["host"] == "localhost" and row["bytes_in"] > 30
        if scene.server:
            assert [r["id"] for r in sessions(gate, f"server app/{scene.server}")] == [row["id"]]
        assert control(gate).ok(f"kill session {row['id']}") == "1 session ended"
        if scene.answer:
            response, was_cut = read_to_the_end(client)
            assert not was_cut and response.status == scene.answer and "an operator ended" in response.text
            assert client.is_closed()
        elif phase == "response":
            assert read_to_the_end(client)[1]
        else:
            client.read_all()
    record = gate.record(id=row["id"])
    assert record["cause"] == "killed" and record["blame"] == "gateway"
    assert {key: record[key] for key in scene.record} == scene.record
    assert record["status"] == (scene.answer or scene.record.get("status"))
    if build is queued:
        control(gate).ok("kill sessions server app/a1")
    wait_nothing_left(gate)


# --- what is shown ----------------------------------------------------------------------------------------------------


@pytest.fixture
def hanging(make):
    """A gate with two servers; gate.hang(count) adds requests that wait, one after the other."""
    a1, a2 = make.origin("-n", "a1"), make.origin("-n", "a2")
    servers = [{"name": "a1", "address": a1.address}, {"name": "a2", "address": a2.address}]
    gate = make.loomgate(with_control(*servers, frontends={
        "api": {"bind": ["127.0.0.1:0"], "default_backend": "app"}}))
    clients = []

    def hang(count, frontend="web"):
        for _ in range(count):
            clients.append(make.keep(gate.client(frontend)))
            clients[-1].request("GET", f"/hang?n={len(clients)}")
        eventually(lambda: len(sessions(gate)) == len(clients), "all sessions")
        return clients

    gate.hang = hang
    return gate


def test_filters(hanging):
    hanging.hang(5)
    hanging.hang(2, "api")
    rows = sessions(hanging)
    assert len(rows) == 7 and [row["age"] for row in rows] == sorted((row["age"] for row in rows), reverse=True)
    assert len(sessions(hanging, "frontend api")) == 2 and len(sessions(hanging, "frontend web")) == 5
    on_a1 = sessions(hanging, "server app/a1")
    assert {row["server"] for row in on_a1} == {"a1"} and len(on_a1) in (3, 4)
    both = sessions(hanging, "server app/a1 frontend api")
    assert [row["id"] for row in on_a1 if row["frontend"] == "api"] == [row["id"] for row in both]
    assert sessions(hanging, "older 1h") == [] and len(sessions(hanging, "older 0 frontend web")) == 5
    oldest = rows[0]["age"]
    eventually(lambda: len(sessions(hanging, f"older {int(oldest * 1000) + 200}ms")) == 7, "all are older now")
    text = control(hanging).lines("show sessions")
    assert text[0] == "sessions:" and len(text) == 10 and text[-1].split() == ["left_out", "0"]
    assert text[1].split()[:4] == ["id", "age", "frontend", "client"]


def test_misuse(hanging):
    admin = control(hanging)
    for words in ("frontend", "older", "web", "older 1h server"):
        assert admin.error(f"show sessions {words}", "usage").startswith("show sessions [frontend FRONTEND]")
    assert "did you mean 'web'?" in admin.error("show sessions frontend wep", "usage")
    assert "did you mean 'a1'?" in admin.error("show sessions server app/a", "no_such_server")
    admin.error("show sessions server ap/a1", "no_such_backend")
    assert "not a duration" in admin.error("show sessions older x", "usage")
    assert "no session has an id" in admin.error("kill session zz", "conflict")
    admin.error('kill session ""', "usage")
    admin.error("kill session " + "a" * 200, "usage")
    admin.error("kill sessions server app", "usage")
    admin.error("kill sessions server app/b", "no_such_server")
    assert "'web'" in admin.error("kill sessions frontend wab", "usage")
    assert "goes on with" in admin.error("kill", "unknown_command")
    for command in ("kill session 0", "kill sessions server app/a1", "kill sessions frontend web"):
        assert "needs the level operator" in control(hanging, "user").error(command, "denied")
    assert control(hanging, "user").json("show sessions") == {"sessions": [], "left_out": 0}


def test_the_number_shown_is_limited(make):
    """The oldest are shown, of all workers, and how many were left out."""
    gate = make.loomgate(with_control({"name": "a1", "address": make.origin().address}))
    clients = [make.keep(gate.client()) for _ in range(1100)]
    for number, client in enumerate(clients):
        client.request("GET", f"/hang?n={number}")
    eventually(lambda: control(gate).json("show info")["requests"]["active"] == 1100, "all of them")
    data = control(gate).json("show sessions")
    assert len(data["sessions"]) == 1000 and data["left_out"] == 100
    assert len({row["id"] for row in data["sessions"]}) == 1000
    assert control(gate).json("kill sessions server app/a1") == {"killed": 1100}
    assert all(client.read_response().status == 503 for client in clients)
    wait_nothing_left(gate)


# --- kill -------------------------------------------------------------------------------------------------------------


def test_a_prefix_must_be_unique(hanging):
    clients = hanging.hang(3)
    admin = control(hanging)
    rows = {row["path"]: row["id"] for row in sessions(hanging)}
    victim = rows["/hang?n=2"]
    common = os.path.commonprefix(list(rows.values()))  # ids of the same time begin alike
    assert common and "several sessions" in admin.error(f"kill session {common}", "conflict")
    assert len(sessions(hanging)) == 3
    shortest = next(n for n in range(1, 37) if sum(row.startswith(victim[:n]) for row in rows.values()) == 1)
    assert admin.ok(f"kill session {victim[:shortest]}") == "1 session ended"
    assert clients[1].read_response().status == 503
    assert {row["id"] for row in sessions(hanging)} == set(rows.values()) - {victim}
    assert "no session" in admin.error(f"kill session {victim}", "conflict")


def test_an_id_of_the_client_may_be_there_twice(make):
    """The whole id means all that have it, also where others begin with it."""
    gate = make.loomgate(with_control({"name": "a1", "address": make.origin().address},
                                      frontend={"request_id": {"trust": True}}))
    clients = [make.keep(gate.client()).request("GET", "/hang", [("X-Request-Id", name)])
               for name in ("abc", "abc", "abcd")]
    wait_phase(gate, "waiting", 3)
    assert "several" in control(gate).error("kill session ab", "conflict")
    assert control(gate).ok("kill session abc") == "2 sessions ended"
    assert [client.read_response().status for client in clients[:2]] == [503, 503]
    assert control(gate).ok("kill session a") == "1 session ended"
    assert clients[2].read_response().status == 503
    wait_nothing_left(gate)


@pytest.mark.threads
def test_all_of_a_server_over_all_workers(hanging):
    clients = hanging.hang(20)
    on_a1 = {row["client"] for row in sessions(hanging, "server app/a1")}
    assert len(on_a1) == 10
    assert control(hanging).ok("kill sessions server app/a1") == "10 sessions ended"
    for client in clients:
        if client.local in on_a1:
            assert client.read_response().status == 503
    assert {row["server"] for row in sessions(hanging)} == {"a2"}
    assert control(hanging).ok("kill sessions server app/a1") == "0 sessions ended"
    assert control(hanging).ok("kill sessions frontend api") == "0 sessions ended"
    assert control(hanging).json("kill sessions frontend web") == {"killed": 10}
    wait_nothing_left(hanging)
    audit = [row for row in control(hanging).json("show audit") if row["command"].startswith("kill")]
    assert [row["message"] for row in audit][:2] == ["10 sessions ended", "0 sessions ended"]


def test_what_waits_moves_up(make):
    """A killed exchange gives its place to the next one."""
    server = {"name": "a1", "address": make.origin().address, "max_connections": 1}
    gate = make.loomgate(with_control(server))
    first = make.keep(ask(gate, "/hang"))
    row = wait_phase(gate, "waiting")[0]
    second = make.keep(ask(gate, "/size/10"))
    wait_phase(gate, "queue")
    control(gate).ok(f"kill session {row['id']}")
    assert first.read_response().status == 503 and second.read_response().status == 200


def test_the_breaker_learns_nothing_from_it(make):
    backend = {"breaker": {"min_requests": 1, "error_rate": "1%"}}
    gate = make.loomgate(with_control({"name": "a1", "address": make.origin().address}, backend=backend))
    with ask(gate, "/hang") as client:
        wait_phase(gate, "waiting")
        control(gate).ok("kill sessions server app/a1")
        assert client.read_response().status == 503
    wait_nothing_left(gate)
    breaker = control(gate).json("show breakers")[0]
    assert (breaker["state"], breaker["errors"]) == ("closed", 0)


@pytest.mark.threads
def test_traffic_goes_on_while_it_is_looked_at_and_killed(make):
    """Exchanges begin and end underneath."""
    gate = make.loomgate(with_control(*({"name": name, "address": make.origin("-n", name).address}
                                        for name in ("a1", "a2"))))
    done, seen, failures = threading.Event(), {200: 0, 503: 0}, []

    def run(number):
        while not done.is_set():
            try:
                with gate.client() as client:
                    for turn in range(20):
                        path = "/delay/2/size/100" if turn % 3 else "/size/20000"
                        seen[client.request("GET", path).read_response().status] += 1
            except (Cut, OSError):
                pass  # killed while it was idle or in the middle of a response
            except Exception as error:  # noqa: BLE001
                failures.append(error)
                return

    threads = [threading.Thread(target=run, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    killed, end = 0, time.monotonic() + 3
    with control(gate).open() as raw:
        while time.monotonic() < end:
            raw.send("show sessions json; kill sessions server app/a1; kill session 0; show sessions server app/a2\n")
            raw.answer()
            killed += int(raw.answer().split()[1])
            raw.answer(), raw.answer()
    done.set()
    for thread in threads:
        thread.join()
    assert not failures and seen[200] > 0 and killed > 0, (failures, seen, killed)
    wait_nothing_left(gate)
