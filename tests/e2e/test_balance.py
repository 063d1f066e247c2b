"""Round robin: weights exact over all workers and connections, maint and backup servers."""

import collections
import threading

import pytest
from scale import scaled
from support import Client, web_config


@pytest.fixture
def backend(loomgate, origin):
    """backend(settings of each server..., workers=1): a gate in front of as many origins, a, b, c..."""

    def make(*settings, **options):
        servers = []
        for number, own in enumerate(settings):
            name = chr(ord("a") + number)
            servers.append({"name": name, "address": origin("-n", name).address, **own})
        return loomgate(web_config(*servers, settings={"workers": options.get("workers", 1)}))

    return make


def ask(client, count):
    """The names of the servers of `count` pipelined requests."""
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * count)
    names = []
    for _ in range(count):
        response = client.read_response()
        assert response.status == 200, response
        names.append(response.text.split("This is ")[1][0])
    return names


def names_of(gate, count):
    with gate.client() as client:
        return ask(client, count)


def ask_from_many(gate, connections, each, threads=6):
    """So many connections at the same time, spread over threads; how often each server was asked."""
    counts, failures, lock = collections.Counter(), [], threading.Lock()

    def run(share):
        try:
            clients = [Client(gate.web) for _ in range(share)]
            for _ in range(each):
                for client in clients:
                    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                for client in clients:
                    name = client.read_response().text.split("This is ")[1][0]
                    with lock:
                        counts[name] += 1
            for client in clients:
                client.close()
        except Exception as error:  # noqa: BLE001
            failures.append(error)

    running = [threading.Thread(target=run, args=(connections // threads,)) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert not failures, failures
    return counts


@pytest.mark.threads
@pytest.mark.parametrize("workers", [1, 2])
def test_weights_are_exact(backend, workers):
    gate = backend({"weight": 1}, {"weight": 1}, {"weight": 2}, workers=workers)
    each = scaled(100, least=20)
    total = 30 * each
    counts = ask_from_many(gate, 30, each)
    assert sum(counts.values()) == total
    for name, share in (("a", 0.25), ("b", 0.25), ("c", 0.5)):
        assert abs(counts[name] - total * share) <= 1, counts


@pytest.mark.parametrize("workers", [1, 2])
def test_weights_are_exact_with_a_connection_for_each_request(backend, workers):
    gate = backend({"weight": 3}, {"weight": 2}, {"weight": 1}, workers=workers)
    counts = collections.Counter(gate.fetch("/").text.split("This is ")[1][0] for _ in range(300))
    assert counts == {"a": 150, "b": 100, "c": 50}


def test_turns_are_spread(backend):
    """Smooth: a heavy server does not get all its turns in a row."""
    names = names_of(backend({"weight": 1}, {"weight": 1}, {"weight": 2}), 400)
    for at in range(len(names) - 3):
        assert sorted(names[at : at + 4]) == ["a", "b", "c", "c"], names[at : at + 4]


def test_equal_weights_take_turns(backend):
    names = names_of(backend({}, {}, {}), 30)
    assert len(set(names[:3])) == 3 and names == names[:3] * 10


def test_large_weights(backend):
    counts = collections.Counter(names_of(backend({"weight": 256}, {"weight": 255}, {"weight": 1}), 1024))
    assert counts == {"a": 512, "b": 510, "c": 2}


def test_weight_zero_gets_nothing(backend):
    assert set(names_of(backend({"weight": 0}, {}, {"weight": 0}), 50)) == {"b"}


def test_maint_gets_nothing_and_its_share_is_spread(backend):
    gate = backend({}, {"maint": True, "weight": 10}, {}, {})
    assert collections.Counter(names_of(gate, 90)) == {"a": 30, "c": 30, "d": 30}


def test_backup_rests_while_a_primary_is_there(backend):
    gate = backend({}, {"backup": True, "weight": 100}, {"maint": True})
    assert set(names_of(gate, 50)) == {"a"}


def test_backups_serve_when_no_primary_can(backend):
    gate = backend({"maint": True}, {"backup": True, "weight": 2}, {"weight": 0}, {"backup": True})
    assert collections.Counter(names_of(gate, 30)) == {"b": 20, "d": 10}


def test_backup_in_maint_is_not_used(backend):
    gate = backend({"maint": True}, {"backup": True, "maint": True}, {"backup": True})
    assert set(names_of(gate, 20)) == {"c"}


def test_each_backend_counts_for_itself(loomgate, origin):
    servers = [origin("-n", name) for name in "ab"]
    listed = [s.address for s in servers]
    routes = [{"match": {"path_prefix": "/other"}, "backend": "other"}]
    config = web_config(*servers, frontend={"routes": routes}, backends={"other": {"servers": listed}})
    gate = loomgate(config)
    with gate.client() as client:
        names = []
        for path in ("/", "/other?status=200") * 10:
            response = client.request("GET", path).read_response()
            if path == "/":
                names.append(response.text.split("This is ")[1][0])
    assert names == names[:2] * 5 and len(set(names)) == 2
    records = gate.records.wait_count(lambda record: record["backend"] == "other", 10)
    assert len({record["server"] for record in records}) == 2


def test_server_that_is_down_fails_only_its_share(backend, loomgate, origin):
    """Without retries and a breaker its requests are 502, the others' are not."""
    dead = origin("-n", "z")
    alive = origin("-n", "a")
    dead.kill()
    gate = loomgate(web_config(alive, dead, backend={"retry": "off", "breaker": "off"}))
    with gate.client() as client:
        statuses = [client.request("GET", "/").read_response().status for _ in range(20)]
    assert collections.Counter(statuses) == {200: 10, 502: 10}
    assert gate.record(status=502)["cause"] == "connect_failed"
