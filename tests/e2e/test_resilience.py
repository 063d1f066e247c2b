"""Servers fail, clients do not notice: killed, hanging, half-broken, overloaded servers under load, from end to end."""

import collections
import datetime
import random
import signal
import threading
import time

import pytest
from scale import scaled
from support import TIMEOUT, Client, Cut, Origin, eventually, web_config

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
FAILED = b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops"
FAST = {"base": "1ms", "max": "20ms"}
RETRY = {"backoff": FAST, "budget": {"ratio": "100%", "min_per_second": 1000}}


class Load:
    """Clients that ask one request after the other, each on its connection; `statuses` counts what came back."""

    def __init__(self, gate, clients=8, target="/size/100", method="GET"):
        self.gate, self.target, self.method = gate, target, method
        self.statuses, self.done = collections.Counter(), threading.Event()
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(clients)]
        for thread in self.threads:
            thread.start()

    def run(self):
        while not self.done.is_set():
            try:
                with self.gate.client() as client:
                    while not self.done.is_set():
                        body = b"x" if self.method == "POST" else None
                        status = client.request(self.method, self.target, body=body).read_response().status
                        with self.lock:
                            self.statuses[status] += 1
            except (OSError, Cut) as error:
                with self.lock:
                    self.statuses[type(error).__name__] += 1

    @property
    def total(self):
        return sum(self.statuses.values())

    def wait_more(self, count):
        start = self.total
        eventually(lambda: self.total >= start + count, f"{count} more requests; so far {self.statuses}")

    def stop(self):
        self.done.set()
        for thread in self.threads:
            thread.join(TIMEOUT)
        return self.statuses


@pytest.fixture
def load():
    started = []

    def start(*args, **options):
        started.append(Load(*args, **options))
        return started[-1]

    yield start
    for one in started:
        one.stop()


class Flaky:
    """A server that answers 500 to a share of the requests; knows how many came and how many were there at a time."""

    def __init__(self, fake_server, rate=0.0, delay=0.0):
        self.rate, self.delay = rate, delay
        self.count = self.active = self.most = 0
        self.lock, self.dice = threading.Lock(), random.Random(7)
        self.address = fake_server(self.run).address

    def run(self, conn):
        while conn.read_request()[0]:
            with self.lock:
                self.count += 1
                self.active += 1
                self.most = max(self.most, self.active)
                failed = self.dice.random() < self.rate
            if self.delay:
                time.sleep(self.delay)
            with self.lock:
                self.active -= 1
            conn.send(FAILED if failed else OK)


# ---- one of three fails ----


def test_killed_and_back(loomgate, origin, load):
    servers = [origin("-n", f"a{i}") for i in range(3)]
    gate = loomgate(web_config(*servers, backend={"retry": RETRY, "breaker": {"open": "100ms", "ramp": 0}}))
    clients = load(gate)
    clients.wait_more(100)
    servers[1].kill(signal.SIGKILL)
    clients.wait_more(scaled(1000, 300))
    back = origin("-n", "back", address=servers[1].address)
    eventually(lambda: back.number("/count") > 50, "requests to the one that is back")
    assert set(clients.stop()) == {200}


def test_hanging_and_back(loomgate, origin, load):
    """What was sent to it waits for the response timeout, then goes to another one."""
    servers = [origin("-n", f"a{i}") for i in range(3)]
    backend = {"retry": RETRY, "timeouts": {"response": "500ms", "connect": "500ms"},
               "breaker": {"open": "100ms", "min_requests": 5, "ramp": 0}}
    gate = loomgate(web_config(*servers, backend=backend))
    clients = load(gate)
    clients.wait_more(100)
    servers[1].freeze()
    try:
        gate.record(lambda r: r["tries"][0]["cause"] == "response_timeout" and r["status"] == 200)
        clients.wait_more(scaled(500, 100))
    finally:
        servers[1].thaw()
    before = servers[1].number("/count")
    eventually(lambda: servers[1].number("/count") > before + 50, "requests to the one that goes on")
    assert set(clients.stop()) == {200}


def test_reset_in_the_head(loomgate, origin, fake_server, load):
    def script(conn):
        conn.read_request()
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Le")
        conn.reset()

    broken = fake_server(script)
    gate = loomgate(web_config(origin(), broken, origin(), backend={"retry": RETRY}))
    clients = load(gate)
    clients.wait_more(scaled(2000, 300))
    assert set(clients.stop()) == {200}
    opened = gate.logged(event="breaker_opened")
    assert opened["server"] == broken.address and opened["cause"] == "reset_before_response"


# ---- the breaker ----


def started(record):
    return datetime.datetime.fromisoformat(record["time"].replace("Z", "+00:00"))


def test_half_broken_server_goes_and_comes_back(loomgate, origin, fake_server, load):
    """One fails 60 % of its requests: it is taken out, probed, found broken, healed, and its share grows again."""
    flaky = Flaky(fake_server, rate=0.6)
    breaker = {"window": "1s", "min_requests": 10, "open": "200ms", "max_open": "400ms", "probes": 3, "ramp": "3s"}
    gate = loomgate(web_config(origin(), origin(), flaky, backend={"retry": "off", "breaker": breaker}))
    clients = load(gate, clients=4)
    opened = gate.logged(event="breaker_opened")
    assert opened["server"] == flaky.address and opened["reason"] == "error_rate" and opened["level"] == "warn"
    assert opened["error_percent"] >= 50 and opened["requests"] >= 10 and opened["open_ms"] == 200
    flaky.rate = 1.0
    again = gate.logged(event="breaker_opened", reason="probe_failed")
    assert again["open_ms"] == 400
    flaky.rate = 0.0
    closed = gate.logged(event="breaker_closed")
    assert closed["server"] == flaky.address
    start = started(closed)

    def after(record, low, high):
        return low <= (started(record) - start).total_seconds() < high

    gate.records.wait(lambda r: after(r, 3.5, 9), "requests after the ramp")
    clients.wait_more(300)
    clients.stop()

    def share(low, high):
        mine = [r["server"] == flaky.address for r in gate.records.lines if after(r, low, high)]
        return sum(mine) / max(1, len(mine)), len(mine)

    early, late = share(0, 0.5), share(3.1, 99)
    assert early[1] > 20 and late[1] > 100, (early, late)
    assert early[0] < 0.15 < 0.3 < late[0] < 0.37, (early, late)
    assert set(clients.statuses) == {200, 500}


def test_open_takes_nothing(loomgate, origin, fake_server):
    flaky = Flaky(fake_server, rate=1.0)
    breaker = {"min_requests": 4, "open": "1h", "max_open": "1h"}
    gate = loomgate(web_config(origin(), flaky, backend={"retry": "off", "breaker": breaker}))
    statuses = [gate.fetch("/").status for _ in range(60)]
    assert flaky.count == 4 and statuses.count(500) == 4
    gate.logged(event="breaker_opened")
    gate.stop()
    assert len([line for line in gate.log.lines if line["event"] == "breaker_opened"]) == 1


def test_all_open_is_told_at_once(loomgate, fake_server):
    flaky = Flaky(fake_server, rate=1.0)
    breaker = {"min_requests": 3, "open": "90s", "max_open": "90s"}
    gate = loomgate(web_config(flaky, backend={"retry": "off", "breaker": breaker}))
    for _ in range(3):
        assert gate.fetch("/").status == 500
    answer = gate.fetch("/")
    assert answer.status == 503 and 80 <= int(answer.header("Retry-After")) <= 90
    record = gate.record(status=503)
    assert (record["cause"], record["blame"], record["tries"]) == ("breaker_open", "gateway", [])
    assert flaky.count == 3


def test_observe_only_tells(loomgate, fake_server):
    flaky = Flaky(fake_server, rate=1.0)
    breaker = {"min_requests": 3, "open": "90s", "max_open": "90s", "observe": True}
    gate = loomgate(web_config(flaky, backend={"retry": "off", "breaker": breaker}))
    assert {gate.fetch("/").status for _ in range(20)} == {500}
    assert "observe" in gate.logged(event="breaker_opened")["message"]


def test_off(loomgate, fake_server):
    flaky = Flaky(fake_server, rate=1.0)
    gate = loomgate(web_config(flaky, backend={"retry": "off", "breaker": "off"}))
    assert {gate.fetch("/").status for _ in range(60)} == {500}
    assert flaky.count == 60


def test_tcp_connects_count(loomgate, origin):
    """With mode: tcp a failed connect counts, and a tunnel that stands is a success."""
    one, other = origin("-t"), origin("-t")
    config = web_config(one, other, frontend={"mode": "tcp"},
                        backend={"retry": RETRY, "breaker": {"min_requests": 3, "open": "1h", "max_open": "1h"}})
    gate = loomgate(config)
    one.kill()
    for _ in range(10):
        with gate.client() as client:
            assert client.send(b"hello").read_exactly(5) == b"hello"
    assert gate.logged(event="breaker_opened")["server"] == one.address


# ---- a total outage ----


def test_outage_and_recovery(loomgate, fake_server, load):
    """All servers answer 500: what they see is bounded by the breakers; when they heal, probes come before the herd."""
    servers = [Flaky(fake_server, rate=1.0, delay=0.002) for _ in range(2)]
    breaker = {"min_requests": 20, "open": "200ms", "max_open": "400ms", "probes": 2, "ramp": "500ms"}
    gate = loomgate(web_config(*servers, backend={"retry": RETRY, "breaker": breaker}))
    clients = load(gate, clients=16)
    for server in servers:
        gate.logged(event="breaker_opened", reason="probe_failed", server=server.address)
    for server in servers:
        server.rate = 0.0
    for server in servers:
        gate.logged(event="breaker_closed", server=server.address)
    clients.wait_more(200)
    before = clients.statuses[503] + clients.statuses[500]
    clients.wait_more(200)
    assert clients.statuses[503] + clients.statuses[500] == before
    assert set(clients.stop()) <= {200, 500, 503}
    opened = [line for line in gate.log.lines if line["event"] == "breaker_opened"]
    halves = [line for line in gate.log.lines if line["event"] == "breaker_half_open"]
    failed = [r for r in gate.records.lines if r["status"] == 500]
    # What each opening let through: 20 until it tripped, the probes later, and what ran at a time.
    assert len(failed) <= 2 * (20 + 16) + len(halves) * 2 + len(opened) * 2


# ---- max_connections and the queue ----


@pytest.mark.threads
@pytest.mark.parametrize("workers", [1, 2])
def test_ten_at_a_time(loomgate, fake_server, workers):
    """500 clients, one slow server with ten places: never more than ten there, all in order, the late ones told."""
    slow = Flaky(fake_server, delay=0.02)
    clients_count = scaled(500, 60)
    server = {"name": "slow", "address": slow.address, "max_connections": 10}
    gate = loomgate(web_config(server, settings={"workers": workers},
                               backend={"timeouts": {"queue": "500ms"}, "queue": {"max": 2000}}))
    clients = [Client(gate.web) for _ in range(clients_count)]
    for i, client in enumerate(clients):
        client.request("GET", f"/{i}")
    answers = collections.Counter(client.read_response().status for client in clients)
    for client in clients:
        client.close()
    assert slow.most <= 10
    assert set(answers) <= {200, 503} and answers[200] > 10
    records = gate.records.wait_count(lambda r: r["method"] == "GET", clients_count)
    late = [r for r in records if r["status"] == 503]
    assert len(late) == answers[503]
    for record in late:
        assert record["cause"] == "queue_timeout" and record["queue_ms"] >= 500 and record["server"] is None
    waited = [r["queue_ms"] for r in records if r["status"] == 200]
    assert min(waited) == 0 and max(waited) > 0


def test_first_come_first_served(loomgate, fake_server):
    """One place; who waits is served in the order of arrival."""
    order, gate_open = [], threading.Event()

    def script(conn):
        while True:
            head, _ = conn.read_request()
            if not head:
                return
            order.append(int(head.split(b" ")[1][1:]))
            gate_open.wait(TIMEOUT)
            conn.send(OK)

    server = {"name": "s", "address": fake_server(script).address, "max_connections": 1}
    ready = {"match": {"path": "/ready"}, "respond": {"status": 200, "body": "ok"}}
    gate = loomgate(web_config(server, frontend={"routes": [ready]}))
    clients = [gate.client() for _ in range(20)]
    for client in clients:  # all are accepted
        assert client.request("GET", "/ready").read_response().status == 200
    with gate.client() as marker:
        for i, client in enumerate(clients):
            client.request("GET", f"/{i}")
            # What is answered now was sent later, so the one above has been seen.
            assert marker.request("GET", "/ready").read_response().status == 200
    eventually(lambda: order, "the first at the server")
    gate_open.set()
    for client in clients:
        assert client.read_response().status == 200
        client.close()
    assert order == list(range(20))


def test_full_queue(loomgate, fake_server):
    held = threading.Event()

    def script(conn):
        while conn.read_request()[0]:
            held.wait(TIMEOUT)
            conn.send(OK)

    server = {"name": "s", "address": fake_server(script).address, "max_connections": 1}
    gate = loomgate(web_config(server, backend={"queue": {"max": 2}, "timeouts": {"queue": 0}}))
    clients = [gate.client().request("GET", "/busy") for _ in range(4)]
    record = gate.record(status=503)
    assert (record["cause"], record["blame"]) == ("queue_full", "gateway")
    held.set()
    assert sorted(client.read_response().status for client in clients) == [200, 200, 200, 503]


def test_who_leaves_gives_the_place_back(loomgate, fake_server):
    held, seen = threading.Event(), []

    def script(conn):
        while True:
            head, _ = conn.read_request()
            if not head:
                return
            seen.append(head.split(b" ")[1])
            held.wait(TIMEOUT)
            conn.send(OK)

    server = {"name": "s", "address": fake_server(script).address, "max_connections": 1}
    gate = loomgate(web_config(server, backend={"queue": {"max": 1}}))
    first = gate.client().request("GET", "/first")
    eventually(lambda: seen, "the first")
    for i in range(20):
        with gate.client() as leaver:
            leaver.request("GET", f"/left/{i}")
            leaver.reset()
        assert gate.record(path=f"/left/{i}")["cause"] == "client_closed"
    last = gate.client().request("GET", "/last")
    held.set()
    assert first.read_response().status == 200 and last.read_response().status == 200
    assert seen == [b"/first", b"/last"]


def test_tunnels_take_places(loomgate, origin):
    server = {"name": "s", "address": origin("-t").address, "max_connections": 2}
    gate = loomgate(web_config(server, frontend={"mode": "tcp"}))
    clients = [gate.client() for _ in range(3)]
    for client in clients[:2]:
        assert client.send(b"ping").read_exactly(4) == b"ping"
    clients[2].send(b"late")
    clients[0].close()
    assert clients[2].read_exactly(4) == b"late"
    for client in clients[1:]:
        client.close()


# ---- POSTs, and closing idle connections ----


def test_posts_under_fire(loomgate, origin, load):
    """Servers die and come back while POSTs run: none is executed twice."""
    servers = [origin("-n", f"a{i}") for i in range(3)]
    gate = loomgate(web_config(*servers, backend={"retry": RETRY, "timeouts": {"response": "500ms"},
                                                  "breaker": {"min_requests": 4, "open": "50ms", "ramp": 0}}))
    done, results = threading.Event(), collections.Counter()

    def run(worker):
        number = 0
        while not done.is_set():
            number += 1
            try:
                results[gate.fetch(f"/ids?id={worker}-{number}", method="POST", body=b"x").status] += 1
            except (OSError, Cut):
                results["cut"] += 1

    threads = [threading.Thread(target=run, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    eventually(lambda: results[200] > 50)
    try:
        servers[0].freeze()
        before = results[200]
        eventually(lambda: results[200] > before + 100)
        servers[0].thaw()
        before = results[200]
        eventually(lambda: results[200] > before + 100)
    finally:
        servers[0].thaw()
        done.set()
        for thread in threads:
            thread.join(TIMEOUT)
    assert set(results) <= {200, 504, 503}, results
    ids = {r["path"].partition("id=")[2] for r in gate.records.lines if r["method"] == "POST"}
    for one in list(ids)[:: max(1, len(ids) // 300)]:
        assert sum(server.number(f"/ids/show?id={one}") for server in servers) <= 1


@pytest.mark.parametrize("connections", [20])
def test_a_hundred_thousand_over_closing_connections(loomgate, origin, connections):
    """The server closes idle connections at random, without saying so: nobody notices."""
    server = origin("-r", "5")
    gate = loomgate(web_config(server, frontend={"access_log": "off"}))
    batch, total = 50, scaled(100000, 5000)
    wanted = b"GET /size/10 HTTP/1.1\r\nHost: a\r\n\r\n" * batch
    clients = [gate.client() for _ in range(connections)]
    for _ in range(total // (batch * connections)):
        for client in clients:
            client.send(wanted)
        for client in clients:
            for _ in range(batch):
                response = client.read_response("GET")
                assert response.status == 200 and len(response.body) == 10
    for client in clients:
        client.close()
    assert server.number("/count") >= total // (batch * connections) * batch * connections
