"""Configurations of thousands of servers and routes come and go."""

import pytest
from reloads import WEBSOCKET, Reloader, large
from scale import scaled
from support import eventually, pattern, web_config

SERVERS = 4


@pytest.mark.threads
def test_small_to_large_and_back(loomgate, origin):
    a1 = origin("-n", "a1")
    backends, routes = scaled(1000, least=100), scaled(10000, least=1000)
    big = large(a1.address, backends, SERVERS, routes, settings={"workers": 2})
    gate = Reloader(loomgate, web_config(a1, settings={"workers": 2}))

    def to_large(config):
        config["frontends"]["web"]["routes"] = big["frontends"]["web"]["routes"]
        config["backends"] |= big["backends"]

    def to_small(config):
        del config["frontends"]["web"]["routes"]
        config["backends"] = {"app": config["backends"]["app"]}

    def heavier(config):
        config["backends"]["b7"]["servers"][2]["weight"] = 3

    def ask(client, n):
        response = client.request("GET", f"/size/{n}", host=f"h{n % 100}.example.org").read_response()
        assert response.status == 200 and response.body == pattern(n)
        gate.record(route=f"r{n}", backend=f"b{n % backends}")

    with gate.client() as client, gate.client() as tunnel:
        assert tunnel.request("GET", "/upgrade", WEBSOCKET).read_response().status == 101
        assert client.request("GET", "/size/3").read_response().status == 200
        gate.reload(to_large)
        for n in (*range(0, routes, routes // 60), *[backends + 7] * SERVERS):
            ask(client, n)
        rows = gate.records.wait_count(lambda row: row.get("route") == f"r{backends + 7}", SERVERS)
        assert {row["server"] for row in rows} == {f"s{i}" for i in range(SERVERS)}
        changes = gate.reload(heavier)["changes"]
        (change,) = changes
        assert (change["key"], change["before"], change["after"]) == ("backends.b7.servers.s2.weight", "1", "3")
        ask(client, 8)
        gate.reload(to_small)
        assert client.request("GET", "/size/9", host="h9.example.org").read_response().body == pattern(9)
        gate.record(backend="app", path="/size/9")
        gate.reload(to_large)
        ask(client, 11)
        gate.reload(to_small)
        assert tunnel.send(b"x").read_exactly(1) == b"x"
    gate.wait_alone()
    eventually(lambda: sum(w["connections"] for w in gate.control.json("show workers")) == 0, "all clients gone")
    assert len(gate.control.json("show servers")) == 1


def test_many_idle_clients_go_over(loomgate, origin):
    """More than a worker looks at in one turn: those that stay, and those whose frontend goes."""
    count = scaled(3000, least=100)
    gate = Reloader(loomgate, web_config(origin("-n", "a1"), settings={"workers": 2}, frontend={"access_log": "off"}))

    def away(config):
        config["frontends"]["other"] = config["frontends"].pop("web")

    clients = [gate.client() for _ in range(count)]
    try:
        for client in clients:
            assert client.request("GET", "/size/1").read_response().status == 200
        gate.reload(lambda config: config["frontends"]["web"].update(timeouts={"keep_alive": "1h"}))
        gate.wait_alone()
        for client in clients[::10]:
            assert client.request("GET", "/size/2").read_response().body == pattern(2)
        gate.reload(away)
        for client in clients:
            assert client.read_all() == b""
        gate.wait_alone()
    finally:
        for client in clients:
            client.close()
