"""The policies on real traffic: who gets what; servers in maintenance, that die, that fail and come back."""

import collections
import threading
import time

import pytest
from scale import scaled
from support import Client, FakeServer, eventually, web_config

WORDS = ["round_robin", "least_requests", "random_two", "peak_ewma", "first"]
HASHES = [{"hash": "uri"}, {"hash": "header:X-T"}]
ALL = [pytest.param(policy, id=policy if isinstance(policy, str) else policy["hash"]) for policy in WORDS + HASHES]


@pytest.fixture
def backend(loomgate, origin):
    """backend(policy, settings of each server..., workers=1): a gate in front of as many origins, a, b, c...; they are
    gate.origins."""

    def make(balance, *settings, workers=1, **options):
        origins, servers = [], []
        for number, own in enumerate(settings):
            name = chr(ord("a") + number)
            origins.append(origin("-n", name))
            servers.append({"name": name, "address": origins[-1].address, **own})
        config = web_config(*servers, settings={"workers": workers}, backend={"balance": balance, **options})
        gate = loomgate(config)
        gate.origins = origins
        return gate

    return make


def server_of(response):
    assert response.status == 200, response
    return response.text.partition("\r\n")[0].removeprefix("name: ")


def ask(client, target="/echo", headers=()):
    return server_of(client.request("GET", target, headers).read_response())


def names_of(gate, count, target=lambda number: "/echo", headers=lambda number: ()):
    """How often each server was asked by `count` requests, one after the other."""
    with gate.client() as client:
        return collections.Counter(ask(client, target(number), headers(number)) for number in range(count))


def varied(number):
    return {"target": f"/echo?n={number}", "headers": [("X-T", f"t{number}")]}


def names_of_varied(gate, count):
    return names_of(gate, count, lambda n: varied(n)["target"], lambda n: varied(n)["headers"])


def ask_from_many(gate, clients, each, target=lambda number: "/echo"):
    """So many clients at the same time."""
    counts, failures, lock = collections.Counter(), [], threading.Lock()

    def run(number):
        try:
            with Client(gate.web) as client:
                for turn in range(each):
                    name = ask(client, target(number * each + turn))
                    with lock:
                        counts[name] += 1
        except Exception as error:  # noqa: BLE001
            failures.append(error)

    running = [threading.Thread(target=run, args=(number,)) for number in range(clients)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert not failures, failures
    return counts


class Hanging:
    """Requests that a server works on until they are let go."""

    def __init__(self, gate, count, target="/hang", headers=()):
        self.clients = [gate.client() for _ in range(count)]
        for client in self.clients:
            client.request("GET", target, headers)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for client in self.clients:
            client.close()


def busy_of(gate):
    return {one.name for one in gate.origins if one.connections()[1] > 0}


# --- every policy -----------------------------------------------------------------------------------------------------


@pytest.mark.threads
@pytest.mark.parametrize("policy", ALL)
def test_everything_is_answered_over_two_workers(backend, policy):
    gate = backend(policy, {"weight": 1}, {"weight": 1}, {"weight": 2}, workers=2)
    each = scaled(50, least=10)
    counts = ask_from_many(gate, 12, each, lambda number: f"/echo?n={number}")
    assert sum(counts.values()) == 12 * each
    if policy == "first":
        assert set(counts) == {"a"}


@pytest.mark.parametrize("policy", ALL)
def test_maint_and_weight_zero_get_nothing(backend, policy):
    gate = backend(policy, {"maint": True, "weight": 9}, {}, {"weight": 0}, {})
    counts = names_of_varied(gate, 100)
    assert set(counts) <= {"b", "d"} and counts["b"] >= 1
    if policy not in ("first", "peak_ewma"):
        assert set(counts) == {"b", "d"}


@pytest.mark.parametrize("policy", ALL)
def test_backups_stand_behind(backend, policy):
    assert set(names_of_varied(backend(policy, {}, {"backup": True, "weight": 100}), 30)) == {"a"}
    gate = backend(policy, {"maint": True}, {"backup": True}, {"weight": 0}, {"backup": True, "maint": True})
    assert set(names_of_varied(gate, 30)) == {"b"}


@pytest.mark.parametrize("policy", ALL)
def test_a_server_that_is_killed_fails_only_what_it_gets(backend, policy):
    """Each request is answered once, by a server or by a 502 that names the dead one; nothing hangs."""
    gate = backend(policy, {}, {}, {}, retry="off", breaker="off")
    names_of_varied(gate, 30)
    gate.origins[0].kill()
    statuses = collections.Counter()
    with gate.client() as client:
        for number in range(60):
            asked = varied(number)
            statuses[client.request("GET", asked["target"], asked["headers"]).read_response().status] += 1
    assert set(statuses) <= {200, 502} and sum(statuses.values()) == 60
    for record in gate.records.wait_count(lambda r: r["status"] == 502, statuses[502]):
        assert record["server"] == "a"
    if policy == "first":
        assert statuses == {502: 60}
    if policy == "peak_ewma":  # a refusal counts a second: others are faster for a while
        assert statuses[502] <= 2


class Moody:
    """A server, `z`, that answers 500 while it is ill, and else as the others do."""

    def __init__(self, fake_server):
        self.ill = True
        self.address = fake_server(self.answer).address

    def answer(self, conn):
        while conn.read_head():
            head = b"500 Oops" if self.ill else b"200 OK"
            conn.send(b"HTTP/1.1 " + head + b"\r\nContent-Length: 7\r\n\r\nname: z")


def moody_gate(loomgate, origin, fake_server, policy, **breaker):
    moody = Moody(fake_server)
    # First, so that `first` asks it at all.
    servers = [{"name": "z", "address": moody.address}]
    servers += [{"name": name, "address": origin("-n", name).address} for name in "ab"]
    options = {"balance": policy, "retry": "off", "breaker": {"min_requests": 3, "error_rate": "10%", **breaker}}
    return moody, loomgate(web_config(*servers, settings={"workers": 1}, backend=options))


def ask_until_logged(gate, event):
    """Requests of all kinds, until it is in the log."""
    number = 0
    with gate.client() as client:
        def is_logged():
            nonlocal number
            number += 1
            asked = varied(number)
            client.request("GET", asked["target"], asked["headers"]).read_response()
            return any(line["event"] == event for line in gate.log.lines)

        eventually(is_logged)


@pytest.mark.parametrize("policy", ALL)
def test_a_server_whose_breaker_is_open_gets_nothing(loomgate, origin, fake_server, policy):
    _, gate = moody_gate(loomgate, origin, fake_server, policy, open="1h", max_open="1h")
    ask_until_logged(gate, "breaker_opened")
    counts = names_of_varied(gate, 120)
    assert set(counts) <= {"a", "b"}
    if policy == "round_robin":
        assert counts == {"a": 60, "b": 60}
    if policy == "first":
        assert counts == {"a": 120}


@pytest.mark.parametrize("policy", ALL)
def test_a_server_that_comes_back_begins_with_a_small_share(loomgate, origin, fake_server, policy):
    """The ramp is so long that its share stays at the least, a sixteenth of its weight."""
    moody, gate = moody_gate(loomgate, origin, fake_server, policy, open="50ms", max_open="50ms", probes=1, ramp="4h")
    ask_until_logged(gate, "breaker_opened")
    moody.ill = False
    ask_until_logged(gate, "breaker_closed")
    counts = names_of_varied(gate, 600)
    assert counts["z"] <= 100, counts  # 18, or 38 with `first`; 200 were its whole share
    if policy != "peak_ewma":  # which looks at its latencies too
        assert counts["z"] >= 1, counts


@pytest.mark.parametrize("policy", ALL)
def test_a_server_that_comes_back_without_a_ramp(loomgate, origin, fake_server, policy):
    moody, gate = moody_gate(loomgate, origin, fake_server, policy, open="50ms", max_open="50ms", probes=1, ramp=0)
    ask_until_logged(gate, "breaker_opened")
    moody.ill = False
    ask_until_logged(gate, "breaker_closed")
    counts = names_of_varied(gate, 300)
    if policy == "round_robin":
        assert counts == {"z": 100, "a": 100, "b": 100}
    elif policy == "first":
        assert counts == {"z": 300}
    elif policy != "peak_ewma":
        assert counts["z"] >= 50, counts


@pytest.mark.parametrize("policy", ALL)
def test_tcp_mode(loomgate, origin, policy):
    """Connections are balanced; only `source` has a key there."""
    servers = [origin("-t", "-g", "-n", name) for name in "ab"]
    frontends = {"raw": {"mode": "tcp", "bind": ["127.0.0.1:0"], "default_backend": "app"}}
    gate = loomgate(web_config(*servers, frontends=frontends, backend={"balance": policy}))
    for _ in range(10):
        with gate.client("raw") as client:
            assert client.read_exactly(2) in (b"a\n", b"b\n")


# --- one by one -------------------------------------------------------------------------------------------------------


@pytest.mark.threads
def test_round_robin_shares_the_turns_of_who_is_out(backend):
    """Exactly by weight among the others, whichever worker gives them out."""
    gate = backend("round_robin", {"weight": 1}, {"weight": 4, "maint": True}, {"weight": 2}, {"weight": 3}, workers=2)
    assert ask_from_many(gate, 6, 50) == {"a": 50, "c": 100, "d": 150}


def test_least_requests_avoids_the_busy(backend):
    gate = backend("least_requests", {}, {}, {})
    with Hanging(gate, 2):
        busy = eventually(lambda: len(busy_of(gate)) == 2 and busy_of(gate))
        assert set(names_of(gate, 40)) == {"a", "b", "c"} - busy


def test_least_requests_by_weight(backend):
    counts = names_of(backend("least_requests", {"weight": 1}, {"weight": 3}), 800)
    assert 150 <= counts["a"] <= 250, counts


def test_random_two_by_weight(backend):
    counts = names_of(backend("random_two", {"weight": 1}, {"weight": 3}, {"weight": 4}), 800)
    assert 60 <= counts["a"] <= 145 and 230 <= counts["b"] <= 370, counts


def test_random_two_avoids_the_busiest(backend):
    gate = backend("random_two", {}, {})
    with Hanging(gate, 1):
        busy = eventually(lambda: busy_of(gate))
        assert set(names_of(gate, 40)) == {"a", "b"} - busy


def test_peak_ewma_prefers_the_fast(loomgate, origin):
    """One of three takes 40 ms: after its first answers it is left alone."""

    def slow(conn):
        while conn.read_head():
            time.sleep(0.04)
            conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nname: z")

    snail = FakeServer(slow)
    try:
        gate = loomgate(web_config(origin("-n", "a"), origin("-n", "b"), snail, backend={"balance": "peak_ewma"}))
        counts = names_of(gate, 300)
        assert counts["z"] <= 5 and counts["a"] + counts["b"] >= 295, counts
    finally:
        snail.stop()


def test_first_is_first(backend):
    assert set(names_of(backend("first", {"weight": 1}, {"weight": 256}), 30)) == {"a"}


# --- hash -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["uri", "path", "query:user", "header:X-T", "cookie:sid", "host"])
def test_the_same_value_goes_to_the_same_server(backend, key):
    gate = backend({"hash": key}, {}, {}, {}, {}, workers=2)

    def request(value):
        headers = [("X-T", value), ("Cookie", f"a=b; sid={value}")]
        target = f"/echo?user={value}" if key != "path" else "/echo"
        host = f"{value}.example.org" if key == "host" else "x"
        return server_of(gate.fetch(target, headers=headers, host=host))

    owners = {value: request(value) for value in map(str, range(12))}
    assert all(request(value) == owner for value, owner in owners.items() for _ in range(3))
    assert len(set(owners.values())) >= (2 if key != "path" else 1)


def test_hash_by_source(backend):
    gate = backend({"hash": "source"}, {}, {}, {}, {})
    owners = {}
    for last in range(1, 21):
        for _ in range(2):
            with Client(gate.web, source=f"127.0.0.{last}") as client:
                owners.setdefault(last, set()).add(ask(client))
    assert all(len(names) == 1 for names in owners.values())
    assert len(set.union(*owners.values())) >= 3


def test_two_proxies_agree_and_maintenance_moves_only_its_own(backend):
    def owners(*settings):
        gate = backend({"hash": "uri"}, *settings)
        with gate.client() as client:
            return [ask(client, f"/echo?n={number}") for number in range(200)]

    before = owners({}, {}, {}, {}, {})
    assert before == owners({}, {}, {}, {}, {})
    after = owners({}, {}, {"maint": True}, {}, {})
    moved = {old for old, new in zip(before, after) if old != new}
    assert moved == {"c"} and "c" not in after


def test_a_hot_value_does_not_bring_its_server_down(backend):
    gate = backend({"hash": "header:X-T", "bounded_load": 1.25}, {}, {}, {}, {})
    with Hanging(gate, 40, headers=[("X-T", "hot")]):
        def running():
            return [one.connections()[1] for one in gate.origins]

        eventually(lambda: sum(running()) == 40)
        assert max(running()) == 13, running()  # ceil(1.25 x 40 / 4)


def test_requests_without_a_value_are_spread(backend):
    counts = names_of(backend({"hash": "cookie:sid"}, {}, {}, {}), 300)
    assert min(counts[name] for name in "abc") > 60, counts


# --- the configuration ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("balance", "told"), [
    ("least_request", "did you mean 'least_requests'?"),
    ({"hash": "sorce"}, "'hash': 'sorce' is not known here"),
    ({"hash": "header:"}, "is not a name of a field"),
    ({"hash": "uri", "bounded_load": 0.9}, "write a factor from 1 to 100, like 1.25"),
    ({"bounded_load": 2}, "'hash' is missing in balance"),
], ids=str)
def test_bad_values(check, balance, told):
    status, _, err = check(web_config("127.0.0.1:1", backend={"balance": balance}))
    assert status == 1 and told in err
