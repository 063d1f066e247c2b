"""The metrics in Prometheus' text format: right, stable, shared by all who ask, and of no harm to anybody else."""

import contextlib
import re
import shutil
import signal
import socket
import subprocess
import threading

import pytest
from exposition import Bad, parse
from support import ROOT, Client, Cut, eventually, fetch, run_loomgate, web_config, write_config

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
AT_ONCE = 64


def metrics_config(*servers, route=None, routes=(), **options):
    """The frontend `metrics` beside what web_config gives."""
    own = {"name": "metrics", "match": {"path": "/metrics"}, "metrics": True, **(route or {})}
    frontend = {"bind": ["127.0.0.1:0"], "access_log": {"to": "stdout", "format": "json"}, "routes": [own]}
    return web_config(*servers, frontends={"metrics": frontend}, frontend={"routes": list(routes)}, **options)


def many_servers(count):
    """So many that nobody asks: their gauges make the text long."""
    return [{"name": f"server-{number:05}", "address": "127.0.0.1:9"} for number in range(count)]


def scrape_raw(gate, **options):
    return fetch(gate.address("metrics"), "/metrics", **options)


def scrape(gate):
    response = scrape_raw(gate)
    assert response.status == 200 and response.header("Content-Type") == CONTENT_TYPE, response
    return parse(response.text)


def lint(text):
    """What promtool has to say, where it is installed."""
    if promtool := shutil.which("promtool"):
        done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 and not done.stdout + done.stderr, done.stdout + done.stderr


def settled(gate, condition):
    """The metrics once the condition holds of them: histograms are up to a second old, all of it a quarter."""
    last = []

    def look():
        last[:] = [scrape(gate)]
        return condition(last[0])

    eventually(look, "what the metrics should tell")
    return last[0]


# --- what is told -----------------------------------------------------------------------------------------------------


def test_without_traffic_there_are_gauges(loomgate, origin):
    a1 = origin("-n", "a1")
    gate = loomgate(metrics_config({"name": "a1", "address": a1.address, "weight": 7, "max_connections": 9},
                                   {"name": "a2", "address": "127.0.0.1:9", "maint": True}))
    response = scrape_raw(gate)
    assert response.header("Content-Type") == CONTENT_TYPE and response.header("Cache-Control") == "no-store"
    lint(response.text)
    metrics = parse(response.text)
    assert metrics.value("loomgate_build_info", version=run_loomgate("-V")[1].split()[1]) == 1
    assert metrics.value("loomgate_workers") == 1
    assert metrics.value("loomgate_frontend_connections", frontend="metrics") == 1
    assert metrics.value("loomgate_backend_servers", backend="app") == 2
    assert metrics.value("loomgate_backend_servers_usable", backend="app") == 1
    assert metrics.value("loomgate_server_weight", backend="app", server="a1") == 7
    assert metrics.value("loomgate_server_active_limit", backend="app", server="a1") == 9
    assert metrics.value("loomgate_server_usable", backend="app", server="a2") == 0
    assert metrics.value("loomgate_server_admin_state", backend="app", server="a2", state="maint") == 1
    assert metrics.value("loomgate_server_breaker_state", backend="app", server="a1", state="closed") == 1
    assert metrics.value("loomgate_resident_memory_bytes") > 100_000
    assert "loomgate_server_tries_total" not in metrics and "loomgate_backend_duration_seconds" not in metrics


def test_counts_agree_with_what_was_sent(loomgate, origin):
    a1, a2 = origin("-n", "a1"), origin("-n", "a2")
    routes = [{"name": "slow", "match": {"path_prefix": "/delay"}, "backend": "app"},
              {"name": "own", "match": {"path": "/own"}, "respond": {"body": "mine"}}]
    gate = loomgate(metrics_config({"name": "a1", "address": a1.address}, {"name": "a2", "address": a2.address},
                                   routes=routes, settings={"workers": 2}))
    with gate.client() as client:
        for number in range(40):
            assert client.request("POST", "/echo", body=b"x" * 100).read_response().status == 200
        for _ in range(3):
            assert client.request("GET", "/delay/50").read_response().status == 200
        for _ in range(7):
            assert client.request("GET", "/own").read_response().text == "mine"

    metrics = settled(gate, lambda m: m.count("loomgate_frontend_duration_seconds", frontend="web") == 50)
    assert metrics.value("loomgate_frontend_exchanges_total", frontend="web") == 50
    assert metrics.value("loomgate_backend_exchanges_total", backend="app") == 43
    assert metrics.value("loomgate_route_exchanges_total", frontend="web", route="slow") == 3
    assert metrics.value("loomgate_route_exchanges_total", frontend="web", route="own") == 7
    tries = [metrics.value("loomgate_server_tries_total", backend="app", server=name) for name in ("a1", "a2")]
    assert sum(tries) == 43 and min(tries) >= 20
    received = metrics.value("loomgate_frontend_bytes_in_total", frontend="web")
    assert received == sum(record["bytes_in"] for record in gate.records.lines if record["frontend"] == "web")
    assert "loomgate_server_errors_total" not in metrics

    slow = metrics.histogram("loomgate_route_duration_seconds", frontend="web", route="slow")
    assert slow.count == 3 and slow.sum >= 0.15 and dict(slow.buckets)[0.032768] == 0
    whole = metrics.histogram("loomgate_backend_first_byte_seconds", backend="app")
    assert whole.count == 43
    connects = metrics.histogram("loomgate_backend_connect_seconds", backend="app").count
    assert connects == metrics.value("loomgate_server_connections_total")
    assert "loomgate_backend_queue_seconds" not in metrics
    lint(scrape_raw(gate).text)


def test_errors_are_told_by_their_cause(loomgate, origin):
    a1 = origin("-n", "a1")
    gate = loomgate(metrics_config({"name": "a1", "address": a1.address}, {"name": "gone", "address": "127.0.0.1:9"},
                                   backend={"retry": "off", "breaker": "off"}))
    statuses = [gate.fetch("/echo").status for _ in range(10)] + [gate.fetch("/status/503").status for _ in range(4)]
    refused, served = statuses.count(502), statuses.count(503)
    assert refused and served
    metrics = settled(gate, lambda m: m.value("loomgate_frontend_exchanges_total", 0, frontend="web") == 14)
    causes = dict(cause="connect_failed")
    assert metrics.value("loomgate_frontend_errors_total", frontend="web", **causes) == refused
    assert metrics.value("loomgate_backend_errors_total", backend="app", cause="bad_status") == served
    assert metrics.value("loomgate_server_errors_total", backend="app", server="gone", **causes) == refused
    assert metrics.value("loomgate_server_failures_total") == refused


def test_names_are_escaped(loomgate, tmp_path):
    """A server without a name has its address for one."""
    address = f'unix:{tmp_path}/a "b"\\c'
    gate = loomgate(metrics_config(address))
    text = scrape_raw(gate).text
    lint(text)
    assert parse(text).value("loomgate_server_usable", backend="app", server=address) == 1
    assert 'a \\"b\\"\\\\c"' in text


@pytest.mark.parametrize("text", [
    "", "x", "loomgate_a 1\n", "# HELP loomgate_a A\nloomgate_a 1\n", "# HELP loomgate_a A\n# TYPE loomgate_a gauge\n",
    "# HELP loomgate_a A\n# TYPE loomgate_a gauge\nloomgate_a 1\nloomgate_a 1\n",
    "# HELP loomgate_a A\n# TYPE loomgate_a counter\nloomgate_a 1\n",
    "# HELP loomgate_a A\n# TYPE loomgate_a gauge\nloomgate_a{b=\"\\x\"} 1\n",
    "# HELP loomgate_a A\n# TYPE loomgate_a gauge\nloomgate_a{b=\"x\",} 1\n",
    "# HELP loomgate_a A\n# TYPE loomgate_a histogram\nloomgate_a_bucket{le=\"+Inf\"} 2\nloomgate_a_sum 1\n"
    "loomgate_a_count 1\n",
    "# HELP loomgate_a A\n# TYPE loomgate_a histogram\nloomgate_a_bucket{le=\"1\"} 2\nloomgate_a_bucket{le=\"+Inf\"} 1\n"
    "loomgate_a_sum 1\nloomgate_a_count 1\n",
])
def test_the_parser_is_strict(text):
    with pytest.raises(Bad):
        parse(text)


# --- how it is asked for ----------------------------------------------------------------------------------------------


def test_it_is_a_route_as_any_other(loomgate, origin):
    """HEAD, HTTP/1.0, a body, requests one behind the other, other routes beside it, and the access record."""
    gate = loomgate(metrics_config(origin().address, route={"match": {"path": "/metrics", "source": "127.0.0.0/9"}}))
    with gate.client("metrics") as client:
        client.request("GET", "/metrics").request("HEAD", "/metrics").request("POST", "/metrics", body=b"?")
        client.request("GET", "/other")
        got = [client.read_response(method) for method in ("GET", "HEAD", "POST", "GET")]
    assert [r.status for r in got] == [200, 200, 200, 404]
    assert all(r.header("Content-Type") == CONTENT_TYPE for r in got[:3])
    assert got[1].body == b"" and int(got[1].header("Content-Length")) > 1000
    parse(got[0].text), parse(got[2].text)
    assert fetch(gate.address("metrics"), "/metrics", version="1.0", host=None).status == 200
    with Client(gate.address("metrics"), source="127.200.0.1") as stranger:
        assert stranger.request("GET", "/metrics").read_response().status == 404
    record = gate.record(frontend="metrics", method="POST")
    assert (record["route"], record["backend"], record["cause"]) == ("metrics", None, "ok")
    assert record["bytes_out"] > len(got[2].body) and record["bytes_in"] > 0


def test_other_actions_beside_it_are_refused(check):
    config = metrics_config("127.0.0.1:9", route={"backend": "app"})
    status, _, err = check(config)
    assert status == 1 and "'backend' and 'metrics' exclude each other" in err
    config["frontends"]["metrics"]["routes"][0] = {"metrics": False}
    status, _, err = check(config)
    assert status == 1 and "allowed: true" in err


def test_the_sample_in_the_first_configuration(tmp_path):
    """What is a comment in conf/loomgate.yaml works once it is none."""
    text = (ROOT / "conf/loomgate.yaml").read_text()
    sample = re.sub(r"(?m)^  # (?=(  )*(metrics|bind|routes|-))", "  ", text)
    assert sample != text
    status, out, err = run_loomgate("-c", "-f", write_config(sample, tmp_path))
    assert status == 0 and not err, err
    assert "127.0.0.1:9100" in sample and "metrics: true" in sample


# --- many at once, and who leaves -------------------------------------------------------------------------------------


@pytest.mark.threads
def test_under_load_nothing_ever_decreases(loomgate, origin):
    a1, a2 = origin("-n", "a1"), origin("-n", "a2")
    gate = loomgate(metrics_config(a1, a2, settings={"workers": 2}))
    sent, stop = [0, 0, 0], threading.Event()

    def send(slot):
        while not stop.is_set():
            with gate.client() as client:
                for _ in range(50):
                    assert client.request("GET", "/size/100").read_response().status == 200
                    sent[slot] += 1

    threads = [threading.Thread(target=send, args=(slot,)) for slot in range(len(sent))]
    for thread in threads:
        thread.start()
    before, counts = {}, set()

    def look():
        """True once histograms have been seen to grow."""
        metrics = scrape(gate)
        now = metrics.counters()
        fallen = {key: (value, now.get(key)) for key, value in before.items() if now.get(key, -1) < value}
        assert not fallen, fallen
        before.update(now)
        counts.add(metrics.count("loomgate_backend_duration_seconds", backend="app"))
        return len(counts) > 3

    try:
        eventually(look, "histograms that grow")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    total = sum(sent)
    assert total and not total % 50
    metrics = settled(gate, lambda m: m.value("loomgate_backend_exchanges_total", backend="app") == total and
                      m.count("loomgate_backend_duration_seconds", backend="app") == total)
    tries = [value for (name, _, _), value in metrics.counters().items() if name == "loomgate_server_tries_total"]
    assert sum(tries) == total


@pytest.mark.threads
def test_a_reload_keeps_what_was_counted(loomgate, origin, tmp_path):
    """While it is asked all the time: what has kept its name goes on, what is new begins at nothing."""
    a1, a2 = origin("-n", "a1"), origin("-n", "a2")
    named = [{"name": "a1", "address": a1.address}, {"name": "a2", "address": a2.address}]

    def config(*servers):
        made = metrics_config(*servers, backend={"balance": "first"}, settings={"workers": 2})
        for name, frontend in made["frontends"].items():
            frontend["bind"] = [f"unix:{tmp_path}/{name}"]
        return made

    gate = loomgate(config(*named[:1], *many_servers(1000)))
    with gate.client() as client:
        for _ in range(20):
            assert client.request("GET", "/size/10").read_response().status == 200
    settled(gate, lambda m: m.count("loomgate_server_duration_seconds", backend="app", server="a1") == 20)
    asking = [Client(gate.address("metrics")) for _ in range(8)]
    for client in asking:
        client.request("GET", "/metrics")
    write_config(config(*named), tmp_path, gate.path.name)
    gate.signal(signal.SIGHUP)
    gate.logged(event="reloaded")
    for client in asking:
        with client:
            parse(client.read_response().text)
    with gate.client() as client:
        for _ in range(5):
            assert client.request("GET", "/size/10").read_response().status == 200
    metrics = settled(gate, lambda m: m.count("loomgate_server_duration_seconds", backend="app", server="a1") == 25)
    assert metrics.value("loomgate_frontend_exchanges_total", frontend="web") == 25
    assert metrics.value("loomgate_backend_servers", backend="app") == 2
    assert metrics.value("loomgate_server_usable", backend="app", server="a2") == 1
    assert metrics.value("loomgate_reloads_total") == 1
    assert settled(gate, lambda m: m.value("loomgate_configurations") == 1)


@pytest.mark.threads
def test_many_at_once_share_one_text(loomgate):
    gate = loomgate(metrics_config(*many_servers(1000), settings={"workers": 2}))
    clients = [Client(gate.address("metrics")) for _ in range(AT_ONCE)]
    for client in clients:
        client.request("GET", "/metrics")
    bodies = [client.read_response().body for client in clients]
    for client in clients:
        client.close()
    assert all(len(body) > 400_000 for body in bodies)
    texts = set(bodies)
    assert len(texts) < AT_ONCE / 2, f"{len(texts)} texts"
    for body in texts:
        parse(body.decode())


@pytest.mark.threads
def test_clients_that_leave(loomgate):
    gate = loomgate(metrics_config(*many_servers(1000), settings={"workers": 2}))
    for number in range(AT_ONCE):
        client = Client(gate.address("metrics"), rcvbuf=4096)
        client.request("GET", "/metrics")
        if number % 2:
            client.sock.recv(100)
        client.reset() if number % 3 else client.close()
    assert len(scrape_raw(gate).body) > 400_000
    settled(gate, lambda m: m.value("loomgate_frontend_connections", frontend="metrics") == 1)
    causes = {record["cause"] for record in gate.records.lines if record["frontend"] == "metrics"}
    assert causes <= {"ok", "client_closed"}


def test_a_slow_reader_gets_all_and_holds_up_nobody(loomgate, origin):
    gate = loomgate(metrics_config(*many_servers(10_000), routes=[
        {"name": "own", "match": {"path": "/own"}, "respond": {"body": "mine"}}]))
    with Client(gate.address("metrics"), rcvbuf=4096) as slow:
        slow.request("GET", "/metrics")
        head = slow.read_head()
        for _ in range(20):
            assert gate.fetch("/own").text == "mine"
            assert scrape_raw(gate, method="HEAD").status == 200
        slow.read_body(head)
    parse(head.text)


def test_the_whole_request_is_limited(loomgate):
    """A client that does not read is cut when timeouts.request is over. (A machine that needs so long to write the text
    answers 504.)"""
    gate = loomgate(metrics_config(*many_servers(25_000), route={"timeouts": {"request": "1s"}}))
    with Client(gate.address("metrics"), rcvbuf=4096) as client:
        client.request("GET", "/metrics")
        record = gate.record(frontend="metrics")
        assert record["cause"] == "request_timeout" and record["status"] in (200, 504)
        if record["status"] == 504:
            assert client.read_response().status == 504
        else:
            with pytest.raises(Cut):
                client.read_response()


def test_it_ends_well_while_it_is_asked(loomgate):
    """SIGTERM with requests under way: each is answered whole, or its connection is closed before."""
    gate = loomgate(metrics_config(*many_servers(2000), settings={"workers": 2}))
    clients = [Client(gate.address("metrics")) for _ in range(16)]
    for client in clients:
        client.request("GET", "/metrics")
    gate.process.terminate()
    texts = []
    for client in clients:
        with client, contextlib.suppress(ConnectionError):
            if client.sock.recv(1, socket.MSG_PEEK):
                texts.append(client.read_response().text)
    for text in set(texts):
        parse(text)
    assert gate.wait_exit() == 0
    gate.assert_clean()
