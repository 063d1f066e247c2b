"""`explain` agrees with what then really happens, and changes nothing."""

import json
import time

import pytest
from control_client import control, control_settings
from gates import shared
from support import Client, eventually, web_config

LONG = {"connect": "60s", "response": "60s", "queue": "60s"}


def quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def url_of(gate, target="/", host="h", frontend="web"):
    port = gate.address(frontend).rpartition(":")[2]
    return f"http://{host}:{port}{target}"


def explain(gate, method="GET", target="/", host="h", fields=(), source=None, frontend="web"):
    """What is told of such a request."""
    words = [method, quoted(url_of(gate, target, host, frontend))]
    words += [quoted(f"{name}: {value}") for name, value in fields]
    words += ["from", source] if source else []
    return control(gate, "user").json("explain " + " ".join(words))


# --- routes: every kind of match --------------------------------------------------------------------------------------


def respond(name, match):
    return {"name": name, "match": match, "respond": {"status": 200, "body": name}}


ROUTES = [
    respond("host", {"host": ["www.example.com", "*.wild.example.com"]}),
    respond("path", {"path": "/exact"}),
    respond("prefix", {"path_prefix": "/api"}),
    respond("both", {"path": "/both/exact", "path_prefix": "/both"}),
    respond("never", {"path": "/other", "path_prefix": "/both"}),
    respond("method", {"path": "/m", "method": ["PUT", "DELETE"]}),
    respond("header", {"path": "/h", "header": {"X-Tenant": "blue", "X-Zone": "*"}}),
    respond("query", {"path": "/q", "query": {"a": "1", "b": "*"}}),
    respond("cookie", {"path": "/c", "cookie": {"user": "anna"}}),
    respond("source", {"path": "/s", "source": ["127.0.0.2/32", "10.0.0.0/8"]}),
    {"name": "redirect", "match": {"path_prefix": "/go"},
     "redirect": {"to": "https://%{host}:%{port}%{uri}", "status": 308}},
    {"name": "backend", "match": {"path_prefix": "/echo"}, "backend": "app"},
]


def build(world):
    limits = {"header_size": 2048, "header_count": 20, "uri_size": 500, "body_size": 1000}
    config = web_config(world.origin("-n", "a1").address, settings=control_settings(workers=1),
                        frontend={"routes": ROUTES, "limits": limits})
    del config["frontends"]["web"]["default_backend"]
    return config


web = shared(build)


# The request, the last condition that fails before it matches (or None), and what that one is about.
REQUESTS = [
    ({"host": "www.example.com"}, "host", None),
    ({"host": "WWW.example.com"}, "host", None),
    ({"host": "x.wild.example.com", "target": "/exact"}, "host", None),
    ({"host": "wild.example.com", "target": "/exact"}, "path", ("host", "host")),
    ({"target": "/exact?x=y"}, "path", ("host", "host")),
    ({"target": "/api/x"}, "prefix", ("path", "path")),
    ({"target": "/apix"}, None, ("prefix", "path_prefix")),
    ({"target": "/both/exact"}, "both", ("prefix", "path_prefix")),
    ({"target": "/other"}, None, ("never", "path_prefix")),
    ({"target": "/m", "method": "DELETE"}, "method", ("never", "path")),
    ({"target": "/m", "method": "GET"}, None, ("method", "method")),
    ({"target": "/h", "fields": [("X-Tenant", "blue"), ("X-Zone", "z")]}, "header", ("method", "path")),
    ({"target": "/h", "fields": [("x-tenant", "red"), ("X-TENANT", "blue"), ("x-zone", "")]}, "header", None),
    ({"target": "/h", "fields": [("X-Tenant", "red"), ("X-Zone", "z")]}, None, ("header", "header X-Tenant")),
    ({"target": "/h", "fields": [("X-Tenant", "blue")]}, None, ("header", "header X-Zone")),
    ({"target": "/q?b&a=1"}, "query", ("header", "path")),
    ({"target": "/q?a=%31&b=2"}, "query", None),
    ({"target": "/q?a=2&b=2"}, None, ("query", "query a")),
    ({"target": "/q?a=1"}, None, ("query", "query b")),
    ({"target": "/c", "fields": [("Cookie", "x=y; user=anna")]}, "cookie", ("query", "path")),
    ({"target": "/c", "fields": [("Cookie", "user=berta")]}, None, ("cookie", "cookie user")),
    ({"target": "/c"}, None, ("cookie", "cookie user")),
    ({"target": "/s", "source": "127.0.0.2"}, "source", ("cookie", "path")),
    ({"target": "/s", "source": "127.0.0.3"}, None, ("source", "source")),
    ({"target": "/go/x?y=z", "host": "h.example.com"}, "redirect", ("source", "path")),
    ({"target": "/echo"}, "backend", ("redirect", "path_prefix")),
    ({"target": "*", "method": "OPTIONS"}, None, None),
]


def really(web, method="GET", target="/", host="h", fields=(), source=None, **options):
    """What really happens: the response, and the access record."""
    port = web.gate.web.rpartition(":")[2]
    with Client(web.gate.web, source=source) as client:
        client.first_record = len(web.gate.records.lines)
        response = client.request(method, target, list(fields), host=f"{host}:{port}", **options).read_response()
        return response, web.record_of(client)


@pytest.mark.parametrize("request_, route, miss", REQUESTS, ids=[str(number) for number in range(len(REQUESTS))])
def test_routes(web, request_, route, miss):
    if request_.get("target") == "*":  # in a URL there is no such target
        told = control(web.gate).json("explain OPTIONS * Host: h")
    else:
        told = explain(web.gate, **request_)
    response, record = really(web, **request_)
    assert record["route"] == route and told["frontend"] == "web"
    assert [row["matches"] for row in told["routes"]] == [False] * (len(told["routes"]) - bool(route)) + [True] * bool(
        route)
    assert [row["route"] for row in told["routes"]] == [row["name"] for row in ROUTES][:len(told["routes"])]
    if route:
        assert told["routes"][-1]["route"] == told["route"] == route
    if miss:
        rows = {row["route"]: row for row in told["routes"]}
        assert (miss[0], rows[miss[0]]["condition"]) == miss and rows[miss[0]]["wanted"]
    if "answer" in told:
        assert told["answer"]["status"] == response.status
        assert told["answer"].get("cause", "ok") == record["cause"]
        assert told["answer"].get("location") == response.header("Location")
        assert told.get("backend") is record["backend"] is None
    else:
        assert (told["backend"], told["pick"]["server"]) == (record["backend"], record["server"])


def test_what_is_wanted_and_found(web):
    rows = {row["route"]: row for row in explain(web.gate, target="/h", fields=[("X-Tenant", "red")])["routes"]}
    assert rows["host"]["wanted"] == ["www.example.com", "*.wild.example.com"]
    assert rows["host"]["found"].startswith("h:") and rows["path"]["found"] == "/h"
    assert (rows["header"]["wanted"], rows["header"]["found"]) == (["blue"], "red")
    rows = {row["route"]: row for row in explain(web.gate, target="/s")["routes"]}
    assert (rows["source"]["wanted"], rows["source"]["found"]) == (["127.0.0.2/32", "10.0.0.0/8"], None)
    rows = {row["route"]: row for row in explain(web.gate, "PATCH", "/m", source="::ffff:10.1.2.3")["routes"]}
    assert (rows["method"]["wanted"], rows["method"]["found"]) == (["PUT", "DELETE"], "PATCH")
    assert explain(web.gate, target="/s", source="10.1.2.3")["route"] == "source"
    assert explain(web.gate, target="/s", source="::ffff:10.1.2.3")["route"] == "source"


# --- requests that are refused ----------------------------------------------------------------------------------------

REFUSED = [
    ({"method": "CONNECT", "target": "/"}, "method_refused"),
    ({"target": "/a b"}, "bad_request_line"),
    ({"target": "/" + "a" * 600}, "uri_too_long"),
    ({"target": "/ü"}, "bad_target"),
    ({"host": "a b"}, "bad_host"),
    ({"fields": [("Host", "a"), ("Host", "b")]}, "bad_host"),
    ({"fields": [("Content-Length", "5"), ("Transfer-Encoding", "chunked")]}, "bad_framing"),
    ({"fields": [("Transfer-Encoding", "gzip")]}, "bad_transfer_coding"),
    ({"fields": [("Content-Length", "x")]}, "bad_length"),
    ({"method": "POST", "fields": [("Content-Length", "1001")]}, "body_too_large"),
    ({"fields": [("Expect", "miracles")]}, "bad_expectation"),
    ({"fields": [("X Y", "z")]}, "bad_field"),
    ({"fields": [("X", "\x01")]}, "bad_field"),
    ({"fields": [("X", "y" * 3000)]}, "header_too_large"),
    ({"fields": [(f"X-{n}", "y") for n in range(30)]}, "too_many_fields"),
]


@pytest.mark.parametrize("request_, cause", REFUSED, ids=[str(number) for number in range(len(REFUSED))])
def test_requests_that_are_refused(web, request_, cause):
    """With the same cause as when they really come."""
    told = explain(web.gate, **request_)
    assert told["answer"]["cause"] == cause and "routes" not in told
    fields = request_.get("fields", ())
    has_host = any(name == "Host" for name, _ in fields)
    port = web.gate.web.rpartition(":")[2]
    lines = [f"{request_.get('method', 'GET')} {request_.get('target', '/')} HTTP/1.1"]
    lines += [] if has_host else [f"Host: {request_.get('host', 'h')}:{port}"]
    lines += [f"{name}: {value}" for name, value in fields]
    with web.client() as client:
        client.send("\r\n".join(lines).encode() + b"\r\n\r\n")
        assert client.read_response().status == told["answer"]["status"]
        assert web.record_of(client)["cause"] == cause


def test_connect_is_refused(web):
    assert control(web.gate).json("explain CONNECT example.org:443 Host: example.org")["answer"] == {
        "status": 501, "cause": "method_refused", "message": "the method is not supported here"}


# --- rewrites ---------------------------------------------------------------------------------------------------------


def test_rewrites_are_those_that_the_server_sees(web):
    fields = [("Connection", "x-drop, close"), ("X-Drop", "1"), ("X-Keep", "2"), ("X-Forwarded-For", "9.9.9.9"),
              ("X-Request-Id", "mine"), ("Keep-Alive", "5"), ("X_Forwarded_For", "8.8.8.8")]
    told = explain(web.gate, target="/echo", fields=fields, source="127.0.0.5")
    port = web.gate.web.rpartition(":")[2]
    seen = web.echo(host=f"h:{port}", headers=fields)
    with Client(web.gate.web, source="127.0.0.5") as client:
        response = client.request("GET", "/echo", fields, host=f"h:{port}").read_response()
    seen = [line.split(": ", 1) for line in response.text.split("\r\n\r\n")[0].split("\r\n")[2:]]
    added = {row["field"]: row["value"] for row in told["rewrites"] if row["change"] == "added"}
    dropped = [(row["field"], row["value"]) for row in told["rewrites"] if row["change"] == "dropped"]
    assert added.pop("X-Request-Id") == "(a new one)"
    came = [("Host", f"h:{port}"), *fields]
    expected = [list(pair) for pair in came if pair not in dropped] + [list(pair) for pair in added.items()]
    assert sorted(pair for pair in seen if pair[0] != "X-Request-Id") == sorted(expected)
    assert added["X-Forwarded-For"] == "127.0.0.5" and ("X-Drop", "1") in dropped and len(dropped) == 6


# --- policies ---------------------------------------------------------------------------------------------------------

POLICIES = ["round_robin", "least_requests", "random_two", "peak_ewma", "first", {"hash": "header:X-T"}]
IDS = ["round_robin", "least_requests", "random_two", "peak_ewma", "first", "hash"]


@pytest.fixture
def backend(loomgate, origin):
    """backend(policy, settings of each server...): a gate in front of as many origins, a, b, c...; gate.hanging are
    clients that are closed at the end."""
    gates = []

    def make(balance, *settings, **options):
        servers = [{"name": "abcdef"[n], "address": origin("-n", "abcdef"[n]).address, **own}
                   for n, own in enumerate(settings)]
        timeouts = {"timeouts": LONG, **options}
        gates.append(loomgate(web_config(*servers, settings=control_settings(workers=1),
                                         backend={"balance": balance, **timeouts})))
        gates[-1].hanging = []
        return gates[-1]

    yield make
    for client in (client for gate in gates for client in gate.hanging):
        client.close()


class Asker:
    """One connection; each request is explained before it is sent."""

    def __init__(self, gate):
        self.gate, self.client, self.outcomes = gate, gate.client(), []

    def ask(self, target="/echo", fields=()):
        told = explain(self.gate, target=target, fields=fields)
        names = [row["server"] for row in told["servers"] if row["chance"] > 0]
        response = self.client.request("GET", target, fields, host="h").read_response()
        self.wait_idle()
        assert response.status == 200
        name = response.text.partition("\r\n")[0].removeprefix("name: ")
        assert abs(sum(row["chance"] for row in told["servers"]) - 1) < 0.001
        if told["pick"]["outcome"] == "server":
            assert names == [told["pick"]["server"]] == [name]
        else:
            assert told["pick"] == {"outcome": "chance", "server": None} and name in names and len(names) > 1
        self.outcomes.append(told["pick"]["outcome"])
        return name, told

    def wait_idle(self):
        """The last exchange does not count any more."""
        hanging = len(getattr(self.gate, "hanging", []))
        eventually(lambda: control(self.gate).json("show info")["requests"]["active"] == hanging, "an idle gate")


@pytest.mark.parametrize("policy", POLICIES, ids=IDS)
def test_what_is_told_is_what_happens(backend, policy):
    gate = backend(policy, {"weight": 2}, {"weight": 1}, {"weight": 0}, {"weight": 1, "maint": True},
                   {"backup": True})
    asker = Asker(gate)
    for turn in range(8):
        _, told = asker.ask(f"/echo?n={turn}", [("X-T", f"t{turn}")])
    rows = {row["server"]: row for row in told["servers"]}
    assert [rows[name]["standing"] for name in "abcde"] == ["ok", "ok", "out", "out", "ok"]
    assert rows["d"]["admin"] == "maint" and rows["e"]["backup"] and rows["a"]["weight"] == 2
    assert all(rows[name]["chance"] == 0 for name in "cde")
    always = policy in ("round_robin", "first") or isinstance(policy, dict)
    assert told["balance"]["policy"] == (policy if isinstance(policy, str) else "hash")
    assert set(asker.outcomes) == {"server"} if always else "chance" in asker.outcomes or policy == "peak_ewma"
    admin = control(gate)
    admin.ok("breaker trip app/a for 1h")
    for turn in range(3):  # one is left
        name, told = asker.ask(f"/echo?n={turn}", [("X-T", f"t{turn}")])
        assert name == "b" and told["servers"][0]["standing"] == told["servers"][0]["breaker"] == "open"
    admin.ok("breaker trip app/b for 1h")
    for turn in range(3):
        assert asker.ask(f"/echo?n={turn}", [("X-T", f"t{turn}")])[0] == "e"
    admin.ok("breaker trip app/e for 1h")
    assert explain(gate)["pick"] == {"outcome": "refused", "status": 503, "cause": "breaker_open"}
    assert gate.fetch("/refused").status == 503 and gate.record(path="/refused")["cause"] == "breaker_open"


def hang(gate, count):
    """Requests that their servers keep."""
    gate.hanging += [gate.client().request("GET", f"/hang?n={number}") for number in range(count)]
    eventually(lambda: sum(row["active"] for row in control(gate).json("show servers")) == count, "busy servers")
    return {row["server"]: row["active"] for row in control(gate).json("show servers")}


@pytest.mark.parametrize("policy, servers, load", [("least_requests", 3, 2), ("random_two", 2, 1)])
def test_load_decides(backend, policy, servers, load):
    gate = backend(policy, *[{}] * servers)
    active = hang(gate, load)
    idle = [name for name, count in active.items() if count == 0]
    asker = Asker(gate)
    assert [asker.ask()[0] for _ in range(4)] == idle * 4 and set(asker.outcomes) == {"server"}
    told = explain(gate)
    assert {row["server"]: row["active"] for row in told["servers"]} == active


def test_latency_decides(loomgate, origin, fake_server):
    def slow(conn):
        while conn.read_request()[0]:
            time.sleep(0.5)
            conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nname: a")

    servers = [{"name": "a", "address": fake_server(slow).address}, {"name": "b", "address": origin("-n", "b").address}]
    gate = loomgate(web_config(*servers, settings=control_settings(workers=1), backend={"balance": "peak_ewma"}))
    asker = Asker(gate)
    names = {asker.ask()[0] for _ in range(10)}
    assert names == {"a", "b"} and asker.outcomes[-4:] == ["server"] * 4
    rows = {row["server"]: row for row in explain(gate)["servers"]}
    assert rows["a"]["latency"] > 0.1 > rows["b"]["latency"] > 0


def test_the_hash_key(backend):
    gate = backend({"hash": "header:X-T"}, {}, {}, {}, {})
    keys, picked = {}, {}
    for number in range(12):
        told = explain(gate, fields=[("X-T", f"t{number}")])
        keys[number], picked[number] = told["balance"]["key"], told["pick"]["server"]
    assert len(set(keys.values())) == 12 and len(set(picked.values())) > 1
    assert told["balance"]["by"] == "header:X-T" and len(keys[0]) == 16
    asker = Asker(gate)
    for number in range(12):
        name, told = asker.ask("/echo", [("x-t", f"t{number}")])
        assert (told["balance"]["key"], name) == (keys[number], picked[number])
    name, told = asker.ask()  # no field, no key: chance
    assert told["balance"]["key"] is None and told["pick"]["outcome"] == "chance"


def test_no_turn_is_taken(backend):
    gate = backend("round_robin", {"weight": 3}, {"weight": 2}, {"weight": 1})
    admin, asker = control(gate), Asker(gate)
    order = [asker.ask()[0] for _ in range(6)]
    before = admin.json("show info")["requests"]
    line = "explain GET /echo json;" * 100 + "\n"
    seen = []
    for _ in range(6):
        with admin.open() as raw:
            raw.send(line * 10).end()
            answers = [json.loads(text) for text in raw.rest().decode().split("\n\n") if text]
        assert len(answers) == 1000 and len({answer["data"]["pick"]["server"] for answer in answers}) == 1
        seen.append(answers[0]["data"]["pick"]["server"])
        assert asker.ask()[0] == seen[-1]
    assert seen == order
    eventually(lambda: admin.json("show info")["requests"]["total"] >= before["total"] + 6, "the last one is counted")
    after = admin.json("show info")["requests"]
    assert after["total"] == before["total"] + 6 and after["retries_total"] == before["retries_total"]


# --- no server --------------------------------------------------------------------------------------------------------


def test_a_full_server(backend):
    gate = backend("round_robin", {"max_connections": 1}, queue={"max": 1})
    hang(gate, 1)
    told = explain(gate)
    assert told["servers"][0]["standing"] == "full" and told["pick"] == {"outcome": "queue", "waiting": 0}
    with gate.client() as client:
        client.request("GET", "/waits")
        eventually(lambda: control(gate).json("show backends")[0]["queued"] == 1, "one that waits")
        told = explain(gate)
        assert told["pick"] == {"outcome": "refused", "status": 503, "cause": "queue_full", "waiting": 1}
        assert gate.fetch("/full").status == 503 and gate.record(path="/full")["cause"] == "queue_full"


def test_no_server_at_all(backend):
    gate = backend("round_robin", {"maint": True}, {"weight": 0})
    assert explain(gate)["pick"] == {"outcome": "refused", "status": 503, "cause": "no_server"}
    assert gate.fetch("/none").status == 503 and gate.record(path="/none")["cause"] == "no_server"


# --- which frontend ---------------------------------------------------------------------------------------------------


@pytest.fixture
def many(loomgate, origin, tmp_path):
    web = {"bind": ["127.0.0.1:0"], "default_backend": "app"}
    frontends = {"api": web, "db": {**web, "mode": "tcp", "default_backend": "hashed"},
                 "local": {**web, "bind": [f"unix:{tmp_path}/local.sock"]}}
    servers = [{"name": name, "address": origin("-n", name).address} for name in "ab"]
    backends = {"hashed": {"balance": {"hash": "source"}, "servers": servers}}
    return loomgate(web_config(*servers, settings=control_settings(), frontends=frontends, backends=backends))


def test_the_port_names_the_frontend(many):
    for frontend in ("web", "api"):
        assert explain(many, frontend=frontend)["frontend"] == frontend
    admin = control(many)
    sentence = admin.error("explain GET /", "conflict")
    assert sentence.startswith("several frontends could be meant: web (port ") and "local (port 0)" in sentence
    assert admin.json("explain GET / frontend local")["frontend"] == "local"
    assert admin.json("explain GET / X: y from 1.2.3.4 frontend api")["frontend"] == "api"
    assert admin.json("explain GET / frontend api from 1.2.3.4")["frontend"] == "api"
    assert "no frontend listens on port 80; there are web (port" in admin.error("explain GET http://x/", "usage")
    assert "port 443" in admin.error("explain GET https://x/", "usage")


def test_a_tunnel(many):
    """No request: what there is to pick by is the client."""
    by_source = {}
    for number in range(20):
        told = explain(many, frontend="db", source=f"127.0.0.{number + 1}")
        assert "routes" not in told and "rewrites" not in told and told["backend"] == "hashed"
        by_source[f"127.0.0.{number + 1}"] = told["pick"]["server"]
    assert set(by_source.values()) == {"a", "b"}
    for source, name in list(by_source.items())[:6]:
        with Client(many.address("db"), source=source) as client:
            assert client.request("GET", "/echo").read_response().text.startswith(f"name: {name}\r\n")


# --- misuse -----------------------------------------------------------------------------------------------------------


def test_misuse(web):
    admin = control(web.gate)
    for words in ("", " GET"):
        assert admin.error(f"explain{words}", "usage").startswith("explain METHOD URL")
    assert "begins with http://" in admin.error("explain GET x", "usage")
    assert "begins with http://" in admin.error('explain GET ""', "usage")
    assert "not a field" in admin.error("explain GET / word", "usage")
    assert "not a field" in admin.error("explain GET / from", "usage")
    assert "IP address" in admin.error("explain GET / from here", "usage")
    assert "IP address" in admin.error("explain GET / from 10.0.0.0/8", "usage")
    assert "did you mean 'web'?" in admin.error("explain GET / frontend wob", "usage")
    assert "the port in the URL" in admin.error("explain GET http://h:x/", "usage")
    assert "the port in the URL" in admin.error("explain GET http://h:70000/", "usage")
    text = admin.ask("explain GET / \"X-A: 1\"")
    assert "protocol  HTTP/1.0" in text and "no_route" in text


# --- another configuration --------------------------------------------------------------------------------------------


def test_the_configuration_in_force_is_explained(loomgate, origin):
    """After a reload the new one; what runs under the old one is still shown, and can be ended."""
    config = web_config(origin("-n", "a").address, settings=control_settings(workers=2),
                        frontends={"old": {"bind": ["127.0.0.1:0"], "default_backend": "app"}})
    gate = loomgate(config)
    admin = control(gate)
    with gate.client("old") as client:
        client.request("GET", "/hang")
        row = eventually(lambda: admin.json("show sessions frontend old")["sessions"], "a session")[0]
        del config["frontends"]["old"]
        config["frontends"]["web"]["routes"] = [respond("new", {"path": "/new"})]
        gate.path.write_text(json.dumps(config))
        assert admin.ask("reload").startswith("ok: ")
        told = explain(gate, target="/new")
        assert (told["frontend"], told["route"], told["answer"]["status"]) == ("web", "new", 200)
        assert "no frontend listens" in admin.error(f"explain GET {url_of(gate, frontend='old')}", "usage")
        assert [now["id"] for now in admin.json("show sessions")["sessions"]] == [row["id"]]
        admin.error("show sessions frontend old", "usage")
        assert admin.ok(f"kill session {row['id']}") == "1 session ended"
        assert client.read_response().status == 503
    assert gate.fetch("/new").text == "new"
