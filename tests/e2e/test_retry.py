"""Another try after a failure: which requests are sent again, where, when, how often, and what never is."""

import socket
import threading
import time

import pytest
from support import TIMEOUT, FakeServer, eventually, fetch, pattern, web_config

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BUSY = b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n%b\r\nbusy"
FAST = {"base": "1ms", "max": "4ms"}


def retry_config(*servers, frontend=None, timeouts=None, **retry):
    retry = {"backoff": FAST, "budget": {"ratio": "100%", "min_per_second": 1000}, **retry}
    backend = {"retry": retry, "breaker": "off", "timeouts": timeouts or {}}
    return web_config(*servers, frontend=frontend, backend=backend)


def causes(record):
    return [one["cause"] for one in record["tries"]]


@pytest.fixture
def nobody():
    """An address where connecting is refused."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield "127.0.0.1:%d" % sock.getsockname()[1]


class Script:
    """A server that answers the n-th request with the n-th of these (the last one from then on): bytes, or what is done
    to the connection: "reset", "close", "hang"."""

    def __init__(self, fake_server, *answers):
        self.answers, self.heads, self.bodies = list(answers), [], []
        self.lock = threading.Lock()
        self.server = fake_server(self.run)
        self.address = self.server.address

    def run(self, conn):
        while True:
            head, body = conn.read_request()
            if not head:
                return
            with self.lock:
                self.heads.append(head)
                self.bodies.append(body)
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            if isinstance(answer, bytes):
                conn.send(answer)
            elif answer == "hang":
                conn.wait_closed()
                return
            else:
                conn.reset() if answer == "reset" else None
                return


@pytest.fixture
def script(fake_server):
    return lambda *answers: Script(fake_server, *answers)


# ---- which ----


def test_killed_server_costs_no_get(loomgate, origin):
    """One of three is killed under load; the clients do not notice. All of it with the defaults but for the budget."""
    servers = [origin("-n", f"a{i}") for i in range(3)]
    gate = loomgate(web_config(*servers, backend={"retry": {"budget": {"ratio": "100%"}}}))
    statuses, stop = [], threading.Event()

    def load():
        with gate.client() as client:
            while not stop.is_set():
                statuses.append(client.request("GET", "/size/100").read_response().status)

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    eventually(lambda: len(statuses) > 50, "some requests")
    servers[1].kill()
    before = len(statuses)
    eventually(lambda: len(statuses) > before + 300, "some more")
    stop.set()
    for thread in threads:
        thread.join(TIMEOUT)
    assert set(statuses) == {200}
    record = gate.record(lambda r: len(r["tries"]) == 2)
    assert record["status"] == 200 and record["cause"] == "ok" and record["server"] != servers[1].address


def test_posts_are_never_done_twice(loomgate, origin, script):
    """Half of the servers do what they are asked and then reset: what they were asked is not asked of the other."""
    one = origin()
    breaking = script("reset")
    gate = loomgate(retry_config(one, breaking))
    results = {i: gate.fetch(f"/ids?id=p{i}", method="POST", body=b"x").status for i in range(20)}
    assert sorted(results.values()) == [200] * 10 + [502] * 10
    assert len(breaking.heads) == 10
    for i, status in results.items():
        assert one.number(f"/ids/show?id=p{i}") == (status == 200)


def test_posts_are_done_again_where_that_is_allowed(loomgate, origin, script):
    one = origin()
    breaking = script("reset")
    gate = loomgate(retry_config(one, breaking, non_idempotent=True))
    for i in range(10):
        assert gate.fetch(f"/ids?id=p{i}", method="POST", body=b"x").status == 200
        assert one.number(f"/ids/show?id=p{i}") == 1
    assert set(breaking.bodies) == {b"x"}


def test_post_that_did_not_connect_is_sent_again(loomgate, origin, nobody):
    gate = loomgate(retry_config(nobody, origin()))
    for i in range(6):
        assert gate.fetch("/sink", method="POST", body=b"abc").status == 200
    record = gate.record(lambda r: len(r["tries"]) == 2)
    assert causes(record) == ["connect_failed", "ok"]


@pytest.mark.parametrize("answer, cause", [
    ("reset", "reset_before_response"), ("close", "reset_before_response"), (b"HTTP/1.1 20", None),
    (b"HTTP/1.1 502 B\r\nContent-Length: 1\r\n\r\nx", "bad_status"), (BUSY % b"", "bad_status"),
    (b"HTTP/1.1 504 G\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", "bad_status"),
], ids=["reset", "close", "half-a-head", "502", "503", "504"])
def test_get_goes_to_another_server(loomgate, fake_server, script, answer, cause):
    good = script(OK)
    if cause is None:  # half a head, then the end
        bad = fake_server(answer, close=True)
        cause = "reset_before_response"
    else:
        bad = script(answer)
    gate = loomgate(retry_config(bad.address, good))
    response = gate.fetch("/a")
    if gate.record(path="/a")["tries"][0]["server"] == good.address:
        response = gate.fetch("/b")
    assert (response.status, response.body) == (200, b"ok")
    record = gate.record(lambda r: len(r["tries"]) == 2)
    assert [(t["server"], t["cause"]) for t in record["tries"]] == [(bad.address, cause), (good.address, "ok")]
    assert record["tries"][0]["backoff_ms"] == 0 and 0 <= record["tries"][1]["backoff_ms"] <= 1
    assert record["server"] == good.address and record["status"] == 200 and record["blame"] is None


@pytest.mark.parametrize("status", [500, 501, 505, 429, 404])
def test_other_statuses_are_passed_on(loomgate, script, status):
    one = script(b"HTTP/1.1 %d X\r\nContent-Length: 1\r\n\r\nx" % status)
    assert loomgate(retry_config(one)).fetch("/").status == status
    assert len(one.heads) == 1


def test_the_connection_of_a_held_back_answer_is_used_again(loomgate, script):
    one = script(BUSY % b"", OK)
    gate = loomgate(retry_config(one, backoff={"base": "100ms", "max": "100ms"}))
    for _ in range(3):
        assert gate.fetch("/").status == 200
    assert one.server.connections <= 2  # 2: the wait was so short that the answer was not over


def test_last_answer_is_passed_on(loomgate, script):
    one = script(BUSY % b"X-Why: load\r\n")
    gate = loomgate(retry_config(one))
    response = gate.fetch("/")
    assert (response.status, response.header("X-Why"), response.body) == (503, "load", b"busy")
    assert len(one.heads) == 3
    record = gate.record(status=503)
    assert record["cause"] == "ok" and causes(record) == ["bad_status", "bad_status", "ok"]


def test_never_after_the_first_byte(loomgate, fake_server):
    one = fake_server(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", close=True)
    gate = loomgate(retry_config(one))
    with gate.client() as client:
        assert client.request("GET", "/").read_all().endswith(b"half")
    assert one.connections == 1 and gate.record()["cause"] == "response_cut"


def test_only_what_the_settings_name(loomgate, script):
    one = script("reset", BUSY % b"", OK)
    gate = loomgate(retry_config(one, on=[503]))
    assert gate.fetch("/a").status == 502 and len(one.heads) == 1
    assert gate.fetch("/b").status == 200 and len(one.heads) == 3


def test_off(loomgate, script):
    one = script("reset", BUSY % b"", OK)
    gate = loomgate(web_config(one, backend={"retry": "off"}))
    assert [gate.fetch("/").status for _ in range(3)] == [502, 503, 200]
    assert len(one.heads) == 3


def test_route_has_the_last_word(loomgate, script):
    one = script("reset", "reset", OK)
    config = retry_config(one)
    config["frontends"]["web"]["routes"] = [{"match": {"path": "/off"}, "backend": "app", "retry": "off"}]
    gate = loomgate(config)
    assert gate.fetch("/off").status == 502 and len(one.heads) == 1
    assert gate.fetch("/on").status == 200 and len(one.heads) == 3


def test_tcp_connects_to_another_server(loomgate, origin, nobody):
    echo = origin("-t")
    config = retry_config(nobody, echo, frontend={"mode": "tcp"})
    gate = loomgate(config)
    for _ in range(4):
        with gate.client() as client:
            assert client.send(b"hello").read_exactly(5) == b"hello"
            client.half_close()
            assert client.read_all() == b""
    assert causes(gate.record(lambda r: len(r["tries"]) == 2)) == ["connect_failed", "ok"]


# ---- bodies ----


def decode_chunked(raw):
    body = b""
    while size := int(raw.partition(b"\r\n")[0], 16):
        at = raw.index(b"\r\n") + 2
        body, raw = body + raw[at : at + size], raw[at + size + 2 :]
    assert raw == b"0\r\n\r\n"
    return body


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("size", [1, 4096, 100000])
def test_body_is_sent_again(loomgate, script, size, chunked):
    one = script("reset", BUSY % b"", OK)
    gate = loomgate(retry_config(one, buffer=100000))
    assert gate.fetch("/p", method="PUT", body=pattern(size), chunked=chunked).status == 200
    bodies = [decode_chunked(body) for body in one.bodies] if chunked else one.bodies
    assert bodies == [pattern(size)] * 3


def test_body_above_the_buffer_is_not(loomgate, script):
    one = script("reset", OK)
    gate = loomgate(retry_config(one, buffer=100000))
    assert gate.fetch("/p", method="PUT", body=pattern(100001)).status == 502
    assert len(one.heads) == 1
    assert gate.record(path="/p")["cause"] == "reset_before_response"


def test_body_that_has_not_all_come(loomgate, script):
    """The first try fails before the client has sent everything; what comes later goes to the second one."""
    begun = threading.Event()

    def first(conn):
        conn.read_head()
        assert conn.read_exactly(3) == b"abc"
        conn.reset()
        begun.set()

    with FakeServer(first) as breaking:
        good = script(OK)
        gate = loomgate(retry_config({"name": "b", "address": breaking.address, "weight": 256}, good))
        with gate.client() as client:
            client.send(b"PUT /p HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc")
            assert begun.wait(TIMEOUT)
            client.send(b"def")
            assert client.read_response().status == 200
        assert good.bodies == [b"abcdef"]


# ---- time ----


def test_backoff_is_in_the_record(loomgate, script):
    one = script("reset", "reset", "reset", OK)
    gate = loomgate(retry_config(one, max=3, backoff={"base": "40ms", "max": "60ms"}))
    assert gate.fetch("/").status == 200
    record = gate.record()
    waits = [t["backoff_ms"] for t in record["tries"]]
    assert len(waits) == 4 and waits[0] == 0
    assert waits[1] <= 40 and waits[2] <= 60 and waits[3] <= 60 and max(waits) > 0
    assert record["total_ms"] >= sum(waits) - 2


def test_retry_after_is_honoured(loomgate, script):
    one = script(BUSY % b"Retry-After: 1\r\n", OK)
    gate = loomgate(retry_config(one))
    start = time.monotonic()
    assert gate.fetch("/").status == 200
    assert time.monotonic() - start >= 0.99
    assert gate.record()["tries"][1]["backoff_ms"] == 1000


@pytest.mark.parametrize("after, request_time", [("60", "5s"), ("11", 0), ("1", "900ms")])
def test_retry_after_that_is_too_long_is_the_clients(loomgate, script, after, request_time):
    one = script(BUSY % b"Retry-After: %b\r\n" % after.encode())
    gate = loomgate(retry_config(one, frontend={"timeouts": {"request": request_time}}))
    response = gate.fetch("/")
    assert response.status == 503 and response.header("Retry-After") == after and len(one.heads) == 1


def test_per_try_timeout(loomgate, script):
    one = script("hang", OK)
    gate = loomgate(retry_config(one, per_try_timeout="100ms"))
    assert gate.fetch("/").status == 200
    record = gate.record()
    assert causes(record) == ["response_timeout", "ok"]
    assert 90 < record["tries"][0]["ms"] < 5000


def test_response_timeout_is_made_good(loomgate, script):
    one = script("hang", OK)
    gate = loomgate(retry_config(one, timeouts={"response": "100ms"}))
    assert gate.fetch("/").status == 200
    assert causes(gate.record()) == ["response_timeout", "ok"]


def test_request_timeout_wins(loomgate, script):
    one = script("hang")
    gate = loomgate(retry_config(one, max=100, per_try_timeout="100ms", frontend={"timeouts": {"request": "450ms"}}))
    assert gate.fetch("/").status == 504
    record = gate.record()
    assert record["cause"] in ("request_timeout", "response_timeout") and record["total_ms"] < 5000
    assert 2 <= len(one.heads) <= 5


def test_client_that_leaves_meanwhile(loomgate, script):
    one = script(BUSY % b"Retry-After: 9\r\n", OK)
    gate = loomgate(retry_config(one))
    client = gate.client()
    client.request("GET", "/left")
    eventually(lambda: one.heads, "the first try")
    client.reset()
    record = gate.record(path="/left")
    assert (record["cause"], record["status"]) == ("client_closed", 499)
    assert record["total_ms"] < 8000 and len(one.heads) == 1


# ---- the budget ----


def test_total_outage_is_not_multiplied(loomgate, origin):
    """The servers see the requests, a fifth more, and the floor."""
    servers = [origin("-n", f"a{i}") for i in range(3)]
    gate = loomgate(web_config(*servers, backend={
        "breaker": "off", "retry": {"backoff": FAST, "budget": {"ratio": "20%", "min_per_second": 5}}}))
    start = time.monotonic()
    requests = 600
    with gate.client() as client:
        for _ in range(requests):
            assert client.request("GET", "/status/503").read_response().status == 503
    seconds = time.monotonic() - start
    seen = sum(one.number("/count") - 1 for one in servers)  # the question is a request too
    assert requests * 1.2 - 5 <= seen <= requests * 1.2 + 5 * (seconds + 2)


def test_no_budget_is_no_retry(loomgate, script):
    one = script("reset", OK)
    gate = loomgate(retry_config(one, budget={"ratio": 0, "min_per_second": 0}))
    assert gate.fetch("/").status == 502 and len(one.heads) == 1


@pytest.mark.threads
def test_all_workers_share_it(loomgate, script):
    one = script(BUSY % b"")
    config = retry_config(one, budget={"ratio": "50%", "min_per_second": 0}, max=1)
    config["global"]["workers"] = 4
    config["backends"]["app"]["breaker"] = "off"
    gate = loomgate(config)

    def load():
        for _ in range(25):
            assert fetch(gate.web, "/").status == 503

    threads = [threading.Thread(target=load) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    assert 290 <= len(one.heads) <= 302
